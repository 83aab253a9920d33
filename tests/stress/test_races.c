/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_races.c - the real locks and the readers without one, two kinds of work against each other
 * at a time. Made for the thread sanitizer, which sees a race whether or not it does harm; what the
 * threads read is checked too: every block holds zeros or all of what one write put there.
 *
 * Bounded by operations. BRIQ_TEST_FACTOR multiplies them.
 */
#undef NDEBUG
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"
#include "tests/lib/steps.h"
#include "tests/lib/temp_dir.h"
#include "tests/lib/wrap_device.h"

#define HANDS_MAX   6u
#define STREAMS     3u
#define BLOCKS      2048u /* four pages of the map */
#define SPREAD      8u    /* of these are used, or the volume would not be tight */
#define HOT_BLOCKS  4u    /* where everybody meets */
#define LANE_BYTES  512u
#define LIMIT_BYTES (UINT64_C(4) << 20 | UINT64_C(46) << 16) /* so that segments turn over */

struct crew;

/* One thread. */
struct hand {
    struct crew *crew;
    pthread_t thread;
    void (*work)(struct hand *hand);
    unsigned index, ops, done;
    struct briq_prng prng;
    uint8_t bytes[BRIQ_BLOCK_BYTES];
};

struct crew {
    struct test_dir dir;
    struct test_path path;
    struct test_watch watch;
    struct briq_store *store;
    bool in_memory;
    pthread_barrier_t barrier;
    atomic_ullong numbers; /* of writes: all different */
    struct hand hands[HANDS_MAX];
    unsigned count;
};

/* ---- the stage ------------------------------------------------------------------------------- */

/* Gives others the processor in the middle of device requests: what is being read may go away, and
 * what a checkpoint is about to write may change. */
static int linger(void *opaque, enum test_io kind, uint64_t off, uint64_t len)
{
    (void)opaque;
    (void)off;
    (void)len;
    for (unsigned i = 0; (kind == TEST_IO_READ || kind == TEST_IO_WRITE) && i < 20; i++)
        sched_yield();
    return 0;
}

static void crew_begin(struct crew *crew, bool started)
{
    struct briq_create_options create = {
        .size_bytes = BLOCKS * BRIQ_BLOCK_BYTES, .limit_bytes = LIMIT_BYTES, .segment_shift = 16};
    struct briq_error err = {0};
    memset(crew, 0, sizeof *crew);
    test_dir_open(&crew->dir, TEST_DIR_MEMORY);
    crew->path = test_dir_file(&crew->dir, "volume.briq");
    test_volume_create(crew->path.text, &create);
    test_watch_init(&crew->watch, 0);
    crew->watch.before = linger;
    struct briq_open_options open = {
        .windows_dir = crew->dir.path, .streams = STREAMS, .growth_bytes = UINT64_C(64) << 20};
    assert_int_equal(test_wrap_file(crew->path.text, 0, &crew->watch, &err, &open.device), 0);
    crew->store = test_volume_open(crew->path.text, &open);
    if (started)
        assert_int_equal(briq_store_start(crew->store), 0);
}

static void crew_begin_in_memory(struct crew *crew)
{
    struct briq_open_options open = {.streams = STREAMS};
    memset(crew, 0, sizeof *crew);
    crew->in_memory = true;
    crew->store = test_volume_open("mem:8M,limit=4M", &open);
    assert_int_equal(briq_store_start(crew->store), 0);
}

static void crew_end(struct crew *crew)
{
    struct briq_stats stats;
    briq_store_stats(crew->store, &stats);
    assert_int_equal(stats.payload_errors + stats.metadata_errors + stats.segments_bad, 0);
    assert_int_equal(stats.latched_error, 0);
    test_volume_close(crew->store);
    if (crew->in_memory)
        return;
    test_watch_fini(&crew->watch);
    assert_true(test_volume_is_sound(crew->path.text, crew->dir.path));
    test_dir_close(&crew->dir);
}

static void join_crew(struct crew *crew, unsigned hands, unsigned ops,
                      void (*work)(struct hand *hand))
{
    for (unsigned i = 0; i < hands; i++) {
        BRIQ_ASSERT(crew->count < HANDS_MAX);
        struct hand *hand = &crew->hands[crew->count];
        *hand = (struct hand){.crew = crew, .work = work, .index = crew->count++, .ops = ops};
    }
}

static void *work_when_all_are_there(void *opaque)
{
    struct hand *hand = opaque;
    pthread_barrier_wait(&hand->crew->barrier);
    for (; hand->done < hand->ops; hand->done++)
        hand->work(hand);
    return NULL;
}

static unsigned factor(void)
{
    const char *text = getenv("BRIQ_TEST_FACTOR");
    return text != NULL && text[0] != '\0' ? (unsigned)strtoul(text, NULL, 0) : 1;
}

/* All hands do what they joined for, at the same time. */
static void run_crew(struct crew *crew)
{
    uint64_t seed = test_seed("build/tests/stress/test_races");
    pthread_barrier_init(&crew->barrier, NULL, crew->count);
    for (unsigned i = 0; i < crew->count; i++) {
        struct hand *hand = &crew->hands[i];
        hand->prng.state = seed * 41 + i;
        hand->ops = test_repeats(hand->ops) * factor();
        assert_int_equal(pthread_create(&hand->thread, NULL, work_when_all_are_there, hand), 0);
    }
    for (unsigned i = 0; i < crew->count; i++)
        pthread_join(crew->hands[i].thread, NULL);
    pthread_barrier_destroy(&crew->barrier);
    crew->count = 0;
}

/* ---- kinds of work: one operation each; plain assert(), they are not on the main thread ------ */

static uint32_t any_block(struct hand *hand)
{
    return (uint32_t)briq_prng_below(&hand->prng, BLOCKS / SPREAD) * SPREAD;
}

static uint32_t hot_block(struct hand *hand)
{
    return (uint32_t)briq_prng_below(&hand->prng, HOT_BLOCKS);
}

static void write_block(struct hand *hand, uint32_t block, unsigned flags)
{
    uint64_t number = atomic_fetch_add(&hand->crew->numbers, 1) + 1;
    test_ledger_content(number, block, hand->bytes);
    assert(briq_write(hand->crew->store, hand->bytes, sizeof hand->bytes,
                      (uint64_t)block * BRIQ_BLOCK_BYTES, flags) == 0);
}

static void read_block(struct hand *hand, uint32_t block)
{
    assert(briq_read(hand->crew->store, hand->bytes, sizeof hand->bytes,
                     (uint64_t)block * BRIQ_BLOCK_BYTES) == 0);
    /* Not found in full: UINT64_MAX, which no write has. */
    assert(test_ledger_number(hand->bytes, block) <= atomic_load(&hand->crew->numbers));
}

static void write_hot(struct hand *hand)
{
    write_block(hand, hot_block(hand), 0);
}

static void read_hot(struct hand *hand)
{
    read_block(hand, hot_block(hand));
}

static void write_any(struct hand *hand)
{
    write_block(hand, any_block(hand), 0);
}

static void read_any(struct hand *hand)
{
    read_block(hand, any_block(hand));
}

/* No further than the writers are: or all could be read before there is anything. */
static void read_in_pace(struct hand *hand)
{
    while (atomic_load(&hand->crew->numbers) < hand->done)
        sched_yield();
    read_any(hand);
}

/* All blocks of the volume, one by one in one request: many device reads at a time. */
static void read_all(struct hand *hand)
{
    size_t size = (size_t)BLOCKS * BRIQ_BLOCK_BYTES;
    uint8_t *bytes = malloc(size);
    assert(bytes != NULL && briq_read(hand->crew->store, bytes, size, 0) == 0);
    for (uint32_t block = 0; block < BLOCKS; block++)
        assert(test_ledger_number(bytes + (size_t)block * BRIQ_BLOCK_BYTES, block) <=
               atomic_load(&hand->crew->numbers));
    free(bytes);
}

static void clear_range(struct hand *hand, uint32_t block, uint32_t count)
{
    uint64_t off = (uint64_t)block * BRIQ_BLOCK_BYTES, len = (uint64_t)count * BRIQ_BLOCK_BYTES;
    if (briq_prng_below(&hand->prng, 2) == 0)
        assert(briq_trim(hand->crew->store, len, off, 0) == 0);
    else
        assert(briq_zero(hand->crew->store, len, off, BRIQ_OP_MAY_TRIM) == 0);
}

static void clear_hot(struct hand *hand)
{
    clear_range(hand, hot_block(hand), 1);
}

static void clear_any(struct hand *hand)
{
    uint32_t block = any_block(hand);
    clear_range(hand, block, 1 + (uint32_t)briq_prng_below(&hand->prng, BLOCKS - block));
}

/* A lane of block 0 that is this hand's alone; others write theirs, or clear the block. */
static void write_lane(struct hand *hand)
{
    uint8_t wanted[LANE_BYTES], zeros[LANE_BYTES] = {0}, got[LANE_BYTES];
    uint64_t off = (uint64_t)hand->index * LANE_BYTES;
    memset(wanted, 1 + (int)briq_prng_below(&hand->prng, 255), sizeof wanted);
    assert(briq_write(hand->crew->store, wanted, sizeof wanted, off, 0) == 0);
    assert(briq_read(hand->crew->store, got, sizeof got, off) == 0);
    assert(memcmp(got, wanted, sizeof got) == 0 || memcmp(got, zeros, sizeof got) == 0);
}

/* All up to what had been done before the call is durable. */
static void flush(struct hand *hand)
{
    struct briq_stats before, after;
    briq_store_stats(hand->crew->store, &before);
    assert(briq_flush(hand->crew->store) == 0);
    briq_store_stats(hand->crew->store, &after);
    assert(after.durable_sequence >= before.sequence);
}

/* The write's own number is behind those that were given out before it. */
static void write_fua(struct hand *hand)
{
    struct briq_stats before, after;
    briq_store_stats(hand->crew->store, &before);
    write_block(hand, any_block(hand), BRIQ_OP_FUA);
    briq_store_stats(hand->crew->store, &after);
    assert(after.durable_sequence > before.sequence);
}

static void checkpoint(struct hand *hand)
{
    assert(briq_store_checkpoint(hand->crew->store) == 0);
}

static void compact(struct hand *hand)
{
    assert(briq_store_compact(hand->crew->store, NULL, NULL) == 0);
}

static void maintain(struct hand *hand)
{
    assert(briq_store_maintain(hand->crew->store) >= 0);
}

static void look_around(struct hand *hand)
{
    struct briq_store *store = hand->crew->store;
    struct briq_stats stats;
    struct briq_extent extents[8];
    unsigned count = 0;
    uint64_t size = briq_store_size(store);
    assert(briq_status(store, size, 0, 0, extents, BRIQ_COUNT_OF(extents), &count) == 0);
    assert(count >= 1 && count <= BRIQ_COUNT_OF(extents));
    assert(briq_prefetch(store, size, 0) == 0);
    briq_store_stats(store, &stats);
    assert(stats.size_bytes >= size && stats.latched_error == 0);
}

static void grow(struct hand *hand)
{
    struct briq_store *store = hand->crew->store;
    uint64_t size = briq_store_size(store) + (UINT64_C(64) << 10);
    if (size > UINT64_C(60) << 20)
        return;
    assert(briq_store_resize(store, size, NULL) == 0);
    assert(briq_store_size(store) == size);
}

/* The last block there is now: it stays, however much is added behind it. */
static void use_last_block(struct hand *hand)
{
    uint64_t size = briq_store_size(hand->crew->store);
    uint32_t block = (uint32_t)(size / BRIQ_BLOCK_BYTES) - 1;
    if (briq_prng_below(&hand->prng, 8) == 0)
        write_block(hand, block, 0);
    read_block(hand, block);
    assert(briq_read(hand->crew->store, hand->bytes, 1, UINT64_C(64) << 20) != 0);
}

static void borrow_context(struct hand *hand)
{
    struct briq_store *store = hand->crew->store;
    struct briq_ctx *ctx;
    assert(briq_ctx_open(store, &ctx) == 0);
    for (unsigned i = 0; i < 5; i++) {
        uint32_t block = any_block(hand);
        uint64_t off = (uint64_t)block * BRIQ_BLOCK_BYTES;
        uint64_t number = atomic_fetch_add(&hand->crew->numbers, 1) + 1;
        test_ledger_content(number, block, hand->bytes);
        assert(test_step_run(store, ctx, BRIQ_OP_WRITE, hand->bytes, BRIQ_BLOCK_BYTES, off, 0) ==
               0);
        assert(test_step_run(store, ctx, BRIQ_OP_READ, hand->bytes, BRIQ_BLOCK_BYTES, off, 0) == 0);
        assert(test_ledger_number(hand->bytes, block) <= atomic_load(&hand->crew->numbers));
    }
    briq_ctx_close(ctx);
}

/* ---- the cases ------------------------------------------------------------------------------- */

static void partial_writes_beside_trims_of_their_block(void **state)
{
    (void)state;
    struct crew crew;
    crew_begin(&crew, true);
    join_crew(&crew, 3, 3000, write_lane);
    join_crew(&crew, 1, 1000, clear_hot);
    run_crew(&crew);
    crew_end(&crew);
}

static void trims_beside_writes_of_the_same_blocks(void **state)
{
    (void)state;
    struct crew crew;
    crew_begin(&crew, true);
    join_crew(&crew, 2, 3000, write_hot);
    join_crew(&crew, 2, 2000, clear_hot);
    join_crew(&crew, 1, 4000, read_hot);
    run_crew(&crew);
    crew_end(&crew);
}

static void flushes_beside_writes(void **state)
{
    (void)state;
    struct crew crew;
    crew_begin(&crew, true);
    join_crew(&crew, 3, 3000, write_any);
    join_crew(&crew, 2, 1500, flush);
    run_crew(&crew);
    crew_end(&crew);
}

static void fua_beside_fua_on_every_stream(void **state)
{
    (void)state;
    struct crew crew;
    struct briq_stats stats;
    crew_begin(&crew, true);
    join_crew(&crew, 4, 1200, write_fua);
    run_crew(&crew);
    briq_store_stats(crew.store, &stats);
    assert_int_equal(stats.fua_writes, 4 * test_repeats(1200) * factor());
    crew_end(&crew);
}

/* What is being read is moved, freed and written over. */
static void collection_beside_reads(void **state)
{
    (void)state;
    struct crew crew;
    struct briq_stats stats;
    crew_begin(&crew, true);
    join_crew(&crew, 2, 6000, write_any);
    join_crew(&crew, 2, 6000, read_in_pace);
    join_crew(&crew, 1, 60, read_all);
    run_crew(&crew);
    briq_store_stats(crew.store, &stats);
    assert_true(stats.gc_segments > 0 && stats.device_reads > 0);
    crew_end(&crew);
}

static void collection_beside_reads_in_memory(void **state)
{
    (void)state;
    struct crew crew;
    struct briq_stats stats;
    crew_begin_in_memory(&crew);
    join_crew(&crew, 2, 12000, write_any);
    join_crew(&crew, 2, 12000, read_in_pace);
    join_crew(&crew, 1, 100, read_all);
    run_crew(&crew);
    briq_store_stats(crew.store, &stats);
    assert_true(stats.gc_segments > 0);
    crew_end(&crew);
}

static void checkpoints_beside_everything(void **state)
{
    (void)state;
    struct crew crew;
    struct briq_stats stats;
    crew_begin(&crew, true);
    join_crew(&crew, 1, 3000, write_any);
    join_crew(&crew, 1, 400, clear_any);
    join_crew(&crew, 1, 3000, read_any);
    join_crew(&crew, 1, 800, write_fua);
    join_crew(&crew, 1, 250, checkpoint);
    join_crew(&crew, 1, 400, look_around);
    run_crew(&crew);
    briq_store_stats(crew.store, &stats);
    assert_true(stats.checkpoints >= test_repeats(250));
    crew_end(&crew);
}

/* Nobody's thread maintains but those that need it, and one that does it for fun. */
static void maintenance_by_everybody(void **state)
{
    (void)state;
    struct crew crew;
    crew_begin(&crew, false);
    join_crew(&crew, 3, 2500, write_any);
    join_crew(&crew, 1, 300, maintain);
    join_crew(&crew, 1, 12, compact);
    join_crew(&crew, 1, 400, clear_any);
    run_crew(&crew);
    crew_end(&crew);
}

static void growth_beside_requests(void **state)
{
    (void)state;
    struct crew crew;
    crew_begin(&crew, true);
    join_crew(&crew, 1, 150, grow);
    join_crew(&crew, 2, 1500, use_last_block);
    join_crew(&crew, 1, 2000, write_any);
    join_crew(&crew, 1, 2000, read_any);
    join_crew(&crew, 1, 200, look_around);
    run_crew(&crew);
    assert_true(briq_store_size(crew.store) > BLOCKS * BRIQ_BLOCK_BYTES);
    crew_end(&crew);
}

static void contexts_come_and_go(void **state)
{
    (void)state;
    struct crew crew;
    crew_begin(&crew, true);
    join_crew(&crew, 4, 600, borrow_context);
    join_crew(&crew, 1, 3000, read_any);
    join_crew(&crew, 1, 200, flush);
    run_crew(&crew);
    crew_end(&crew);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partial_writes_beside_trims_of_their_block),
        cmocka_unit_test(trims_beside_writes_of_the_same_blocks),
        cmocka_unit_test(flushes_beside_writes),
        cmocka_unit_test(fua_beside_fua_on_every_stream),
        cmocka_unit_test(collection_beside_reads),
        cmocka_unit_test(collection_beside_reads_in_memory),
        cmocka_unit_test(checkpoints_beside_everything),
        cmocka_unit_test(maintenance_by_everybody),
        cmocka_unit_test(growth_beside_requests),
        cmocka_unit_test(contexts_come_and_go),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
