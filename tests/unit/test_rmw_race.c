/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_rmw_race.c - threads that write different bytes of the same block at the same time lose
 * nothing, and see their own last write at once.
 */
#undef NDEBUG
#include <assert.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "tests/lib/fixture.h"
#include "tests/lib/temp_dir.h"

#define THREADS_MAX 4u
#define ROUNDS      4000u
#define BLOCKS      2u

struct writer {
    pthread_t thread;
    struct briq_store *store;
    pthread_barrier_t *barrier;
    unsigned index, threads;
    uint64_t off;  /* of the first of the blocks */
    unsigned lane; /* bytes that belong to one writer in turn */
    struct briq_prng prng;
    uint8_t bytes[BLOCKS * BRIQ_BLOCK_BYTES]; /* true where it is the writer's own */
};

static bool own(const struct writer *w, unsigned at)
{
    return at / w->lane % w->threads == w->index;
}

/* One piece of one of the writer's lanes; read back while the others go on. */
static void write_piece(struct writer *w)
{
    unsigned lanes = BLOCKS * BRIQ_BLOCK_BYTES / w->lane / w->threads;
    unsigned lane = (unsigned)briq_prng_below(&w->prng, lanes) * w->threads + w->index;
    unsigned skip = (unsigned)briq_prng_below(&w->prng, w->lane);
    unsigned len = 1 + (unsigned)briq_prng_below(&w->prng, w->lane - skip);
    unsigned at = lane * w->lane + skip;
    uint8_t got[BRIQ_BLOCK_BYTES];
    memset(w->bytes + at, (int)briq_prng_next(&w->prng), len);
    assert(briq_write(w->store, w->bytes + at, len, w->off + at, 0) == 0);
    assert(briq_read(w->store, got, len, w->off + at) == 0);
    assert(memcmp(got, w->bytes + at, len) == 0);
}

static void *write_all(void *opaque)
{
    struct writer *w = opaque;
    pthread_barrier_wait(w->barrier);
    for (unsigned i = 0; i < test_repeats(ROUNDS); i++)
        write_piece(w);
    return NULL;
}

static void compare(const struct writer *writers, unsigned threads)
{
    uint8_t got[BLOCKS * BRIQ_BLOCK_BYTES];
    assert_int_equal(briq_read(writers[0].store, got, sizeof got, writers[0].off), 0);
    for (unsigned at = 0; at < sizeof got; at++)
        for (unsigned i = 0; i < threads; i++)
            if (own(&writers[i], at) && got[at] != writers[i].bytes[at])
                fail_msg("byte %u of writer %u: 0x%02x instead of 0x%02x", at, i, got[at],
                         writers[i].bytes[at]);
}

static void race(struct briq_store *store, unsigned threads, unsigned lane, uint64_t off)
{
    struct writer writers[THREADS_MAX];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        writers[i] = (struct writer){.store = store,
                                     .barrier = &barrier,
                                     .index = i,
                                     .threads = threads,
                                     .off = off,
                                     .lane = lane,
                                     .prng = {.state = off + i}};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_all, &writers[i]), 0);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(writers[i].thread, NULL);
    compare(writers, threads);
    pthread_barrier_destroy(&barrier);
}

static void race_in(struct briq_store *store)
{
    uint64_t off = 0;
    for (unsigned threads = 2; threads <= THREADS_MAX; threads += 2)
        for (unsigned lane = 1; lane <= 512; lane *= 8)
            race(store, threads, lane, off += BLOCKS * BRIQ_BLOCK_BYTES);
}

static void bytes_of_one_block_in_memory(void **state)
{
    (void)state;
    struct briq_store *store = test_volume_open("mem:16M", NULL);
    race_in(store);
    test_volume_close(store);
}

static void bytes_of_one_block_in_a_file(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_open(&dir, TEST_DIR_MEMORY);
    struct test_path path = test_dir_file(&dir, "volume.briq");
    struct briq_create_options options = {.size_bytes = UINT64_C(16) << 20, .segment_shift = 16};
    test_volume_create(path.text, &options);
    struct briq_store *store = test_volume_open(path.text, NULL);
    assert_int_equal(briq_store_start(store), 0);
    race_in(store);
    test_volume_close(store);
    assert_true(test_volume_is_sound(path.text, dir.path));
    test_dir_close(&dir);
}

/* Two halves of a request cross the border of blocks, each half racing with another writer. */
static void requests_across_a_border(void **state)
{
    (void)state;
    struct briq_store *store = test_volume_open("mem:16M", NULL);
    race(store, 2, BRIQ_BLOCK_BYTES / 2, 0);
    race(store, 4, BRIQ_BLOCK_BYTES / 4, BRIQ_BLOCK_BYTES * 8 + 1000);
    test_volume_close(store);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_one_block_in_memory),
        cmocka_unit_test(bytes_of_one_block_in_a_file),
        cmocka_unit_test(requests_across_a_border),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
