/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_interleavings.c - two threads in an order that chance hardly ever gives them: each is held in
 * the one place that matters until the other has done its part.
 *
 * The places are functions of the store that this program wraps (UNIT_WRAP in the Makefile), and the
 * device's prefetch.
 */
#undef NDEBUG
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/store/maintain.h"
#include "tests/lib/fixture.h"
#include "tests/lib/temp_dir.h"

#define WINDOWS    6u /* the fewest there can be */
#define PATIENCE_S 10 /* what goes on at once is given up after so long */

struct scene {
    struct test_dir dir;
    struct test_path path;
    struct briq_store *store;
};

/* What the wrapped functions meet; one test at a time. */
static struct {
    _Atomic bool hold_writer;         /* the next to take granules off */
    _Atomic(struct briq_op *) reader; /* it ends when the next goes to wait */
    struct briq_ctx *ctx;
    sem_t held, go;
    _Atomic(pthread_mutex_t *) lock; /* who wants it says so */
    sem_t wanted;
} stage;

int __real_briq_space_live_sub(struct briq_space *space, uint64_t granule, uint32_t granules);
int __wrap_briq_space_live_sub(struct briq_space *space, uint64_t granule, uint32_t granules);
bool __real_briq_waitq_wait(struct briq_waitq *q, struct briq_waiter *waiter, uint64_t ticket);
bool __wrap_briq_waitq_wait(struct briq_waitq *q, struct briq_waiter *waiter, uint64_t ticket);

int __real_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);

int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    if (lock == atomic_load(&stage.lock))
        sem_post(&stage.wanted);
    return __real_pthread_mutex_lock(lock);
}

int __wrap_briq_space_live_sub(struct briq_space *space, uint64_t granule, uint32_t granules)
{
    if (atomic_exchange(&stage.hold_writer, false)) {
        sem_post(&stage.held);
        sem_wait(&stage.go);
    }
    return __real_briq_space_live_sub(space, granule, granules);
}

static void end_read(struct briq_op *op)
{
    for (unsigned i = 0; i < op->io_count; i++)
        briq_io_run(stage.ctx->store, &op->io[i]);
    assert(briq_op_step(stage.ctx, op) == BRIQ_STEP_DONE && op->result == 0);
}

bool __wrap_briq_waitq_wait(struct briq_waitq *q, struct briq_waiter *waiter, uint64_t ticket)
{
    struct briq_op *op = atomic_exchange(&stage.reader, NULL);
    if (op != NULL)
        end_read(op);
    return __real_briq_waitq_wait(q, waiter, ticket);
}

/* ---- a volume -------------------------------------------------------------------------------- */

static void open_file(struct scene *scene, struct briq_device *device)
{
    struct briq_open_options options = {
        .device = device, .streams = 1, .windows = WINDOWS, .windows_dir = scene->dir.path};
    scene->store = test_volume_open(scene->path.text, &options);
}

static void set_up(struct scene *scene)
{
    struct briq_create_options options = {.size_bytes = 8 << 20, .segment_shift = 16};
    memset(scene, 0, sizeof *scene);
    test_dir_open(&scene->dir, TEST_DIR_MEMORY);
    scene->path = test_dir_file(&scene->dir, "volume.briq");
    test_volume_create(scene->path.text, &options);
    assert(sem_init(&stage.held, 0, 0) == 0 && sem_init(&stage.go, 0, 0) == 0);
    assert(sem_init(&stage.wanted, 0, 0) == 0);
}

static void tear_down(struct scene *scene)
{
    sem_destroy(&stage.held);
    sem_destroy(&stage.go);
    sem_destroy(&stage.wanted);
    test_volume_close(scene->store);
    test_dir_close(&scene->dir);
}

/* Something that cannot be compressed. */
static void put(struct briq_store *store, unsigned block, uint64_t seed)
{
    uint64_t words[BRIQ_BLOCK_BYTES / 8];
    struct briq_prng prng = {.state = seed};
    for (unsigned i = 0; i < BRIQ_COUNT_OF(words); i++)
        words[i] = briq_prng_next(&prng);
    assert(briq_write(store, words, sizeof words, (uint64_t)block * sizeof words, 0) == 0);
}

static uint32_t segment_of(struct briq_store *store, unsigned block)
{
    return briq_space_seg_of(&store->space, briq_word_granule(briq_map_word(&store->map, block)));
}

/* Whether the thread has ended; ends the program when it does not: nothing can be closed then. */
static void join_soon(pthread_t thread, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    if (pthread_timedjoin_np(thread, NULL, &until) == 0)
        return;
    fprintf(stderr, "%s still waits, and nobody is left who would wake it\n", what);
    abort();
}

/* ---- a change that is half done is no damage ------------------------------------------------- */

static void *overwrite_block_0(void *opaque)
{
    put(opaque, 0, 1);
    return NULL;
}

static void *collect(void *opaque)
{
    struct briq_store *store = opaque;
    pthread_mutex_lock(&store->maintain.lock);
    assert(briq_gc_segment(store, store->space.seg_first) == 0);
    pthread_mutex_unlock(&store->maintain.lock);
    sem_post(&stage.wanted); /* it did not want to wait */
    return NULL;
}

/* The map has the new word of the last block in the segment; its old granules still count. */
static void collect_beside_a_change(struct briq_store *store, unsigned blocks)
{
    pthread_t writer, collector;
    for (unsigned i = 0; i < blocks; i++)
        put(store, i, 100 + i);
    uint32_t seg = segment_of(store, 0);
    assert_int_equal(seg, store->space.seg_first);
    for (unsigned i = 1; i < blocks; i++)
        if (segment_of(store, i) == seg)
            put(store, i, 10000 + i);
    assert(briq_flush(store) == 0);

    stage.hold_writer = true;
    assert(pthread_create(&writer, NULL, overwrite_block_0, store) == 0);
    sem_wait(&stage.held);
    /* Collection has come to its verdict, or waits for the writer to be done. */
    stage.lock = &store->journal.streams[0].lock;
    assert(pthread_create(&collector, NULL, collect, store) == 0);
    sem_wait(&stage.wanted);
    stage.lock = NULL;
    sem_post(&stage.go);
    join_soon(writer, "a write");
    join_soon(collector, "collection");

    struct briq_stats stats;
    briq_store_stats(store, &stats);
    if (stats.segments_bad != 0)
        fail_msg("a segment without damage is marked bad");
}

static void collection_does_not_take_half_a_change_for_damage(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene);
    open_file(&scene, NULL);
    collect_beside_a_change(scene.store, 60);
    tear_down(&scene);
}

static void collection_in_memory_does_not_either(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene);
    scene.store = test_volume_open("mem:8M", NULL);
    collect_beside_a_change(scene.store, 200);
    tear_down(&scene);
}

/* ---- the last reader wakes who waits for it -------------------------------------------------- */

static struct briq_device_ops held_ops;

static void held_prefetch(struct briq_device *dev, uint64_t off, uint64_t len)
{
    (void)dev;
    (void)off;
    (void)len;
    sem_post(&stage.held);
    sem_wait(&stage.go);
}

static struct briq_device *device_that_holds_prefetches(const char *path)
{
    struct briq_error err = {{0}};
    struct briq_device *dev;
    assert(briq_file_open(path, 0, &err, &dev) == 0);
    held_ops = *dev->ops;
    held_ops.prefetch = held_prefetch;
    dev->ops = &held_ops;
    return dev;
}

static void *prefetch_block_0(void *opaque)
{
    assert(briq_prefetch(opaque, BRIQ_BLOCK_BYTES, 0) == 0);
    return NULL;
}

/* More than all windows hold. */
static void *fill_windows(void *opaque)
{
    for (unsigned i = 1; i < 15 * (WINDOWS + 2); i++)
        put(opaque, i, i);
    return NULL;
}

static bool somebody_waits(struct briq_store *store)
{
    return atomic_load(&store->waitq.count) > 0;
}

static void a_prefetch_that_ends_wakes_a_writer(void **state)
{
    (void)state;
    struct scene scene;
    pthread_t prefetcher, writer;
    set_up(&scene);
    open_file(&scene, device_that_holds_prefetches(scene.path.text));
    put(scene.store, 0, 1);
    assert(pthread_create(&prefetcher, NULL, prefetch_block_0, scene.store) == 0);
    sem_wait(&stage.held);
    assert(pthread_create(&writer, NULL, fill_windows, scene.store) == 0);
    while (!somebody_waits(scene.store))
        sched_yield();
    sem_post(&stage.go);
    join_soon(prefetcher, "a prefetch");
    join_soon(writer, "a write");
    tear_down(&scene);
}

static void wake_nobody(struct briq_op *op)
{
    (void)op;
}

static void *write_checkpoint(void *opaque)
{
    assert(briq_store_checkpoint(opaque) == 0);
    return NULL;
}

static bool windows_are_used_up(struct briq_store *store)
{
    return store->windows.free_count == 0 && store->windows.usable == store->windows.count;
}

/* It looks for a window; the read that holds up all that are retired ends; it goes to wait. */
static void a_checkpoint_about_to_wait_sees_the_last_reader_leave(void **state)
{
    (void)state;
    struct scene scene;
    struct briq_op op;
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    pthread_t maintainer;
    set_up(&scene);
    open_file(&scene, NULL);
    for (unsigned i = 0; i < 16; i++) /* block 0 is on the device only */
        put(scene.store, i, i);
    assert(briq_ctx_open(scene.store, &stage.ctx) == 0);
    briq_op_init(&op, BRIQ_OP_READ, bytes, sizeof bytes, 0, 0);
    op.wake = wake_nobody;
    assert(briq_op_step(stage.ctx, &op) == BRIQ_STEP_IO);
    for (unsigned i = 16; !windows_are_used_up(scene.store); i++)
        put(scene.store, i, i);

    stage.reader = &op;
    assert(pthread_create(&maintainer, NULL, write_checkpoint, scene.store) == 0);
    join_soon(maintainer, "a checkpoint");
    assert_null(stage.reader);
    briq_ctx_close(stage.ctx);
    tear_down(&scene);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(collection_does_not_take_half_a_change_for_damage),
        cmocka_unit_test(collection_in_memory_does_not_either),
        cmocka_unit_test(a_prefetch_that_ends_wakes_a_writer),
        cmocka_unit_test(a_checkpoint_about_to_wait_sees_the_last_reader_leave),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
