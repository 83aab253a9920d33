/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_power_cut.c - one writer on a disk that loses its power, at a random moment or at the n-th
 * request, in the middle of a checkpoint, of garbage collection, of the recovery from the cut
 * before. The volume must be a prefix of what was done, at or beyond the last acknowledged flush,
 * every time.
 *
 * BRIQ_TEST_LIVES sets the number of disks that live and die (BRIQ_SEED: the first).
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
#include "tests/lib/sim_disk.h"
#include "tests/lib/temp_dir.h"
#include "tests/sim/protocol.h"

#define LIVES_DEFAULT 12u
#define CUTS          24u
#define BLOCKS        200u
#define ACTS_MAX      700u
#define DISK_BYTES    (UINT64_C(8) << 20)
#define LIMIT_BYTES   (UINT64_C(4) << 20 | UINT64_C(34) << 16) /* few spare segments of 64 KiB */

struct life {
    struct test_dir dir, windows;
    struct test_path path;
    struct test_disk *disk;
    struct protocol *protocol; /* watches every step of the store */
    struct test_ledger *ledger;
    struct briq_prng prng;
    uint64_t seed;
    bool closing_dead;
    unsigned streams;
    uint64_t cuts_in_open, gc_segments;
};

static void note_illegal_step(void *opaque, const char *line)
{
    const struct life *life = opaque;
    if (!test_disk_is_cut(life->disk) && !life->closing_dead) /* a dead disk changes no more */
        fail_msg("seed %" PRIu64 ": illegal step: %s", life->seed, line);
}

static void life_begin(struct life *life, uint64_t seed)
{
    struct briq_create_options options = {
        .size_bytes = BLOCKS * BRIQ_BLOCK_BYTES, .limit_bytes = LIMIT_BYTES, .segment_shift = 16};
    *life = (struct life){.prng = {.state = seed}, .seed = seed, .streams = 1 + seed % 2};
    test_dir_open(&life->dir, TEST_DIR_MEMORY);
    test_dir_open(&life->windows, TEST_DIR_MEMORY);
    life->path = test_dir_file(&life->dir, "volume.briq");
    test_volume_create(life->path.text, &options);
    life->disk = test_disk_open(DISK_BYTES);
    test_disk_load(life->disk, life->path.text);
    life->protocol = protocol_open(note_illegal_step, life);
    life->ledger = test_ledger_open(BLOCKS, 2 * ACTS_MAX);
}

static void life_end(struct life *life)
{
    protocol_close(life->protocol);
    test_disk_close(life->disk);
    test_ledger_close(life->ledger);
    test_dir_close(&life->dir);
    test_dir_close(&life->windows);
}

/* NULL when the power went in the middle of it. */
static struct briq_store *open_volume(struct life *life)
{
    struct briq_open_options options = {
        .device =
            protocol_wrap(life->protocol, test_disk_handle(life->disk), test_disk_view(life->disk)),
        .windows_dir = life->windows.path,
        .streams = life->streams,
    };
    struct briq_error err = {0};
    struct briq_store *store = NULL;
    int r = briq_store_open(life->path.text, &options, &err, &store);
    if (r != 0 && !test_disk_is_cut(life->disk))
        fail_msg("seed %" PRIu64 ": open: %s: %s", life->seed, strerror(-r), err.text);
    return r == 0 ? store : NULL;
}

/* The power is cut now, if it was not before; the store behind it goes with it. */
static void cut(struct life *life, struct briq_store *store)
{
    test_disk_cut(life->disk, &life->prng);
    life->closing_dead = true;
    (void)briq_store_close(store); /* its disk is gone: it can only fail */
    life->closing_dead = false;
    protocol_power_cut(life->protocol);
    test_dir_empty(&life->windows);
}

static int act(struct life *life, struct briq_store *store)
{
    uint64_t what = briq_prng_below(&life->prng, 1000);
    int r;
    if (what < 30)
        return test_ledger_flush(life->ledger, store);
    if (what < 34)
        return briq_store_checkpoint(store);
    if (what < 36)
        return briq_store_compact(store, NULL, NULL);
    if (what < 60) {
        r = briq_store_maintain(store);
        return r > 0 ? 0 : r;
    }
    return test_ledger_act(life->ledger, store, &life->prng, 60);
}

static void note_work(struct life *life, struct briq_store *store)
{
    struct briq_stats stats;
    briq_store_stats(store, &stats);
    life->gc_segments += stats.gc_segments;
}

/* Works until the power goes, or enough was done. */
static void work(struct life *life, struct briq_store *store)
{
    uint64_t acts = briq_prng_below(&life->prng, ACTS_MAX);
    for (uint64_t i = 0; i < acts; i++) {
        int r = act(life, store);
        if (test_disk_is_cut(life->disk))
            break;
        if (r != 0)
            fail_msg("seed %" PRIu64 ", operation %llu: %s", life->seed,
                     (unsigned long long)atomic_load(&life->ledger->issued), strerror(-r));
    }
    note_work(life, store);
}

static void judge(struct life *life, struct briq_store *store, unsigned cuts)
{
    uint64_t n;
    if (briq_store_read_only(store))
        fail_msg("seed %" PRIu64 ", cut %u: read-only: the volume thinks its disk lies", life->seed,
                 cuts);
    if (!test_ledger_check(life->ledger, store, atomic_load(&life->ledger->flushed), &n))
        fail_msg("seed %" PRIu64 ", cut %u: not a prefix", life->seed, cuts);
    test_ledger_settle(life->ledger, n);
}

/* Opens, judges, works, perhaps closes; and then the power goes, if it has not gone before. */
static void live_once(struct life *life, unsigned cuts)
{
    if (briq_prng_below(&life->prng, 3) != 0)
        test_disk_cut_after(life->disk, 1 + briq_prng_below(&life->prng, 80));
    struct briq_store *store = open_volume(life);
    if (store == NULL) {
        life->cuts_in_open++;
        cut(life, NULL);
        return;
    }
    if (!test_disk_is_cut(life->disk))
        judge(life, store, cuts);
    work(life, store);
    if (!test_disk_is_cut(life->disk) && briq_prng_below(&life->prng, 6) == 0) {
        bool closed = briq_store_close(store) == 0;
        if (closed) /* and then the power goes: a clean close has flushed */
            atomic_store(&life->ledger->flushed, atomic_load(&life->ledger->acked));
        else if (!test_disk_is_cut(life->disk))
            fail_msg("seed %" PRIu64 ", cut %u: close failed on a sound disk", life->seed, cuts);
        store = NULL;
    }
    cut(life, store);
}

static unsigned lives_wanted(void)
{
    const char *text = getenv("BRIQ_TEST_LIVES");
    return text != NULL && text[0] != '\0' ? (unsigned)strtoul(text, NULL, 0)
                                           : test_repeats(LIVES_DEFAULT);
}

static void every_cut_leaves_a_prefix_with_all_that_was_flushed(void **state)
{
    (void)state;
    uint64_t first = test_seed("build/tests/unit/test_power_cut");
    struct test_disk_fates all = {0};
    uint64_t in_open = 0, gc_segments = 0;
    unsigned lives = lives_wanted();
    for (unsigned i = 0; i < lives; i++) {
        struct life life;
        life_begin(&life, first + i);
        for (unsigned cuts = 0; cuts < CUTS; cuts++)
            live_once(&life, cuts);
        struct test_disk_fates fates = test_disk_fates(life.disk);
        all.kept += fates.kept;
        all.lost += fates.lost;
        all.torn += fates.torn;
        all.cuts += fates.cuts;
        in_open += life.cuts_in_open;
        gc_segments += life.gc_segments;
        life_end(&life);
    }
    printf("%" PRIu64 " cuts (%" PRIu64 " while opening): %" PRIu64 " requests kept, %" PRIu64
           " lost, %" PRIu64 " torn; %" PRIu64 " segments collected\n",
           all.cuts, in_open, all.kept, all.lost, all.torn, gc_segments);
    if (lives >= LIVES_DEFAULT / 2)
        assert_true(all.lost > 0 && all.torn > 0 && in_open > 0 && gc_segments > 0);
}

/* Whether what is left after a cut gives the disk away: refused, read-only, or no prefix. */
static bool notices(struct life *life)
{
    struct briq_open_options options = {.device = test_disk_handle(life->disk),
                                        .windows_dir = life->windows.path};
    struct briq_error err = {0};
    struct briq_store *store = NULL;
    uint64_t n;
    if (briq_store_open(life->path.text, &options, &err, &store) != 0)
        return true;
    bool noticed = briq_store_read_only(store) ||
                   !test_ledger_check(life->ledger, store, atomic_load(&life->ledger->flushed), &n);
    (void)briq_store_close(store); /* perhaps it was opened read-only */
    return noticed;
}

/* A disk that acknowledges flushes and forgets them: if that passed, nothing here would show much.
 */
static void a_disk_that_lies_is_found_out(void **state)
{
    (void)state;
    unsigned lives = 10, noticed = 0;
    for (unsigned i = 0; i < lives; i++) {
        struct life life;
        life_begin(&life, 77 + i);
        life.ledger->quiet = true;
        test_disk_lie(life.disk);
        struct briq_store *store = open_volume(&life);
        for (unsigned j = 0; j < 100; j++)
            assert_int_equal(test_ledger_act(life.ledger, store, &life.prng, 0), 0);
        assert_int_equal(test_ledger_flush(life.ledger, store), 0);
        cut(&life, store);
        noticed += notices(&life);
        life_end(&life);
    }
    assert_true(noticed >= lives / 2);
}

/* Whether the bytes of a sector are what was written there; else they are garbled. */
static bool is_plain(const uint8_t *sector)
{
    return (sector[0] == 1 || sector[0] == 2) && memcmp(sector, sector + 1, 511) == 0;
}

/* The disk itself: what was flushed stays, what was not may go or be garbled where it was written.
 */
static void the_disk_keeps_what_was_flushed(void **state)
{
    (void)state;
    struct briq_prng prng = {.state = 7};
    struct test_disk *disk = test_disk_open(1 << 20);
    uint8_t ones[4096], twos[4096], got[8192];
    bool old = false, new = false, mixed = false, garbled = false;
    memset(ones, 1, sizeof ones);
    memset(twos, 2, sizeof twos);
    for (unsigned i = 0; i < 60; i++) {
        struct briq_device *dev = test_disk_handle(disk);
        assert_int_equal(briq_device_write(dev, ones, sizeof ones, 8192), 0);
        assert_int_equal(briq_device_write(dev, ones, sizeof ones, 12288), 0);
        assert_int_equal(briq_device_flush(dev), 0);
        assert_int_equal(briq_device_write(dev, twos, sizeof twos, 8192), 0);
        test_disk_cut(disk, &prng);
        assert_int_equal(briq_device_read(dev, got, sizeof got, 8192), -EIO);
        briq_device_close(dev);
        dev = test_disk_handle(disk);
        assert_int_equal(briq_device_read(dev, got, sizeof got, 8192), 0);
        briq_device_close(dev);
        bool is_old = memcmp(got, ones, 4096) == 0, is_new = memcmp(got, twos, 4096) == 0;
        bool all_plain = true;
        for (unsigned at = 0; at < 4096; at += 512)
            all_plain = all_plain && is_plain(got + at);
        old |= is_old;
        new |= is_new;
        garbled |= !all_plain;
        mixed |= all_plain && !is_old && !is_new;
        assert_memory_equal(got + 4096, ones, 4096); /* nobody wrote there again */
    }
    assert_true(old && new &&mixed &&garbled);
    test_disk_close(disk);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_disk_keeps_what_was_flushed),
        cmocka_unit_test(a_disk_that_lies_is_found_out),
        cmocka_unit_test(every_cut_leaves_a_prefix_with_all_that_was_flushed),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
