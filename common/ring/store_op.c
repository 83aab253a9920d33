/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/ring/store_op.h"

#include <errno.h>

static void io_done(struct briq_ring *ring, struct briq_ring_op *ring_op, int res, unsigned flags);

static void queue_io(struct briq_store_op *op, unsigned index)
{
    struct briq_io *io = &op->op.io[index];
    struct briq_ring_op *ring_op = &op->ios[index].op;
    int fd = briq_store_fd(op->store);
    op->ios[index].of = op;
    ring_op->done = io_done;
    switch (io->kind) {
    case BRIQ_IO_READ:
        briq_ring_read(op->ring, ring_op, fd, io->buf, io->len, io->off);
        return;
    case BRIQ_IO_WRITE:
        briq_ring_write(op->ring, ring_op, fd, io->buf, io->len, io->off);
        return;
    case BRIQ_IO_FLUSH:
        briq_ring_datasync(op->ring, ring_op, fd);
        return;
    }
}

static void queue_ios(struct briq_store_op *op)
{
    op->io_pending = op->op.io_count;
    for (unsigned i = 0; i < op->op.io_count; i++)
        queue_io(op, i);
}

/* A device without a descriptor, in memory or in a test, does its work here. */
static void run_ios(struct briq_store_op *op)
{
    for (unsigned i = 0; i < op->op.io_count; i++)
        briq_io_run(op->store, &op->op.io[i]);
}

bool briq_store_op_run(struct briq_store_op *op)
{
    for (;;) {
        switch (briq_op_step(op->ctx, &op->op)) {
        case BRIQ_STEP_DONE:
            return true;
        case BRIQ_STEP_WAIT:
            return false; /* perhaps it is woken already: nothing of it is touched */
        case BRIQ_STEP_IO:
            if (briq_store_fd(op->store) >= 0) {
                queue_ios(op);
                return false;
            }
            run_ios(op);
            break;
        }
    }
}

static void go_on(struct briq_store_op *op)
{
    if (briq_store_op_run(op))
        op->done(op);
}

/* A transfer that is short has met the end of the file or needs another try at an odd place: the
 * device knows what to do then, and it is rare enough to be done here and now. */
static void finish_io(struct briq_store_op *op, struct briq_io *io, int res)
{
    if (res < 0 || io->kind == BRIQ_IO_FLUSH || (uint32_t)res == io->len)
        io->result = res < 0 ? res : 0;
    else
        briq_io_run(op->store, io);
}

static void io_done(struct briq_ring *ring, struct briq_ring_op *ring_op, int res, unsigned flags)
{
    (void)ring;
    (void)flags;
    struct briq_store_op_io *slot = BRIQ_CONTAINER_OF(ring_op, struct briq_store_op_io, op);
    struct briq_store_op *op = slot->of;
    unsigned index = (unsigned)(slot - op->ios);
    if (res == -EINTR || res == -EAGAIN) {
        queue_io(op, index); /* no verdict yet */
        return;
    }
    finish_io(op, &op->op.io[index], res);
    if (--op->io_pending == 0)
        go_on(op);
}

static void run_woken(struct briq_ring *ring, struct briq_ring_task *task)
{
    (void)ring;
    go_on(BRIQ_CONTAINER_OF(task, struct briq_store_op, woken));
}

/* Any thread, perhaps before the step that will wait has returned. */
static void wake(struct briq_op *op)
{
    struct briq_store_op *self = BRIQ_CONTAINER_OF(op, struct briq_store_op, op);
    briq_ring_post(self->ring, &self->woken);
}

void briq_store_op_init(struct briq_store_op *op)
{
    op->op.wake = wake;
    op->woken.run = run_woken;
}
