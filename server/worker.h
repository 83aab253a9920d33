/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.h - a thread of the ring engine: its ring, the connections it drives, and its contexts of
 * the stores.
 *
 * Thread: the worker's.
 */
#ifndef BRIQ_SERVER_WORKER_H
#define BRIQ_SERVER_WORKER_H

#include <pthread.h>
#include <semaphore.h>

#include "common/ring/recv.h"
#include "common/ring/ring.h"
#include "server/conn.h"
#include "server/engine.h"

/* A context that all connections of this worker to one store use. */
struct briq_worker_ctx {
    struct briq_node node;
    struct briq_store *store;
    struct briq_ctx *ctx;
    unsigned users;
};

/* A socket that the worker accepts on. */
struct briq_acceptor {
    struct briq_ring_op op;
    struct briq_ring_timer retry; /* when there were no descriptors left */
    struct briq_worker *worker;
    int fd;
    bool armed;
};

struct briq_worker {
    struct briq_server *server;
    unsigned index;
    struct briq_ring *ring;
    pthread_t thread;
    struct briq_list conns;
    _Atomic unsigned conn_count; /* for whoever looks for the least busy worker */
    struct briq_out_pool pool;
    struct briq_list ctxs;
    struct briq_acceptor acceptors[BRIQ_LISTENERS_MAX];
    unsigned acceptor_count;
    struct briq_ring_task begin; /* posted to the one that accepts, when all have started */
    struct briq_ring_task end;   /* posted to all */
    bool ending, deaf;           /* deaf: does not accept any more */
};

/* Ending all connections to an export, on all workers. */
struct briq_ring_drop {
    const struct briq_export *export;
    uint64_t at_ns;         /* when they must be gone */
    _Atomic unsigned left;  /* workers that have not looked, and connections that have not ended */
    _Atomic unsigned count; /* of connections */
    sem_t done;             /* left is 0 */
};

/* One of those has. */
void briq_ring_drop_less(struct briq_ring_drop *drop);

/* ring_conn.c: a connection of a worker. */

struct briq_ring_conn {
    struct briq_nbd_conn nbd;
    struct briq_node node; /* in worker->conns */
    struct briq_worker *worker;
    int fd;
    bool shut;
    struct briq_ring_recv recv;
    struct briq_ring_send send;
    struct msghdr msg;
    struct iovec iov[BRIQ_OUT_IOVS];
    struct briq_ring_task begin;  /* posted to the worker that gets it */
    struct briq_ring_task settle; /* at the end of a turn in which something has happened */
    struct briq_ring_task again;  /* posted to go on in the next turn */
    bool again_posted;
    struct briq_ring_drop *drop;     /* that ends it; NULL: none does */
    struct briq_ring_timer deadline; /* of the handshake, then of draining */
};

/* A connected and counted socket, to be begun by a worker. NULL: out of memory. Thread: any. */
struct briq_ring_conn *briq_ring_conn_new(struct briq_worker *worker, int fd);

/* Takes nothing more in, ends what is under way, and is gone at at_ns at the latest. */
void briq_ring_conn_drain(struct briq_ring_conn *conn, uint64_t at_ns);

/* ring_engine.c: a connection has gone. */
void briq_worker_conn_gone(struct briq_worker *worker);

#endif
