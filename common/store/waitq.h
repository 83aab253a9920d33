/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * waitq.h - operations that wait for something another one will give back: a window, a buffer,
 * space.
 *
 * Like an event count: take a ticket, look again, and only then wait with that ticket. A wake-up
 * between ticket and wait makes the wait fail, so none is ever lost. Every wake-up wakes all.
 *
 * Thread: any. op->wake is called without the queue's lock.
 */
#ifndef BRIQ_STORE_WAITQ_H
#define BRIQ_STORE_WAITQ_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"

struct briq_op;

struct briq_waitq {
    pthread_mutex_t lock; /* guards the list */
    struct briq_list waiting;
    _Atomic uint64_t ticket; /* counts wake-ups */
    _Atomic uint32_t count;  /* waiting now: an idle wake-up costs one load */
};

/* Embedded in whatever waits. */
struct briq_waiter {
    struct briq_node node;
    struct briq_op *op;
};

void briq_waitq_init(struct briq_waitq *q);
void briq_waitq_fini(struct briq_waitq *q);

static inline uint64_t briq_waitq_ticket(struct briq_waitq *q)
{
    return atomic_load(&q->ticket);
}

/* Queues the waiter unless something was woken since the ticket was taken: then false, try again.
 */
bool briq_waitq_wait(struct briq_waitq *q, struct briq_waiter *waiter, uint64_t ticket);

/* Calls op->wake of everything that waits. */
void briq_waitq_wake(struct briq_waitq *q);

#endif
