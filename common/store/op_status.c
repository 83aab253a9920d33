/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_status.c - what is data, zero or hole in a range, from the map alone.
 *
 * The work of one call is bounded: after STATUS_PAGES_MAX map pages that are not holes, what was
 * found so far is the answer, and the caller asks again behind it.
 */
#include "common/store/op.h"

#include <errno.h>

#include "common/base/align.h"

#define STATUS_PAGES_MAX 2048u /* 4 GiB of the volume */

static enum briq_extent_type type_of(briq_word word)
{
    if (word == BRIQ_WORD_HOLE)
        return BRIQ_EXTENT_HOLE;
    bool zero = word == BRIQ_WORD_ZERO || word == briq_word_fill(0);
    return zero ? BRIQ_EXTENT_ZERO : BRIQ_EXTENT_DATA;
}

/* Adds len bytes of a type behind the last extent; false when there is no place for another one. */
static bool add(struct briq_op *op, uint64_t len, enum briq_extent_type type)
{
    if (op->extents_count > 0 && op->extents[op->extents_count - 1].type == type) {
        op->extents[op->extents_count - 1].len_bytes += len;
        return true;
    }
    bool one = (op->flags & BRIQ_OP_ONE) != 0;
    if (op->extents_count == op->extents_max || (one && op->extents_count == 1))
        return false;
    op->extents[op->extents_count++] = (struct briq_extent){.len_bytes = len, .type = type};
    return true;
}

/* Bytes of the request from pos to the end of its map page. */
static uint64_t left_in_page(const struct briq_op *op, uint64_t pos)
{
    const uint64_t page_bytes = (uint64_t)BRIQ_PAGE_WORDS << BRIQ_BLOCK_SHIFT;
    uint64_t in_page = (op->off + pos) % page_bytes;
    return briq_min_u64(op->len - pos, page_bytes - in_page);
}

/* One page, word by word. False when the extents are used up. */
static bool look_at_page(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    uint64_t end = st->pos + left_in_page(op, st->pos);
    while (st->pos < end) {
        struct briq_piece piece = briq_op_piece(op, st->pos);
        if (!add(op, piece.len, type_of(briq_map_word(&ctx->store->map, piece.block))))
            return false;
        st->pos += piece.len;
    }
    return true;
}

static enum briq_step status_go(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_store *store = ctx->store;
    struct briq_op_state *st = briq_op_state(op);
    while (st->pos < op->len && st->work < STATUS_PAGES_MAX) {
        uint64_t page = briq_map_page_of((op->off + st->pos) >> BRIQ_BLOCK_SHIFT);
        if (briq_map_page_is_hole(&store->map, page)) {
            uint64_t len = left_in_page(op, st->pos);
            if (!add(op, len, BRIQ_EXTENT_HOLE))
                break;
            st->pos += len;
            continue;
        }
        if (!briq_map_page_ready(&store->map, page))
            return briq_op_load_page(ctx, op, page, status_go);
        st->work++;
        if (!look_at_page(ctx, op))
            break;
    }
    return briq_op_done(ctx, op, 0);
}

enum briq_step briq_op_status_begin(struct briq_ctx *ctx, struct briq_op *op)
{
    (void)ctx;
    BRIQ_ASSERT(op->extents != NULL && op->extents_max > 0);
    op->extents_count = 0;
    return briq_op_next(op, status_go);
}
