/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thread_engine.c - the engine without io_uring: a thread accepts, and each connection gets a
 * thread that receives, works and sends, blocking. The protocol's code is the same, and so is that
 * all replies to what was received together are sent together.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "server/conn.h"
#include "server/engine.h"

#define RECV_BUFS   4u
#define ACCEPT_WAIT 100 /* ms, when there are no descriptors left */

struct thread_engine {
    struct briq_server *server;
    pthread_t acceptor;
    int stop_fd;          /* readable when the acceptor is to end */
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t gone;
    struct briq_list conns;
    bool stopping;
};

struct thread_conn {
    struct briq_nbd_conn nbd;
    struct briq_node node;
    struct thread_engine *engine;
    int fd;
    const struct briq_export *export; /* once it is chosen; under the engine's lock */
    atomic_bool leaving; /* its export is taken away, or has a new size; or the server ends */
    bool again;          /* there is more to do at once */
    sem_t woken;
    struct briq_out_pool pool;
    struct briq_recv_buf bufs[RECV_BUFS], *free;
    uint8_t *memory;
};

static struct thread_conn *conn_of(struct briq_nbd_conn *nbd)
{
    return BRIQ_CONTAINER_OF(nbd, struct thread_conn, nbd);
}

/* ---- what the protocol asks for -------------------------------------------------------------- */

/* From here on the connection is one of the export's. What happened to that between the handshake's
 * last look at it and now would be missed: then the client must come again. */
static int open_ctx(struct briq_nbd_conn *nbd, struct briq_ctx **ret)
{
    struct thread_conn *conn = conn_of(nbd);
    pthread_mutex_lock(&conn->engine->lock);
    conn->export = nbd->export;
    bool missed = atomic_load(&nbd->export->leaving) ||
                  briq_store_size(nbd->store) != nbd->session.size_bytes;
    pthread_mutex_unlock(&conn->engine->lock);
    return missed ? -EAGAIN : briq_ctx_open(nbd->store, ret);
}

static void close_ctx(struct briq_nbd_conn *nbd, struct briq_ctx *ctx)
{
    (void)nbd;
    briq_ctx_close(ctx);
}

static void wake(struct briq_op *op)
{
    struct thread_conn *conn = op->user;
    sem_post(&conn->woken);
}

/* To its end, whatever it waits for: one at a time. */
static bool run_op(struct briq_nbd_job *job)
{
    struct thread_conn *conn = conn_of(job->conn);
    struct briq_op *op = &job->op.op;
    op->user = conn;
    op->wake = wake;
    for (;;) {
        switch (briq_op_step(job->conn->ctx, op)) {
        case BRIQ_STEP_DONE:
            return true;
        case BRIQ_STEP_IO:
            for (unsigned i = 0; i < op->io_count; i++)
                briq_io_run(job->conn->store, &op->io[i]);
            break;
        case BRIQ_STEP_WAIT:
            while (sem_wait(&conn->woken) < 0)
                ; /* a signal came */
            break;
        }
    }
}

static void yield(struct briq_nbd_conn *nbd)
{
    conn_of(nbd)->again = true;
}

static const struct briq_nbd_host host = {
    .open = open_ctx,
    .close = close_ctx,
    .run = run_op,
    .yield = yield,
};

/* ---- the socket ------------------------------------------------------------------------------ */

static void release(struct briq_recv_buf *buf)
{
    struct thread_conn *conn = buf->owner;
    buf->next = conn->free;
    conn->free = buf;
}

static void receive(struct thread_conn *conn)
{
    struct briq_recv_buf *buf = conn->free;
    BRIQ_ASSERT(buf != NULL); /* nothing runs, so the queue is all there is */
    ssize_t n = recv(conn->fd, buf->data, NBD_RECV_BYTES, 0);
    if (n < 0 && errno == EINTR)
        return;
    if (n == 0)
        briq_nbd_conn_eof(&conn->nbd);
    else if (n < 0)
        briq_nbd_conn_kill(&conn->nbd); /* also EAGAIN: the handshake took too long */
    if (n <= 0)
        return;
    conn->free = buf->next;
    buf->refs = 1;
    buf->start = 0;
    buf->end = (uint32_t)n;
    briq_nbd_conn_received(&conn->nbd, buf);
}

static int send_all(int fd, struct iovec *iov, unsigned count)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    while (msg.msg_iovlen > 0) {
        ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        while (msg.msg_iovlen > 0 && (size_t)n >= msg.msg_iov->iov_len) {
            n -= (ssize_t)msg.msg_iov->iov_len;
            msg.msg_iov++;
            msg.msg_iovlen--;
        }
        if (n > 0) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
            msg.msg_iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static void send_replies(struct thread_conn *conn)
{
    struct briq_out *out;
    struct iovec iov[BRIQ_OUT_IOVS];
    briq_nbd_conn_batch_end(&conn->nbd, briq_server_connections(conn->engine->server) == 1);
    while ((out = briq_nbd_conn_outgoing(&conn->nbd))->committed > 0 && !conn->nbd.dead) {
        briq_nbd_conn_sending(&conn->nbd);
        unsigned count = briq_out_gather(out, iov);
        int r = send_all(conn->fd, iov, count);
        briq_out_sent(out);
        if (r < 0)
            briq_nbd_conn_kill(&conn->nbd);
        conn->again = true; /* there is room for more */
    }
}

static void set_timeout(int fd, int option, uint64_t ns)
{
    struct timeval tv = {.tv_sec = (time_t)(ns / 1000000000u),
                         .tv_usec = (suseconds_t)(ns % 1000000000u / 1000)};
    (void)setsockopt(fd, SOL_SOCKET, option, &tv, sizeof tv);
}

static void set_timeouts(int fd, uint64_t ns)
{
    set_timeout(fd, SO_RCVTIMEO, ns);
    set_timeout(fd, SO_SNDTIMEO, ns);
}

/* The handshake's limit holds for the whole of it: what is left is set before each receive, for
 * that and for sending what comes of it. */
static void limit_handshake(struct thread_conn *conn, uint64_t end_ns, bool *limited)
{
    if (!*limited)
        return;
    if (conn->nbd.phase != NBD_PHASE_HANDSHAKE) {
        set_timeouts(conn->fd, 0);
        *limited = false;
        return;
    }
    uint64_t now = briq_clock_ns();
    if (now >= end_ns)
        briq_nbd_conn_kill(&conn->nbd);
    else
        set_timeouts(conn->fd, end_ns - now + 1000);
}

static void serve(struct thread_conn *conn)
{
    uint64_t end_ns = briq_clock_ns() + conn->engine->server->options.handshake_ns;
    bool limited = true;
    do {
        conn->again = false;
        if (atomic_load(&conn->leaving))
            briq_nbd_conn_drain(&conn->nbd);
        briq_nbd_conn_advance(&conn->nbd);
        send_replies(conn);
        limit_handshake(conn, end_ns, &limited);
        if (!conn->again && briq_nbd_conn_wants_input(&conn->nbd))
            receive(conn);
    } while (!briq_nbd_conn_over(&conn->nbd) || conn->again);
}

/* ---- a connection's life --------------------------------------------------------------------- */

static void free_conn(struct thread_conn *conn)
{
    close(conn->fd);
    sem_destroy(&conn->woken);
    briq_out_pool_fini(&conn->pool);
    free(conn->memory);
    free(conn);
}

static struct thread_conn *new_conn(struct thread_engine *engine, int fd)
{
    struct thread_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        return NULL;
    conn->engine = engine;
    conn->fd = fd;
    sem_init(&conn->woken, 0, 0);
    conn->memory = malloc((size_t)RECV_BUFS * NBD_RECV_BYTES);
    if (conn->memory == NULL ||
        briq_nbd_conn_init(&conn->nbd, &host, &engine->server->exports, &conn->pool) < 0) {
        conn->fd = -1; /* the caller's */
        free_conn(conn);
        return NULL;
    }
    briq_nbd_conn_secure(&conn->nbd, engine->server->tls,
                         engine->server->options.tls_mode == BRIQ_TLS_REQUIRE);
    briq_figures_peer(fd, conn->nbd.figures->peer);
    for (unsigned i = 0; i < RECV_BUFS; i++) {
        conn->bufs[i] = (struct briq_recv_buf){
            .data = conn->memory + (size_t)i * NBD_RECV_BYTES, .release = release, .owner = conn};
        release(&conn->bufs[i]);
    }
    return conn;
}

static void *run_conn(void *opaque)
{
    struct thread_conn *conn = opaque;
    struct thread_engine *engine = conn->engine;
    serve(conn);
    briq_nbd_conn_fini(&conn->nbd);
    pthread_mutex_lock(&engine->lock);
    briq_list_remove(&conn->node);
    free_conn(conn); /* under the lock: who ends connections uses their sockets */
    briq_server_leave(engine->server);
    pthread_cond_signal(&engine->gone);
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}

static int begin(struct thread_engine *engine, struct thread_conn *conn)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&engine->lock);
    int r = engine->stopping ? -ESHUTDOWN : -pthread_create(&thread, &attr, run_conn, conn);
    if (r == 0)
        briq_list_push_back(&engine->conns, &conn->node);
    pthread_mutex_unlock(&engine->lock);
    pthread_attr_destroy(&attr);
    return r;
}

static int give(struct briq_server *server, int fd)
{
    struct thread_conn *conn = new_conn(server->engine, fd);
    if (conn == NULL) {
        close(fd);
        briq_server_leave(server);
        return -ENOMEM;
    }
    briq_socket_tune(fd, (int)server->options.send_bytes, (int)server->options.recv_bytes);
    int r = begin(server->engine, conn);
    if (r < 0) {
        briq_nbd_conn_fini(&conn->nbd);
        free_conn(conn);
        briq_server_leave(server);
    }
    return r;
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void accept_one(struct thread_engine *engine, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
        struct pollfd p = {.fd = engine->stop_fd, .events = POLLIN};
        (void)poll(&p, 1, ACCEPT_WAIT);
    }
    if (fd < 0)
        return;
    if (briq_server_admit(engine->server, fd))
        (void)give(engine->server, fd); /* the client sees that it was closed */
    else
        close(fd);
}

static void *run_acceptor(void *opaque)
{
    struct thread_engine *engine = opaque;
    const struct briq_server *server = engine->server;
    struct pollfd p[BRIQ_LISTENERS_MAX + 1];
    unsigned n = server->listener_count;
    for (unsigned i = 0; i < n; i++)
        p[i] = (struct pollfd){.fd = server->listeners[i].fd, .events = POLLIN};
    p[n] = (struct pollfd){.fd = engine->stop_fd, .events = POLLIN};
    for (;;) {
        if (poll(p, n + 1, -1) < 0)
            continue;
        if (p[n].revents != 0)
            return NULL;
        for (unsigned i = 0; i < n; i++)
            if (p[i].revents != 0)
                accept_one(engine, p[i].fd);
    }
}

/* ---- the engine ------------------------------------------------------------------------------ */

static struct timespec drain_end(const struct thread_engine *engine)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += (time_t)(engine->server->options.drain_ns / 1000000000u);
    return end;
}

/* Under the lock. Shuts those that were told to leave; how many there still are. */
static unsigned shut_leaving(struct thread_engine *engine, int how)
{
    unsigned count = 0;
    for (struct briq_node *node = engine->conns.head.next; node != &engine->conns.head;
         node = node->next) {
        const struct thread_conn *conn = BRIQ_CONTAINER_OF(node, struct thread_conn, node);
        if (!atomic_load(&conn->leaving))
            continue;
        count++;
        if (how >= 0)
            shutdown(conn->fd, how);
    }
    return count;
}

/* Under the lock. Ends the connections to an export, NULL: all. Nothing more is taken in, which also
 * wakes those that receive; sending ends when it must. Returns how many there were. */
static unsigned end_conns(struct thread_engine *engine, const struct briq_export *export)
{
    const struct timespec end = drain_end(engine);
    for (struct briq_node *node = engine->conns.head.next; node != &engine->conns.head;
         node = node->next) {
        struct thread_conn *conn = BRIQ_CONTAINER_OF(node, struct thread_conn, node);
        if (export == NULL || conn->export == export)
            atomic_store(&conn->leaving, true);
    }
    unsigned count = shut_leaving(engine, SHUT_RD);
    int r = 0;
    while (r == 0 && shut_leaving(engine, -1) > 0)
        r = pthread_cond_clockwait(&engine->gone, &engine->lock, CLOCK_MONOTONIC, &end);
    (void)shut_leaving(engine, SHUT_RDWR);
    while (shut_leaving(engine, -1) > 0)
        pthread_cond_wait(&engine->gone, &engine->lock);
    return count;
}

static unsigned drop_export(struct briq_server *server, const struct briq_export *export)
{
    struct thread_engine *engine = server->engine;
    pthread_mutex_lock(&engine->lock);
    unsigned count = end_conns(engine, export);
    pthread_mutex_unlock(&engine->lock);
    return count;
}

static void free_engine(struct briq_server *server)
{
    struct thread_engine *engine = server->engine;
    server->engine = NULL;
    if (engine->stop_fd >= 0)
        close(engine->stop_fd);
    pthread_mutex_destroy(&engine->lock);
    pthread_cond_destroy(&engine->gone);
    free(engine);
}

static void stop(struct briq_server *server)
{
    struct thread_engine *engine = server->engine;
    (void)eventfd_write(engine->stop_fd, 1);
    pthread_join(engine->acceptor, NULL);
    pthread_mutex_lock(&engine->lock);
    engine->stopping = true;
    (void)end_conns(engine, NULL);
    pthread_mutex_unlock(&engine->lock);
}

static int start(struct briq_server *server, struct briq_error *err)
{
    struct thread_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    engine->server = server;
    server->engine = engine; /* before there is a thread that looks */
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->gone, NULL);
    briq_list_init(&engine->conns);
    engine->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = engine->stop_fd < 0 ? -errno
                                : -pthread_create(&engine->acceptor, NULL, run_acceptor, engine);
    if (r < 0) {
        free_engine(server);
        return briq_error_set(err, r, "cannot start a thread: %s", strerror(-r));
    }
    return 0;
}

static int describe(const struct briq_server *server, char *text, size_t room)
{
    (void)server;
    return snprintf(text, room, "a thread for each connection");
}

const struct briq_engine_ops briq_thread_engine = {
    .start = start,
    .connect = give,
    .drop = drop_export,
    .stop = stop,
    .free = free_engine,
    .describe = describe,
};
