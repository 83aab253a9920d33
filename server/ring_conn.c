/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring_conn.c - drives a connection from a ring.
 *
 * What happens in a turn (bytes came, operations ended, replies were sent) goes into the protocol's
 * state at once; what follows from it for the socket is done once, when the turn ends (settle): one
 * send for all replies, and receiving stopped or started.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "server/worker.h"

static struct briq_ring_conn *conn_of(struct briq_nbd_conn *nbd)
{
    return BRIQ_CONTAINER_OF(nbd, struct briq_ring_conn, nbd);
}

static void settle_later(struct briq_ring_conn *conn)
{
    briq_ring_defer(conn->worker->ring, &conn->settle);
}

/* ---- what the protocol asks for -------------------------------------------------------------- */

static struct briq_worker_ctx *find_ctx(struct briq_worker *worker, const struct briq_store *store)
{
    for (struct briq_node *node = worker->ctxs.head.next; node != &worker->ctxs.head;
         node = node->next) {
        struct briq_worker_ctx *ctx = BRIQ_CONTAINER_OF(node, struct briq_worker_ctx, node);
        if (ctx->store == store)
            return ctx;
    }
    return NULL;
}

static int open_ctx(struct briq_nbd_conn *nbd, struct briq_ctx **ret)
{
    struct briq_worker *worker = conn_of(nbd)->worker;
    struct briq_worker_ctx *shared = find_ctx(worker, nbd->store);
    if (shared == NULL) {
        shared = calloc(1, sizeof *shared);
        if (shared == NULL)
            return -ENOMEM;
        shared->store = nbd->store;
        int r = briq_ctx_open(nbd->store, &shared->ctx);
        if (r < 0) {
            free(shared);
            return r;
        }
        briq_list_push_back(&worker->ctxs, &shared->node);
    }
    shared->users++;
    *ret = shared->ctx;
    return 0;
}

static void close_ctx(struct briq_nbd_conn *nbd, struct briq_ctx *ctx)
{
    struct briq_worker_ctx *shared = find_ctx(conn_of(nbd)->worker, nbd->store);
    BRIQ_ASSERT(shared != NULL && shared->ctx == ctx);
    if (--shared->users > 0)
        return;
    briq_list_remove(&shared->node);
    briq_ctx_close(ctx);
    free(shared);
}

static void op_done(struct briq_store_op *op)
{
    struct briq_nbd_job *job = BRIQ_CONTAINER_OF(op, struct briq_nbd_job, op);
    struct briq_ring_conn *conn = conn_of(job->conn);
    briq_nbd_job_done(job);
    settle_later(conn);
}

static bool run_op(struct briq_nbd_job *job)
{
    job->op.ring = conn_of(job->conn)->worker->ring;
    job->op.store = job->conn->store;
    job->op.ctx = job->conn->ctx;
    job->op.done = op_done;
    return briq_store_op_run(&job->op);
}

static void yield(struct briq_nbd_conn *nbd)
{
    struct briq_ring_conn *conn = conn_of(nbd);
    if (!conn->again_posted)
        briq_ring_post(conn->worker->ring, &conn->again);
    conn->again_posted = true;
}

static void go_on(struct briq_ring *ring, struct briq_ring_task *task)
{
    (void)ring;
    struct briq_ring_conn *conn = BRIQ_CONTAINER_OF(task, struct briq_ring_conn, again);
    conn->again_posted = false;
    briq_nbd_conn_advance(&conn->nbd);
    settle_later(conn);
}

static const struct briq_nbd_host host = {
    .open = open_ctx,
    .close = close_ctx,
    .run = run_op,
    .yield = yield,
};

/* ---- the socket ------------------------------------------------------------------------------ */

static void received(struct briq_ring *ring, struct briq_ring_recv *recv, struct briq_recv_buf *buf,
                     int res)
{
    (void)ring;
    struct briq_ring_conn *conn = BRIQ_CONTAINER_OF(recv, struct briq_ring_conn, recv);
    if (buf != NULL)
        briq_nbd_conn_received(&conn->nbd, buf);
    else if (res == 0)
        briq_nbd_conn_eof(&conn->nbd);
    else if (res != -ECANCELED)
        briq_nbd_conn_kill(&conn->nbd);
    briq_nbd_conn_advance(&conn->nbd);
    settle_later(conn);
}

static void sent(struct briq_ring *ring, struct briq_ring_send *send, int res)
{
    (void)ring;
    struct briq_ring_conn *conn = BRIQ_CONTAINER_OF(send, struct briq_ring_conn, send);
    briq_out_sent(conn->nbd.wire);
    if (res < 0)
        briq_nbd_conn_kill(&conn->nbd);
    briq_nbd_conn_advance(&conn->nbd);
    settle_later(conn);
}

static void send_replies(struct briq_ring_conn *conn)
{
    struct briq_out *out = briq_nbd_conn_outgoing(&conn->nbd);
    if (conn->nbd.dead || out->sending > 0 || out->committed == 0)
        return;
    briq_nbd_conn_sending(&conn->nbd);
    conn->msg =
        (struct msghdr){.msg_iov = conn->iov, .msg_iovlen = briq_out_gather(out, conn->iov)};
    conn->send.urgent = briq_nbd_conn_is_behind(&conn->nbd);
    briq_ring_send(conn->worker->ring, &conn->send, conn->fd);
}

static void receive_or_not(struct briq_ring_conn *conn)
{
    struct briq_ring *ring = conn->worker->ring;
    if (briq_nbd_conn_wants_input(&conn->nbd))
        briq_recv_start(ring, &conn->recv, conn->fd);
    else
        briq_recv_stop(ring, &conn->recv);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void destroy(struct briq_ring_conn *conn)
{
    struct briq_worker *worker = conn->worker;
    struct briq_ring_drop *drop = conn->drop;
    briq_ring_timer_clear(worker->ring, &conn->deadline);
    briq_list_remove(&conn->node);
    briq_nbd_conn_fini(&conn->nbd);
    close(conn->fd);
    free(conn);
    briq_worker_conn_gone(worker);
    if (drop != NULL)
        briq_ring_drop_less(drop);
}

static void settle(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct briq_ring_conn *conn = BRIQ_CONTAINER_OF(task, struct briq_ring_conn, settle);
    if (conn->nbd.dead && !conn->shut) {
        conn->shut = true;
        shutdown(conn->fd, SHUT_RDWR); /* ends what waits for the peer */
    }
    briq_nbd_conn_batch_end(&conn->nbd, atomic_load(&conn->worker->conn_count) == 1);
    send_replies(conn);
    receive_or_not(conn);
    if (conn->nbd.phase == NBD_PHASE_TRANSMISSION && !conn->nbd.draining)
        briq_ring_timer_clear(ring, &conn->deadline);
    if (briq_nbd_conn_over(&conn->nbd) && !briq_recv_busy(&conn->recv) && !conn->again_posted)
        destroy(conn);
}

static void too_late(struct briq_ring *ring, struct briq_ring_timer *timer)
{
    (void)ring;
    struct briq_ring_conn *conn = BRIQ_CONTAINER_OF(timer, struct briq_ring_conn, deadline);
    briq_nbd_conn_kill(&conn->nbd);
    briq_nbd_conn_advance(&conn->nbd);
    settle_later(conn);
}

void briq_ring_conn_drain(struct briq_ring_conn *conn, uint64_t at_ns)
{
    briq_nbd_conn_drain(&conn->nbd);
    briq_ring_timer_set(conn->worker->ring, &conn->deadline, at_ns);
    briq_nbd_conn_advance(&conn->nbd);
    settle_later(conn);
}

static void give_up(struct briq_ring_conn *conn)
{
    struct briq_worker *worker = conn->worker;
    close(conn->fd);
    free(conn);
    briq_worker_conn_gone(worker);
}

static void begin(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct briq_ring_conn *conn = BRIQ_CONTAINER_OF(task, struct briq_ring_conn, begin);
    struct briq_worker *worker = conn->worker;
    struct briq_server *server = worker->server;
    if (worker->ending ||
        briq_nbd_conn_init(&conn->nbd, &host, &server->exports, &worker->pool) < 0) {
        give_up(conn);
        return;
    }
    briq_nbd_conn_secure(&conn->nbd, server->tls, server->options.tls_mode == BRIQ_TLS_REQUIRE);
    briq_figures_peer(conn->fd, conn->nbd.figures->peer);
    briq_list_push_back(&worker->conns, &conn->node);
    briq_ring_timer_set(ring, &conn->deadline, briq_clock_ns() + server->options.handshake_ns);
    briq_nbd_conn_advance(&conn->nbd);
    settle_later(conn);
}

struct briq_ring_conn *briq_ring_conn_new(struct briq_worker *worker, int fd)
{
    struct briq_ring_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
    conn->worker = worker;
    conn->fd = fd;
    conn->recv.got = received;
    conn->send.sent = sent;
    conn->send.msg = &conn->msg;
    conn->begin.run = begin;
    conn->settle.run = settle;
    conn->again.run = go_on;
    conn->deadline.fire = too_late;
    return conn;
}
