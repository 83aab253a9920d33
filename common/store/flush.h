/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * flush.h - group commit: one round makes everything durable that was acknowledged before it began.
 *
 * The first operation to need a round leads it; those that come while it runs wait, and the next
 * round covers them all. At most one round runs, so a device flush is never issued twice for the
 * same writes. A round:
 *
 *   1. target := the last sequence number given out
 *   2. seal every stream's open chunk, claim all sealed bytes, write them
 *   3. turn the claim phase, wait until others' writes of the old phase are done
 *   4. flush the device (a round that only pushes, for stores without a windows file, ends here)
 *   5. durable := target, wake the waiting
 *
 * Any failure latches the store: the flush fails, and so does everything after it.
 *
 * The phases of an operation that flushes are in op_flush.c; this is the state they share.
 */
#ifndef BRIQ_STORE_FLUSH_H
#define BRIQ_STORE_FLUSH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/base/counter.h"

struct briq_op;

struct briq_flusher {
    pthread_mutex_t lock;     /* guards running, waiting, drainer */
    bool running;             /* a round is led by somebody */
    struct briq_list waiting; /* operations for the next round */
    uint32_t waiting_count;
    struct briq_op *drainer; /* the leader, while it waits in step 3 */
    _Atomic uint64_t pushed; /* all up to it were given to the device */
    briq_counter rounds, batch_max;
};

void briq_flusher_init(struct briq_flusher *flusher);
void briq_flusher_fini(struct briq_flusher *flusher);

/* The last write of a claim phase is done: a leader that waits for it goes on. Thread: any. */
struct briq_store;
void briq_flush_drained(struct briq_store *store);

#endif
