/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_threads_power_cut.c - several writers, each with blocks and a ledger of its own, on a disk
 * that loses its power while they write.
 *
 * What is left must be, for each writer, what his first N operations leave, for an N at or beyond
 * the last of them that an acknowledged flush, anybody's, covers. And the operations of all of them
 * must be a prefix of one order: an operation that began after another writer's was acknowledged is
 * not there without it.
 *
 * BRIQ_TEST_LIVES sets the number of disks that live and die (BRIQ_SEED: the first).
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
#include "tests/lib/ledger.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/temp_dir.h"

#define LIVES_DEFAULT 30u
#define CUTS          12u
#define WRITERS       3u
#define BLOCKS_EACH   70u
#define APART         540u /* so that each has a page of the map of his own, and a part of another */
#define ACTS_MAX      250u /* of one writer between two cuts */
#define REQUESTS_MAX  120u /* of the disk before it is cut */
#define FUA_ONE_IN    40u
#define DISK_BYTES    (UINT64_C(8) << 20)
#define LIMIT_BYTES   (UINT64_C(4) << 20 | UINT64_C(46) << 16) /* few spare segments of 64 KiB */

struct life;

struct writer {
    struct life *life;
    struct test_ledger *ledger;
    struct briq_prng prng;
    uint64_t acts;
    /* For each operation since the ledger was settled: what the others had been acknowledged when
     * it began. */
    uint64_t (*seen)[WRITERS];
};

struct life {
    struct test_dir dir, windows;
    struct test_path path;
    struct test_disk *disk;
    struct briq_store *store;
    struct briq_prng prng;
    uint64_t seed;
    struct writer writers[WRITERS];
    uint64_t cuts_at_work, waited_for; /* for the last look: how often it was interesting */
};

/* ---- the writers; plain assert(), they are not on the main thread ------------------------------
 */

static void note_seen(struct writer *w)
{
    uint64_t next = atomic_load(&w->ledger->issued) - w->ledger->first;
    for (unsigned i = 0; i < WRITERS; i++)
        w->seen[next][i] = atomic_load(&w->life->writers[i].ledger->acked);
}

static void raise_to(atomic_ullong *what, unsigned long long value)
{
    unsigned long long now = atomic_load(what);
    while (now < value && !atomic_compare_exchange_weak(what, &now, value))
        ;
}

/* One flush covers what every writer had been acknowledged when it began. */
static int flush_for_all(struct writer *w)
{
    uint64_t covered[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++)
        covered[i] = atomic_load(&w->life->writers[i].ledger->acked);
    int r = briq_flush(w->life->store);
    for (unsigned i = 0; i < WRITERS && r == 0; i++)
        raise_to(&w->life->writers[i].ledger->flushed, covered[i]);
    return r;
}

static int act(struct writer *w)
{
    uint64_t what = briq_prng_below(&w->prng, 200);
    if (what < 6)
        return flush_for_all(w);
    if (what < 7)
        return briq_store_checkpoint(w->life->store);
    note_seen(w);
    return test_ledger_act(w->ledger, w->life->store, &w->prng, FUA_ONE_IN);
}

static void *write_until_the_power_goes(void *opaque)
{
    struct writer *w = opaque;
    for (uint64_t i = 0; i < w->acts; i++) {
        int r = act(w);
        if (r == 0)
            continue;
        assert(test_disk_is_cut(w->life->disk));
        break;
    }
    return NULL;
}

/* ---- a life ------------------------------------------------------------------------------------
 */

static void life_begin(struct life *life, uint64_t seed)
{
    struct briq_create_options options = {.size_bytes = WRITERS * APART * BRIQ_BLOCK_BYTES,
                                          .limit_bytes = LIMIT_BYTES,
                                          .segment_shift = 16};
    *life = (struct life){.prng = {.state = seed}, .seed = seed};
    test_dir_open(&life->dir, TEST_DIR_MEMORY);
    test_dir_open(&life->windows, TEST_DIR_MEMORY);
    life->path = test_dir_file(&life->dir, "volume.briq");
    test_volume_create(life->path.text, &options);
    life->disk = test_disk_open(DISK_BYTES);
    test_disk_load(life->disk, life->path.text);
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *w = &life->writers[i];
        w->life = life;
        w->ledger = test_ledger_open(BLOCKS_EACH, ACTS_MAX + 1);
        w->ledger->first_block = (i + 1) * APART - BLOCKS_EACH;
        w->seen = calloc(ACTS_MAX + 1, sizeof *w->seen);
        assert_non_null(w->seen);
    }
}

static void life_end(struct life *life)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        test_ledger_close(life->writers[i].ledger);
        free(life->writers[i].seen);
    }
    test_disk_close(life->disk);
    test_dir_close(&life->dir);
    test_dir_close(&life->windows);
}

/* False when the power went in the middle of it. */
static bool open_volume(struct life *life)
{
    struct briq_open_options options = {.device = test_disk_handle(life->disk),
                                        .windows_dir = life->windows.path,
                                        .streams = 1 + life->seed % WRITERS};
    struct briq_error err = {0};
    int r = briq_store_open(life->path.text, &options, &err, &life->store);
    if (r != 0 && !test_disk_is_cut(life->disk))
        fail_msg("seed %" PRIu64 ": open: %s: %s", life->seed, strerror(-r), err.text);
    if (r != 0)
        life->store = NULL;
    return r == 0;
}

static void work(struct life *life)
{
    pthread_t threads[WRITERS];
    bool started = briq_prng_below(&life->prng, 2) == 0;
    if (started)
        assert_int_equal(briq_store_start(life->store), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *w = &life->writers[i];
        w->prng.state = briq_prng_next(&life->prng);
        w->acts = 1 + briq_prng_below(&life->prng, ACTS_MAX);
        assert_int_equal(pthread_create(&threads[i], NULL, write_until_the_power_goes, w), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    life->cuts_at_work += test_disk_is_cut(life->disk);
}

static void cut(struct life *life)
{
    test_disk_cut(life->disk, &life->prng);
    (void)briq_store_close(life->store); /* its disk is gone: it can only fail */
    life->store = NULL;
    test_dir_empty(&life->windows);
}

/* Of writer i the volume has `highest[i]` operations, or fewer, down to `lowest[i]`, if the last
 * ones changed nothing. What those had seen must be there. */
static void judge_order(struct life *life, const uint64_t *lowest, const uint64_t *highest)
{
    for (unsigned i = 0; i < WRITERS; i++) {
        const struct writer *w = &life->writers[i];
        if (lowest[i] == w->ledger->first)
            continue;
        const uint64_t *seen = w->seen[lowest[i] - w->ledger->first - 1];
        for (unsigned j = 0; j < WRITERS; j++) {
            if (seen[j] > highest[j] && j != i)
                fail_msg("seed %" PRIu64 ": operation %" PRIu64 " of writer %u is there; it began "
                         "after %" PRIu64 " of writer %u was acknowledged, and of those there are "
                         "only %" PRIu64,
                         life->seed, lowest[i], i, seen[j], j, highest[j]);
            life->waited_for += j != i && seen[j] > life->writers[j].ledger->first;
        }
    }
}

static void judge(struct life *life)
{
    uint64_t lowest[WRITERS], highest[WRITERS];
    if (briq_store_read_only(life->store))
        fail_msg("seed %" PRIu64 ": read-only: the volume thinks its disk lies", life->seed);
    for (unsigned i = 0; i < WRITERS; i++) {
        const struct test_ledger *ledger = life->writers[i].ledger;
        if (!test_ledger_range(ledger, life->store, atomic_load(&ledger->flushed), &lowest[i],
                               &highest[i]))
            fail_msg("seed %" PRIu64 ": writer %u: not a prefix", life->seed, i);
    }
    judge_order(life, lowest, highest);
    for (unsigned i = 0; i < WRITERS; i++)
        test_ledger_settle(life->writers[i].ledger, highest[i]);
}

/* The power goes while writers write, and then perhaps once more while the volume is opened. */
static void live_once(struct life *life)
{
    if (briq_prng_below(&life->prng, 4) == 0)
        test_disk_cut_after(life->disk, 1 + briq_prng_below(&life->prng, 20));
    if (!open_volume(life)) {
        cut(life);
        return;
    }
    if (!test_disk_is_cut(life->disk)) {
        judge(life);
        test_disk_cut_after(life->disk, 1 + briq_prng_below(&life->prng, REQUESTS_MAX));
        work(life);
    }
    cut(life);
}

static unsigned lives_wanted(void)
{
    const char *text = getenv("BRIQ_TEST_LIVES");
    return text != NULL && text[0] != '\0' ? (unsigned)strtoul(text, NULL, 0)
                                           : test_repeats(LIVES_DEFAULT);
}

static void what_is_left_is_a_prefix_of_what_all_writers_did(void **state)
{
    (void)state;
    uint64_t first = test_seed("build/tests/stress/test_threads_power_cut");
    uint64_t cuts_at_work = 0, waited_for = 0;
    unsigned lives = lives_wanted();
    for (unsigned i = 0; i < lives; i++) {
        struct life life;
        life_begin(&life, first + i);
        for (unsigned cuts = 0; cuts < CUTS; cuts++)
            live_once(&life);
        cuts_at_work += life.cuts_at_work;
        waited_for += life.waited_for;
        life_end(&life);
    }
    printf("%u disks, %u cuts each, %" PRIu64 " of them while %u writers wrote; %" PRIu64
           " operations that had seen another's\n",
           lives, CUTS, cuts_at_work, WRITERS, waited_for);
    if (lives >= LIVES_DEFAULT / 2)
        assert_true(cuts_at_work > 0 && waited_for > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_is_a_prefix_of_what_all_writers_did),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
