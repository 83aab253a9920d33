/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blocking.c - the plain calls: one operation stepped to its end by a thread that may block.
 *
 * A thread that has to wait, in a store without a maintenance thread, does the maintenance itself.
 * Not so while it takes part in a flush round: maintenance may need that round to end.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/maintain.h"
#include "common/store/op.h"
#include "common/store/sleeper.h"
#include "common/store/tree.h"

/* ---- waiting --------------------------------------------------------------------------------- */

struct sleeper {
    struct briq_op op;
    sem_t woken;
};

static void wake_sleeper(struct briq_op *op)
{
    sem_post(&((struct sleeper *)op->user)->woken);
}

static void sleeper_init(struct sleeper *sleeper)
{
    sem_init(&sleeper->woken, 0, 0);
    sleeper->op.user = sleeper;
    sleeper->op.wake = wake_sleeper;
}

static bool is_woken(struct sleeper *sleeper)
{
    return sem_trywait(&sleeper->woken) == 0;
}

/*
 * Waits for another thread that maintains just now, and then looks itself: what that one could not
 * free may have waited for this thread to leave its epoch. Where nothing may block there is no such
 * other thread, only a maintenance further up in this one.
 */
static bool maintain_inline(struct briq_store *store)
{
    if (store->maintain.running)
        return false;
    return (store->options.wait_hook != NULL ? briq_maintain_try(store)
                                             : briq_store_maintain(store)) > 0;
}

static void wait_woken(struct briq_store *store, struct sleeper *sleeper, bool may_maintain)
{
    while (!is_woken(sleeper)) {
        if (may_maintain && maintain_inline(store))
            continue;
        if (store->options.wait_hook != NULL) {
            store->options.wait_hook(store->options.wait_opaque);
            continue;
        }
        while (sem_wait(&sleeper->woken) < 0)
            ; /* a signal came */
        return;
    }
}

void briq_sleep_on(struct briq_store *store, uint64_t ticket)
{
    struct sleeper sleeper;
    struct briq_waiter waiter = {.op = &sleeper.op};
    sleeper_init(&sleeper);
    if (briq_waitq_wait(&store->waitq, &waiter, ticket)) {
        /* The last reader may have left just before he could see us waiting: see briq_op_wait(). */
        briq_windows_reclaim(&store->windows);
        wait_woken(store, &sleeper, false);
    }
    sem_destroy(&sleeper.woken);
}

/* ---- running --------------------------------------------------------------------------------- */

void briq_io_run(struct briq_store *store, struct briq_io *io)
{
    switch (io->kind) {
    case BRIQ_IO_READ:
        io->result = briq_device_read(store->dev, io->buf, io->len, io->off);
        return;
    case BRIQ_IO_WRITE:
        io->result = briq_device_write(store->dev, io->buf, io->len, io->off);
        return;
    case BRIQ_IO_FLUSH:
        io->result = briq_device_flush(store->dev);
        return;
    }
}

static int run(struct briq_ctx *ctx, struct sleeper *sleeper, bool may_maintain)
{
    struct briq_op *op = &sleeper->op;
    for (;;) {
        switch (briq_op_step(ctx, op)) {
        case BRIQ_STEP_DONE:
            return op->result;
        case BRIQ_STEP_IO:
            for (unsigned i = 0; i < op->io_count; i++)
                briq_io_run(ctx->store, &op->io[i]);
            break;
        case BRIQ_STEP_WAIT:
            wait_woken(ctx->store, sleeper, may_maintain && !briq_op_state(op)->outside);
            break;
        }
    }
}

static int run_once(struct briq_store *store, struct sleeper *sleeper)
{
    struct briq_ctx *ctx;
    int r = briq_ctx_borrow(store, &ctx);
    if (r < 0)
        return r;
    sleeper_init(sleeper);
    r = run(ctx, sleeper, true);
    sem_destroy(&sleeper->woken);
    briq_ctx_return(ctx);
    return r;
}

int briq_run_flush(struct briq_store *store, struct briq_ctx *ctx, bool force)
{
    (void)store;
    struct sleeper sleeper;
    briq_op_init(&sleeper.op, BRIQ_OP_FLUSH, NULL, 0, 0, 0);
    briq_op_state(&sleeper.op)->force_sync = force;
    sleeper_init(&sleeper);
    int r = run(ctx, &sleeper, false);
    sem_destroy(&sleeper.woken);
    return r;
}

/* ---- the calls ------------------------------------------------------------------------------- */

int briq_read(struct briq_store *store, void *buf, size_t len, uint64_t off)
{
    struct sleeper sleeper;
    briq_op_init(&sleeper.op, BRIQ_OP_READ, buf, len, off, 0);
    return run_once(store, &sleeper);
}

int briq_write(struct briq_store *store, const void *buf, size_t len, uint64_t off, unsigned flags)
{
    struct sleeper sleeper;
    void *bytes;
    memcpy(&bytes, &buf, sizeof bytes); /* one op struct for both directions; a write only reads */
    briq_op_init(&sleeper.op, BRIQ_OP_WRITE, bytes, len, off, flags);
    return run_once(store, &sleeper);
}

int briq_trim(struct briq_store *store, uint64_t len, uint64_t off, unsigned flags)
{
    struct sleeper sleeper;
    briq_op_init(&sleeper.op, BRIQ_OP_TRIM, NULL, len, off, flags);
    return run_once(store, &sleeper);
}

int briq_zero(struct briq_store *store, uint64_t len, uint64_t off, unsigned flags)
{
    struct sleeper sleeper;
    briq_op_init(&sleeper.op, BRIQ_OP_ZERO, NULL, len, off, flags);
    return run_once(store, &sleeper);
}

int briq_flush(struct briq_store *store)
{
    struct sleeper sleeper;
    briq_op_init(&sleeper.op, BRIQ_OP_FLUSH, NULL, 0, 0, 0);
    return run_once(store, &sleeper);
}

int briq_status(struct briq_store *store, uint64_t len, uint64_t off, unsigned flags,
                struct briq_extent *extents, unsigned max, unsigned *ret_count)
{
    struct sleeper sleeper;
    briq_op_init(&sleeper.op, BRIQ_OP_STATUS, NULL, len, off, flags);
    sleeper.op.extents = extents;
    sleeper.op.extents_max = max;
    int r = run_once(store, &sleeper);
    if (r == 0)
        *ret_count = sleeper.op.extents_count;
    return r;
}
