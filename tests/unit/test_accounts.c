/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_accounts.c - a segment table with a sound checksum that counts wrongly, as only a faulty
 * program writes it. What cannot be is refused at the opening; a count that is too low makes the
 * volume read-only when it is found out, with one line that says so, and no read is ever wrong. A
 * check finds it, a repair mends it.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"
#include "tests/lib/patient.h"
#include "tests/lib/ward.h"

struct complaints {
    unsigned count;
    char last[512];
};

static struct test_ward *fixture_of(void **state)
{
    return *state;
}

static int set_up(void **state)
{
    return test_ward_open(state, "build/tests/unit/test_accounts", 16, TEST_PATIENT_CLEAN);
}

static void take_line(void *opaque, enum briq_log_level level, const char *line)
{
    struct complaints *complaints = opaque;
    if (level != BRIQ_LOG_ERROR)
        return;
    complaints->count++;
    snprintf(complaints->last, sizeof complaints->last, "%s", line);
}

static int open_volume(struct test_ward *f, struct complaints *complaints, struct briq_store **ret)
{
    struct briq_error err = {0};
    struct briq_open_options options = {.windows_dir = f->patient.windows.path,
                                        .streams = 1,
                                        .log = {.sink = take_line, .opaque = complaints}};
    memset(complaints, 0, sizeof *complaints);
    return briq_store_open(f->patient.path.text, &options, &err, ret);
}

/* Every block is what it was, or what `written` blocks from the first have become. */
static void expect_content(struct test_ward *f, struct briq_store *store, uint32_t written)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    for (uint32_t block = written; block < TEST_PATIENT_BLOCKS - 1; block++) {
        uint64_t off = block * (uint64_t)BRIQ_BLOCK_BYTES;
        assert_int_equal(briq_read(store, bytes, sizeof bytes, off), 0);
        assert_memory_equal(bytes, f->patient.content + off, sizeof bytes);
    }
}

/* Overwrites one block after the other, with checkpoints. Returns how many it came to. */
static uint32_t overwrite(struct briq_store *store, int *ret_error)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    uint32_t block = 0;
    int r = 0;
    for (; block < TEST_PATIENT_BLOCKS - 1 && r == 0; block++) {
        test_ledger_content(block + 1, block, bytes);
        r = briq_write(store, bytes, sizeof bytes, block * (uint64_t)BRIQ_BLOCK_BYTES, 0);
        if (r == 0 && block % 100 == 99)
            r = briq_store_checkpoint(store);
    }
    *ret_error = r;
    return block;
}

static void expect_latched(const struct complaints *complaints, struct briq_store *store)
{
    assert_true(briq_store_read_only(store));
    assert_int_equal(complaints->count, 1);
    assert_non_null(strstr(complaints->last, "read-only"));
    assert_non_null(strstr(complaints->last, "briq check --repair"));
    assert_int_equal(briq_write(store, "x", 1, 0, 0), -EIO);
    assert_int_equal(briq_flush(store), -EIO);
    assert_true(briq_store_maintain(store) < 0);
}

static void expect_mended(struct test_ward *f)
{
    struct complaints complaints;
    struct briq_store *store;
    test_patient_check(&f->patient, NULL, true, false, &f->findings);
    assert_int_equal(f->findings.error, 0);
    assert_true(f->findings.result.segment_errors > 0);
    test_patient_check(&f->patient, NULL, true, true, &f->findings);
    assert_int_equal(f->findings.error, 0);
    assert_int_equal(f->findings.result.unrepaired, 0);
    test_patient_check(&f->patient, NULL, true, false, &f->findings);
    assert_int_equal(test_findings_errors(&f->findings), 0);
    assert_int_equal(open_volume(f, &complaints, &store), 0);
    expect_content(f, store, 0);
    int r;
    assert_int_equal(overwrite(store, &r), TEST_PATIENT_BLOCKS - 1);
    assert_int_equal(r, 0);
    test_volume_close(store);
}

/* Returns whether it was found out while the volume was at work. */
static bool work_with(struct test_ward *f, uint32_t seg, const struct briq_segment_entry *entry)
{
    struct complaints complaints;
    struct briq_store *store;
    int r;
    test_patient_put_entry(&f->patient, &f->places, seg, entry);
    assert_int_equal(open_volume(f, &complaints, &store), 0);
    uint32_t written = overwrite(store, &r);
    if (r != 0) {
        assert_int_equal(r, -EIO);
        expect_latched(&complaints, store);
        expect_content(f, store, written);
        assert_true(briq_store_close(store) < 0);
    } else {
        r = briq_store_compact(store, NULL, NULL);
        int closed = briq_store_close(store);
        r = r < 0 ? r : closed;
    }
    test_patient_restore(&f->patient);
    test_patient_put_entry(&f->patient, &f->places, seg, entry);
    expect_mended(f);
    test_patient_restore(&f->patient);
    return r != 0;
}

static void too_low_a_count_is_found_out(void **state)
{
    struct test_ward *f = fixture_of(state);
    unsigned tried = 0, found = 0, kinds = 0;
    for (uint32_t seg = f->places.seg_first; seg < f->places.seg_end; seg++) {
        const struct briq_segment_entry sound = test_patient_entry(&f->patient, &f->places, seg);
        struct briq_segment_entry entry = sound;
        if (sound.state != 1 || sound.live < 2)
            continue;
        entry.live = tried % 3 == 0 ? 0 : tried % 3 == 1 ? sound.live / 2 : sound.live - 1;
        bool meta = sound.kind == BRIQ_KIND_META;
        bool latched = work_with(f, seg, &entry);
        if (!latched && !meta) /* every block was written, so every count went to nothing */
            fail_msg("segment %" PRIu32 ": %" PRIu32 " live instead of %" PRIu32
                     " was never found out",
                     seg, entry.live, sound.live);
        kinds |= 1u << sound.kind;
        found += latched;
        tried++;
    }
    print_message("%u segments, %u found out at work\n", tried, found);
    assert_true(found > 2 && (kinds & 1u << BRIQ_KIND_META) != 0);
}

static void what_cannot_be_is_refused_at_the_opening(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint32_t used = f->places.seg_first, empty;
    while (test_patient_entry(&f->patient, &f->places, used).state != 1)
        used++;
    empty = used;
    while (test_patient_entry(&f->patient, &f->places, empty).state != 0)
        empty++;
    struct complaints complaints;
    struct briq_store *store;
    const struct {
        uint32_t seg, live;
    } wrong[] = {{used, (1u << (16 - BRIQ_GRANULE_SHIFT)) + 1}, {used, UINT32_MAX}, {empty, 1}};
    for (unsigned i = 0; i < BRIQ_COUNT_OF(wrong); i++) {
        struct briq_segment_entry entry = test_patient_entry(&f->patient, &f->places, wrong[i].seg);
        entry.live = wrong[i].live;
        entry.on_host = true; /* or the line says nothing at all */
        test_patient_put_entry(&f->patient, &f->places, wrong[i].seg, &entry);
        assert_int_equal(open_volume(f, &complaints, &store), -EUCLEAN);
        expect_mended(f);
        test_patient_restore(&f->patient);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(too_low_a_count_is_found_out, set_up, test_ward_close),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused_at_the_opening, set_up,
                                        test_ward_close),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
