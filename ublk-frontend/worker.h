/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.h - a thread that serves tags of one hardware queue, with a ring of its own.
 *
 * Usually it has all tags of its queue; with several threads a queue, thread k of n has the tags k,
 * k+n, k+2n ...: neighbouring tags, which one client uses together, go to different threads.
 *
 * Thread: the functions are called by the one that controls the device, but for the counters.
 */
#ifndef BRIQ_UBLK_WORKER_H
#define BRIQ_UBLK_WORKER_H

#include <pthread.h>
#include <sched.h>

#include "common/base/counter.h"
#include "common/base/error.h"
#include "common/store/store.h"
#include "ublk-frontend/helper.h"
#include "ublk-frontend/process.h"
#include "ublk-frontend/request.h"

struct briq_ublk_worker;

/* What all workers of a device share; constant while they run, but for size changes. */
struct briq_ublk_shared {
    struct briq_store *store; /* NULL: requests are answered without being carried out */
    int fd;                   /* /dev/ublkcN */
    bool user_copy, drop_admin, unprivileged;
    unsigned queues, depth, threads_per_queue;
    uint64_t spin_ns;
    uint32_t max_io_bytes, piece_bytes;
    _Atomic uint64_t sectors; /* of the device; grows */
    enum briq_ublk_affinity affinity;
    int event_fd;                      /* written to when a worker ends or fails */
    struct briq_ublk_helpers *helpers; /* NULL: there are none */
};

/* Of one worker; written by its thread, read by any. */
struct briq_ublk_counts {
    briq_counter requests[6]; /* by enum ublk_io_op, others at 4 */
    briq_counter read_bytes, written_bytes;
    briq_counter errors; /* answered with one */
    briq_counter pieces; /* steps that large requests were cut into, beyond the first */
    briq_counter helped; /* more of them, done by helpers */
    briq_counter waits;  /* requests that were not done at once */
};

/*
 * Starts thread `index` of `queue`, bound as shared->affinity says to processors of `cpus`. Returns
 * when it has asked the kernel for requests, or could not: 0 and *ret for briq_ublk_worker_free(),
 * or -errno explained in err.
 */
int briq_ublk_worker_start(struct briq_ublk_shared *shared, unsigned queue, unsigned index,
                           const cpu_set_t *cpus, struct briq_error *err,
                           struct briq_ublk_worker **ret) BRIQ_MUST;

/*
 * Whether the thread has ended, because the kernel will bring nothing more (0) or because something
 * is wrong that it cannot go on with (-errno). Requests that it has not answered are then the next
 * server's.
 */
bool briq_ublk_worker_ended(const struct briq_ublk_worker *worker, int *ret_error);

/* Makes the thread end: it finishes what it is doing, without answering, and begins nothing more.
 * The device is then without a server, and the next one is asked again. Returns at once. */
void briq_ublk_worker_abandon(struct briq_ublk_worker *worker);

/* Waits for the thread to end. */
void briq_ublk_worker_join(struct briq_ublk_worker *worker);

/* The same, and frees the worker. NULL is accepted. */
void briq_ublk_worker_free(struct briq_ublk_worker *worker);

const struct briq_ublk_counts *briq_ublk_worker_counts(const struct briq_ublk_worker *worker);

#endif
