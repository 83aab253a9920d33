/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/steps.h"

#include <semaphore.h>

static void wake(struct briq_op *op)
{
    sem_post(op->user);
}

int test_step_run(struct briq_store *store, struct briq_ctx *ctx, enum briq_op_kind kind, void *buf,
                  uint64_t len, uint64_t off, unsigned flags)
{
    sem_t woken;
    struct briq_op op = {.wake = wake, .user = &woken};
    BRIQ_ASSERT(kind != BRIQ_OP_STATUS);
    sem_init(&woken, 0, 0);
    briq_op_init(&op, kind, buf, len, off, flags);
    for (enum briq_step step; (step = briq_op_step(ctx, &op)) != BRIQ_STEP_DONE;) {
        for (unsigned i = 0; step == BRIQ_STEP_IO && i < op.io_count; i++)
            briq_io_run(store, &op.io[i]);
        while (step == BRIQ_STEP_WAIT && sem_wait(&woken) < 0)
            ; /* a signal came */
    }
    sem_destroy(&woken);
    return op.result;
}
