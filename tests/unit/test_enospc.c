/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_enospc.c - a volume with a limit: writes are refused when it is full, nothing else is; a
 * trim brings the space back, again and again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/corpus.h"
#include "tests/lib/fixture.h"
#include "tests/lib/temp_dir.h"

#define CYCLES           50u
#define VOLUME_BYTES     (UINT64_C(16) << 20)
#define BLOCKS           ((uint32_t)(VOLUME_BYTES / BRIQ_BLOCK_BYTES))
#define MEMORY_LIMIT     "8M"
#define FILE_LIMIT_BYTES (UINT64_C(12) << 20)

struct fixture {
    struct briq_store *store;
    struct test_corpus *corpus;
    struct briq_prng prng;
    uint8_t *expected; /* the whole volume */
    uint64_t number;   /* of the write, for its data */
};

static void fixture_init(struct fixture *f, struct briq_store *store)
{
    *f = (struct fixture){.store = store, .corpus = test_corpus_open(), .prng = {.state = 3}};
    f->expected = calloc(1, VOLUME_BYTES);
    assert_non_null(f->expected);
}

static void fixture_fini(struct fixture *f)
{
    free(f->expected);
    test_corpus_close(f->corpus);
}

static void verify(struct fixture *f)
{
    uint8_t *got = malloc(VOLUME_BYTES);
    assert_non_null(got);
    assert_int_equal(briq_read(f->store, got, VOLUME_BYTES, 0), 0);
    for (uint32_t block = 0; block < BLOCKS; block++)
        if (memcmp(got + block * BRIQ_BLOCK_BYTES, f->expected + block * BRIQ_BLOCK_BYTES,
                   BRIQ_BLOCK_BYTES) != 0)
            fail_msg("block %u is wrong after %llu writes", block, (unsigned long long)f->number);
    free(got);
}

/* Writes data that does not compress, block after block from `from` on, until one is refused.
 * Returns how many were taken. */
static uint32_t fill(struct fixture *f, uint32_t from, uint32_t max)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    for (uint32_t taken = 0; taken < max; taken++) {
        uint32_t block = (from + taken) % BLOCKS;
        test_corpus_fill(f->corpus, &f->prng, TEST_DATA_RANDOM, ++f->number, bytes, sizeof bytes);
        int r = briq_write(f->store, bytes, sizeof bytes, (uint64_t)block * BRIQ_BLOCK_BYTES, 0);
        if (r == -ENOSPC)
            return taken;
        assert_int_equal(r, 0);
        memcpy(f->expected + (uint64_t)block * BRIQ_BLOCK_BYTES, bytes, sizeof bytes);
    }
    fail_msg("%u blocks were written and none was refused", max);
    return max;
}

static void trim(struct fixture *f, uint64_t off, uint64_t len)
{
    assert_int_equal(briq_trim(f->store, len, off, 0), 0);
    memset(f->expected + off, 0, len);
}

static void zero(struct fixture *f, uint64_t off, uint64_t len)
{
    assert_int_equal(briq_zero(f->store, len, off, 0), 0);
    memset(f->expected + off, 0, len);
}

/* What must go on when the volume is full. */
static void use_full_volume(struct fixture *f, uint32_t first)
{
    struct briq_extent extents[4];
    unsigned count;
    assert_int_equal(briq_flush(f->store), 0);
    assert_int_equal(briq_status(f->store, VOLUME_BYTES, 0, 0, extents, 4, &count), 0);
    assert_int_equal(briq_prefetch(f->store, VOLUME_BYTES / 2, 0), 0);
    zero(f, (uint64_t)first * BRIQ_BLOCK_BYTES, BRIQ_BLOCK_BYTES);
    trim(f, (uint64_t)(first + 1) % BLOCKS * BRIQ_BLOCK_BYTES, BRIQ_BLOCK_BYTES);
    assert_int_equal(briq_flush(f->store), 0);
}

static void full_and_empty_again(struct fixture *f)
{
    uint32_t first_time = 0;
    for (unsigned cycle = 0; cycle < test_repeats(CYCLES); cycle++) {
        uint32_t from = cycle * 311 % BLOCKS;
        uint32_t taken = fill(f, from, BLOCKS);
        if (cycle == 0)
            first_time = taken;
        /* All the space comes back, but for what a reserve may keep this time and not the last. */
        if (taken < first_time - first_time / 8)
            fail_msg("cycle %u: full after %u blocks, at first after %u", cycle, taken, first_time);
        use_full_volume(f, from);
        if (cycle % 10 == 0)
            verify(f);
        trim(f, 0, VOLUME_BYTES);
    }
    verify(f);
}

/* Trimming a part brings back about as much: the rest stays and is right. */
static void a_quarter_at_a_time(struct fixture *f)
{
    uint32_t room = fill(f, 0, BLOCKS);
    uint32_t quarter = room / 4;
    for (unsigned cycle = 0; cycle < test_repeats(CYCLES); cycle++) {
        uint64_t off = (uint64_t)(cycle % 4) * quarter * BRIQ_BLOCK_BYTES;
        trim(f, off, (uint64_t)quarter * BRIQ_BLOCK_BYTES);
        uint32_t taken = 0, from = cycle % 4 * quarter;
        uint8_t bytes[BRIQ_BLOCK_BYTES];
        for (; taken < quarter; taken++) {
            uint64_t at = (uint64_t)(from + taken) * BRIQ_BLOCK_BYTES;
            test_corpus_fill(f->corpus, &f->prng, TEST_DATA_RANDOM, ++f->number, bytes,
                             sizeof bytes);
            int r = briq_write(f->store, bytes, sizeof bytes, at, 0);
            if (r == -ENOSPC)
                break;
            assert_int_equal(r, 0);
            memcpy(f->expected + at, bytes, sizeof bytes);
        }
        if (taken < quarter - quarter / 8)
            fail_msg("cycle %u: %u blocks trimmed, then full after %u", cycle, quarter, taken);
    }
    verify(f);
}

static void exercise(struct briq_store *store)
{
    struct fixture f;
    fixture_init(&f, store);
    full_and_empty_again(&f);
    trim(&f, 0, VOLUME_BYTES);
    a_quarter_at_a_time(&f);
    struct briq_stats stats;
    briq_store_stats(store, &stats);
    assert_true(stats.enospc >= test_repeats(CYCLES));
    assert_int_equal(stats.latched_error, 0);
    fixture_fini(&f);
}

static void in_memory(void **state)
{
    (void)state;
    struct briq_store *store = test_volume_open("mem:16M,limit=" MEMORY_LIMIT, NULL);
    exercise(store);
    test_volume_close(store);
}

static void in_memory_with_a_maintenance_thread(void **state)
{
    (void)state;
    struct briq_store *store = test_volume_open("mem:16M,limit=" MEMORY_LIMIT, NULL);
    assert_int_equal(briq_store_start(store), 0);
    exercise(store);
    test_volume_close(store);
}

static void exercise_file(bool start)
{
    struct test_dir dir;
    test_dir_open(&dir, TEST_DIR_MEMORY);
    struct test_path path = test_dir_file(&dir, "volume.briq");
    struct briq_create_options options = {
        .size_bytes = VOLUME_BYTES, .limit_bytes = FILE_LIMIT_BYTES, .segment_shift = 16};
    test_volume_create(path.text, &options);
    struct briq_store *store = test_volume_open(path.text, NULL);
    if (start)
        assert_int_equal(briq_store_start(store), 0);
    exercise(store);
    struct briq_stats stats;
    briq_store_stats(store, &stats);
    assert_true(stats.host_bytes <= FILE_LIMIT_BYTES);
    test_volume_close(store);
    assert_true(test_volume_is_sound(path.text, dir.path));
    test_dir_close(&dir);
}

static void in_a_file(void **state)
{
    (void)state;
    exercise_file(false);
}

static void in_a_file_with_a_maintenance_thread(void **state)
{
    (void)state;
    exercise_file(true);
}

/* A full volume can be closed and opened; it is still full, and still right. */
static void a_full_volume_survives_a_reopening(void **state)
{
    (void)state;
    struct test_dir dir;
    struct fixture f;
    test_dir_open(&dir, TEST_DIR_MEMORY);
    struct test_path path = test_dir_file(&dir, "volume.briq");
    struct briq_create_options options = {
        .size_bytes = VOLUME_BYTES, .limit_bytes = FILE_LIMIT_BYTES, .segment_shift = 16};
    test_volume_create(path.text, &options);
    fixture_init(&f, test_volume_open(path.text, NULL));
    for (unsigned cycle = 0; cycle < 10; cycle++) {
        fill(&f, cycle * 97, BLOCKS);
        test_volume_close(f.store);
        f.store = test_volume_open(path.text, NULL);
        verify(&f);
        trim(&f, (uint64_t)cycle * 97 * BRIQ_BLOCK_BYTES, UINT64_C(1) << 20);
    }
    test_volume_close(f.store);
    assert_true(test_volume_is_sound(path.text, dir.path));
    fixture_fini(&f);
    test_dir_close(&dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_memory),
        cmocka_unit_test(in_memory_with_a_maintenance_thread),
        cmocka_unit_test(in_a_file),
        cmocka_unit_test(in_a_file_with_a_maintenance_thread),
        cmocka_unit_test(a_full_volume_survives_a_reopening),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
