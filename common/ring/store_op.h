/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_op.h - an operation of the store, carried to its end by a ring: its device requests are
 * queued, its wake-ups posted, and it is stepped in between.
 *
 * Most operations need neither and are done when briq_store_op_run() returns.
 */
#ifndef BRIQ_RING_STORE_OP_H
#define BRIQ_RING_STORE_OP_H

#include "common/ring/ring.h"
#include "common/store/store.h"

struct briq_store_op;

/* One device request under way. */
struct briq_store_op_io {
    struct briq_ring_op op;
    struct briq_store_op *of;
};

/*
 * Embedded in a request's slot and reused; before each use, briq_op_init(&x->op, ...). It stays
 * where it is, and so does what it refers to, until it is done.
 */
struct briq_store_op {
    struct briq_op op;
    /* set by the caller */
    struct briq_ring *ring;
    struct briq_store *store;
    struct briq_ctx *ctx; /* of the ring's thread */
    /* Called from the loop, when briq_store_op_run() returned false. op.result is final. */
    void (*done)(struct briq_store_op *op);
    /* private */
    struct briq_ring_task woken;
    unsigned io_pending;
    struct briq_store_op_io ios[BRIQ_OP_IO_MAX];
};

/* Once, before the first use of op. */
void briq_store_op_init(struct briq_store_op *op);

/*
 * Carries op on as far as it goes at once. True: it is done, and done() will not be called. False:
 * it will be. Thread: the ring's.
 */
bool briq_store_op_run(struct briq_store_op *op) BRIQ_MUST;

#endif
