/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "server/nbd.h"

#define GATHER_FIRST_BYTES 256u

_Static_assert(NBD_IN_BYTES_MAX + NBD_RECV_BYTES + NBD_OUT_HELD_MAX + 2 * NBD_PIECE_BYTES + 4096 +
                       BRIQ_OUT_PIECES * sizeof(struct briq_out_piece) +
                       NBD_JOBS_MAX * sizeof(struct briq_nbd_job) + BRIQ_BLOCK_BYTES +
                       NBD_OPTION_BYTES_MAX + sizeof(struct briq_nbd_conn) <=
                   NBD_CONN_BYTES_MAX,
               "limits.h says what a connection takes");

/* ---- life ------------------------------------------------------------------------------------ */

int briq_nbd_conn_init(struct briq_nbd_conn *conn, const struct briq_nbd_host *host,
                       struct briq_exports *exports, struct briq_out_pool *pool)
{
    *conn = (struct briq_nbd_conn){.host = host, .exports = exports, .batch_left = NBD_BATCH_ALONE};
    conn->catalog = briq_exports_catalog(exports);
    conn->wire = &conn->out;
    briq_list_init(&conn->stalled);
    conn->gather_room = GATHER_FIRST_BYTES;
    conn->gather = malloc(conn->gather_room);
    conn->figures = briq_figures_new();
    if (conn->gather == NULL || conn->figures == NULL || briq_out_init(&conn->out, pool) < 0) {
        free(conn->gather);
        free(conn->figures);
        return -ENOMEM;
    }
    briq_nbd_handshake_begin(&conn->handshake, &conn->catalog);
    return 0;
}

void briq_nbd_conn_secure(struct briq_nbd_conn *conn, struct briq_tls_creds *creds, bool required)
{
    conn->creds = creds;
    conn->handshake.tls_offered = creds != NULL;
    conn->handshake.tls_required = required;
}

static void leave_export(struct briq_nbd_conn *conn)
{
    if (conn->export == NULL)
        return;
    if (conn->ctx != NULL)
        conn->host->close(conn, conn->ctx);
    briq_exports_part(conn->exports, conn->export, conn->figures);
    conn->catalog.leave(conn->catalog.opaque, conn->export, conn->session.writer);
    conn->export = NULL;
}

void briq_nbd_conn_fini(struct briq_nbd_conn *conn)
{
    BRIQ_ASSERT(conn->jobs_busy == 0);
    (void)briq_in_move(&conn->in, NULL, conn->in.bytes);
    briq_out_fini(&conn->out);
    briq_tunnel_close(conn->tunnel);
    briq_nbd_handshake_end(&conn->handshake);
    leave_export(conn);
    free(conn->gather);
    free(conn->seam);
    free(conn->jobs);
    free(conn->figures);
}

void briq_nbd_conn_kill(struct briq_nbd_conn *conn)
{
    conn->dead = true;
    conn->phase = NBD_PHASE_CLOSING;
}

void briq_nbd_conn_eof(struct briq_nbd_conn *conn)
{
    conn->eof = true;
}

void briq_nbd_conn_drain(struct briq_nbd_conn *conn)
{
    conn->draining = true;
}

bool briq_nbd_conn_wants_input(const struct briq_nbd_conn *conn)
{
    return conn->phase != NBD_PHASE_CLOSING && !conn->eof && !conn->draining &&
           conn->in.bytes < NBD_IN_BYTES_MAX && conn->in.count < 2 &&
           (conn->tunnel == NULL || briq_tunnel_wants_input(conn->tunnel));
}

bool briq_nbd_conn_over(const struct briq_nbd_conn *conn)
{
    return conn->phase == NBD_PHASE_CLOSING && conn->jobs_busy == 0 && conn->wire->sending == 0 &&
           (conn->dead || (conn->out.bytes == 0 && conn->wire->bytes == 0));
}

void briq_nbd_conn_received(struct briq_nbd_conn *conn, struct briq_recv_buf *buf)
{
    if (conn->tunnel != NULL)
        briq_tunnel_received(conn->tunnel, buf);
    else
        briq_in_push(&conn->in, buf);
    if (conn->phase == NBD_PHASE_TRANSMISSION)
        briq_figures_received(conn->figures);
}

struct briq_out *briq_nbd_conn_outgoing(struct briq_nbd_conn *conn)
{
    bool last = conn->phase == NBD_PHASE_CLOSING && conn->jobs_busy == 0;
    if (conn->tunnel != NULL && !conn->dead &&
        briq_tunnel_encrypt(conn->tunnel, &conn->out, last) < 0)
        briq_nbd_conn_kill(conn);
    return conn->wire;
}

void briq_nbd_conn_batch_end(struct briq_nbd_conn *conn, bool alone)
{
    briq_figures_batch_end(conn->figures);
    conn->batch_left = alone ? NBD_BATCH_ALONE : NBD_BATCH_AMONG_OTHERS;
}

void briq_nbd_conn_sending(struct briq_nbd_conn *conn)
{
    briq_figures_sent(conn->figures);
}

/* ---- request slots --------------------------------------------------------------------------- */

/* The slots' memory is touched as far as it is used. */
static bool make_slots(struct briq_nbd_conn *conn)
{
    conn->jobs = calloc(NBD_JOBS_MAX, sizeof conn->jobs[0]);
    conn->seam = malloc(BRIQ_BLOCK_BYTES);
    return conn->jobs != NULL && conn->seam != NULL;
}

static struct briq_nbd_job *take_slot(struct briq_nbd_conn *conn)
{
    struct briq_nbd_job *job = conn->free_job;
    if (job != NULL) {
        conn->free_job = job->next_free;
    } else if (conn->jobs_used < NBD_JOBS_MAX) {
        job = &conn->jobs[conn->jobs_used++];
        job->conn = conn;
        briq_store_op_init(&job->op);
    } else {
        return NULL;
    }
    conn->jobs_busy++;
    job->pos = 0;
    job->error = 0;
    job->why = NULL;
    job->slot.buf = NULL;
    job->in = NULL;
    job->writing = job->unwanted = job->failed = false;
    job->received_ns = briq_figures_taken(conn->figures);
    return job;
}

void briq_nbd_job_free(struct briq_nbd_job *job)
{
    struct briq_nbd_conn *conn = job->conn;
    briq_out_cancel(&conn->out, &job->slot);
    job->next_free = conn->free_job;
    conn->free_job = job;
    conn->jobs_busy--;
}

/* ---- bytes that are wanted together ---------------------------------------------------------- */

/* The next n bytes in one piece, or NULL: they are not all there. Taken with gathered_end(). */
static const uint8_t *gather(struct briq_nbd_conn *conn, size_t n)
{
    size_t len;
    const uint8_t *front = briq_in_front(&conn->in, &len);
    if (conn->gathered == 0 && len >= n)
        return n == 0 ? conn->gather : front;
    if (n > conn->gather_room) {
        uint8_t *larger = realloc(conn->gather, n);
        if (larger == NULL) {
            briq_nbd_conn_kill(conn);
            return NULL;
        }
        conn->gather = larger;
        conn->gather_room = n;
    }
    conn->gathered += briq_in_move(&conn->in, conn->gather + conn->gathered, n - conn->gathered);
    return conn->gathered == n ? conn->gather : NULL;
}

static void gathered_end(struct briq_nbd_conn *conn, size_t n)
{
    if (conn->gathered == 0)
        briq_in_take(&conn->in, n);
    conn->gathered = 0;
}

/* ---- handshake ------------------------------------------------------------------------------- */

static void say(struct briq_nbd_conn *conn)
{
    struct briq_bytes *bytes = &conn->handshake.out;
    for (size_t at = 0; at < bytes->len;) {
        size_t part = briq_min_u64(bytes->len - at, NBD_PIECE_BYTES);
        struct briq_out_slot slot;
        if (!briq_out_reserve(&conn->out, part, &slot)) {
            briq_nbd_conn_kill(conn);
            return;
        }
        memcpy(slot.data, bytes->data + at, part);
        briq_out_commit(&conn->out, &slot, part);
        at += part;
    }
    bytes->len = 0;
}

static void enter_transmission(struct briq_nbd_conn *conn)
{
    conn->session = conn->handshake.session;
    conn->export = conn->session.handle;
    conn->store = conn->export->store;
    briq_nbd_handshake_end(&conn->handshake);
    conn->figures->tls = conn->tunnel != NULL;
    briq_exports_join(conn->exports, conn->export, conn->figures);
    if (conn->host->open(conn, &conn->ctx) < 0 || !make_slots(conn)) {
        briq_nbd_conn_kill(conn);
        return;
    }
    conn->phase = NBD_PHASE_TRANSMISSION;
}

static void log_of_peer(const struct briq_nbd_conn *conn)
{
    const char *peer = briq_tls_peer(conn->tunnel->session);
    briq_log_line(&conn->exports->log, BRIQ_LOG_INFO, "a client has TLS: %s",
                  peer[0] != '\0' ? peer : "nobody in particular");
}

static void log_of_tls(const struct briq_nbd_conn *conn, const char *why)
{
    briq_log_line(&conn->exports->log, BRIQ_LOG_INFO, "a client was turned away: %s", why);
}

/* From here on everything is TLS. What came in the clear behind the option was not sent by a client
 * that waits for our answer, as it must: whoever put it there would speak in the client's name. */
static void enter_tunnel(struct briq_nbd_conn *conn)
{
    struct briq_error err = {""};
    if (conn->in.bytes > 0)
        (void)briq_error_set(&err, -EPROTO, "TLS: plain bytes behind the request to begin it");
    else if (briq_tunnel_open(conn->creds, &conn->out, &err, &conn->tunnel) == 0)
        conn->wire = &conn->tunnel->out;
    if (conn->tunnel != NULL)
        return;
    log_of_tls(conn, err.text);
    briq_nbd_conn_kill(conn);
}

static bool take_handshake(struct briq_nbd_conn *conn)
{
    size_t need = briq_nbd_handshake_need(&conn->handshake);
    const uint8_t *bytes = gather(conn, need);
    if (bytes == NULL)
        return false;
    enum briq_nbd_next next = briq_nbd_handshake_take(&conn->handshake, bytes);
    gathered_end(conn, need);
    say(conn);
    if (next == NBD_NEXT_SECURE)
        enter_tunnel(conn);
    else if (next == NBD_NEXT_TRANSMIT)
        enter_transmission(conn);
    else if (next == NBD_NEXT_CLOSE)
        conn->phase = NBD_PHASE_CLOSING;
    else if (next == NBD_NEXT_DROP)
        briq_nbd_conn_kill(conn);
    return true;
}

/* ---- payload --------------------------------------------------------------------------------- */

static void payload_taken(struct briq_nbd_conn *conn, uint64_t n)
{
    struct briq_nbd_job *job = conn->taking;
    conn->taken += n;
    if (conn->taken < job->request.payload)
        return;
    conn->taking = NULL;
    briq_nbd_job_payload_end(job);
}

/* Of a write that has failed, or never began. */
static bool drop_payload(struct briq_nbd_conn *conn)
{
    struct briq_nbd_job *job = conn->taking;
    size_t n = briq_in_move(&conn->in, NULL, job->request.payload - conn->taken);
    payload_taken(conn, n);
    return n > 0;
}

/* A block of the volume lies across the end of what was received: it is put together first, since
 * nobody may see half of it. */
static bool take_seam(struct briq_nbd_conn *conn)
{
    struct briq_nbd_job *job = conn->taking;
    uint64_t at = job->request.off + conn->taken - conn->seam_len;
    uint64_t want = briq_min_u64(BRIQ_BLOCK_BYTES - at % BRIQ_BLOCK_BYTES,
                                 job->request.payload - (conn->taken - conn->seam_len));
    if (conn->seam_job != NULL)
        return false;
    size_t n = briq_in_move(&conn->in, conn->seam + conn->seam_len, want - conn->seam_len);
    conn->seam_len += (uint32_t)n;
    conn->taken += n;
    if (conn->seam_len < want)
        return false;
    conn->seam_len = 0;
    if (conn->taken == job->request.payload)
        conn->taking = NULL; /* it answers when this is written */
    briq_nbd_job_write(job, conn->seam, (uint32_t)want, NULL);
    return true;
}

/* As much as lies together, up to the end of the payload or of a block. 0: not even that. */
static uint32_t whole_blocks(const struct briq_nbd_conn *conn, size_t len)
{
    const struct briq_nbd_job *job = conn->taking;
    uint64_t rest = job->request.payload - conn->taken, at = job->request.off + conn->taken;
    if (rest <= len)
        return (uint32_t)rest;
    uint64_t end = briq_align_down(at + len, BRIQ_BLOCK_BYTES);
    return end > at ? (uint32_t)(end - at) : 0;
}

/* Takes in what there is of a write's payload. False: it has to wait for something. */
static bool take_write(struct briq_nbd_conn *conn)
{
    struct briq_nbd_job *job = conn->taking;
    size_t len;
    const uint8_t *front = briq_in_front(&conn->in, &len);
    if (job->writing)
        return false;
    if (job->error < 0) {
        conn->seam_len = 0;
        return drop_payload(conn);
    }
    if (front == NULL)
        return false;
    uint32_t n = conn->seam_len > 0 ? 0 : whole_blocks(conn, len);
    if (n == 0)
        return take_seam(conn);
    struct briq_recv_buf *buf = conn->in.first;
    briq_recv_buf_ref(buf);
    briq_in_take(&conn->in, n);
    conn->taken += n;
    if (conn->taken == job->request.payload)
        conn->taking = NULL;
    briq_nbd_job_write(job, front, n, buf);
    return true;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void note_check(const struct briq_nbd_job *job)
{
    if (job->error < 0)
        briq_counter_add(&job->conn->figures->counts.refused, 1);
}

/* Block status with a list of contexts. */
static bool take_status_payload(struct briq_nbd_conn *conn)
{
    struct briq_nbd_job *job = conn->taking;
    if (job->error < 0)
        return drop_payload(conn);
    const uint8_t *bytes = gather(conn, job->request.payload);
    if (bytes == NULL)
        return false;
    bool wanted = false;
    int r = briq_nbd_request_status_payload(&job->request, bytes, &wanted);
    gathered_end(conn, job->request.payload);
    conn->taking = NULL;
    job->unwanted = !wanted;
    job->request.payload = 0;
    job->request.flags &= (uint16_t)~NBD_CMD_FLAG_PAYLOAD_LEN; /* it has been taken */
    if (r == 0)
        r = briq_nbd_request_check(&conn->session, &job->request, briq_store_size(conn->store),
                                   &job->why);
    else
        job->why = "a context that was not agreed on, or one twice";
    job->error = r;
    note_check(job);
    briq_nbd_job_begin(job);
    return true;
}

static bool take_payload(struct briq_nbd_conn *conn)
{
    return conn->taking->request.type == NBD_CMD_BLOCK_STATUS ? take_status_payload(conn)
                                                              : take_write(conn);
}

static void begin_job(struct briq_nbd_conn *conn, struct briq_nbd_job *job)
{
    const struct briq_nbd_request *request = &job->request;
    job->error =
        briq_nbd_request_check(&conn->session, request, briq_store_size(conn->store), &job->why);
    note_check(job);
    if (request->payload > 0 || request->type == NBD_CMD_WRITE) {
        conn->taking = job;
        conn->taken = 0;
        if (request->type == NBD_CMD_WRITE && job->error == 0)
            briq_nbd_job_begin(job);
        if (request->payload == 0)
            payload_taken(conn, 0);
        return;
    }
    briq_nbd_job_begin(job);
}

static bool take_request(struct briq_nbd_conn *conn)
{
    if (conn->jobs_busy == NBD_JOBS_MAX || !briq_nbd_conn_has_room(conn))
        return false;
    size_t n = briq_nbd_request_bytes(&conn->session);
    struct briq_nbd_request request;
    const uint8_t *bytes = gather(conn, n);
    if (bytes == NULL)
        return false;
    int r = briq_nbd_request_decode(&conn->session, bytes, &request);
    gathered_end(conn, n);
    if (r < 0 || request.payload > NBD_PAYLOAD_MAX) {
        briq_nbd_conn_kill(conn);
        return false;
    }
    if (request.type == NBD_CMD_DISC) {
        conn->phase = NBD_PHASE_CLOSING;
        return false;
    }
    struct briq_nbd_job *job = take_slot(conn);
    job->request = request;
    begin_job(conn, job);
    return true;
}

static bool take_something(struct briq_nbd_conn *conn)
{
    if (conn->phase == NBD_PHASE_HANDSHAKE)
        return briq_nbd_conn_has_room(conn) && take_handshake(conn);
    if (conn->phase == NBD_PHASE_CLOSING || conn->draining)
        return false;
    return conn->taking != NULL ? take_payload(conn) : take_request(conn);
}

/* ---- going on -------------------------------------------------------------------------------- */

/* Those that stall again come behind the ones that are looked at now. */
static void resume_stalled(struct briq_nbd_conn *conn)
{
    struct briq_list list;
    struct briq_node *node;
    briq_list_init(&list);
    briq_list_take_all(&list, &conn->stalled);
    while ((node = briq_list_pop_front(&list)) != NULL)
        briq_nbd_job_drive(BRIQ_CONTAINER_OF(node, struct briq_nbd_job, stalled));
}

/* A write whose payload will never come. */
static void abandon_payload(struct briq_nbd_conn *conn)
{
    struct briq_nbd_job *job = conn->taking;
    if (job == NULL || job->writing)
        return;
    conn->taking = NULL;
    conn->seam_len = 0;
    briq_figures_ended(conn->figures, false);
    briq_nbd_job_free(job);
}

static bool all_is_taken(const struct briq_nbd_conn *conn)
{
    return conn->in.bytes == 0 && (conn->tunnel == NULL || briq_tunnel_is_dry(conn->tunnel));
}

static void drop_queues(struct briq_nbd_conn *conn)
{
    (void)briq_in_move(&conn->in, NULL, conn->in.bytes);
    if (conn->tunnel != NULL)
        briq_tunnel_drop_input(conn->tunnel);
    if (!conn->dead)
        return;
    if (conn->tunnel != NULL)
        briq_tunnel_drop_output(conn->tunnel, &conn->out);
    briq_out_drop(conn->wire);
}

static void end_if_nothing_comes(struct briq_nbd_conn *conn)
{
    bool no_more = conn->draining || (conn->eof && all_is_taken(conn));
    if (conn->phase != NBD_PHASE_CLOSING && no_more)
        conn->phase = NBD_PHASE_CLOSING;
    if (conn->phase != NBD_PHASE_CLOSING)
        return;
    abandon_payload(conn);
    drop_queues(conn);
}

/* Brings what was received nearer to `in`. True: there is more in it now. A client that fails the
 * handshake gets to know why. */
static bool decrypt(struct briq_nbd_conn *conn)
{
    struct briq_error err = {""};
    if (conn->phase == NBD_PHASE_CLOSING || conn->draining || conn->in.count >= 2)
        return false;
    bool was_shaken = conn->tunnel->shaken;
    int r = briq_tunnel_decrypt(conn->tunnel, &conn->in, &err);
    if (conn->tunnel->shaken && !was_shaken)
        log_of_peer(conn);
    if (conn->tunnel->ended)
        conn->eof = true;
    if (r >= 0)
        return r > 0;
    log_of_tls(conn, err.text);
    if (conn->phase == NBD_PHASE_HANDSHAKE)
        conn->phase = NBD_PHASE_CLOSING;
    else
        briq_nbd_conn_kill(conn);
    return false;
}

/* Replies go out batch by batch, so that the client takes in those of one while the next is worked
 * on: with everything that was received in one batch, one of the two would always be waiting. */
static void take_batch(struct briq_nbd_conn *conn)
{
    do
        while (conn->batch_left > 0 && take_something(conn))
            conn->batch_left--;
    while (conn->batch_left > 0 && conn->tunnel != NULL && decrypt(conn));
    if (conn->batch_left == 0 && !all_is_taken(conn))
        conn->host->yield(conn);
}

void briq_nbd_conn_advance(struct briq_nbd_conn *conn)
{
    if (conn->advancing)
        return;
    conn->advancing = true;
    if (conn->handshake.out.len > 0)
        say(conn);
    if (!briq_list_empty(&conn->stalled))
        resume_stalled(conn);
    take_batch(conn);
    end_if_nothing_comes(conn);
    conn->advancing = false;
}

void briq_nbd_job_done(struct briq_nbd_job *job)
{
    struct briq_nbd_conn *conn = job->conn;
    briq_nbd_job_drive(job);
    briq_nbd_conn_advance(conn);
}
