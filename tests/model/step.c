/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * step.c - the model's operations through the stepwise interface: several in flight in one thread,
 * carried on in random order, their device requests run in random order.
 *
 * A slot goes FREE -> READY (to be stepped) -> DEVICE (its requests are being run) -> READY ...
 * -> FREE, or READY -> WAITING -> READY when the store wakes it. Requests may overlap: contest.c
 * sorts out what they may have seen. Without a maintenance thread nothing here ever blocks, and a
 * run repeats exactly; blocking calls then progress the other operations through the store's wait
 * hook.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/model/contest.h"
#include "tests/model/worker.h"

#define SLOTS         8u
#define CONTEXTS      2u
#define STUCK_SECONDS 60

enum slot_state {
    SLOT_FREE,
    SLOT_READY,
    SLOT_DEVICE,
    SLOT_WAITING,
};

struct slot {
    struct briq_op op;
    struct stepper *stepper;
    enum slot_state state;
    struct request request;
    struct buffer buffer;
    struct briq_extent extents[REQUEST_EXTENTS_MAX];
    uint64_t begin; /* logical time of the call */
    bool last_read; /* settles the block `block` */
    uint64_t block;
    bool io_done[BRIQ_OP_IO_MAX];
    unsigned io_left;
    bool woken; /* guarded by stepper->mutex */
};

struct stepper {
    struct worker *worker;
    struct contest contest;
    struct briq_ctx *ctx[CONTEXTS];
    struct slot slots[SLOTS];
    uint64_t clock; /* logical time */
    uint64_t drawn; /* operations drawn so far */
    bool holding;   /* `held` could not begin yet */
    struct request held;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
};

static void wake(struct briq_op *op)
{
    struct slot *slot = op->user;
    struct stepper *stepper = slot->stepper;
    pthread_mutex_lock(&stepper->mutex);
    slot->woken = true;
    pthread_cond_signal(&stepper->woken);
    pthread_mutex_unlock(&stepper->mutex);
}

static enum briq_op_kind op_kind(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_READ:
        return BRIQ_OP_READ;
    case REQUEST_WRITE:
        return BRIQ_OP_WRITE;
    case REQUEST_TRIM:
        return BRIQ_OP_TRIM;
    case REQUEST_ZERO:
        return BRIQ_OP_ZERO;
    case REQUEST_FLUSH:
        return BRIQ_OP_FLUSH;
    default:
        BRIQ_ASSERT(kind == REQUEST_STATUS);
        return BRIQ_OP_STATUS;
    }
}

/* ---- beginning ------------------------------------------------------------------------------- */

static bool touches_blocks(const struct slot *slot)
{
    enum request_kind kind = slot->request.kind;
    return !slot->last_read && kind != REQUEST_FLUSH && kind != REQUEST_STATUS;
}

static struct slot *free_slot(struct stepper *stepper)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (stepper->slots[i].state == SLOT_FREE)
            return &stepper->slots[i];
    return NULL;
}

static void begin(struct stepper *stepper, struct slot *slot, const struct request *request)
{
    slot->request = *request;
    slot->begin = ++stepper->clock;
    slot->state = SLOT_READY;
    buffer_begin(&slot->buffer, stepper->worker, request);
    uint64_t len = request->kind == REQUEST_FLUSH ? 0 : request->len;
    uint64_t off = request->kind == REQUEST_FLUSH ? 0 : request->off;
    if (worker_begin_op(stepper->worker, request))
        len = 0; /* the canary: a write that the store never sees */
    briq_op_init(&slot->op, op_kind(request->kind), slot->buffer.data, len, off, request->flags);
    slot->op.wake = wake;
    slot->op.user = slot;
    slot->op.extents = slot->extents;
    slot->op.extents_max = request->extents_max;
    if (touches_blocks(slot))
        contest_enter(&stepper->contest, request);
}

static bool begin_last_read(struct stepper *stepper)
{
    struct slot *slot = free_slot(stepper);
    uint64_t block;
    if (slot == NULL || !contest_take_quiet(&stepper->contest, &block))
        return false;
    const struct expect *expect = &stepper->worker->expect;
    uint64_t at = block * TEST_BLOCK_BYTES;
    uint64_t len = expect->size - at < TEST_BLOCK_BYTES ? expect->size - at : TEST_BLOCK_BYTES;
    struct request read = {
        .number = stepper->worker->first_op + stepper->drawn,
        .kind = REQUEST_READ,
        .off = expect->base + at,
        .len = len,
    };
    slot->last_read = true;
    slot->block = block;
    begin(stepper, slot, &read);
    return true;
}

/* ---- the end of an operation ----------------------------------------------------------------- */

static void finish(struct stepper *stepper, struct slot *slot)
{
    struct worker *worker = stepper->worker;
    const struct request *request = &slot->request;
    int r = slot->op.result;
    uint64_t now = ++stepper->clock;
    slot->state = SLOT_FREE;
    worker_check_result(worker, request, r);
    buffer_end(&slot->buffer, worker, request);
    if (slot->last_read) {
        slot->last_read = false;
        contest_settle(&stepper->contest, request, slot->block, slot->buffer.data, slot->begin,
                       now);
    } else if (touches_blocks(slot)) {
        contest_leave(&stepper->contest, request, slot->buffer.data, r != 0, slot->begin, now);
    } else if (request->kind == REQUEST_STATUS && request->len > 0) {
        struct contest_since since = {.contest = &stepper->contest, .begin = slot->begin};
        expect_check_status(&worker->expect, request, slot->extents, slot->op.extents_count,
                            contest_unsure, &since);
    }
}

/* ---- progress -------------------------------------------------------------------------------- */

static void step(struct stepper *stepper, struct slot *slot)
{
    struct briq_ctx *ctx = stepper->ctx[briq_prng_below(&stepper->worker->prng, CONTEXTS)];
    switch (briq_op_step(ctx, &slot->op)) {
    case BRIQ_STEP_DONE:
        finish(stepper, slot);
        break;
    case BRIQ_STEP_IO:
        if (slot->op.io_count == 0 || slot->op.io_count > BRIQ_OP_IO_MAX)
            report_fail(stepper->worker->report, "op %" PRIu64 ": a step handed out %u requests",
                        slot->request.number, slot->op.io_count);
        slot->state = SLOT_DEVICE;
        slot->io_left = slot->op.io_count;
        memset(slot->io_done, 0, sizeof slot->io_done);
        break;
    case BRIQ_STEP_WAIT:
        slot->state = SLOT_WAITING;
        break;
    }
}

static void run_device(struct stepper *stepper, struct slot *slot)
{
    uint64_t skip = briq_prng_below(&stepper->worker->prng, slot->io_left);
    unsigned i = 0;
    while (slot->io_done[i] || skip-- > 0)
        i++;
    briq_io_run(stepper->worker->volume->store, &slot->op.io[i]);
    slot->io_done[i] = true;
    if (--slot->io_left == 0)
        slot->state = SLOT_READY;
}

static void collect_woken(struct stepper *stepper)
{
    pthread_mutex_lock(&stepper->mutex);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &stepper->slots[i];
        if (slot->state == SLOT_WAITING && slot->woken) {
            slot->woken = false;
            slot->state = SLOT_READY;
        }
    }
    pthread_mutex_unlock(&stepper->mutex);
}

/* Carries some operation on by one step or one device request. False: all wait, or there is none.
 */
static bool progress(struct stepper *stepper)
{
    collect_woken(stepper);
    struct slot *ready[SLOTS];
    unsigned count = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        enum slot_state state = stepper->slots[i].state;
        if (state == SLOT_READY || state == SLOT_DEVICE)
            ready[count++] = &stepper->slots[i];
    }
    if (count == 0)
        return false;
    struct slot *slot = ready[briq_prng_below(&stepper->worker->prng, count)];
    if (slot->state == SLOT_READY)
        step(stepper, slot);
    else
        run_device(stepper, slot);
    return true;
}

static unsigned in_flight(const struct stepper *stepper)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        count += stepper->slots[i].state != SLOT_FREE;
    return count;
}

static void stuck(struct stepper *stepper, const char *why)
{
    char text[1024] = "";
    size_t used = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct slot *slot = &stepper->slots[i];
        if (slot->state != SLOT_FREE && used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used,
                                     "\n  op %" PRIu64 " %s offset %" PRIu64 " length %" PRIu64,
                                     slot->request.number, request_name(slot->request.kind),
                                     slot->request.off, slot->request.len);
    }
    report_fail(stepper->worker->report, "stuck: %s; in flight:%s", why, text);
}

static bool any_woken(const struct stepper *stepper)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (stepper->slots[i].state == SLOT_WAITING && stepper->slots[i].woken)
            return true;
    return false;
}

static void wait_for_wake(struct stepper *stepper)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STUCK_SECONDS;
    int r = 0;
    pthread_mutex_lock(&stepper->mutex);
    while (!any_woken(stepper) && r == 0)
        r = pthread_cond_timedwait(&stepper->woken, &stepper->mutex, &until);
    pthread_mutex_unlock(&stepper->mutex);
    if (r != 0)
        stuck(stepper, "no wake for a minute");
}

/* Every operation in flight waits for the store. */
static void idle(struct stepper *stepper)
{
    if (stepper->worker->unit->started) {
        wait_for_wake(stepper);
        return;
    }
    int r = briq_store_maintain(stepper->worker->volume->store);
    if (r < 0)
        report_fail(stepper->worker->report, "briq_store_maintain: %s", strerror(-r));
    pthread_mutex_lock(&stepper->mutex);
    bool woken = any_woken(stepper);
    pthread_mutex_unlock(&stepper->mutex);
    if (r == 0 && !woken)
        stuck(stepper, "all wait, and maintenance has nothing to do");
}

/* A blocking call in this thread has to wait for one of the operations in flight. */
static void progress_for_call(void *opaque)
{
    struct stepper *stepper = opaque;
    if (!progress(stepper))
        stuck(stepper, "a blocking call waits for operations that wait themselves");
}

static void drain(struct stepper *stepper)
{
    while (in_flight(stepper) > 0 || stepper->contest.quiet_count > 0)
        if (!begin_last_read(stepper) && !progress(stepper))
            idle(stepper);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void open_contexts(struct stepper *stepper)
{
    for (unsigned i = 0; i < CONTEXTS; i++) {
        int r = briq_ctx_open(stepper->worker->volume->store, &stepper->ctx[i]);
        if (r != 0)
            report_fail(stepper->worker->report, "briq_ctx_open: %s", strerror(-r));
    }
}

static void close_contexts(struct stepper *stepper)
{
    for (unsigned i = 0; i < CONTEXTS; i++)
        briq_ctx_close(stepper->ctx[i]);
}

static void care(struct stepper *stepper, const struct request *request)
{
    struct worker *worker = stepper->worker;
    bool alone = request->kind >= REQUEST_RESIZE;
    /* Somebody else's thread cannot run our device requests while we block. */
    if (alone || worker->unit->started)
        drain(stepper);
    if (request->kind < REQUEST_REOPEN) {
        worker_care(worker, request);
        return;
    }
    close_contexts(stepper);
    worker_care(worker, request);
    open_contexts(stepper);
}

/* Begins the request where it can; false: later. */
static bool try_begin(struct stepper *stepper, const struct request *request)
{
    struct worker *worker = stepper->worker;
    bool blocking = request_is_care(request->kind) || request->kind == REQUEST_OUTSIDE ||
                    request->kind == REQUEST_PREFETCH;
    if (!blocking) {
        bool free_range = request->kind == REQUEST_FLUSH || request->kind == REQUEST_STATUS ||
                          contest_admits(&stepper->contest, request);
        struct slot *slot = free_range ? free_slot(stepper) : NULL;
        if (slot != NULL)
            begin(stepper, slot, request);
        return slot != NULL;
    }
    worker_begin_op(worker, request);
    if (request_is_care(request->kind))
        care(stepper, request);
    else if (request->kind == REQUEST_OUTSIDE)
        worker_probe_outside(worker, request);
    else
        worker_check_result(worker, request,
                            briq_prefetch(worker->volume->store, request->len, request->off));
    return true;
}

static bool begin_next(struct stepper *stepper)
{
    struct worker *worker = stepper->worker;
    if (!stepper->holding) {
        if (stepper->drawn == worker->ops)
            return false;
        struct request_rules rules = worker_rules(worker);
        stepper->held = request_draw(&worker->prng, &rules, worker->first_op + stepper->drawn++);
        stepper->holding = true;
    }
    if (!try_begin(stepper, &stepper->held))
        return false;
    stepper->holding = false;
    return true;
}

static void run_all(struct stepper *stepper)
{
    struct worker *worker = stepper->worker;
    while (stepper->holding || stepper->drawn < worker->ops) {
        if (begin_last_read(stepper))
            continue;
        if (briq_prng_below(&worker->prng, 3) == 0 && begin_next(stepper))
            continue;
        if (progress(stepper) || begin_next(stepper))
            continue;
        idle(stepper);
    }
    drain(stepper);
}

static void stepper_init(struct stepper *stepper, struct worker *worker)
{
    stepper->worker = worker;
    pthread_mutex_init(&stepper->mutex, NULL);
    pthread_cond_init(&stepper->woken, NULL);
    contest_init(&stepper->contest, worker);
    for (unsigned i = 0; i < SLOTS; i++) {
        stepper->slots[i].stepper = stepper;
        buffer_init(&stepper->slots[i].buffer, worker->report);
    }
    open_contexts(stepper);
    if (volume_never_blocks(worker->unit)) {
        worker->volume->progress = progress_for_call;
        worker->volume->progress_opaque = stepper;
    }
}

static void stepper_fini(struct stepper *stepper)
{
    if (volume_never_blocks(stepper->worker->unit))
        stepper->worker->volume->progress = NULL;
    close_contexts(stepper);
    for (unsigned i = 0; i < SLOTS; i++)
        buffer_fini(&stepper->slots[i].buffer);
    contest_fini(&stepper->contest);
    pthread_cond_destroy(&stepper->woken);
    pthread_mutex_destroy(&stepper->mutex);
}

void worker_run_stepwise(struct worker *worker)
{
    struct stepper *stepper = calloc(1, sizeof *stepper);
    if (stepper == NULL)
        report_fail(worker->report, "the test itself is out of memory");
    stepper_init(stepper, worker);
    run_all(stepper);
    stepper_fini(stepper);
    free(stepper);
}
