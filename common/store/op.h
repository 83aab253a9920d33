/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op.h - how an operation moves: one phase function after another, until one says DONE.
 *
 * A phase does what it can without waiting and then
 *   - names the next phase and returns BRIQ_STEP_NEXT (go on at once),
 *   - hands out device requests, names the phase that looks at their results, returns BRIQ_STEP_IO,
 *   - joins a wait queue, names the phase to try again, returns BRIQ_STEP_WAIT: from then on the
 *     operation may be running in another thread, so nothing of it is touched any more,
 *   - or ends with briq_op_done().
 *
 * An operation is inside an epoch from its first phase on; it leaves to wait, and enters again
 * after. A buffer is given back before any wait, so that waiting operations hold nothing that
 * others wait for.
 *
 * Thread: the one that steps.
 */
#ifndef BRIQ_STORE_OP_H
#define BRIQ_STORE_OP_H

#include "common/store/engine.h"
#include "common/store/put.h"

typedef enum briq_step (*briq_phase)(struct briq_ctx *ctx, struct briq_op *op);

/* Internal to the store: the next phase runs at once. */
#define BRIQ_STEP_NEXT ((enum briq_step)0x100)

struct briq_op_state {
    briq_phase next;
    briq_phase resume;     /* where to go on behind a helper: page loaded, claims written */
    briq_phase piece_done; /* where to go on behind a written piece */
    struct briq_waiter waiter;
    struct briq_epoch_guard guard;
    bool force_sync;     /* flush: the device must be flushed even if all is durable */
    bool push_only;      /* flush: writing is enough */
    bool sealed;         /* flush: the round it leads has sealed all streams */
    bool outside;        /* of the epochs, to the end */
    uint8_t claim_count; /* op->io[0 .. claim_count) write these windows */
    uint8_t claim_phase[BRIQ_OP_IO_MAX];
    struct briq_window *claim_win[BRIQ_OP_IO_MAX];
    struct briq_iobuf *buf;
    uint64_t pos;          /* bytes of the request that are done */
    uint64_t batch_end;    /* read: pos behind the blocks being read */
    uint64_t page;         /* map page being loaded */
    briq_word expect;      /* read-modify-write: the word the old content came from */
    uint64_t target;       /* flush: the sequence number to be made durable */
    uint64_t round_target; /* flush: the target of the round it leads */
    uint64_t full_round;   /* space: how often "full" had been found when it began to wait */
    uint64_t work;         /* status: pages looked at */
};

_Static_assert(sizeof(struct briq_op_state) <= BRIQ_OP_PRIVATE_BYTES, "op private");

static inline struct briq_op_state *briq_op_state(struct briq_op *op)
{
    return (struct briq_op_state *)(void *)&op->priv;
}

static inline enum briq_step briq_op_next(struct briq_op *op, briq_phase phase)
{
    briq_op_state(op)->next = phase;
    return BRIQ_STEP_NEXT;
}

/* The end: gives back all the operation holds. */
enum briq_step briq_op_done(struct briq_ctx *ctx, struct briq_op *op, int result);

/* Waits for whatever was missing since `ticket`, then goes on with `phase`. */
enum briq_step briq_op_wait(struct briq_ctx *ctx, struct briq_op *op, uint64_t ticket,
                            briq_phase phase);

/* Leaves the epoch, and tells those who wait for readers to be gone. Outside: does nothing but that.
 * Thread: the one that entered. */
void briq_reader_leave(struct briq_store *store, struct briq_epoch_guard *guard);

/* Makes sure op has an empty buffer: true; false: return *ret_step (it waits, then runs `phase`).
 */
bool briq_op_need_buf(struct briq_ctx *ctx, struct briq_op *op, briq_phase phase,
                      enum briq_step *ret_step);
void briq_op_put_buf(struct briq_ctx *ctx, struct briq_op *op);

/* Reads map page `page` from the medium, then goes on with `phase`. Ends op if that fails. */
enum briq_step briq_op_load_page(struct briq_ctx *ctx, struct briq_op *op, uint64_t page,
                                 briq_phase phase);

/* Plans the read of [off, off+len) of the device into op's buffer, joined to the last one if near.
 * Returns false when buffer or request slots are used up; else *ret_at is where off will be. */
bool briq_op_plan_read(struct briq_ctx *ctx, struct briq_op *op, uint64_t off, uint32_t len,
                       uint32_t *ret_at);

/* Hands the planned reads out, counted, then goes on with `phase`. */
enum briq_step briq_op_submit_reads(struct briq_ctx *ctx, struct briq_op *op, briq_phase phase);

/* 0, or the first error of op->io. */
int briq_op_io_result(const struct briq_op *op);

/* ---- writing windows ------------------------------------------------------------------------- */

/* Adds a claim to op's device requests. There must be room for it. */
void briq_op_add_claim(struct briq_op *op, const struct briq_claim *claim);

/* Hands the claims out, then goes on with `phase`; a failed write ends op with -EIO. */
enum briq_step briq_op_write_claims(struct briq_ctx *ctx, struct briq_op *op, briq_phase phase);

/* Reports the finished claims to the journal; latches on error. Returns 0 or the first error. */
int briq_op_claims_written(struct briq_ctx *ctx, struct briq_op *op);

/* What follows a put that could not be done: write the claim, wait for what is missing, try `phase`
 * again; or the end, when there is no more space. */
enum briq_step briq_op_after_put(struct briq_ctx *ctx, struct briq_op *op, int r,
                                 const struct briq_put_result *put, uint64_t ticket,
                                 briq_phase phase);

/* ---- beginnings of the kinds ----------------------------------------------------------------- */

enum briq_step briq_op_read_begin(struct briq_ctx *ctx, struct briq_op *op);
enum briq_step briq_op_write_begin(struct briq_ctx *ctx, struct briq_op *op);
enum briq_step briq_op_range_begin(struct briq_ctx *ctx, struct briq_op *op); /* trim, zero */
enum briq_step briq_op_status_begin(struct briq_ctx *ctx, struct briq_op *op);
enum briq_step briq_op_flush_begin(struct briq_ctx *ctx, struct briq_op *op);

/* A change is complete: FUA, or a store without a windows file, has more to do. */
enum briq_step briq_op_commit(struct briq_ctx *ctx, struct briq_op *op);

/* Writes the piece at pos (op->buf NULL: zeros), moves pos behind it, goes on with `phase`. */
enum briq_step briq_op_write_piece(struct briq_ctx *ctx, struct briq_op *op, briq_phase phase);

/* ---- pieces: the part of one block that a request covers ------------------------------------- */

struct briq_piece {
    uint64_t block;
    uint32_t from, len; /* in the block */
    uint8_t *buf;       /* the caller's bytes of it; NULL when the request has none */
};

/* The piece that begins `pos` bytes into the request. */
static inline struct briq_piece briq_op_piece(const struct briq_op *op, uint64_t pos)
{
    uint64_t off = op->off + pos;
    uint32_t from = off % BRIQ_BLOCK_SIZE;
    uint64_t left = op->len - pos;
    return (struct briq_piece){
        .block = off >> BRIQ_BLOCK_SHIFT,
        .from = from,
        .len = left < BRIQ_BLOCK_SIZE - from ? (uint32_t)left : BRIQ_BLOCK_SIZE - from,
        .buf = op->buf == NULL ? NULL : (uint8_t *)op->buf + pos,
    };
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/*
 * The content of `block`, whose word is `word`, without device I/O: from the word, an append
 * window, memory. dst is 4096 bytes. 0, -EBADMSG, or -EAGAIN: it is on the device.
 */
int briq_block_fetch(struct briq_ctx *ctx, uint64_t block, briq_word word, uint8_t *dst) BRIQ_MUST;

/* The content of a block whose extent was read to `extent`. 0 or -EBADMSG (counted). */
int briq_block_decode(struct briq_ctx *ctx, uint64_t block, briq_word word, const uint8_t *extent,
                      uint8_t *dst) BRIQ_MUST;

#endif
