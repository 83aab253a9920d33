/* SPDX-License-Identifier: BSD-3-Clause */
/* internal.h - struct briq_ring, for the files of this room alone. */
#ifndef BRIQ_RING_INTERNAL_H
#define BRIQ_RING_INTERNAL_H

#include <liburing.h>
#include <pthread.h>

#include "common/ring/recv.h"
#include "common/ring/ring.h"

/* A completion that was taken off the queue and has not been run. */
struct briq_ring_ready {
    struct briq_ring_op *op;
    int res;
    unsigned flags;
};

struct briq_ring_task_list {
    struct briq_ring_task *first, **last;
};

struct briq_ring {
    struct io_uring uring;
    unsigned setup_flags;
    bool stopping;
    int broken; /* 0, or the -errno of io_uring_enter that cannot be helped */
    pthread_t owner;

    struct briq_ring_ready *ready;
    size_t ready_count, ready_max;
    struct briq_ring_send *sends; /* submitted, to be settled when the turn has submitted */
    bool must_settle;             /* before sleeping: one is urgent, or has failed */

    struct briq_ring_task_list deferred;
    _Atomic(struct briq_ring_task *) posted; /* newest first */
    _Atomic unsigned posting;                /* threads inside briq_ring_post() */
    _Atomic bool asleep;                     /* a post must write to wake_fd */
    int wake_fd;
    uint64_t wake_value;
    struct briq_ring_op wake_op;

    struct briq_list timers; /* the next one first */

    uint64_t spin_ns;
    unsigned spin_skip, spin_backoff; /* turns to go without spinning, after spins in vain */

    struct briq_recv_pool recv;
    struct briq_ring_counts counts;
};

/* ring.c: the queue is full or completions must be fetched: submits without waiting. */
void briq_ring_submit_now(struct briq_ring *ring);

/* recv.c: hands buffers that came back to the kernel, and starts receives that found none. */
void briq_recv_refill(struct briq_ring *ring);
/* recv.c: gives the buffers up. */
void briq_recv_close(struct briq_ring *ring);

#endif
