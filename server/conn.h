/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * conn.h - one NBD connection: what was received goes in, replies come out, requests run in
 * between.
 *
 * It knows no socket and no ring: whoever drives it (a ring's worker, or a thread of its own) hands
 * in what was received, sends what is in `out`, and runs the store's operations.
 *
 *              begin            take: TRANSMIT            DISC, end of file, drain
 *   (nothing) ------> HANDSHAKE -------------> TRANSMISSION ------------------> CLOSING
 *                         |        failure of the socket, of memory, of the protocol
 *                         +------------------------------------------------------> dead
 *
 * CLOSING takes nothing in any more; what is under way is finished and sent. dead: what is under
 * way is finished and thrown away. The connection is over when briq_nbd_conn_over().
 *
 * Back-pressure: a request is taken in when there is a slot for it and its reply can be kept; when
 * not, received bytes wait, receiving stops (wants_input), and the client's socket fills up. See
 * limits.h.
 *
 * TLS: when the client has asked for it there is a tunnel between what the driver hands in and `in`,
 * and between `out` and what the driver sends, which is in *wire either way.
 *
 * Thread: one, the driver's.
 */
#ifndef BRIQ_SERVER_CONN_H
#define BRIQ_SERVER_CONN_H

#include "common/ring/store_op.h"
#include "server/exports.h"
#include "server/figures.h"
#include "server/handshake.h"
#include "server/in.h"
#include "server/limits.h"
#include "server/out.h"
#include "server/request.h"
#include "server/tunnel.h"

struct briq_nbd_conn;
struct briq_nbd_job;

/* What a connection asks of its driver. */
struct briq_nbd_host {
    /*
     * A context of the store for this thread, for as long as the connection has the export. 0, or
     * -EAGAIN, -ENOMEM.
     */
    int (*open)(struct briq_nbd_conn *conn, struct briq_ctx **ret);
    void (*close)(struct briq_nbd_conn *conn, struct briq_ctx *ctx);
    /* Runs job->op. True: it is done. False: briq_nbd_job_done() will be called. */
    bool (*run)(struct briq_nbd_job *job);
    /* Call briq_nbd_conn_advance() soon, but others first. */
    void (*yield)(struct briq_nbd_conn *conn);
};

enum briq_nbd_job_next {
    NBD_JOB_AGAIN, /* call next */
    NBD_JOB_LATER, /* an operation runs, or it waits in a queue */
    NBD_JOB_DONE,  /* answered; the slot is free */
};

#define NBD_READ_EXTENTS 16u

/* A request that is under way. */
struct briq_nbd_job {
    struct briq_store_op op;
    struct briq_nbd_conn *conn;
    struct briq_nbd_job *next_free;
    struct briq_node stalled; /* in conn->stalled */
    enum briq_nbd_job_next (*next)(struct briq_nbd_job *job);
    struct briq_nbd_request request;
    uint64_t pos;         /* bytes of the range that are done */
    uint64_t step;        /* bytes that the operation in hand covers */
    uint64_t received_ns; /* when it was received */
    int error;            /* to answer with, when a write's payload has been taken off the stream */
    const char *why;      /* the reason, or NULL */
    struct briq_out_slot slot;
    struct briq_recv_buf *in; /* write: where the piece in hand lies; NULL: in conn->seam */
    bool failed;              /* it is answered with an error */
    bool writing;             /* write: a piece is being written */
    bool unwanted;            /* block status: of no context */
    unsigned extent, extent_count;
    struct briq_extent extents[NBD_READ_EXTENTS]; /* read: what the next bytes are */
};

enum briq_nbd_phase {
    NBD_PHASE_HANDSHAKE,
    NBD_PHASE_TRANSMISSION,
    NBD_PHASE_CLOSING,
};

struct briq_nbd_conn {
    const struct briq_nbd_host *host;
    struct briq_exports *exports;
    struct briq_nbd_catalog catalog;
    enum briq_nbd_phase phase;
    bool dead, eof, draining;
    bool advancing;
    unsigned batch_left; /* what may be taken in until the batch ends */
    struct briq_in in;
    struct briq_out out;
    struct briq_tls_creds *creds; /* NULL: no TLS */
    struct briq_tunnel *tunnel;   /* NULL: not with this client */
    struct briq_out *wire;        /* what is sent: out, or the tunnel's */

    struct briq_nbd_handshake handshake;
    struct briq_nbd_session session;
    struct briq_export *export;
    struct briq_store *store;
    struct briq_ctx *ctx;
    struct briq_nbd_figures *figures; /* owned */

    /* Bytes that are wanted together and came in parts. */
    uint8_t *gather;
    size_t gather_room, gathered;

    struct briq_nbd_job *taking; /* whose payload the stream is at */
    uint64_t taken;              /* of it */
    uint8_t *seam;               /* a block that came in parts; busy while `seam_job` */
    uint32_t seam_len;           /* of it, so far */
    struct briq_nbd_job *seam_job;

    struct briq_nbd_job *jobs, *free_job;
    unsigned jobs_used, jobs_busy; /* slots ever used; under way now */
    struct briq_list stalled;      /* jobs that wait for room, or for their next turn */
};

/*
 * Begins the handshake. host and exports outlive the connection; replies lie in buffers of pool.
 * 0 or -ENOMEM.
 */
int briq_nbd_conn_init(struct briq_nbd_conn *conn, const struct briq_nbd_host *host,
                       struct briq_exports *exports, struct briq_out_pool *pool) BRIQ_MUST;
/* Offers TLS, or insists on it: before anything is received. creds outlive the connection. */
void briq_nbd_conn_secure(struct briq_nbd_conn *conn, struct briq_tls_creds *creds, bool required);
/* Lets go of everything. Nothing may be under way (jobs_busy 0, out not being sent). */
void briq_nbd_conn_fini(struct briq_nbd_conn *conn);

/* Takes over a buffer of received bytes. Call briq_nbd_conn_advance() then. */
void briq_nbd_conn_received(struct briq_nbd_conn *conn, struct briq_recv_buf *buf);
/* Nothing more will be received: what has been is taken in, answered, and that is the end. */
void briq_nbd_conn_eof(struct briq_nbd_conn *conn);
/* The same, but what was not begun is left. */
void briq_nbd_conn_drain(struct briq_nbd_conn *conn);
/* Nothing more can be sent or received. */
void briq_nbd_conn_kill(struct briq_nbd_conn *conn);

/* Takes in what can be taken in, a batch at the most: if there is more it yields. After anything has
 * changed: input, replies sent, jobs done. */
void briq_nbd_conn_advance(struct briq_nbd_conn *conn);

/* job->op, for which host->run() answered false, is done. Advances. */
void briq_nbd_job_done(struct briq_nbd_job *job);

/* What is to be sent now: gather from it, and tell conn->wire when that is done. May encrypt. */
struct briq_out *briq_nbd_conn_outgoing(struct briq_nbd_conn *conn);

/* Whether there will be something to do as soon as what is being sent is out: more to send, to make,
 * to take in, or to close. */
static inline bool briq_nbd_conn_is_behind(const struct briq_nbd_conn *conn)
{
    return conn->wire->count > conn->wire->sending || !briq_list_empty(&conn->stalled) ||
           conn->in.bytes > 0 || conn->phase == NBD_PHASE_CLOSING ||
           (conn->tunnel != NULL && (conn->out.committed > 0 || !briq_tunnel_is_dry(conn->tunnel)));
}

/*
 * A batch is over: what was taken in together has been worked on, and the replies go to the socket
 * now, or when the ones before them are through. Before each send, and before waiting; nothing is
 * taken in behind a full batch until this is called. The next one is small when the connection is
 * alone, that is, while it waits nobody else is served.
 */
void briq_nbd_conn_batch_end(struct briq_nbd_conn *conn, bool alone);
/* What is committed goes to the socket now. */
void briq_nbd_conn_sending(struct briq_nbd_conn *conn);

/* Whether receiving makes sense now. */
bool briq_nbd_conn_wants_input(const struct briq_nbd_conn *conn);

/* Nothing is under way and nothing will be: all is sent, or never can be. */
bool briq_nbd_conn_over(const struct briq_nbd_conn *conn);

/* ---- between conn.c and job.c ---------------------------------------------------------------- */

/* job.c: begins the request of a job that was just taken in, and drives it as far as it goes. A
 * write only gets ready for its payload. */
void briq_nbd_job_begin(struct briq_nbd_job *job);
void briq_nbd_job_drive(struct briq_nbd_job *job);
/* job.c: writes the next `len` bytes of a write's range from data, in `in` or the seam. */
void briq_nbd_job_write(struct briq_nbd_job *job, const uint8_t *data, uint32_t len,
                        struct briq_recv_buf *in);
/* job.c: the end of a write's payload has been taken off. */
void briq_nbd_job_payload_end(struct briq_nbd_job *job);
/* conn.c: gives the slot back. */
void briq_nbd_job_free(struct briq_nbd_job *job);

/* Whether another reply may be made. */
static inline bool briq_nbd_conn_has_room(const struct briq_nbd_conn *conn)
{
    return conn->out.bytes < NBD_OUT_BYTES_MAX && conn->out.held < NBD_OUT_HELD_MAX &&
           briq_out_has_pieces(&conn->out, 2 * NBD_JOBS_MAX);
}

#endif
