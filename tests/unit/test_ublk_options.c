/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ublk_options.c - what a device asks its kernel for: features by what the kernel has,
 * parameters by the volume, processors by the queue; and the record that outlives a server.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ublk-frontend/features.h"
#include "ublk-frontend/params.h"
#include "ublk-frontend/process.h"
#include "ublk-frontend/record.h"

/* As the kernels say it themselves. */
#define LINUX_6_2  UINT64_C(0x3e) /* without encoded commands */
#define LINUX_6_12 UINT64_C(0x1fe)
#define LINUX_7_2  UINT64_C(0xfffff)

static struct briq_ublk_plan plan_of(uint64_t features, struct briq_ublk_wishes wishes)
{
    struct briq_error err = {""};
    struct briq_ublk_plan plan;
    int r = briq_ublk_plan_features(features, &wishes, &err, &plan);
    if (r != 0)
        fail_msg("%d: %s", r, err.text);
    return plan;
}

static void assert_refused(uint64_t features, struct briq_ublk_wishes wishes, const char *said)
{
    struct briq_error err = {""};
    struct briq_ublk_plan plan;
    assert_int_equal(briq_ublk_plan_features(features, &wishes, &err, &plan), -EOPNOTSUPP);
    assert_non_null(strstr(err.text, said));
}

/* ---- features -------------------------------------------------------------------------------- */

static void an_old_kernel_is_asked_for_what_it_has(void **state)
{
    (void)state;
    struct briq_ublk_plan plan =
        plan_of(LINUX_6_12, (struct briq_ublk_wishes){.threads_per_queue = 1});
    assert_int_equal(plan.flags & ~LINUX_6_12, 0);
    assert_true(plan.user_copy);
    assert_int_equal(plan.flags, UBLK_F_CMD_IOCTL_ENCODE | UBLK_F_USER_COPY | UBLK_F_USER_RECOVERY |
                                     UBLK_F_USER_RECOVERY_REISSUE);
    assert_false(plan.can_resize);
    assert_false(plan.can_quiesce);
    /* The only way to keep it from reading the device under a lock while it starts. */
    assert_true(plan.drop_admin);
}

static void a_new_kernel_is_asked_for_more(void **state)
{
    (void)state;
    struct briq_ublk_plan plan =
        plan_of(LINUX_7_2, (struct briq_ublk_wishes){.threads_per_queue = 1});
    assert_int_equal(plan.flags, UBLK_F_CMD_IOCTL_ENCODE | UBLK_F_USER_COPY | UBLK_F_USER_RECOVERY |
                                     UBLK_F_USER_RECOVERY_REISSUE | UBLK_F_UPDATE_SIZE |
                                     UBLK_F_QUIESCE);
    assert_true(plan.can_resize && plan.can_quiesce);
    assert_false(plan.drop_admin);
    assert_true(plan_of(LINUX_7_2, (struct briq_ublk_wishes){.threads_per_queue = 2}).flags &
                UBLK_F_PER_IO_DAEMON);
}

static void partitions_are_looked_for_where_it_is_safe(void **state)
{
    (void)state;
    struct briq_ublk_wishes no = {.threads_per_queue = 1, .partitions = BRIQ_UBLK_PARTITIONS_NO};
    struct briq_ublk_wishes yes = {.threads_per_queue = 1, .partitions = BRIQ_UBLK_PARTITIONS_YES};
    assert_true(plan_of(LINUX_7_2, no).flags & UBLK_F_NO_AUTO_PART_SCAN);
    assert_false(plan_of(LINUX_7_2, no).drop_admin);
    assert_false(plan_of(LINUX_7_2, yes).flags & UBLK_F_NO_AUTO_PART_SCAN);
    assert_true(plan_of(LINUX_6_12, no).drop_admin);
    assert_false(plan_of(LINUX_6_12, yes).drop_admin);
}

static void death_is_kept_in_the_flags(void **state)
{
    static const enum briq_ublk_on_death all[] = {BRIQ_UBLK_QUEUE, BRIQ_UBLK_FAIL,
                                                  BRIQ_UBLK_REMOVE};
    (void)state;
    for (size_t i = 0; i < BRIQ_COUNT_OF(all); i++) {
        struct briq_ublk_wishes wishes = {.threads_per_queue = 1, .on_death = all[i]};
        enum briq_ublk_on_death parsed;
        struct briq_error err = {""};
        assert_int_equal(briq_ublk_on_death_of(plan_of(LINUX_7_2, wishes).flags), all[i]);
        assert_int_equal(briq_ublk_on_death_parse(briq_ublk_on_death_name(all[i]), &err, &parsed),
                         0);
        assert_int_equal(parsed, all[i]);
    }
    /* A kernel takes REISSUE and FAIL_IO each with USER_RECOVERY only, and never both. */
    uint64_t fail = plan_of(LINUX_7_2, (struct briq_ublk_wishes){.threads_per_queue = 1,
                                                                 .on_death = BRIQ_UBLK_FAIL})
                        .flags;
    assert_int_equal(fail & UBLK_F_USER_RECOVERY_REISSUE, 0);
    uint64_t gone = plan_of(LINUX_7_2, (struct briq_ublk_wishes){.threads_per_queue = 1,
                                                                 .on_death = BRIQ_UBLK_REMOVE})
                        .flags;
    assert_int_equal(gone & UBLK_F_QUIESCE, 0);
}

static void a_user_gets_what_the_kernel_allows_him(void **state)
{
    static const uint64_t kernels[] = {LINUX_6_12, LINUX_7_2};
    (void)state;
    for (size_t i = 0; i < BRIQ_COUNT_OF(kernels); i++) {
        struct briq_ublk_wishes user = {.threads_per_queue = 1, .unprivileged = true};
        struct briq_ublk_plan plan = plan_of(kernels[i], user);
        assert_int_equal(plan.flags & ~UBLK_F_UPDATE_SIZE,
                         UBLK_F_CMD_IOCTL_ENCODE | UBLK_F_UNPRIVILEGED_DEV);
        assert_false(plan.user_copy || plan.drop_admin || plan.can_quiesce);
        assert_int_equal(briq_ublk_on_death_of(plan.flags), BRIQ_UBLK_REMOVE);
        user.partitions = BRIQ_UBLK_PARTITIONS_YES;
        assert_refused(kernels[i], user, "--partitions yes");
    }
}

static void what_a_kernel_cannot_do_is_named(void **state)
{
    (void)state;
    assert_refused(LINUX_6_12, (struct briq_ublk_wishes){.threads_per_queue = 2},
                   "--threads-per-queue 2");
    assert_refused(LINUX_6_12,
                   (struct briq_ublk_wishes){.threads_per_queue = 1, .on_death = BRIQ_UBLK_FAIL},
                   "--on-death fail");
    assert_refused(LINUX_6_2, (struct briq_ublk_wishes){.threads_per_queue = 1},
                   "UBLK_F_CMD_IOCTL_ENCODE");
}

static void plain_copy_where_wished_or_needed(void **state)
{
    (void)state;
    struct briq_ublk_wishes plain = {.threads_per_queue = 1, .plain_copy = true};
    struct briq_ublk_wishes any = {.threads_per_queue = 1};
    assert_false(plan_of(LINUX_7_2, plain).user_copy);
    assert_int_equal(plan_of(LINUX_7_2, plain).flags & UBLK_F_USER_COPY, 0);
    assert_false(plan_of(LINUX_6_12 & ~UBLK_F_USER_COPY, any).user_copy);
}

static void flags_dropped_in_silence_are_found(void **state)
{
    (void)state;
    struct briq_error err = {""};
    assert_int_equal(briq_ublk_check_granted(0xc0, 0x1c6, &err), 0);
    assert_int_equal(briq_ublk_check_granted(0x84c0, 0xc0, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.text, "UBLK_F_UPDATE_SIZE, UBLK_F_BATCH_IO"));
}

static void other_words_are_refused(void **state)
{
    (void)state;
    struct briq_error err = {""};
    enum briq_ublk_on_death death;
    enum briq_ublk_affinity affinity;
    enum briq_ublk_partitions partitions;
    assert_int_equal(briq_ublk_on_death_parse("Queue", &err, &death), -EINVAL);
    assert_string_equal(err.text, "--on-death: \"Queue\" is not one of queue, fail, remove");
    assert_int_equal(briq_ublk_affinity_parse("", &err, &affinity), -EINVAL);
    assert_int_equal(briq_ublk_partitions_parse("maybe", &err, &partitions), -EINVAL);
    assert_int_equal(briq_ublk_affinity_parse("one", &err, &affinity), 0);
    assert_int_equal(affinity, BRIQ_UBLK_AFFINITY_ONE);
    assert_int_equal(briq_ublk_partitions_parse("no", &err, &partitions), 0);
    assert_int_equal(partitions, BRIQ_UBLK_PARTITIONS_NO);
}

/* ---- parameters ------------------------------------------------------------------------------ */

static void a_device_tells_what_the_volume_is(void **state)
{
    (void)state;
    struct briq_error err = {""};
    struct ublk_params p;
    struct briq_ublk_shape shape = {
        .size_bytes = 3 * 4096 + 512, .block_bytes = 512, .max_io_bytes = 1u << 20};
    assert_int_equal(briq_ublk_params_build(&shape, &err, &p), 0);
    assert_int_equal(p.len, sizeof p);
    assert_int_equal(p.types, UBLK_PARAM_BASIC | UBLK_PARAM_DISCARD);
    assert_int_equal(p.basic.attrs, UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA);
    assert_int_equal(p.basic.logical_bs_shift, 9);
    assert_int_equal(p.basic.physical_bs_shift, 12);
    assert_int_equal(p.basic.dev_sectors, 25);
    assert_int_equal(p.basic.max_sectors, 2048);
    assert_int_equal(p.discard.discard_granularity, 4096);
    assert_int_equal(p.discard.max_discard_segments, 1);
    assert_true(p.discard.max_discard_sectors > 0 && p.discard.max_write_zeroes_sectors > 0);
}

static void sectors_stay_512_with_larger_blocks(void **state)
{
    (void)state;
    struct briq_error err = {""};
    struct ublk_params p;
    struct briq_ublk_shape shape = {
        .size_bytes = 8 * 4096, .block_bytes = 4096, .max_io_bytes = 4096};
    assert_int_equal(briq_ublk_params_build(&shape, &err, &p), 0);
    assert_int_equal(p.basic.logical_bs_shift, 12);
    assert_int_equal(p.basic.dev_sectors, 64);
    assert_int_equal(p.basic.max_sectors, 8);
}

static void a_read_only_device_offers_no_changes(void **state)
{
    (void)state;
    struct briq_error err = {""};
    struct ublk_params p;
    struct briq_ublk_shape shape = {
        .size_bytes = 4096, .block_bytes = 512, .max_io_bytes = 4096, .read_only = true};
    assert_int_equal(briq_ublk_params_build(&shape, &err, &p), 0);
    assert_int_equal(p.types, UBLK_PARAM_BASIC);
    assert_int_equal(p.basic.attrs, UBLK_ATTR_READ_ONLY);
}

static void sizes_that_do_not_fit_blocks_are_refused(void **state)
{
    (void)state;
    struct briq_error err = {""};
    struct ublk_params p;
    struct briq_ublk_shape odd = {
        .size_bytes = 4096 + 512, .block_bytes = 4096, .max_io_bytes = 4096};
    struct briq_ublk_shape strange = {
        .size_bytes = 4096, .block_bytes = 1024, .max_io_bytes = 4096};
    assert_int_equal(briq_ublk_params_build(&odd, &err, &p), -EINVAL);
    assert_non_null(strstr(err.text, "--block-size 512"));
    assert_int_equal(briq_ublk_params_build(&strange, &err, &p), -EINVAL);
}

/* ---- processors ------------------------------------------------------------------------------ */

static void threads_are_spread_over_their_processors(void **state)
{
    (void)state;
    cpu_set_t mask, got;
    CPU_ZERO(&mask);
    CPU_SET(2, &mask);
    CPU_SET(5, &mask);
    assert_false(briq_ublk_affinity_pick(BRIQ_UBLK_AFFINITY_NONE, &mask, 0, &got));
    assert_true(briq_ublk_affinity_pick(BRIQ_UBLK_AFFINITY_MASK, &mask, 7, &got));
    assert_true(CPU_EQUAL(&mask, &got));
    for (unsigned i = 0; i < 5; i++) {
        assert_true(briq_ublk_affinity_pick(BRIQ_UBLK_AFFINITY_ONE, &mask, i, &got));
        assert_int_equal(CPU_COUNT(&got), 1);
        assert_true(CPU_ISSET(i % 2 == 0 ? 2 : 5, &got));
    }
    CPU_ZERO(&mask); /* a queue whose processors are all offline */
    assert_false(briq_ublk_affinity_pick(BRIQ_UBLK_AFFINITY_ONE, &mask, 0, &got));
}

/* ---- records --------------------------------------------------------------------------------- */

static void a_record_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct briq_ublk_record in = {.volume = "/srv/a = b.briq",
                                  .read_only = true,
                                  .direct = true,
                                  .cache_bytes = UINT64_C(1) << 40,
                                  .pid = 4711},
                            out;
    char text[512];
    assert_int_equal(briq_ublk_record_format(&in, text, sizeof text), 0);
    assert_int_equal(briq_ublk_record_parse(text, &out), 0);
    assert_memory_equal(&in, &out, sizeof in);
    struct briq_ublk_record null = {.null_bytes = 4096};
    assert_int_equal(briq_ublk_record_format(&null, text, sizeof text), 0);
    assert_int_equal(briq_ublk_record_parse(text, &out), 0);
    assert_memory_equal(&null, &out, sizeof null);
    /* From a later version: what is not known is left out. */
    assert_int_equal(briq_ublk_record_parse("volume=/v\ncolour=red\n", &out), 0);
    assert_string_equal(out.volume, "/v");
}

static void a_damaged_record_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "volume=/v",
        "nothing\n",
        "volume=/v\npid=-1\n",
        "pid=\n",
        "volume=/v\npid=1x\n",
        "volume=/v\ndirect=\n",
        "null_bytes=0\n",
    };
    struct briq_ublk_record out;
    (void)state;
    for (size_t i = 0; i < BRIQ_COUNT_OF(bad); i++)
        if (briq_ublk_record_parse(bad[i], &out) != -EUCLEAN)
            fail_msg("taken: \"%s\"", bad[i]);
    struct briq_ublk_record two_lines = {.volume = "/a\n/b"};
    char text[64];
    assert_int_equal(briq_ublk_record_format(&two_lines, text, sizeof text), -EINVAL);
    struct briq_ublk_record one = {.volume = "/v"};
    assert_int_equal(briq_ublk_record_format(&one, text, 16), -ENAMETOOLONG);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_kernel_is_asked_for_what_it_has),
        cmocka_unit_test(a_new_kernel_is_asked_for_more),
        cmocka_unit_test(partitions_are_looked_for_where_it_is_safe),
        cmocka_unit_test(death_is_kept_in_the_flags),
        cmocka_unit_test(a_user_gets_what_the_kernel_allows_him),
        cmocka_unit_test(what_a_kernel_cannot_do_is_named),
        cmocka_unit_test(plain_copy_where_wished_or_needed),
        cmocka_unit_test(flags_dropped_in_silence_are_found),
        cmocka_unit_test(other_words_are_refused),
        cmocka_unit_test(a_device_tells_what_the_volume_is),
        cmocka_unit_test(sectors_stay_512_with_larger_blocks),
        cmocka_unit_test(a_read_only_device_offers_no_changes),
        cmocka_unit_test(sizes_that_do_not_fit_blocks_are_refused),
        cmocka_unit_test(threads_are_spread_over_their_processors),
        cmocka_unit_test(a_record_is_read_as_it_was_written),
        cmocka_unit_test(a_damaged_record_is_refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("ublk_options", tests, NULL, NULL);
}
