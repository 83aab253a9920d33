/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_fsync_error.c - the medium fails one write or one flush, once. From then on every write and
 * flush answers -EIO, reads stay right, and what the next opening finds is a prefix of what was
 * done, at or beyond the last flush that was acknowledged.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"
#include "tests/lib/temp_dir.h"
#include "tests/lib/wrap_device.h"

#define BLOCKS     96u
#define ACTS       400u
#define FAULTS_MAX 40u

struct fixture {
    struct test_dir dir, windows;
    struct test_path path;
    struct test_watch watch;
    struct test_ledger *ledger;
    struct briq_store *store;
    struct briq_prng prng;
};

static void open_watched(struct fixture *f)
{
    struct briq_error err = {0};
    struct briq_device *dev = NULL;
    if (test_wrap_file(f->path.text, 0, &f->watch, &err, &dev) != 0)
        fail_msg("%s", err.text);
    struct briq_open_options options = {
        .device = dev, .windows_dir = f->windows.path, .streams = 2};
    f->store = test_volume_open(f->path.text, &options);
}

static void set_up(struct fixture *f, uint64_t seed)
{
    struct briq_create_options options = {.size_bytes = BLOCKS * BRIQ_BLOCK_BYTES,
                                          .segment_shift = 16};
    *f = (struct fixture){.prng = {.state = seed}};
    test_dir_open(&f->dir, TEST_DIR_MEMORY);
    test_dir_open(&f->windows, TEST_DIR_MEMORY);
    f->path = test_dir_file(&f->dir, "volume.briq");
    test_watch_init(&f->watch, 0);
    f->ledger = test_ledger_open(BLOCKS, 3 * ACTS);
    test_volume_create(f->path.text, &options);
    open_watched(f);
}

static void tear_down(struct fixture *f)
{
    test_watch_fini(&f->watch);
    test_ledger_close(f->ledger);
    test_dir_close(&f->dir);
    test_dir_close(&f->windows);
}

/* Works until the fault strikes, or all is done. Returns the first error. */
static int work(struct fixture *f)
{
    int r = 0;
    for (unsigned i = 0; i < ACTS && r == 0; i++) {
        r = test_ledger_act(f->ledger, f->store, &f->prng, 30);
        if (r == 0 && briq_prng_below(&f->prng, 20) == 0)
            r = test_ledger_flush(f->ledger, f->store);
        if (r == 0 && briq_prng_below(&f->prng, 100) == 0)
            r = briq_store_checkpoint(f->store);
    }
    return r == 0 ? test_ledger_flush(f->ledger, f->store) : r;
}

/* Nothing changes any more, and everything that was acknowledged can still be read. */
static void expect_latched(struct fixture *f)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES] = "not to be written";
    uint64_t n;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(briq_write(f->store, bytes, sizeof bytes, 0, 0), -EIO);
        assert_int_equal(briq_flush(f->store), -EIO);
        assert_int_equal(briq_trim(f->store, sizeof bytes, 0, 0), -EIO);
        assert_int_equal(briq_zero(f->store, sizeof bytes, 0, 0), -EIO);
        assert_int_equal(briq_write(f->store, bytes, 7, 100, BRIQ_OP_FUA), -EIO);
    }
    assert_true(briq_store_read_only(f->store));
    assert_true(test_ledger_check(f->ledger, f->store, atomic_load(&f->ledger->acked), &n));
}

/* Opens again, without the fault; `lose_windows`: after a power cut. */
static void expect_prefix_after_reopening(struct fixture *f, bool lose_windows)
{
    uint64_t n, floor = atomic_load(&f->ledger->flushed);
    if (lose_windows)
        test_dir_empty(&f->windows);
    open_watched(f);
    assert_false(briq_store_read_only(f->store));
    if (!test_ledger_check(f->ledger, f->store, floor, &n))
        fail_msg("not a prefix after a failed device");
    test_ledger_settle(f->ledger, n);
    assert_int_equal(work(f), 0);
    assert_true(test_ledger_check_all(f->ledger, f->store));
    test_volume_close(f->store);
    assert_true(test_volume_is_sound(f->path.text, f->windows.path));
}

/* Returns whether the fault struck at all. */
static bool one_fault(enum test_io kind, unsigned skip, bool partial, bool lose_windows)
{
    struct fixture f;
    set_up(&f, skip * 2u + partial);
    test_watch_reset(&f.watch);
    test_watch_fail(
        &f.watch, kind,
        (struct test_fault){.skip = skip, .times = 1, .error = -EIO, .partial = partial});
    int r = work(&f);
    bool struck = f.watch.failed[kind] > 0;
    if (struck) {
        assert_int_equal(r, -EIO);
        expect_latched(&f);
        assert_int_not_equal(briq_store_close(f.store), 0);
        expect_prefix_after_reopening(&f, lose_windows);
    } else {
        assert_int_equal(r, 0);
        test_watch_fail(&f.watch, kind, (struct test_fault){0});
        test_volume_close(f.store);
    }
    tear_down(&f);
    return struck;
}

/* Fails the first request of the kind, then the second ... until the work runs through. */
static void every_fault(enum test_io kind, bool partial, bool lose_windows)
{
    unsigned struck = 0;
    for (unsigned skip = 0; skip < test_repeats(FAULTS_MAX); skip++)
        struck += one_fault(kind, skip, partial, lose_windows);
    assert_true(struck >= test_repeats(FAULTS_MAX) / 2);
}

static void a_flush_that_fails_once_is_never_retried_into_success(void **state)
{
    (void)state;
    every_fault(TEST_IO_FLUSH, false, false);
}

static void a_flush_that_fails_and_then_a_power_cut(void **state)
{
    (void)state;
    every_fault(TEST_IO_FLUSH, false, true);
}

static void a_write_that_fails_once(void **state)
{
    (void)state;
    every_fault(TEST_IO_WRITE, false, false);
}

static void a_write_that_fails_half_way_and_then_a_power_cut(void **state)
{
    (void)state;
    every_fault(TEST_IO_WRITE, true, true);
}

/* A read error is an answer to that read, and to nothing else. */
static void a_read_that_fails_once_latches_nothing(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    set_up(&f, 1);
    for (unsigned i = 0; i < ACTS; i++)
        assert_int_equal(test_ledger_act(f.ledger, f.store, &f.prng, 0), 0);
    test_volume_close(f.store);
    open_watched(&f);
    test_watch_fail(&f.watch, TEST_IO_READ, (struct test_fault){.times = 1, .error = -EIO});
    unsigned failed = 0;
    for (uint64_t block = 0; block < BLOCKS; block++) {
        int r = briq_read(f.store, bytes, sizeof bytes, block * BRIQ_BLOCK_BYTES);
        assert_true(r == 0 || r == -EIO);
        failed += r != 0;
    }
    assert_int_equal(failed, 1);
    assert_false(briq_store_read_only(f.store));
    assert_true(test_ledger_check_all(f.ledger, f.store));
    assert_int_equal(work(&f), 0);
    test_volume_close(f.store);
    tear_down(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flush_that_fails_once_is_never_retried_into_success),
        cmocka_unit_test(a_flush_that_fails_and_then_a_power_cut),
        cmocka_unit_test(a_write_that_fails_once),
        cmocka_unit_test(a_write_that_fails_half_way_and_then_a_power_cut),
        cmocka_unit_test(a_read_that_fails_once_latches_nothing),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
