/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring_engine.c - the engine of a few threads, each with a ring. The first accepts and gives each
 * connection to the worker that has the fewest; from then on no other thread touches it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/base/clock.h"
#include "server/worker.h"

#define RECV_BUFS_MIN 64u
#define RECV_BUFS_MAX 8192u
#define RETRY_NS      UINT64_C(100000000)
#define BUFS_A_CONN   4u

struct ring_engine {
    struct briq_worker *workers;
    unsigned count;
    char about[64];
    sem_t deaf; /* nothing is accepted any more */
};

/* What a starting thread needs, and tells. */
struct starting {
    struct briq_worker *worker;
    struct briq_error *err;
    sem_t ready;
    int result;
};

static void wait_for(sem_t *sem)
{
    while (sem_wait(sem) < 0)
        ; /* a signal came */
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void arm(struct briq_ring *ring, struct briq_acceptor *acceptor)
{
    acceptor->armed = true;
    briq_ring_accept(ring, &acceptor->op, acceptor->fd);
}

static struct briq_worker *least_busy(const struct ring_engine *engine)
{
    struct briq_worker *best = &engine->workers[0];
    for (unsigned i = 1; i < engine->count; i++)
        if (atomic_load(&engine->workers[i].conn_count) < atomic_load(&best->conn_count))
            best = &engine->workers[i];
    return best;
}

static int give(struct briq_server *server, int fd)
{
    const struct ring_engine *engine = server->engine;
    struct briq_worker *worker = least_busy(engine);
    struct briq_ring_conn *conn = briq_ring_conn_new(worker, fd);
    if (conn == NULL) {
        close(fd);
        briq_server_leave(server);
        return -ENOMEM;
    }
    briq_socket_tune(fd, (int)server->options.send_bytes, (int)server->options.recv_bytes);
    atomic_fetch_add(&worker->conn_count, 1);
    briq_ring_post(worker->ring, &conn->begin);
    return 0;
}

static void stop_if_done(struct briq_worker *worker)
{
    bool armed = false;
    for (unsigned i = 0; i < worker->acceptor_count; i++)
        armed = armed || worker->acceptors[i].armed;
    if (!worker->ending || armed)
        return;
    if (!worker->deaf) {
        worker->deaf = true;
        sem_post(&((struct ring_engine *)worker->server->engine)->deaf);
    }
    if (atomic_load(&worker->conn_count) == 0)
        briq_ring_stop(worker->ring);
}

static void accepted(struct briq_ring *ring, struct briq_ring_op *op, int res, unsigned flags)
{
    struct briq_acceptor *acceptor = BRIQ_CONTAINER_OF(op, struct briq_acceptor, op);
    struct briq_worker *worker = acceptor->worker;
    if (res >= 0 && (worker->ending || !briq_server_admit(worker->server, res)))
        close(res);
    else if (res >= 0)
        (void)give(worker->server, res); /* the client sees that it was closed */
    if ((flags & BRIQ_RING_MORE) != 0)
        return;
    acceptor->armed = false;
    if (worker->ending)
        stop_if_done(worker);
    else if (res >= 0 || res == -ECONNABORTED || res == -EINTR)
        arm(ring, acceptor);
    else
        briq_ring_timer_set(ring, &acceptor->retry, briq_clock_ns() + RETRY_NS);
}

static void retry(struct briq_ring *ring, struct briq_ring_timer *timer)
{
    arm(ring, BRIQ_CONTAINER_OF(timer, struct briq_acceptor, retry));
}

static void accept_on_all(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct briq_worker *worker = BRIQ_CONTAINER_OF(task, struct briq_worker, begin);
    struct briq_server *server = worker->server;
    for (unsigned i = 0; i < server->listener_count; i++) {
        struct briq_acceptor *acceptor = &worker->acceptors[worker->acceptor_count++];
        acceptor->worker = worker;
        acceptor->fd = server->listeners[i].fd;
        acceptor->op.done = accepted;
        acceptor->retry.fire = retry;
        arm(ring, acceptor);
    }
}

/* ---- a worker's life ------------------------------------------------------------------------- */

void briq_worker_conn_gone(struct briq_worker *worker)
{
    atomic_fetch_sub(&worker->conn_count, 1);
    briq_server_leave(worker->server);
    stop_if_done(worker);
}

static void end(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct briq_worker *worker = BRIQ_CONTAINER_OF(task, struct briq_worker, end);
    uint64_t at_ns = briq_clock_ns() + worker->server->options.drain_ns;
    worker->ending = true;
    for (unsigned i = 0; i < worker->acceptor_count; i++) {
        briq_ring_timer_clear(ring, &worker->acceptors[i].retry);
        if (worker->acceptors[i].armed)
            briq_ring_cancel(ring, &worker->acceptors[i].op);
    }
    for (struct briq_node *node = worker->conns.head.next; node != &worker->conns.head;
         node = node->next)
        briq_ring_conn_drain(BRIQ_CONTAINER_OF(node, struct briq_ring_conn, node), at_ns);
    stop_if_done(worker);
}

static int open_worker(struct briq_worker *worker, struct briq_error *err)
{
    const struct briq_server_options *options = &worker->server->options;
    const struct briq_ring_options ring_options = {.spin_ns = options->spin_ns};
    uint64_t bufs = briq_max_u64(RECV_BUFS_MIN, BUFS_A_CONN * (uint64_t)options->max_connections);
    int r = briq_ring_open(&ring_options, err, &worker->ring);
    if (r < 0)
        return r;
    return briq_recv_open(worker->ring, NBD_RECV_BYTES, (uint32_t)briq_min_u64(bufs, RECV_BUFS_MAX),
                          err);
}

static void tell_counts(const struct briq_worker *worker)
{
    const struct briq_ring_counts *c = briq_ring_counts(worker->ring);
    briq_log_line(&worker->server->options.log, BRIQ_LOG_INFO,
                  "thread %u: %" PRIu64 " turns, %" PRIu64 " system calls, %" PRIu64
                  " submissions, %" PRIu64 " completions (%" PRIu64 " at most in a turn), %" PRIu64
                  " of %" PRIu64 " spins in vain, %" PRIu64 " sends whole and %" PRIu64
                  " in parts, %" PRIu64 " times no buffer, %" PRIu64 " queues full, %" PRIu64
                  " overflows",
                  worker->index, briq_counter_get(&c->turns), briq_counter_get(&c->calls),
                  briq_counter_get(&c->submitted), briq_counter_get(&c->completed),
                  briq_counter_get(&c->completed_max),
                  briq_counter_get(&c->spins) - briq_counter_get(&c->spin_hits),
                  briq_counter_get(&c->spins), briq_counter_get(&c->sends_settled),
                  briq_counter_get(&c->sends_partial), briq_counter_get(&c->recv_starved),
                  briq_counter_get(&c->queue_full), briq_counter_get(&c->overflows));
}

static void *run_worker(void *opaque)
{
    struct starting *starting = opaque;
    struct briq_worker *worker = starting->worker;
    int r = starting->result = open_worker(worker, starting->err);
    sem_post(&starting->ready);                  /* starting is gone from here on */
    r = r < 0 ? 0 : briq_ring_run(worker->ring); /* who started it tells why it could not be */
    if (r < 0)
        briq_log_line(&worker->server->options.log, BRIQ_LOG_ERROR, "io_uring: %s", strerror(-r));
    if (worker->ring != NULL)
        tell_counts(worker);
    briq_out_pool_fini(&worker->pool);
    return NULL;
}

static int start_worker(struct briq_worker *worker, struct briq_error *err)
{
    struct starting starting = {.worker = worker, .err = err};
    briq_list_init(&worker->conns);
    briq_list_init(&worker->ctxs);
    worker->begin.run = accept_on_all;
    worker->end.run = end;
    sem_init(&starting.ready, 0, 0);
    int r = -pthread_create(&worker->thread, NULL, run_worker, &starting);
    if (r == 0) {
        wait_for(&starting.ready);
        r = starting.result;
        if (r < 0)
            pthread_join(worker->thread, NULL);
    }
    sem_destroy(&starting.ready);
    if (r < 0)
        return briq_error_set(err, r, "cannot start a thread: %s", strerror(-r));
    return 0;
}

/* ---- ending the connections to an export ----------------------------------------------------- */

struct drop_task {
    struct briq_ring_task task;
    struct briq_worker *worker;
    struct briq_ring_drop *drop;
};

void briq_ring_drop_less(struct briq_ring_drop *drop)
{
    if (atomic_fetch_sub(&drop->left, 1) == 1)
        sem_post(&drop->done);
}

static void drop_of_worker(struct briq_ring *ring, struct briq_ring_task *task)
{
    (void)ring;
    const struct drop_task *mine = BRIQ_CONTAINER_OF(task, struct drop_task, task);
    struct briq_ring_drop *drop = mine->drop;
    const struct briq_list *conns = &mine->worker->conns;
    for (struct briq_node *node = conns->head.next; node != &conns->head; node = node->next) {
        struct briq_ring_conn *conn = BRIQ_CONTAINER_OF(node, struct briq_ring_conn, node);
        if (conn->nbd.export != drop->export)
            continue;
        atomic_fetch_add(&drop->left, 1);
        atomic_fetch_add(&drop->count, 1);
        conn->drop = drop;
        briq_ring_conn_drain(conn, drop->at_ns);
    }
    briq_ring_drop_less(drop);
}

static unsigned drop_export(struct briq_server *server, const struct briq_export *export)
{
    const struct ring_engine *engine = server->engine;
    struct drop_task tasks[BRIQ_SERVER_THREADS_MAX];
    struct briq_ring_drop drop = {.export = export,
                                  .at_ns = briq_clock_ns() + server->options.drain_ns,
                                  .left = engine->count};
    sem_init(&drop.done, 0, 0);
    for (unsigned i = 0; i < engine->count; i++) {
        tasks[i] = (struct drop_task){
            .task.run = drop_of_worker, .worker = &engine->workers[i], .drop = &drop};
        briq_ring_post(engine->workers[i].ring, &tasks[i].task);
    }
    wait_for(&drop.done);
    sem_destroy(&drop.done);
    return atomic_load(&drop.count);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void copy_counts(const struct briq_ring_counts *from, struct briq_thread_stats *to)
{
    to->turns = briq_counter_get(&from->turns);
    to->calls = briq_counter_get(&from->calls);
    to->submitted = briq_counter_get(&from->submitted);
    to->completed = briq_counter_get(&from->completed);
    to->completed_max = briq_counter_get(&from->completed_max);
    to->queue_full = briq_counter_get(&from->queue_full);
    to->overflows = briq_counter_get(&from->overflows);
    to->spins = briq_counter_get(&from->spins);
    to->spin_hits = briq_counter_get(&from->spin_hits);
    to->sleeps = briq_counter_get(&from->sleeps);
    to->wakes = briq_counter_get(&from->wakes);
    to->sends_settled = briq_counter_get(&from->sends_settled);
    to->sends_partial = briq_counter_get(&from->sends_partial);
    to->recv_starved = briq_counter_get(&from->recv_starved);
}

static void copy_threads(const struct briq_server *server, struct briq_thread_stats *ret)
{
    const struct ring_engine *engine = server->engine;
    for (unsigned i = 0; i < engine->count; i++) {
        ret[i].connections = atomic_load(&engine->workers[i].conn_count);
        copy_counts(briq_ring_counts(engine->workers[i].ring), &ret[i]);
    }
}

/* ---- the engine ------------------------------------------------------------------------------ */

static void stop(struct briq_server *server)
{
    struct ring_engine *engine = server->engine;
    for (unsigned i = 0; i < engine->count; i++) {
        briq_ring_post(engine->workers[i].ring, &engine->workers[i].end);
        if (i == 0) /* until then it may give connections to the others */
            wait_for(&engine->deaf);
    }
    for (unsigned i = 0; i < engine->count; i++)
        pthread_join(engine->workers[i].thread, NULL);
}

static void free_engine(struct briq_server *server)
{
    struct ring_engine *engine = server->engine;
    for (unsigned i = 0; i < server->options.threads; i++)
        briq_ring_close(engine->workers[i].ring);
    sem_destroy(&engine->deaf);
    free(engine->workers);
    free(engine);
    server->engine = NULL;
}

static int start(struct briq_server *server, struct briq_error *err)
{
    struct ring_engine *engine = calloc(1, sizeof *engine);
    struct briq_worker *workers = calloc(server->options.threads, sizeof *workers);
    if (engine == NULL || workers == NULL) {
        free(engine);
        free(workers);
        return briq_error_set(err, -ENOMEM, "out of memory");
    }
    server->engine = engine;
    engine->workers = workers;
    sem_init(&engine->deaf, 0, 0);
    for (; engine->count < server->options.threads; engine->count++) {
        workers[engine->count].server = server;
        workers[engine->count].index = engine->count;
        int r = start_worker(&workers[engine->count], err);
        if (r < 0) {
            stop(server);
            return r;
        }
    }
    briq_ring_describe(workers[0].ring, engine->about, sizeof engine->about);
    briq_ring_post(workers[0].ring, &workers[0].begin);
    return 0;
}

static int describe(const struct briq_server *server, char *text, size_t room)
{
    const struct ring_engine *engine = server->engine;
    return snprintf(text, room, "io_uring, %u thread%s (%s)", server->options.threads,
                    server->options.threads == 1 ? "" : "s",
                    engine != NULL ? engine->about : "not started");
}

const struct briq_engine_ops briq_ring_engine = {
    .start = start,
    .connect = give,
    .drop = drop_export,
    .stop = stop,
    .free = free_engine,
    .threads = copy_threads,
    .describe = describe,
};
