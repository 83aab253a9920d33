/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_process_death.c - a process that has a volume open is killed in the middle of writing.
 *
 * With its append windows still there, every acknowledged operation is found again, flushed or not.
 * With them gone (a power cut), every flushed one is, and the volume is a prefix of what was done.
 */
#undef NDEBUG
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/fixture.h"
#include "tests/lib/ledger.h"
#include "tests/lib/temp_dir.h"

#define ROUNDS   20u
#define THREADS  3u
#define BLOCKS   1500u
#define ACKS_MAX 4000u
#define OPS_MAX  (UINT64_C(1) << 20)

/* What one block was asked to become, and what was acknowledged: numbers as in ledger.h, 0 = zeros.
 */
struct entry {
    atomic_ullong issued, acked;
};

/* Shared between the child that dies and the parent that judges. */
struct shared {
    atomic_ullong number;  /* of the last operation of any thread */
    atomic_uint acks_left; /* until the child asks to be killed */
    struct entry entries[BLOCKS];
};

struct scene {
    struct test_dir dir, windows;
    struct test_path path;
    struct shared *shared;
    struct test_ledger *ledger;
    struct briq_prng prng;
    int ready[2]; /* the child writes a byte when it has done enough */
    bool started; /* with a maintenance thread */
};

static void set_up(struct scene *scene, uint64_t seed)
{
    struct briq_create_options options = {.size_bytes = BLOCKS * BRIQ_BLOCK_BYTES,
                                          .segment_shift = 16};
    *scene = (struct scene){.prng = {.state = seed}};
    test_dir_open(&scene->dir, TEST_DIR_MEMORY);
    test_dir_open(&scene->windows, TEST_DIR_MEMORY);
    scene->path = test_dir_file(&scene->dir, "volume.briq");
    test_volume_create(scene->path.text, &options);
    scene->shared = mmap(NULL, sizeof *scene->shared, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(scene->shared, MAP_FAILED);
    scene->ledger = test_ledger_open(BLOCKS, OPS_MAX);
}

static void tear_down(struct scene *scene)
{
    munmap(scene->shared, sizeof *scene->shared);
    test_ledger_close(scene->ledger);
    test_dir_close(&scene->dir);
    test_dir_close(&scene->windows);
}

static struct briq_store *open_volume(const struct scene *scene)
{
    struct briq_open_options options = {.windows_dir = scene->windows.path, .streams = 2};
    return test_volume_open(scene->path.text, &options);
}

/* ---- the child ------------------------------------------------------------------------------- */

static void count_ack(struct scene *scene)
{
    if (atomic_fetch_sub(&scene->shared->acks_left, 1) == 1)
        assert(write(scene->ready[1], "k", 1) == 1);
}

struct writer {
    struct scene *scene;
    struct briq_store *store;
    unsigned index;
    struct briq_prng prng;
};

/* One write or trim of a block that no other thread touches. */
static void change_block(struct writer *w)
{
    struct shared *shared = w->scene->shared;
    uint32_t block = (uint32_t)briq_prng_below(&w->prng, BLOCKS / THREADS) * THREADS + w->index;
    struct entry *entry = &shared->entries[block];
    uint64_t off = (uint64_t)block * BRIQ_BLOCK_BYTES;
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    bool trim = briq_prng_below(&w->prng, 10) == 0;
    uint64_t number = trim ? 0 : atomic_fetch_add(&shared->number, 1) + 1;
    atomic_store(&entry->issued, number);
    test_ledger_content(number, block, bytes);
    if (trim)
        assert(briq_trim(w->store, sizeof bytes, off, 0) == 0);
    else
        assert(briq_write(w->store, bytes, sizeof bytes, off, 0) == 0);
    atomic_store(&entry->acked, number);
}

static void *write_for_ever(void *opaque)
{
    struct writer *w = opaque;
    for (;;) {
        change_block(w);
        if (briq_prng_below(&w->prng, 200) == 0)
            assert(briq_flush(w->store) == 0);
        count_ack(w->scene);
    }
    return NULL;
}

static void run_threads(struct scene *scene, uint64_t seed)
{
    struct writer writers[THREADS];
    pthread_t threads[THREADS];
    struct briq_store *store = open_volume(scene);
    if (scene->started)
        assert(briq_store_start(store) == 0);
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){
            .scene = scene, .store = store, .index = i, .prng = {.state = seed + i}};
        assert(pthread_create(&threads[i], NULL, write_for_ever, &writers[i]) == 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void run_one_writer(struct scene *scene, uint64_t seed)
{
    struct briq_prng prng = {.state = seed};
    struct briq_store *store = open_volume(scene);
    if (scene->started)
        assert(briq_store_start(store) == 0);
    for (;;) {
        assert(test_ledger_act(scene->ledger, store, &prng, 100) == 0);
        if (briq_prng_below(&prng, 60) == 0)
            assert(test_ledger_flush(scene->ledger, store) == 0);
        count_ack(scene);
    }
}

/* ---- the parent ------------------------------------------------------------------------------ */

/* Runs the child until it has had some number of answers, and kills it wherever it is then. */
static void run_and_kill(struct scene *scene, void (*run)(struct scene *scene, uint64_t seed))
{
    uint64_t seed = briq_prng_next(&scene->prng);
    unsigned acks = 1 + (unsigned)briq_prng_below(&scene->prng, ACKS_MAX);
    atomic_store(&scene->shared->acks_left, acks);
    assert_int_equal(pipe(scene->ready), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(scene->ready[0]);
        run(scene, seed);
        _exit(0);
    }
    close(scene->ready[1]);
    char byte;
    ssize_t got = read(scene->ready[0], &byte, 1); /* 0 when the child died by itself */
    kill(pid, SIGKILL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(scene->ready[0]);
    assert_int_equal(got, 1);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Every block holds what was acknowledged last, or what was under way. */
static void judge_entries(struct scene *scene, struct briq_store *store)
{
    for (uint32_t block = 0; block < BLOCKS; block++) {
        struct entry *entry = &scene->shared->entries[block];
        uint8_t bytes[BRIQ_BLOCK_BYTES];
        uint64_t off = (uint64_t)block * BRIQ_BLOCK_BYTES;
        assert_int_equal(briq_read(store, bytes, sizeof bytes, off), 0);
        uint64_t found = test_ledger_number(bytes, block);
        uint64_t acked = atomic_load(&entry->acked), issued = atomic_load(&entry->issued);
        if (found != acked && found != issued)
            fail_msg("block %u: found operation %" PRIu64 ", acknowledged %" PRIu64
                     ", under way %" PRIu64,
                     block, found, acked, issued);
        atomic_store(&entry->acked, found);
        atomic_store(&entry->issued, found);
    }
}

static void die_and_find_everything(bool started)
{
    struct scene scene;
    uint64_t recovered = 0;
    set_up(&scene, test_seed("build/tests/unit/test_process_death"));
    scene.started = started;
    for (unsigned round = 0; round < test_repeats(ROUNDS); round++) {
        run_and_kill(&scene, run_threads);
        struct briq_store *store = open_volume(&scene);
        struct briq_stats stats;
        briq_store_stats(store, &stats);
        recovered += stats.recovered_from_windows;
        assert_false(briq_store_read_only(store));
        judge_entries(&scene, store);
        test_volume_close(store);
        if (round % 5 == 0)
            assert_true(test_volume_is_sound(scene.path.text, scene.windows.path));
    }
    assert_true(recovered > 0);
    tear_down(&scene);
}

static void all_that_was_acknowledged_survives_the_process(void **state)
{
    (void)state;
    die_and_find_everything(false);
}

static void all_that_was_acknowledged_survives_with_a_maintenance_thread(void **state)
{
    (void)state;
    die_and_find_everything(true);
}

/* Kills, reopens without the windows, judges and goes on from there. */
static void die_and_find_a_prefix(bool started)
{
    struct scene scene;
    uint64_t lost = 0;
    set_up(&scene, test_seed("build/tests/unit/test_process_death"));
    scene.started = started;
    for (unsigned round = 0; round < test_repeats(ROUNDS); round++) {
        uint64_t n;
        run_and_kill(&scene, run_one_writer);
        assert_true(test_dir_empty(&scene.windows) > 0);
        struct briq_store *store = open_volume(&scene);
        assert_false(briq_store_read_only(store));
        if (!test_ledger_check(scene.ledger, store, atomic_load(&scene.ledger->flushed), &n))
            fail_msg("round %u: not a prefix", round);
        lost += atomic_load(&scene.ledger->acked) - n;
        test_ledger_settle(scene.ledger, n);
        test_volume_close(store);
        if (round % 5 == 0)
            assert_true(test_volume_is_sound(scene.path.text, scene.windows.path));
    }
    assert_true(lost > 0); /* else the windows were not what kept it */
    tear_down(&scene);
}

static void after_a_power_cut_the_flushed_prefix_is_there(void **state)
{
    (void)state;
    die_and_find_a_prefix(false);
}

static void after_a_power_cut_with_a_maintenance_thread(void **state)
{
    (void)state;
    die_and_find_a_prefix(true);
}

/* The one writer, windows kept: nothing at all is missing. */
static void one_writer_loses_nothing(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, test_seed("build/tests/unit/test_process_death"));
    for (unsigned round = 0; round < test_repeats(ROUNDS); round++) {
        uint64_t n;
        run_and_kill(&scene, run_one_writer);
        struct briq_store *store = open_volume(&scene);
        assert_true(test_ledger_check(scene.ledger, store, atomic_load(&scene.ledger->acked), &n));
        test_ledger_settle(scene.ledger, n);
        test_volume_close(store);
    }
    tear_down(&scene);
}

/* Readers do not disturb what a dead process left: opening for reading, twice, and then for
 * writing. */
static void a_dead_volume_can_be_read_before_it_is_recovered(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene, test_seed("build/tests/unit/test_process_death"));
    run_and_kill(&scene, run_one_writer);
    uint64_t acked = atomic_load(&scene.ledger->acked), n = 0;
    struct briq_open_options options = {.windows_dir = scene.windows.path, .read_only = true};
    for (unsigned i = 0; i < 2; i++) {
        struct briq_store *store = test_volume_open(scene.path.text, &options);
        assert_true(test_ledger_check(scene.ledger, store, acked, &n));
        test_volume_close(store);
    }
    struct briq_store *store = open_volume(&scene);
    assert_true(test_ledger_check(scene.ledger, store, acked, &n));
    test_volume_close(store);
    tear_down(&scene);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_was_acknowledged_survives_the_process),
        cmocka_unit_test(all_that_was_acknowledged_survives_with_a_maintenance_thread),
        cmocka_unit_test(one_writer_loses_nothing),
        cmocka_unit_test(after_a_power_cut_the_flushed_prefix_is_there),
        cmocka_unit_test(after_a_power_cut_with_a_maintenance_thread),
        cmocka_unit_test(a_dead_volume_can_be_read_before_it_is_recovered),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
