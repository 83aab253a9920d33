/* SPDX-License-Identifier: BSD-3-Clause */
#include "ublk-frontend/helper.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/base/attr.h"
#include "common/ring/store_op.h"
#include "ublk-frontend/payload.h"
#include "ublk-frontend/process.h"

#define AUTO_MAX     4u
#define RING_ENTRIES 64

struct helper {
    struct briq_ublk_helpers *pool;
    unsigned index;
    pthread_t thread;
    bool has_thread;
    sem_t started;
    struct briq_error err; /* why it has not started */
    int error;

    /* of the thread */
    struct briq_ring *ring;
    struct briq_ctx *ctx;
    struct briq_ublk_payload payload;
    uint8_t *at; /* where the bytes of the piece are */
    struct briq_store_op op;

    /* between the threads */
    struct briq_ublk_help help;
    struct briq_ring_task begin, end;
    _Atomic bool busy;
};

/* Each on a line of its own: it is written with nearly every request, and read seldom. */
struct worker_note {
    _Alignas(BRIQ_CACHELINE_BYTES) _Atomic bool has_requests;
};

struct briq_ublk_helpers {
    struct briq_ublk_helpers_setup setup;
    unsigned processors;
    struct worker_note *notes;
    struct helper *list;
    _Atomic int error;
};

/* ---- a piece --------------------------------------------------------------------------------- */

static void end_piece(struct helper *helper, int result)
{
    struct briq_ublk_help *help = &helper->help;
    if (result == 0 && help->request->wants_data)
        result = briq_ublk_payload_supply(&helper->payload, help->tag, helper->at,
                                          (size_t)help->piece.len, help->piece.position);
    help->result = result;
    briq_ring_post(help->ring, &help->done);
}

static void store_done(struct briq_store_op *op)
{
    end_piece(BRIQ_CONTAINER_OF(op, struct helper, op), op->op.result);
}

static void begin_piece(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct helper *helper = BRIQ_CONTAINER_OF(task, struct helper, begin);
    const struct briq_ublk_help *help = &helper->help;
    const struct briq_ublk_piece *piece = &help->piece;
    int r = 0;
    (void)ring;
    helper->payload.queue = help->queue;
    helper->at = helper->payload.user_copy ? helper->payload.memory : help->at;
    if (help->request->brings_data)
        r = briq_ublk_payload_fetch(&helper->payload, help->tag, helper->at, (size_t)piece->len,
                                    piece->position);
    if (r < 0) {
        end_piece(helper, r);
        return;
    }
    briq_op_init(&helper->op.op, help->request->kind, helper->at, piece->len, piece->off,
                 piece->flags);
    if (briq_store_op_run(&helper->op))
        end_piece(helper, helper->op.op.result);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int open_helper(struct helper *helper)
{
    const struct briq_ublk_helpers_setup *setup = &helper->pool->setup;
    const struct briq_ring_options options = {.entries = RING_ENTRIES};
    char name[16];
    snprintf(name, sizeof name, "ublk-h%u", helper->index);
    (void)pthread_setname_np(pthread_self(), name);
    int r = setup->unprivileged ? 0 : briq_ublk_mark_flusher();
    if (r == 0)
        r = briq_ring_open(&options, &helper->err, &helper->ring);
    if (r == 0)
        r = briq_ctx_open(setup->store, &helper->ctx);
    if (r < 0)
        return r;
    helper->op.ring = helper->ring;
    helper->op.store = setup->store;
    helper->op.ctx = helper->ctx;
    helper->op.done = store_done;
    briq_store_op_init(&helper->op);
    /* Without user copy the bytes are in the tag's own buffer. */
    return briq_ublk_payload_open(&helper->payload, setup->user_copy, setup->fd, 0, 1,
                                  setup->user_copy ? setup->piece_bytes : BRIQ_BLOCK_BYTES);
}

static void run_end(struct briq_ring *ring, struct briq_ring_task *task)
{
    (void)task;
    briq_ring_stop(ring);
}

static void tell_control(struct briq_ublk_helpers *pool, int error)
{
    uint64_t one = 1;
    atomic_store(&pool->error, error);
    ssize_t n = write(pool->setup.event_fd, &one, sizeof one);
    BRIQ_ASSERT(n == sizeof one);
}

/* A ring that fails takes the process with it, and until then what is under way needs all of it. */
static void *helper_main(void *arg)
{
    struct helper *helper = arg;
    int r = open_helper(helper);
    bool runs = r == 0;
    helper->error = r;
    sem_post(&helper->started);
    if (runs)
        r = briq_ring_run(helper->ring);
    if (runs && r < 0) {
        tell_control(helper->pool, r);
        return NULL;
    }
    briq_ctx_close(helper->ctx);
    briq_ublk_payload_close(&helper->payload);
    return NULL;
}

static int start_helper(struct helper *helper, struct briq_error *err)
{
    helper->begin.run = begin_piece;
    helper->end.run = run_end;
    sem_init(&helper->started, 0, 0);
    int r = -pthread_create(&helper->thread, NULL, helper_main, helper);
    helper->has_thread = r == 0;
    if (r == 0) {
        while (sem_wait(&helper->started) < 0)
            ;
        r = helper->error;
    }
    if (r < 0)
        return briq_error_set(err, r, "helper %u: %s", helper->index,
                              helper->err.text[0] != '\0' ? helper->err.text : strerror(-r));
    return 0;
}

/* ---- the pool -------------------------------------------------------------------------------- */

static unsigned count_processors(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
}

unsigned briq_ublk_helpers_auto(void)
{
    return (unsigned)briq_min_u64(count_processors() - 1, AUTO_MAX);
}

static int start_all(struct briq_ublk_helpers *pool, struct briq_error *err)
{
    int r = 0;
    for (unsigned i = 0; i < pool->setup.count && r == 0; i++) {
        pool->list[i].pool = pool;
        pool->list[i].index = i;
        r = start_helper(&pool->list[i], err);
    }
    return r;
}

int briq_ublk_helpers_open(const struct briq_ublk_helpers_setup *setup, struct briq_error *err,
                           struct briq_ublk_helpers **ret)
{
    struct briq_ublk_helpers *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    pool->setup = *setup;
    pool->processors = count_processors();
    pool->list = calloc(setup->count, sizeof pool->list[0]);
    pool->notes = aligned_alloc(BRIQ_CACHELINE_BYTES, setup->workers * sizeof pool->notes[0]);
    int r = pool->list != NULL && pool->notes != NULL
                ? 0
                : briq_error_set(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; r == 0 && i < setup->workers; i++)
        atomic_init(&pool->notes[i].has_requests, false);
    if (r == 0)
        r = start_all(pool, err);
    if (r < 0)
        briq_ublk_helpers_free(pool);
    else
        *ret = pool;
    return r;
}

int briq_ublk_helpers_error(const struct briq_ublk_helpers *helpers)
{
    return atomic_load(&helpers->error);
}

void briq_ublk_helpers_join(struct briq_ublk_helpers *helpers)
{
    for (unsigned i = 0; helpers != NULL && i < helpers->setup.count; i++) {
        struct helper *helper = &helpers->list[i];
        if (!helper->has_thread)
            continue;
        if (helper->error == 0)
            briq_ring_post(helper->ring, &helper->end);
        pthread_join(helper->thread, NULL);
        helper->has_thread = false;
    }
}

void briq_ublk_helpers_free(struct briq_ublk_helpers *helpers)
{
    if (helpers == NULL)
        return;
    if (helpers->list != NULL)
        briq_ublk_helpers_join(helpers);
    for (unsigned i = 0; helpers->list != NULL && i < helpers->setup.count; i++)
        briq_ring_close(helpers->list[i].ring);
    free(helpers->list);
    free(helpers->notes);
    free(helpers);
}

/* ---- for workers ----------------------------------------------------------------------------- */

void briq_ublk_helpers_note(struct briq_ublk_helpers *helpers, unsigned worker, bool has_requests)
{
    atomic_store_explicit(&helpers->notes[worker].has_requests, has_requests, memory_order_relaxed);
}

/* As good as what was noted a moment ago: one thread too many does no harm. */
static bool may_claim(const struct briq_ublk_helpers *helpers)
{
    unsigned busy = 0;
    if (!helpers->setup.unasked)
        return true;
    for (unsigned i = 0; i < helpers->setup.workers; i++)
        busy += atomic_load_explicit(&helpers->notes[i].has_requests, memory_order_relaxed);
    for (unsigned i = 0; i < helpers->setup.count; i++)
        busy += atomic_load_explicit(&helpers->list[i].busy, memory_order_relaxed);
    return busy < helpers->processors;
}

struct briq_ublk_help *briq_ublk_helpers_claim(struct briq_ublk_helpers *helpers)
{
    if (!may_claim(helpers))
        return NULL;
    for (unsigned i = 0; i < helpers->setup.count; i++) {
        struct helper *helper = &helpers->list[i];
        if (!atomic_load_explicit(&helper->busy, memory_order_relaxed) &&
            !atomic_exchange_explicit(&helper->busy, true, memory_order_acquire))
            return &helper->help;
    }
    return NULL;
}

void briq_ublk_help_begin(struct briq_ublk_help *help)
{
    struct helper *helper = BRIQ_CONTAINER_OF(help, struct helper, help);
    briq_ring_post(helper->ring, &helper->begin);
}

void briq_ublk_help_release(struct briq_ublk_help *help)
{
    struct helper *helper = BRIQ_CONTAINER_OF(help, struct helper, help);
    atomic_store_explicit(&helper->busy, false, memory_order_release);
}
