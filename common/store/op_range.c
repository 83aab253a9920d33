/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_range.c - trim and write-zeroes: one record for each map page they touch.
 *
 * Whole blocks become holes (trim, or zero that may trim) or explicit zeros. The partial blocks at
 * the edges are written as zeros by a zero, and left alone by a trim. Pages that hold nothing are
 * passed over without a record, so that clearing an empty volume costs a look at each 2 MiB.
 */
#include "common/store/maintain.h"
#include "common/store/op.h"

#include <errno.h>

#include "common/base/align.h"

static bool makes_holes(const struct briq_op *op)
{
    return op->kind == BRIQ_OP_TRIM || (op->flags & BRIQ_OP_MAY_TRIM) != 0;
}

static enum briq_step range_go(struct briq_ctx *ctx, struct briq_op *op);

/* A piece that is not a whole block. */
static enum briq_step edge(struct briq_ctx *ctx, struct briq_op *op, const struct briq_piece *piece)
{
    if (op->kind == BRIQ_OP_ZERO)
        return briq_op_write_piece(ctx, op, range_go);
    briq_op_state(op)->pos += piece->len;
    return briq_op_next(op, range_go);
}

/* Whole blocks from pos to the end of the request or of the map page. */
static uint32_t blocks_here(const struct briq_op *op, uint64_t pos)
{
    uint64_t block = (op->off + pos) >> BRIQ_BLOCK_SHIFT;
    uint64_t wanted = (op->len - pos) >> BRIQ_BLOCK_SHIFT;
    return (uint32_t)briq_min_u64(wanted, BRIQ_PAGE_WORDS - block % BRIQ_PAGE_WORDS);
}

static enum briq_step range_go(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_store *store = ctx->store;
    struct briq_op_state *st = briq_op_state(op);
    while (st->pos < op->len) {
        struct briq_piece piece = briq_op_piece(op, st->pos);
        uint64_t page = briq_map_page_of(piece.block);
        if (BRIQ_UNLIKELY(briq_store_is_latched(store)))
            return briq_op_done(ctx, op, -EIO);
        if (piece.len != BRIQ_BLOCK_SIZE)
            return edge(ctx, op, &piece);

        uint32_t count = blocks_here(op, st->pos);
        if (!makes_holes(op) || !briq_map_page_is_hole(&store->map, page)) {
            if (!briq_map_page_ready(&store->map, page))
                return briq_op_load_page(ctx, op, page, range_go);
            struct briq_put_result put;
            uint64_t ticket = briq_waitq_ticket(&store->waitq);
            int r = briq_put_range(ctx, piece.block, count,
                                   makes_holes(op) ? BRIQ_WORD_HOLE : BRIQ_WORD_ZERO, &put);
            if (r < 0)
                return briq_op_after_put(ctx, op, r, &put, ticket, range_go);
            st->pos += (uint64_t)count << BRIQ_BLOCK_SHIFT;
            st->full_round = 0;
            if (put.has_claim)
                return briq_op_after_put(ctx, op, r, &put, ticket, range_go);
            continue;
        }
        st->pos += (uint64_t)count << BRIQ_BLOCK_SHIFT;
    }
    briq_maintain_note_trim(store);
    return briq_op_commit(ctx, op);
}

enum briq_step briq_op_range_begin(struct briq_ctx *ctx, struct briq_op *op)
{
    bool trim = op->kind == BRIQ_OP_TRIM;
    op->buf = NULL; /* pieces at the edges are zeros */
    briq_counter_add(trim ? &ctx->counts.trims : &ctx->counts.zeroes, 1);
    briq_counter_add(trim ? &ctx->counts.trim_bytes : &ctx->counts.zero_bytes, op->len);
    return briq_op_next(op, range_go);
}
