/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ctx.c - contexts are limited, and none is lost: what a plain call leaves for its thread is
 * there for all others too, and who finds none waits until one is given back.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/store/store.h"
#include "tests/lib/fixture.h"

#define THREADS 12u
#define CALLS   3000u
#define LEFT    3u /* contexts for THREADS */

struct scene {
    struct briq_store *store;
    struct briq_ctx *taken[BRIQ_CTX_MAX];
    unsigned taken_count;
};

static void set_up(struct scene *scene)
{
    *scene = (struct scene){.store = test_volume_open("mem:16M", NULL)};
}

static void take_all(struct scene *scene)
{
    int r;
    while ((r = briq_ctx_open(scene->store, &scene->taken[scene->taken_count])) == 0)
        scene->taken_count++;
    assert_int_equal(r, -EAGAIN);
}

static void give_back(struct scene *scene, unsigned count)
{
    while (count-- > 0)
        briq_ctx_close(scene->taken[--scene->taken_count]);
}

static void *read_once(void *opaque)
{
    uint8_t block[BRIQ_BLOCK_BYTES];
    assert(briq_read(opaque, block, sizeof block, 0) == 0);
    return NULL;
}

static void *work(void *opaque)
{
    uint8_t block[BRIQ_BLOCK_BYTES] = {1};
    for (unsigned i = 0; i < CALLS; i++)
        assert(briq_write(opaque, block, sizeof block, 0, 0) == 0);
    return NULL;
}

static void run_in_thread(struct briq_store *store)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_once, store), 0);
    pthread_join(thread, NULL);
}

static void what_threads_left_behind_can_be_taken(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene);
    take_all(&scene);
    unsigned all = scene.taken_count;
    assert_in_range(all, BRIQ_CTX_MAX - 1, BRIQ_CTX_MAX); /* maintenance has one */
    give_back(&scene, all);
    for (unsigned i = 0; i < 20; i++)
        run_in_thread(scene.store);
    take_all(&scene);
    assert_int_equal(scene.taken_count, all);
    give_back(&scene, all);
    test_volume_close(scene.store);
}

/* Many threads, few contexts: each wait ends, or the test does not. */
static void who_finds_none_waits_for_one(void **state)
{
    (void)state;
    struct scene scene;
    pthread_t threads[THREADS];
    set_up(&scene);
    take_all(&scene);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, scene.store), 0);
    give_back(&scene, LEFT);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct briq_stats stats;
    briq_store_stats(scene.store, &stats);
    assert_int_equal(stats.writes, THREADS * CALLS);
    give_back(&scene, scene.taken_count);
    take_all(&scene);
    assert_in_range(scene.taken_count, BRIQ_CTX_MAX - 1, BRIQ_CTX_MAX);
    give_back(&scene, scene.taken_count);
    test_volume_close(scene.store);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_threads_left_behind_can_be_taken),
        cmocka_unit_test(who_finds_none_waits_for_one),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("contexts", tests, NULL, NULL);
}
