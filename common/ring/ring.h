/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.h - an event loop over io_uring that belongs to one thread.
 *
 * What is to be done is queued (briq_ring_read(), ..._send()) and handed to the kernel with one
 * system call a turn, which also waits for the next completions. All completions are taken off the
 * queue before the first callback runs, so that callbacks never nest; a callback that is called
 * may queue anything, and may stop the loop.
 *
 * The one thing another thread may do is briq_ring_post().
 *
 * Turn: tasks that were put off - submit and wait - completions - posted tasks - timers.
 *
 * Thread: the one that opened the ring, unless a function says otherwise. Callbacks run in it.
 * Nothing is allocated after briq_ring_open() unless completions overflow the kernel's queue.
 */
#ifndef BRIQ_RING_RING_H
#define BRIQ_RING_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/counter.h"
#include "common/base/error.h"
#include "common/base/list.h"

struct briq_ring;
struct io_uring_sqe;

/*
 * Something the kernel is doing. Embedded in what waits for it; must stay where it is until done()
 * was called without BRIQ_RING_MORE in flags. res is what the system call would have returned, or
 * -errno. flags are those of the completion (IORING_CQE_F_*).
 */
struct briq_ring_op {
    void (*done)(struct briq_ring *ring, struct briq_ring_op *op, int res, unsigned flags);
};

#define BRIQ_RING_MORE 2u /* IORING_CQE_F_MORE: this was not the last completion of op */

/* Work for later: put off to the end of the turn, or posted by another thread. */
struct briq_ring_task {
    void (*run)(struct briq_ring *ring, struct briq_ring_task *task);
    struct briq_ring_task *next;
    bool queued; /* put off and not run yet */
};

/* Embedded; zero-initialised is "not set". */
struct briq_ring_timer {
    struct briq_node node;
    uint64_t at_ns; /* briq_clock_ns() time; 0: not set */
    void (*fire)(struct briq_ring *ring, struct briq_ring_timer *timer);
};

struct briq_ring_options {
    unsigned entries; /* submissions queued at a time; 0: 512. Completions: eight times that */
    uint64_t spin_ns; /* at most so long for the next completion before sleeping; 0: not at all */
};

/* How the loop has been going; written by its thread, read by any. */
struct briq_ring_counts {
    briq_counter turns;         /* times it waited */
    briq_counter calls;         /* system calls into io_uring */
    briq_counter submitted;     /* requests to the kernel */
    briq_counter completed;     /* completions from it */
    briq_counter completed_max; /* in one turn */
    briq_counter queue_full;    /* submissions forced in the middle of a turn */
    briq_counter overflows;     /* times the kernel had to keep completions back */
    briq_counter spins, spin_hits;
    briq_counter sleeps;
    briq_counter wakes; /* by other threads */
    briq_counter sends_settled, sends_partial;
    briq_counter recv_starved; /* receives that found no buffer */
};

/*
 * Whether rings can be had here, with all that this loop needs (Linux 6.0 or newer, not forbidden).
 * Returns 0, or -errno explained in err. Thread: any. Blocks shortly.
 */
int briq_ring_probe(struct briq_error *err) BRIQ_MUST;

/* A ring for the calling thread, in *ret for briq_ring_close(). 0, or -errno explained in err. */
int briq_ring_open(const struct briq_ring_options *options, struct briq_error *err,
                   struct briq_ring **ret) BRIQ_MUST;
/* Nothing may be under way any more in the loop, and no post may begin; one whose task has run is
 * waited for. NULL is accepted. Thread: any. */
void briq_ring_close(struct briq_ring *ring);

/* Turns until briq_ring_stop(). Returns 0, or the -errno that made the ring unusable. */
int briq_ring_run(struct briq_ring *ring) BRIQ_MUST;
/* The turn that is running is the last one. */
void briq_ring_stop(struct briq_ring *ring);

const struct briq_ring_counts *briq_ring_counts(const struct briq_ring *ring);
/* What the kernel grants, in words: "single issuer, deferred task work, ..." */
const char *briq_ring_describe(const struct briq_ring *ring, char *text, size_t room);

/* ---- tasks and timers ------------------------------------------------------------------------ */

/* Runs task once before the loop next submits; already put off: nothing. */
void briq_ring_defer(struct briq_ring *ring, struct briq_ring_task *task);

/*
 * Runs task in the ring's thread, soon. Thread: any. task must not be posted again before it has
 * run.
 */
void briq_ring_post(struct briq_ring *ring, struct briq_ring_task *task);

/* Calls fire once at that time or later. A timer that is set is moved. */
void briq_ring_timer_set(struct briq_ring *ring, struct briq_ring_timer *timer, uint64_t at_ns);
void briq_ring_timer_clear(struct briq_ring *ring, struct briq_ring_timer *timer);

/* ---- requests to the kernel ------------------------------------------------------------------ */

/*
 * A cleared submission that completes to op, for what has no function here. Never NULL: when the
 * queue is full it is submitted first.
 */
struct io_uring_sqe *briq_ring_sqe(struct briq_ring *ring, struct briq_ring_op *op);

void briq_ring_read(struct briq_ring *ring, struct briq_ring_op *op, int fd, void *buf,
                    uint32_t len, uint64_t off);
void briq_ring_write(struct briq_ring *ring, struct briq_ring_op *op, int fd, const void *buf,
                     uint32_t len, uint64_t off);
void briq_ring_datasync(struct briq_ring *ring, struct briq_ring_op *op, int fd);
/* Completes once for each connection, res being its descriptor (close-on-exec). */
void briq_ring_accept(struct briq_ring *ring, struct briq_ring_op *op, int fd);
/* Asks the kernel to end op soon; op completes as ever, perhaps with -ECANCELED. */
void briq_ring_cancel(struct briq_ring *ring, struct briq_ring_op *op);

/*
 * A send that usually costs no completion: what the socket takes at once is not reported by the
 * kernel and counts as sent when the turn has submitted. What it does not take waits in the kernel
 * until the peer reads. sent() may be called as late as the next completion of anything, unless it
 * is urgent.
 */
struct briq_ring_send {
    /* res: all of msg's bytes were sent (their number), or -errno. Then the send may be reused. */
    void (*sent)(struct briq_ring *ring, struct briq_ring_send *send, int res);
    struct msghdr *msg; /* set by the caller; its iovecs are changed by a partial send */
    /* Set by the caller: sent() has more to do than to note it, so the loop must not sleep first.
     */
    bool urgent;
    /* private */
    struct briq_ring_op op;
    struct briq_ring_send *next;
    int fd;
    size_t len, done;
    int taken; /* bytes that the kernel took at once, or its -errno; INT_MAX: everything */
};

/* fd is a stream socket; send, send->msg and all it points to stay until sent() was called. */
void briq_ring_send(struct briq_ring *ring, struct briq_ring_send *send, int fd);

#endif
