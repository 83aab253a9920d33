/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_allowed_values.c - several threads read and write the same blocks, with flushes,
 * checkpoints, garbage collection and growth going on; every read must return a value that was
 * allowed at that moment.
 *
 * Two cases. Of whole blocks, whose writes are all different, long histories are judged: each read
 * says which write it saw (tests/lib/history.h). Of parts of blocks, trims and zeroes, where what
 * is read may come from several writes, histories are kept short, with a quiet moment after each,
 * and an order of all operations is searched (tests/lib/linear.h). A request of several blocks is
 * one operation on each of them.
 */
#undef NDEBUG
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
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
#include "tests/lib/history.h"
#include "tests/lib/ledger.h"
#include "tests/lib/linear.h"
#include "tests/lib/temp_dir.h"

#define THREADS      3u
#define STREAMS      2u
#define VOLUME_BYTES (UINT64_C(4) << 20)
#define LIMIT_BYTES  (UINT64_C(4) << 20 | UINT64_C(40) << 16) /* so that segments turn over */

/* ---- what both cases share --------------------------------------------------------------------
 */

struct scene {
    struct test_dir dir;
    struct test_path path;
    struct briq_store *store;
    pthread_barrier_t barrier; /* all threads and the main one */
    atomic_ullong clock;       /* logical: counts calls and returns */
    atomic_ullong numbers;     /* of writes: all different */
};

static void scene_begin(struct scene *scene)
{
    struct briq_create_options create = {
        .size_bytes = VOLUME_BYTES, .limit_bytes = LIMIT_BYTES, .segment_shift = 16};
    memset(scene, 0, sizeof *scene);
    test_dir_open(&scene->dir, TEST_DIR_MEMORY);
    scene->path = test_dir_file(&scene->dir, "volume.briq");
    test_volume_create(scene->path.text, &create);
    struct briq_open_options open = {.windows_dir = scene->dir.path, .streams = STREAMS};
    scene->store = test_volume_open(scene->path.text, &open);
    assert_int_equal(briq_store_start(scene->store), 0);
    pthread_barrier_init(&scene->barrier, NULL, THREADS + 1);
}

static void scene_end(struct scene *scene)
{
    test_volume_close(scene->store);
    assert_true(test_volume_is_sound(scene->path.text, scene->dir.path));
    pthread_barrier_destroy(&scene->barrier);
    test_dir_close(&scene->dir);
}

static uint64_t tick(struct scene *scene)
{
    return atomic_fetch_add(&scene->clock, 1) + 1;
}

/* Now and then one that has to do with all blocks at once. */
static void disturb(struct scene *scene, struct briq_prng *prng)
{
    switch (briq_prng_below(prng, 400)) {
    case 0:
        assert(briq_store_checkpoint(scene->store) == 0);
        break;
    case 1:
    case 2:
        assert(briq_flush(scene->store) == 0);
        break;
    case 3:
        assert(briq_store_maintain(scene->store) >= 0);
        break;
    default:
        break;
    }
}

/* ---- whole blocks ------------------------------------------------------------------------------
 */

#define SHARED_BLOCKS 8u
#define FIRST_BLOCK   508u /* so that a border between pages of the map is among them */
#define SPAN_MAX      3u   /* blocks in a request */
#define ROUNDS        12u
#define ROUND_OPS     1200u
#define ZEROS         0u /* the value of a trimmed or zeroed block */

struct logged {
    uint32_t block;
    struct test_event event;
};

struct racer {
    struct scene *scene;
    struct briq_prng prng;
    /* Once a round, if it does not begin so, each block may become zeros: by one thread. */
    atomic_bool *may_clear;
    struct logged log[ROUND_OPS * SPAN_MAX];
    unsigned logged;
    uint8_t bytes[SPAN_MAX * BRIQ_BLOCK_BYTES];
};

static void note(struct racer *r, uint32_t block, uint64_t value, uint64_t begin, bool write)
{
    r->log[r->logged++] =
        (struct logged){.block = block, .event = {.value = value, .begin = begin, .write = write}};
}

/* All that was noted from `first` on has returned: one request, at one moment for all its blocks.
 */
static void note_return(struct racer *r, unsigned first, uint64_t end)
{
    for (unsigned i = first; i < r->logged; i++)
        r->log[i].event.end = end;
}

static void write_blocks(struct racer *r, uint32_t block, uint32_t count)
{
    struct scene *scene = r->scene;
    unsigned first = r->logged, flags = briq_prng_below(&r->prng, 60) == 0 ? BRIQ_OP_FUA : 0;
    uint64_t begin = tick(scene);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = atomic_fetch_add(&scene->numbers, 1) + 1;
        test_ledger_content(number, block + i, r->bytes + i * BRIQ_BLOCK_BYTES);
        note(r, block + i, number, begin, true);
    }
    assert(briq_write(scene->store, r->bytes, (size_t)count * BRIQ_BLOCK_BYTES,
                      (uint64_t)(FIRST_BLOCK + block) * BRIQ_BLOCK_BYTES, flags) == 0);
    note_return(r, first, tick(scene));
}

static void read_blocks(struct racer *r, uint32_t block, uint32_t count)
{
    struct scene *scene = r->scene;
    unsigned first = r->logged;
    uint64_t begin = tick(scene);
    assert(briq_read(scene->store, r->bytes, (size_t)count * BRIQ_BLOCK_BYTES,
                     (uint64_t)(FIRST_BLOCK + block) * BRIQ_BLOCK_BYTES) == 0);
    uint64_t end = tick(scene);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = test_ledger_number(r->bytes + i * BRIQ_BLOCK_BYTES, block + i);
        note(r, block + i, number, begin, false);
    }
    note_return(r, first, end);
}

static void clear_block(struct racer *r, uint32_t block)
{
    struct scene *scene = r->scene;
    if (!atomic_exchange(&r->may_clear[block], false))
        return;
    unsigned first = r->logged;
    uint64_t off = (uint64_t)(FIRST_BLOCK + block) * BRIQ_BLOCK_BYTES;
    note(r, block, ZEROS, tick(scene), true);
    if (briq_prng_below(&r->prng, 2) == 0)
        assert(briq_trim(scene->store, BRIQ_BLOCK_BYTES, off, 0) == 0);
    else
        assert(briq_zero(scene->store, BRIQ_BLOCK_BYTES, off, 0) == 0);
    note_return(r, first, tick(scene));
}

static void race_once(struct racer *r)
{
    uint32_t block = (uint32_t)briq_prng_below(&r->prng, SHARED_BLOCKS);
    uint32_t most = SHARED_BLOCKS - block < SPAN_MAX ? SHARED_BLOCKS - block : SPAN_MAX;
    uint32_t count = 1 + (uint32_t)briq_prng_below(&r->prng, most);
    uint64_t what = briq_prng_below(&r->prng, 100);
    disturb(r->scene, &r->prng);
    if (what < 48)
        read_blocks(r, block, count);
    else if (what < 98)
        write_blocks(r, block, count);
    else
        clear_block(r, block);
}

static void *race(void *opaque)
{
    struct racer *r = opaque;
    for (unsigned round = 0; round < test_repeats(ROUNDS); round++) {
        pthread_barrier_wait(&r->scene->barrier);
        for (unsigned i = 0; i < ROUND_OPS; i++)
            race_once(r);
        pthread_barrier_wait(&r->scene->barrier);
    }
    return NULL;
}

/* The events of one block in this round, and one last read when all is quiet. Returns the value
 * that the next round begins with. */
static uint64_t judge_block(struct scene *scene, const struct racer *racers, uint32_t block,
                            uint64_t initial, struct test_event *events, size_t *ret_count)
{
    size_t count = 0;
    uint64_t value, begin = tick(scene);
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    for (unsigned i = 0; i < THREADS; i++)
        for (unsigned j = 0; j < racers[i].logged; j++)
            if (racers[i].log[j].block == block)
                events[count++] = racers[i].log[j].event;
    assert_int_equal(briq_read(scene->store, bytes, sizeof bytes,
                               (uint64_t)(FIRST_BLOCK + block) * BRIQ_BLOCK_BYTES),
                     0);
    uint64_t last = test_ledger_number(bytes, block);
    events[count++] =
        (struct test_event){.value = last, .begin = begin, .end = tick(scene), .write = false};
    enum test_verdict verdict = test_history_judge(events, count, initial, &value);
    if (verdict != TEST_VERDICT_LINEAR)
        fail_msg("block %" PRIu32 ": value %" PRIu64 " %s", block, value,
                 test_verdict_text(verdict));
    *ret_count += count;
    return last;
}

static void every_read_of_whole_blocks_is_of_an_allowed_value(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t seed = test_seed("build/tests/stress/test_allowed_values");
    atomic_bool may_clear[SHARED_BLOCKS] = {false};
    uint64_t values[SHARED_BLOCKS] = {ZEROS};
    struct racer *racers = calloc(THREADS, sizeof *racers);
    struct test_event *events = calloc(THREADS * ROUND_OPS * SPAN_MAX + 1, sizeof *events);
    pthread_t threads[THREADS];
    size_t judged = 0;
    assert_true(racers != NULL && events != NULL);
    scene_begin(&scene);
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i].scene = &scene;
        racers[i].prng.state = seed * 31 + i;
        racers[i].may_clear = may_clear;
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned round = 0; round < test_repeats(ROUNDS); round++) {
        for (uint32_t block = 0; block < SHARED_BLOCKS; block++)
            atomic_store(&may_clear[block], values[block] != ZEROS);
        for (unsigned i = 0; i < THREADS; i++)
            racers[i].logged = 0;
        pthread_barrier_wait(&scene.barrier);
        pthread_barrier_wait(&scene.barrier);
        for (uint32_t block = 0; block < SHARED_BLOCKS; block++)
            values[block] = judge_block(&scene, racers, block, values[block], events, &judged);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct briq_stats stats;
    briq_store_stats(scene.store, &stats);
    printf("%zu reads and writes of %u blocks; %" PRIu64 " segments collected, %" PRIu64
           " checkpoints\n",
           judged, SHARED_BLOCKS, stats.gc_segments, stats.checkpoints);
    assert_true(stats.gc_segments > 0 && stats.checkpoints > 0);
    scene_end(&scene);
    free(racers);
    free(events);
}

/* ---- parts of blocks ---------------------------------------------------------------------------
 */

#define SHORT_ROUNDS 1500u
#define SHORT_OPS    2u /* of each thread in a round */
#define PAIR         2u /* neighbours that a round is about */
#define PAIRS        128u
#define FIRST_PAIR   200u /* so that they lie in two pages of the map */

static_assert(THREADS * SHORT_OPS + 1 <= TEST_LINEAR_MAX, "no order can be found for more");

/* One request, and what it does to the pair. */
struct move {
    enum test_effect_kind kind;
    uint64_t off, len; /* from the start of the pair */
    unsigned flags;
    uint64_t begin, end;
    uint8_t bytes[PAIR * BRIQ_BLOCK_BYTES];
};

struct player {
    struct scene *scene;
    struct briq_prng prng;
    uint64_t pair_off; /* of the pair of this round; set by the main thread while all is quiet */
    struct move moves[2][SHORT_OPS]; /* of even and odd rounds: the next are drawn while these are
                                        judged */
};

static void draw_move(struct player *p, struct move *move)
{
    static const enum test_effect_kind kinds[] = {
        TEST_EFFECT_READ,  TEST_EFFECT_READ,  TEST_EFFECT_READ, TEST_EFFECT_WRITE,
        TEST_EFFECT_WRITE, TEST_EFFECT_WRITE, TEST_EFFECT_TRIM, TEST_EFFECT_ZERO,
    };
    uint64_t size = PAIR * BRIQ_BLOCK_BYTES;
    move->kind = kinds[briq_prng_below(&p->prng, BRIQ_COUNT_OF(kinds))];
    move->off = briq_prng_below(&p->prng, size);
    move->len = 1 + briq_prng_below(&p->prng, size - move->off);
    if (briq_prng_below(&p->prng, 3) == 0) { /* whole blocks */
        move->off = move->off / BRIQ_BLOCK_BYTES * BRIQ_BLOCK_BYTES;
        move->len = size - move->off;
    }
    move->flags =
        move->kind == TEST_EFFECT_ZERO && briq_prng_below(&p->prng, 2) == 0 ? BRIQ_OP_MAY_TRIM : 0;
    for (uint64_t at = 0; move->kind == TEST_EFFECT_WRITE && at < move->len; at++)
        move->bytes[at] = (uint8_t)(1 + briq_prng_below(&p->prng, 255));
}

static void make_move(struct player *p, struct move *move)
{
    struct briq_store *store = p->scene->store;
    uint64_t off = p->pair_off + move->off;
    move->begin = tick(p->scene);
    switch (move->kind) {
    case TEST_EFFECT_READ:
        assert(briq_read(store, move->bytes, move->len, off) == 0);
        break;
    case TEST_EFFECT_WRITE:
        assert(briq_write(store, move->bytes, move->len, off, move->flags) == 0);
        break;
    case TEST_EFFECT_TRIM:
        assert(briq_trim(store, move->len, off, move->flags) == 0);
        break;
    case TEST_EFFECT_ZERO:
        assert(briq_zero(store, move->len, off, move->flags) == 0);
        break;
    }
    move->end = tick(p->scene);
}

static void *play(void *opaque)
{
    struct player *p = opaque;
    for (unsigned round = 0; round < test_repeats(SHORT_ROUNDS); round++) {
        struct move *moves = p->moves[round % 2];
        for (unsigned i = 0; i < SHORT_OPS; i++)
            draw_move(p, &moves[i]);
        pthread_barrier_wait(&p->scene->barrier);
        for (unsigned i = 0; i < SHORT_OPS; i++)
            make_move(p, &moves[i]);
        disturb(p->scene, &p->prng);
        pthread_barrier_wait(&p->scene->barrier);
    }
    return NULL;
}

/* What the move did to one block of the pair; false when it did not touch it. */
static bool effect_on(const struct move *move, uint32_t block, struct test_effect *ret)
{
    uint64_t base = (uint64_t)block * BRIQ_BLOCK_BYTES, end = base + BRIQ_BLOCK_BYTES;
    uint64_t lo = move->off > base ? move->off : base;
    uint64_t hi = move->off + move->len < end ? move->off + move->len : end;
    if (lo >= hi)
        return false;
    *ret = (struct test_effect){
        .kind = move->kind,
        .may_trim = (move->flags & BRIQ_OP_MAY_TRIM) != 0,
        .lo = (uint16_t)(lo - base),
        .hi = (uint16_t)(hi - base),
        .valid = BRIQ_BLOCK_BYTES,
        .begin = move->begin,
        .end = move->end,
        .data = move->bytes + (lo - move->off),
    };
    return true;
}

/* All moves on one block of the pair and a last read must have an order; `content` is what the
 * block held before, and then what it holds now. Returns whether any two of them overlapped. */
static bool judge_moves(struct scene *scene, const struct player *players, unsigned round,
                        uint32_t block, uint8_t *content)
{
    struct test_effect effects[TEST_LINEAR_MAX];
    struct test_block view = {.bytes = content, .types = 7};
    struct move last = {.kind = TEST_EFFECT_READ,
                        .off = (uint64_t)block * BRIQ_BLOCK_BYTES,
                        .len = BRIQ_BLOCK_BYTES};
    unsigned count = 0;
    bool overlap = false;
    for (unsigned i = 0; i < THREADS * SHORT_OPS; i++)
        count += effect_on(&players[i / SHORT_OPS].moves[round % 2][i % SHORT_OPS], block,
                           &effects[count]);
    for (unsigned i = 0; i < count * count; i++)
        overlap |= i / count != i % count && effects[i / count].begin < effects[i % count].end &&
                   effects[i % count].begin < effects[i / count].end;
    last.begin = tick(scene);
    assert_int_equal(briq_read(scene->store, last.bytes, last.len, players[0].pair_off + last.off),
                     0);
    last.end = tick(scene);
    count += effect_on(&last, block, &effects[count]);
    if (!test_linear_solve(effects, count, &view))
        fail_msg("block %" PRIu64 ": no order of %u operations explains what was read",
                 (players[0].pair_off + last.off) / BRIQ_BLOCK_BYTES, count);
    return overlap;
}

static void every_read_of_parts_of_blocks_is_of_an_allowed_value(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t seed = test_seed("build/tests/stress/test_allowed_values");
    uint8_t *content = calloc(1, VOLUME_BYTES);
    struct player *players = calloc(THREADS, sizeof *players);
    pthread_t threads[THREADS];
    unsigned overlaps = 0;
    assert_true(content != NULL && players != NULL);
    scene_begin(&scene);
    for (unsigned i = 0; i < THREADS; i++) {
        players[i].scene = &scene;
        players[i].prng.state = seed * 37 + i;
        assert_int_equal(pthread_create(&threads[i], NULL, play, &players[i]), 0);
    }
    for (unsigned round = 0; round < test_repeats(SHORT_ROUNDS); round++) {
        uint64_t pair_off = (FIRST_PAIR + round % PAIRS) * PAIR * (uint64_t)BRIQ_BLOCK_BYTES;
        for (unsigned i = 0; i < THREADS; i++)
            players[i].pair_off = pair_off;
        pthread_barrier_wait(&scene.barrier);
        pthread_barrier_wait(&scene.barrier);
        for (uint32_t block = 0; block < PAIR; block++)
            overlaps += judge_moves(&scene, players, round, block,
                                    content + pair_off + (size_t)block * BRIQ_BLOCK_BYTES);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%u rounds of %u operations; operations overlapped on %u blocks\n",
           test_repeats(SHORT_ROUNDS), THREADS * SHORT_OPS, overlaps);
    assert_true(overlaps > 0);
    scene_end(&scene);
    free(content);
    free(players);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_read_of_whole_blocks_is_of_an_allowed_value),
        cmocka_unit_test(every_read_of_parts_of_blocks_is_of_an_allowed_value),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
