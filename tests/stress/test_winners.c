/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_winners.c - of writes that race for one block, the one that won while the program ran is the
 * one that recovery finds: whatever a reader saw last is what he sees after a crash.
 *
 * A child's threads write the same blocks in step, through different streams, while another one
 * clears the rest of their page of the map, so that they have to wait for its lock. When all is
 * quiet the child notes what each block holds, and ends without closing the volume.
 */
#undef NDEBUG
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/lib/child.h"
#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"
#include "tests/lib/steps.h"
#include "tests/lib/temp_dir.h"

#define WRITERS     3u
#define PAGES       6u
#define PAGE_BLOCKS 512u                  /* of a page of the map */
#define RACED       100u                  /* of these, the first */
#define BLOCKS      (PAGES * RACED)       /* raced for once in a round */
#define VOLUME      (PAGES * PAGE_BLOCKS) /* blocks */
#define STRIDE      4u                    /* blocks between two meetings of the threads */
#define ROUNDS      6u

struct scene {
    struct test_dir dir, windows;
    struct test_path path;
    uint64_t *winners; /* of each block, as the child saw it; shared */
    uint64_t number;   /* of the last write of earlier rounds */
    bool flush;
};

struct racer {
    const struct scene *scene;
    struct briq_store *store;
    pthread_barrier_t *barrier;
    unsigned index;
    pthread_t thread;
};

/* ---- the child --------------------------------------------------------------------------------
 */

static struct briq_store *open_volume(const struct scene *scene)
{
    struct briq_open_options options = {.windows_dir = scene->windows.path, .streams = WRITERS};
    return test_volume_open(scene->path.text, &options);
}

/* Byte offset of a block that is raced for. */
static uint64_t where(uint32_t block)
{
    return (block / RACED * PAGE_BLOCKS + block % RACED) * (uint64_t)BRIQ_BLOCK_BYTES;
}

static void write_one(const struct racer *r, struct briq_ctx *ctx, uint32_t block)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    test_ledger_content(r->scene->number + block * WRITERS + r->index + 1, block, bytes);
    assert(test_step_run(r->store, ctx, BRIQ_OP_WRITE, bytes, sizeof bytes, where(block), 0) == 0);
}

static void *race(void *opaque)
{
    struct racer *r = opaque;
    struct briq_ctx *ctx;
    assert(briq_ctx_open(r->store, &ctx) == 0);
    for (uint32_t block = 0; block < BLOCKS; block++) {
        if (block % STRIDE == 0)
            pthread_barrier_wait(r->barrier);
        write_one(r, ctx, block);
    }
    briq_ctx_close(ctx);
    return NULL;
}

/* Zeros, then holes: each changes every word, under the lock of the page. */
static void *hold_the_page(void *opaque)
{
    struct racer *r = opaque;
    uint64_t len = (PAGE_BLOCKS - RACED) * (uint64_t)BRIQ_BLOCK_BYTES;
    for (uint32_t block = 0; block < BLOCKS; block += STRIDE) {
        uint64_t off = (block / RACED * PAGE_BLOCKS + RACED) * (uint64_t)BRIQ_BLOCK_BYTES;
        pthread_barrier_wait(r->barrier);
        for (unsigned i = 0; i < STRIDE; i++) {
            assert(briq_zero(r->store, len, off, 0) == 0);
            assert(briq_trim(r->store, len, off, 0) == 0);
        }
    }
    return NULL;
}

static void note_winners(const struct scene *scene, struct briq_store *store)
{
    for (uint32_t block = 0; block < BLOCKS; block++) {
        uint8_t bytes[BRIQ_BLOCK_BYTES];
        assert(briq_read(store, bytes, sizeof bytes, where(block)) == 0);
        scene->winners[block] = test_ledger_number(bytes, block);
        assert(scene->winners[block] > scene->number);
    }
}

static void race_and_die(void *opaque)
{
    const struct scene *scene = opaque;
    struct racer racers[WRITERS + 1];
    pthread_barrier_t barrier;
    struct briq_store *store = open_volume(scene);
    assert(briq_store_start(store) == 0);
    pthread_barrier_init(&barrier, NULL, WRITERS + 1);
    for (unsigned i = 0; i <= WRITERS; i++) {
        void *(*work)(void *) = i < WRITERS ? race : hold_the_page;
        racers[i] = (struct racer){.scene = scene, .store = store, .barrier = &barrier, .index = i};
        assert(pthread_create(&racers[i].thread, NULL, work, &racers[i]) == 0);
    }
    for (unsigned i = 0; i <= WRITERS; i++)
        pthread_join(racers[i].thread, NULL);
    note_winners(scene, store);
    assert(!scene->flush || briq_flush(store) == 0);
}

/* ---- the parent -------------------------------------------------------------------------------
 */

static void set_up(struct scene *scene, bool flush)
{
    struct briq_create_options options = {.size_bytes = VOLUME * BRIQ_BLOCK_BYTES,
                                          .segment_shift = 16};
    *scene = (struct scene){.flush = flush};
    test_dir_open(&scene->dir, TEST_DIR_MEMORY);
    test_dir_open(&scene->windows, TEST_DIR_MEMORY);
    scene->path = test_dir_file(&scene->dir, "volume.briq");
    test_volume_create(scene->path.text, &options);
    scene->winners = mmap(NULL, BLOCKS * sizeof *scene->winners, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(scene->winners, MAP_FAILED);
}

static void tear_down(struct scene *scene)
{
    munmap(scene->winners, BLOCKS * sizeof *scene->winners);
    test_dir_close(&scene->dir);
    test_dir_close(&scene->windows);
}

static void compare(const struct scene *scene, struct briq_store *store)
{
    for (uint32_t block = 0; block < BLOCKS; block++) {
        uint8_t bytes[BRIQ_BLOCK_BYTES];
        assert_int_equal(briq_read(store, bytes, sizeof bytes, where(block)), 0);
        uint64_t found = test_ledger_number(bytes, block);
        if (found != scene->winners[block])
            fail_msg("block %" PRIu32 ": write %" PRIu64 " was read last, and after the crash it is"
                     " write %" PRIu64,
                     block, scene->winners[block], found);
    }
}

static void race_and_recover(bool flush)
{
    struct scene scene;
    set_up(&scene, flush);
    for (unsigned round = 0; round < test_repeats(ROUNDS); round++) {
        assert_int_equal(test_in_child(race_and_die, &scene), 0);
        if (flush)
            test_dir_empty(&scene.windows);
        struct briq_store *store = open_volume(&scene);
        assert_false(briq_store_read_only(store));
        compare(&scene, store);
        test_volume_close(store);
        scene.number += BLOCKS * WRITERS;
    }
    assert_true(test_volume_is_sound(scene.path.text, scene.windows.path));
    tear_down(&scene);
}

static void the_winner_of_a_race_survives_the_process(void **state)
{
    (void)state;
    race_and_recover(false);
}

static void the_winner_of_a_race_survives_a_power_cut_when_flushed(void **state)
{
    (void)state;
    race_and_recover(true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_winner_of_a_race_survives_the_process),
        cmocka_unit_test(the_winner_of_a_race_survives_a_power_cut_when_flushed),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
