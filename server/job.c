/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job.c - the life of a request, from what the client asked for to the operations of the store and
 * the chunks of its reply.
 *
 * Like an operation of the store, a job is one small function after another: each starts an
 * operation and names the next one, waits for room, or answers.
 *
 *   read     small: the data, or a hole if it is all zeros. Large: where are the holes? then hole
 *            by hole and piece by piece, each a chunk. Indivisible (simple reply, DF): all at once.
 *   write    piece by piece as the payload comes, out of the receive buffer
 *   trim, zero   step by step, so that a terabyte of it holds nobody up
 */
#include <errno.h>
#include <string.h>

#include "common/base/align.h"
#include "server/conn.h"
#include "server/nbd.h"
#include "server/reply.h"

/* A shorter hole would take more room on the wire, and in the slot, than its zeros. */
#define HOLE_BYTES_MIN 4u
/* Up to here a read is done without asking for holes first: looking at what came is cheaper. */
#define SMALL_READ_BYTES (16u << 10)

/* ---- operations ------------------------------------------------------------------------------ */

typedef enum briq_nbd_job_next (*job_step)(struct briq_nbd_job *job);

static uint64_t left(const struct briq_nbd_job *job)
{
    return job->request.len - job->pos;
}

/* Runs the operation that job->op was made, then `then`. */
static enum briq_nbd_job_next run(struct briq_nbd_job *job, job_step then)
{
    job->next = then;
    return job->conn->host->run(job) ? NBD_JOB_AGAIN : NBD_JOB_LATER;
}

static enum briq_nbd_job_next run_op(struct briq_nbd_job *job, enum briq_op_kind kind, void *buf,
                                     uint64_t len, unsigned flags, job_step then)
{
    job->step = len;
    briq_op_init(&job->op.op, kind, buf, len, job->request.off + job->pos, flags);
    return run(job, then);
}

void briq_nbd_job_drive(struct briq_nbd_job *job)
{
    while (job->next(job) == NBD_JOB_AGAIN)
        ;
}

/* Goes on with `then` when there is room, or when others have had their turn. */
static enum briq_nbd_job_next stall(struct briq_nbd_job *job, job_step then)
{
    job->next = then;
    briq_list_push_back(&job->conn->stalled, &job->stalled);
    return NBD_JOB_LATER;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* A connection that is dead sends nothing any more. */
static void note_end(const struct briq_nbd_job *job)
{
    const struct briq_nbd_conn *conn = job->conn;
    enum briq_kind kind = briq_figures_kind(job->request.type);
    uint64_t bytes = kind == BRIQ_KIND_STATUS ? 0 : job->request.len;
    if (!conn->dead)
        briq_figures_answered(conn->figures, kind, job->received_ns, bytes, job->failed);
    briq_figures_ended(conn->figures, !conn->dead);
}

static enum briq_nbd_job_next end(struct briq_nbd_job *job)
{
    note_end(job);
    briq_nbd_job_free(job);
    return NBD_JOB_DONE;
}

static enum briq_nbd_job_next out_of_memory(struct briq_nbd_job *job)
{
    briq_nbd_conn_kill(job->conn);
    return end(job);
}

static bool reserve(struct briq_nbd_job *job, size_t len)
{
    return briq_out_reserve(&job->conn->out, len, &job->slot);
}

static void commit(struct briq_nbd_job *job, size_t used)
{
    briq_out_commit(&job->conn->out, &job->slot, used);
}

static enum briq_nbd_job_next answer_error(struct briq_nbd_job *job, int error, const char *why)
{
    struct briq_nbd_conn *conn = job->conn;
    briq_out_cancel(&conn->out, &job->slot);
    job->failed = true;
    if (!reserve(job, NBD_REPLY_SMALL_MAX))
        return out_of_memory(job);
    if (why == NULL)
        why = strerrordesc_np(-error);
    commit(job, briq_nbd_reply_error(&conn->session, &job->request, error, why, job->slot.data));
    return end(job);
}

static enum briq_nbd_job_next answer_done(struct briq_nbd_job *job, bool chunk)
{
    if (!reserve(job, NBD_REPLY_SMALL_MAX))
        return out_of_memory(job);
    commit(job, briq_nbd_reply_done(&job->conn->session, &job->request, chunk, job->slot.data));
    return end(job);
}

/* The end of an operation that is the whole request. */
static enum briq_nbd_job_next answer_op(struct briq_nbd_job *job)
{
    int r = job->op.op.result;
    return r < 0 ? answer_error(job, r, NULL) : answer_done(job, false);
}

/* ---- read ------------------------------------------------------------------------------------ */

static enum briq_nbd_job_next read_next(struct briq_nbd_job *job);

static bool is_zero(const uint8_t *data, size_t len)
{
    return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

static void note_hole(struct briq_nbd_job *job, uint64_t len)
{
    briq_counter_add(&job->conn->figures->counts.hole_bytes, len);
}

/* A chunk of `len` zeros, written to the slot. */
static void commit_hole(struct briq_nbd_job *job, uint32_t len)
{
    bool last = left(job) == len;
    note_hole(job, len);
    commit(job, briq_nbd_reply_hole(&job->conn->session, &job->request, job->request.off + job->pos,
                                    len, last, job->slot.data));
    job->pos += len;
}

/* The slot's data is complete, behind the room for its head. */
static void commit_data(struct briq_nbd_job *job, uint32_t len)
{
    bool last = left(job) == len;
    size_t head = briq_nbd_reply_data(&job->conn->session, &job->request,
                                      job->request.off + job->pos, len, last, job->slot.data);
    commit(job, head + len);
    job->pos += len;
}

static enum briq_nbd_job_next read_piece(struct briq_nbd_job *job, uint32_t len, job_step then)
{
    size_t head = briq_nbd_reply_data_head(&job->conn->session);
    if (!reserve(job, head + len))
        return out_of_memory(job);
    return run_op(job, BRIQ_OP_READ, job->slot.data + head, len, 0, then);
}

static enum briq_nbd_job_next read_whole_done(struct briq_nbd_job *job)
{
    if (job->op.op.result < 0)
        return answer_error(job, job->op.op.result, NULL);
    commit_data(job, (uint32_t)job->step);
    return end(job);
}

static enum briq_nbd_job_next read_small_done(struct briq_nbd_job *job)
{
    size_t head = briq_nbd_reply_data_head(&job->conn->session);
    if (job->op.op.result < 0)
        return answer_error(job, job->op.op.result, NULL);
    if (job->step >= HOLE_BYTES_MIN && is_zero(job->slot.data + head, job->step))
        commit_hole(job, (uint32_t)job->step);
    else
        commit_data(job, (uint32_t)job->step);
    return end(job);
}

static enum briq_nbd_job_next read_piece_done(struct briq_nbd_job *job)
{
    if (job->op.op.result < 0)
        return answer_error(job, job->op.op.result, NULL);
    job->extents[job->extent].len_bytes -= job->step;
    commit_data(job, (uint32_t)job->step);
    return read_next(job);
}

static enum briq_nbd_job_next read_extent(struct briq_nbd_job *job)
{
    struct briq_extent *extent = &job->extents[job->extent];
    if (extent->type == BRIQ_EXTENT_DATA)
        return read_piece(job, (uint32_t)briq_min_u64(extent->len_bytes, NBD_PIECE_BYTES),
                          read_piece_done);
    if (!reserve(job, NBD_CHUNK_HEAD_MAX + 4))
        return out_of_memory(job);
    commit_hole(job, (uint32_t)extent->len_bytes); /* not above NBD_PAYLOAD_MAX */
    extent->len_bytes = 0;
    job->next = read_next;
    return NBD_JOB_AGAIN;
}

static enum briq_nbd_job_next read_extents_known(struct briq_nbd_job *job)
{
    if (job->op.op.result < 0)
        return answer_error(job, job->op.op.result, NULL);
    job->extent = 0;
    job->extent_count = job->op.op.extents_count;
    return read_next(job);
}

static enum briq_nbd_job_next read_next(struct briq_nbd_job *job)
{
    if (left(job) == 0)
        return end(job); /* the last chunk said that it was */
    if (job->conn->dead)
        return end(job);
    if (!briq_nbd_conn_has_room(job->conn))
        return stall(job, read_next);
    while (job->extent < job->extent_count && job->extents[job->extent].len_bytes == 0)
        job->extent++;
    if (job->extent < job->extent_count)
        return read_extent(job);
    job->op.op.extents = job->extents;
    job->op.op.extents_max = NBD_READ_EXTENTS;
    return run_op(job, BRIQ_OP_STATUS, NULL, left(job), 0, read_extents_known);
}

static enum briq_nbd_job_next begin_read(struct briq_nbd_job *job)
{
    const struct briq_nbd_session *session = &job->conn->session;
    uint64_t len = job->request.len;
    if (len == 0 && session->structured)
        return answer_done(job, true);
    if (!session->structured || (job->request.flags & NBD_CMD_FLAG_DF) != 0)
        return read_piece(job, (uint32_t)len, read_whole_done);
    if (len <= SMALL_READ_BYTES)
        return read_piece(job, (uint32_t)len, read_small_done);
    job->extent = job->extent_count = 0;
    return read_next(job);
}

/* ---- write ----------------------------------------------------------------------------------- */

static enum briq_nbd_job_next answer_write(struct briq_nbd_job *job)
{
    return job->error < 0 ? answer_error(job, job->error, job->why) : answer_done(job, false);
}

static enum briq_nbd_job_next piece_written(struct briq_nbd_job *job)
{
    if (job->in != NULL)
        briq_recv_buf_put(job->in);
    else
        job->conn->seam_job = NULL;
    job->in = NULL;
    job->writing = false;
    job->pos += job->step;
    if (job->op.op.result < 0 && job->error == 0)
        job->error = job->op.op.result;
    if (job->conn->taking == job)
        return NBD_JOB_LATER; /* for more of its payload */
    return answer_write(job);
}

void briq_nbd_job_write(struct briq_nbd_job *job, const uint8_t *data, uint32_t len,
                        struct briq_recv_buf *in)
{
    struct briq_nbd_conn *conn = job->conn;
    bool last = left(job) == len;
    bool fua = last && (job->request.flags & NBD_CMD_FLAG_FUA) != 0;
    void *bytes;
    memcpy(&bytes, &data, sizeof bytes); /* one kind of operation both ways; a write only reads */
    job->in = in;
    if (in == NULL)
        conn->seam_job = job;
    job->writing = true;
    if (run_op(job, BRIQ_OP_WRITE, bytes, len, fua ? BRIQ_OP_FUA : 0, piece_written) ==
        NBD_JOB_AGAIN)
        briq_nbd_job_drive(job);
}

void briq_nbd_job_payload_end(struct briq_nbd_job *job)
{
    if (!job->writing)
        (void)answer_write(job);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static enum briq_nbd_job_next range_next(struct briq_nbd_job *job);

static enum briq_nbd_job_next range_done(struct briq_nbd_job *job)
{
    if (job->op.op.result < 0)
        return answer_error(job, job->op.op.result, NULL);
    job->pos += job->step;
    if (left(job) == 0)
        return answer_done(job, false);
    job->conn->host->yield(job->conn);
    return stall(job, range_next);
}

/* Steps end at multiples of a step, so that no block is cut. */
static enum briq_nbd_job_next range_next(struct briq_nbd_job *job)
{
    uint16_t asked = job->request.flags;
    if (job->conn->dead)
        return end(job);
    uint64_t at = job->request.off + job->pos;
    uint64_t step = briq_min_u64(left(job), NBD_RANGE_STEP_BYTES - at % NBD_RANGE_STEP_BYTES);
    bool zero = job->request.type == NBD_CMD_WRITE_ZEROES;
    unsigned flags = 0;
    if (step == left(job) && (asked & NBD_CMD_FLAG_FUA) != 0)
        flags |= BRIQ_OP_FUA;
    if (zero && (asked & NBD_CMD_FLAG_NO_HOLE) == 0)
        flags |= BRIQ_OP_MAY_TRIM;
    return run_op(job, zero ? BRIQ_OP_ZERO : BRIQ_OP_TRIM, NULL, step, flags, range_done);
}

static enum briq_nbd_job_next begin_flush(struct briq_nbd_job *job)
{
    return run_op(job, BRIQ_OP_FLUSH, NULL, 0, 0, answer_op);
}

static enum briq_nbd_job_next begin_cache(struct briq_nbd_job *job)
{
    uint64_t len = briq_min_u64(job->request.len, NBD_CACHE_BYTES_MAX);
    int r = briq_prefetch(job->conn->store, len, job->request.off);
    return r < 0 ? answer_error(job, r, NULL) : answer_done(job, false);
}

/* The extents were put where their reply is then written over them. */
static enum briq_nbd_job_next status_done(struct briq_nbd_job *job)
{
    const struct briq_op *op = &job->op.op;
    if (op->result < 0)
        return answer_error(job, op->result, NULL);
    commit(job, briq_nbd_reply_status(&job->conn->session, &job->request, op->extents,
                                      op->extents_count, job->slot.data));
    return end(job);
}

static enum briq_nbd_job_next begin_status(struct briq_nbd_job *job)
{
    bool one = (job->request.flags & NBD_CMD_FLAG_REQ_ONE) != 0;
    unsigned max = one ? 1 : NBD_EXTENTS_MAX;
    const size_t align = _Alignof(struct briq_extent);
    if (job->unwanted)
        return answer_done(job, true);
    if (job->request.len == 0)
        return answer_error(job, -EINVAL, "block status of nothing");
    if (!reserve(job, NBD_STATUS_HEAD + align + max * sizeof(struct briq_extent)))
        return out_of_memory(job);
    uintptr_t at = briq_align_up((uintptr_t)job->slot.data + NBD_STATUS_HEAD, align);
    job->op.op.extents = (struct briq_extent *)at;
    job->op.op.extents_max = max;
    return run_op(job, BRIQ_OP_STATUS, NULL, job->request.len, one ? BRIQ_OP_ONE : 0, status_done);
}

static enum briq_nbd_job_next begin_write(struct briq_nbd_job *job)
{
    (void)job;
    return NBD_JOB_LATER; /* for its payload */
}

static enum briq_nbd_job_next begin(struct briq_nbd_job *job)
{
    static const job_step begins[] = {
        [NBD_CMD_READ] = begin_read,           [NBD_CMD_WRITE] = begin_write,
        [NBD_CMD_FLUSH] = begin_flush,         [NBD_CMD_TRIM] = range_next,
        [NBD_CMD_WRITE_ZEROES] = range_next,   [NBD_CMD_CACHE] = begin_cache,
        [NBD_CMD_BLOCK_STATUS] = begin_status,
    };
    if (job->error < 0)
        return answer_error(job, job->error, job->why);
    return begins[job->request.type](job);
}

void briq_nbd_job_begin(struct briq_nbd_job *job)
{
    job->next = begin;
    briq_nbd_job_drive(job);
}
