/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/waitq.h"

#include "common/store/store.h"

void briq_waitq_init(struct briq_waitq *q)
{
    pthread_mutex_init(&q->lock, NULL);
    briq_list_init(&q->waiting);
    atomic_init(&q->ticket, 0);
    atomic_init(&q->count, 0);
}

void briq_waitq_fini(struct briq_waitq *q)
{
    BRIQ_ASSERT(briq_list_empty(&q->waiting));
    pthread_mutex_destroy(&q->lock);
}

bool briq_waitq_wait(struct briq_waitq *q, struct briq_waiter *waiter, uint64_t ticket)
{
    pthread_mutex_lock(&q->lock);
    /* First be counted, then look: a waker moves the ticket first and then looks at the count, so
     * one of the two sees the other. */
    atomic_fetch_add(&q->count, 1);
    bool fresh = atomic_load(&q->ticket) == ticket;
    if (fresh)
        briq_list_push_back(&q->waiting, &waiter->node);
    else
        atomic_fetch_sub(&q->count, 1);
    pthread_mutex_unlock(&q->lock);
    return fresh;
}

void briq_waitq_wake(struct briq_waitq *q)
{
    struct briq_list woken;
    briq_list_init(&woken);

    /* The ticket moves even when nobody waits yet: somebody may be between ticket and wait. */
    atomic_fetch_add(&q->ticket, 1);
    if (atomic_load(&q->count) == 0)
        return;
    pthread_mutex_lock(&q->lock);
    briq_list_take_all(&woken, &q->waiting);
    atomic_store(&q->count, 0);
    pthread_mutex_unlock(&q->lock);

    struct briq_node *node;
    while ((node = briq_list_pop_front(&woken)) != NULL) {
        struct briq_op *op = BRIQ_CONTAINER_OF(node, struct briq_waiter, node)->op;
        op->wake(op);
    }
}
