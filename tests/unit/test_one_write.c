/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_one_write.c - what a lone write costs the medium: one device write of 4096 bytes and one
 * flush; of 8192 bytes for a block that does not compress.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/lib/corpus.h"
#include "tests/lib/fixture.h"
#include "tests/lib/temp_dir.h"
#include "tests/lib/wrap_device.h"

#define REPEATS      100u
#define EVENTS_MAX   64u
#define VOLUME_BYTES (UINT64_C(64) << 20)

struct fixture {
    struct test_dir dir;
    struct test_path path;
    struct test_watch watch;
    struct test_corpus *corpus;
    struct briq_store *store;
    struct briq_prng prng;
};

static struct fixture *fixture_of(void **state)
{
    return *state;
}

/* Opens the volume on a watched device, and forgets what the opening did. */
static void open_watched(struct fixture *f, bool start)
{
    struct briq_error err = {0};
    struct briq_device *dev = NULL;
    int r = test_wrap_file(f->path.text, 0, &f->watch, &err, &dev);
    if (r != 0)
        fail_msg("%s", err.text);
    struct briq_open_options options = {.device = dev, .windows_dir = f->dir.path};
    f->store = test_volume_open(f->path.text, &options);
    if (start)
        assert_int_equal(briq_store_start(f->store), 0);
    test_watch_reset(&f->watch);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct briq_create_options options = {.size_bytes = VOLUME_BYTES};
    f->prng.state = 1;
    f->corpus = test_corpus_open();
    test_dir_open(&f->dir, TEST_DIR_MEMORY);
    f->path = test_dir_file(&f->dir, "volume.briq");
    test_watch_init(&f->watch, EVENTS_MAX);
    test_volume_create(f->path.text, &options);
    open_watched(f, false);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = fixture_of(state);
    if (f->store != NULL)
        test_volume_close(f->store);
    test_watch_fini(&f->watch);
    test_dir_close(&f->dir);
    test_corpus_close(f->corpus);
    free(f);
    return 0;
}

/* Exactly one write of `bytes` and one flush since the last look. */
static void expect_one(struct fixture *f, uint64_t bytes, unsigned repeat)
{
    const struct test_watch *watch = &f->watch;
    if (watch->calls[TEST_IO_WRITE] != 1 || watch->calls[TEST_IO_FLUSH] != 1 ||
        watch->bytes[TEST_IO_WRITE] != bytes) {
        test_watch_print(watch);
        fail_msg("repeat %u: %llu writes of %llu bytes and %llu flushes", repeat,
                 (unsigned long long)watch->calls[TEST_IO_WRITE],
                 (unsigned long long)watch->bytes[TEST_IO_WRITE],
                 (unsigned long long)watch->calls[TEST_IO_FLUSH]);
    }
    test_watch_reset(&f->watch);
}

static void write_block(struct fixture *f, enum test_data kind, unsigned number, unsigned flags)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    uint64_t block = (uint64_t)number * 37 % (VOLUME_BYTES / BRIQ_BLOCK_BYTES);
    test_corpus_fill(f->corpus, &f->prng, kind, number + 1, bytes, sizeof bytes);
    assert_int_equal(briq_write(f->store, bytes, sizeof bytes, block * BRIQ_BLOCK_BYTES, flags), 0);
}

static void write_and_flush(struct fixture *f, enum test_data kind, uint64_t bytes)
{
    for (unsigned i = 0; i < REPEATS; i++) {
        write_block(f, kind, i, 0);
        assert_int_equal(f->watch.calls[TEST_IO_WRITE], 0);
        assert_int_equal(briq_flush(f->store), 0);
        expect_one(f, bytes, i);
    }
}

static void a_lone_compressible_write_and_flush_is_one_device_write_of_4096(void **state)
{
    write_and_flush(fixture_of(state), TEST_DATA_TEXT, 4096);
}

static void a_lone_raw_write_and_flush_is_one_device_write_of_8192(void **state)
{
    write_and_flush(fixture_of(state), TEST_DATA_RANDOM, 8192);
}

static void the_same_with_a_maintenance_thread(void **state)
{
    struct fixture *f = fixture_of(state);
    test_volume_close(f->store);
    open_watched(f, true);
    write_and_flush(f, TEST_DATA_TEXT, 4096);
}

static void a_lone_write_with_fua_is_one_device_write(void **state)
{
    struct fixture *f = fixture_of(state);
    for (unsigned i = 0; i < REPEATS; i++) {
        write_block(f, TEST_DATA_TEXT, i, BRIQ_OP_FUA);
        expect_one(f, 4096, i);
    }
}

static void a_lone_trim_and_flush_is_one_device_write(void **state)
{
    struct fixture *f = fixture_of(state);
    for (unsigned i = 0; i < REPEATS; i++) {
        write_block(f, TEST_DATA_TEXT, i, BRIQ_OP_FUA);
        test_watch_reset(&f->watch);
        uint64_t block = i * UINT64_C(37) % (VOLUME_BYTES / BRIQ_BLOCK_BYTES);
        assert_int_equal(briq_trim(f->store, BRIQ_BLOCK_BYTES, block * BRIQ_BLOCK_BYTES, 0), 0);
        assert_int_equal(briq_flush(f->store), 0);
        expect_one(f, 4096, i);
    }
}

static void a_flush_of_nothing_writes_nothing(void **state)
{
    struct fixture *f = fixture_of(state);
    write_block(f, TEST_DATA_TEXT, 0, BRIQ_OP_FUA);
    test_watch_reset(&f->watch);
    for (unsigned i = 0; i < REPEATS; i++)
        assert_int_equal(briq_flush(f->store), 0);
    assert_int_equal(f->watch.calls[TEST_IO_WRITE], 0);
}

static void a_read_of_what_was_just_written_asks_no_device(void **state)
{
    struct fixture *f = fixture_of(state);
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    write_block(f, TEST_DATA_TEXT, 0, 0);
    assert_int_equal(briq_read(f->store, bytes, sizeof bytes, 0), 0);
    assert_int_equal(f->watch.calls[TEST_IO_READ], 0);
}

static void the_next_lone_write_after_a_reopening_costs_the_same(void **state)
{
    struct fixture *f = fixture_of(state);
    for (unsigned i = 0; i < 5; i++) {
        write_block(f, TEST_DATA_TEXT, i, 0);
        test_volume_close(f->store);
        open_watched(f, false);
        write_block(f, TEST_DATA_TEXT, 50 + i, 0);
        assert_int_equal(briq_flush(f->store), 0);
        expect_one(f, 4096, i);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_lone_compressible_write_and_flush_is_one_device_write_of_4096, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lone_raw_write_and_flush_is_one_device_write_of_8192,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_with_a_maintenance_thread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lone_write_with_fua_is_one_device_write, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_lone_trim_and_flush_is_one_device_write, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_flush_of_nothing_writes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_read_of_what_was_just_written_asks_no_device, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_next_lone_write_after_a_reopening_costs_the_same,
                                        set_up, tear_down),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
