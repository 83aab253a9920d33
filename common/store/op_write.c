/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_write.c - the life of a write: block by block, compress in this thread, append, publish.
 *
 * A piece that does not cover its whole block is a read-modify-write without a lock: remember the
 * map word, fetch the old content, overlay, and put on the condition that the word is still the
 * same. If another writer was faster the piece starts again with his content; one of any number of
 * racing writers always gets through. The word cannot come back with other content meanwhile: the
 * place it names is not reused while this operation is inside its epoch.
 */
#include "common/store/op.h"

#include <errno.h>
#include <string.h>

#include "common/base/align.h"

static enum briq_step piece_begin(struct briq_ctx *ctx, struct briq_op *op);

static void count_payload(struct briq_ctx *ctx, const struct briq_payload *payload)
{
    if (payload->kind != BRIQ_PAYLOAD_EXTENT)
        return;
    briq_counter_add(&ctx->counts.compressed_bytes, payload->len);
    briq_counter_add(payload->codec == BRIQ_CODEC_RAW ? &ctx->counts.incompressible_blocks
                                                      : &ctx->counts.compressed_blocks,
                     1);
}

static enum briq_step piece_next(struct briq_op *op, const struct briq_piece *piece)
{
    struct briq_op_state *st = briq_op_state(op);
    st->pos += piece->len;
    st->full_round = 0;
    return briq_op_next(op, st->piece_done);
}

/* Encodes `block` and puts it; with expect only if nobody changed it. */
static enum briq_step put_piece(struct briq_ctx *ctx, struct briq_op *op,
                                const struct briq_piece *piece, const uint8_t *block,
                                const briq_word *expect)
{
    struct briq_put_result put;
    struct briq_payload payload;
    uint64_t ticket = briq_waitq_ticket(&ctx->store->waitq);
    briq_codec_encode(&ctx->codec, block, &payload);
    int r = briq_put_block(ctx, piece->block, &payload, expect, &put);
    if (BRIQ_LIKELY(r == 0 && !put.has_claim)) {
        count_payload(ctx, &payload);
        return piece_next(op, piece);
    }
    if (r == 0) {
        count_payload(ctx, &payload);
        piece_next(op, piece);
        return briq_op_after_put(ctx, op, r, &put, ticket, briq_op_state(op)->piece_done);
    }
    if (r == -ESTALE && !put.has_claim) {
        briq_counter_add(&ctx->counts.rmw_retries, 1);
        return briq_op_next(op, piece_begin);
    }
    return briq_op_after_put(ctx, op, r, &put, ticket, piece_begin);
}

/* ctx->block holds the old content. */
static enum briq_step merge_piece(struct briq_ctx *ctx, struct briq_op *op,
                                  const struct briq_piece *piece)
{
    if (piece->buf != NULL)
        memcpy(ctx->block + piece->from, piece->buf, piece->len);
    else
        memset(ctx->block + piece->from, 0, piece->len);
    return put_piece(ctx, op, piece, ctx->block, &briq_op_state(op)->expect);
}

static enum briq_step old_content_read(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    struct briq_piece piece = briq_op_piece(op, st->pos);
    int r = briq_op_io_result(op);
    op->io_count = 0;
    if (r == 0)
        r = briq_block_decode(ctx, piece.block, st->expect, st->buf->mem + st->buf->items[0].off,
                              ctx->block);
    briq_op_put_buf(ctx, op);
    return r < 0 ? briq_op_done(ctx, op, -EIO) : merge_piece(ctx, op, &piece);
}

static enum briq_step read_old_content(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    enum briq_step step;
    if (!briq_op_need_buf(ctx, op, piece_begin, &step))
        return step;
    bool fits = briq_op_plan_read(ctx, op, briq_word_granule(st->expect) << BRIQ_GRANULE_SHIFT,
                                  briq_word_granules(st->expect) * BRIQ_GRANULE_BYTES,
                                  &st->buf->items[0].off);
    BRIQ_ASSERT(fits);
    return briq_op_submit_reads(ctx, op, old_content_read);
}

static enum briq_step modify_piece(struct briq_ctx *ctx, struct briq_op *op,
                                   const struct briq_piece *piece)
{
    struct briq_op_state *st = briq_op_state(op);
    st->expect = briq_map_word(&ctx->store->map, piece->block);
    briq_counter_add(&ctx->counts.rmw_blocks, 1);
    int r = briq_block_fetch(ctx, piece->block, st->expect, ctx->block);
    if (r == -EAGAIN)
        return read_old_content(ctx, op);
    return r < 0 ? briq_op_done(ctx, op, -EIO) : merge_piece(ctx, op, piece);
}

static enum briq_step piece_begin(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    struct briq_piece piece = briq_op_piece(op, st->pos);
    uint64_t page = briq_map_page_of(piece.block);
    if (BRIQ_UNLIKELY(briq_store_is_latched(ctx->store)))
        return briq_op_done(ctx, op, -EIO);
    if (BRIQ_UNLIKELY(!briq_map_page_ready(&ctx->store->map, page)))
        return briq_op_load_page(ctx, op, page, piece_begin);
    if (BRIQ_LIKELY(piece.len == BRIQ_BLOCK_SIZE && piece.buf != NULL))
        return put_piece(ctx, op, &piece, piece.buf, NULL);
    return modify_piece(ctx, op, &piece);
}

enum briq_step briq_op_write_piece(struct briq_ctx *ctx, struct briq_op *op, briq_phase phase)
{
    (void)ctx;
    briq_op_state(op)->piece_done = phase;
    return briq_op_next(op, piece_begin);
}

static enum briq_step write_go(struct briq_ctx *ctx, struct briq_op *op)
{
    if (briq_op_state(op)->pos == op->len)
        return briq_op_commit(ctx, op);
    return briq_op_write_piece(ctx, op, write_go);
}

enum briq_step briq_op_write_begin(struct briq_ctx *ctx, struct briq_op *op)
{
    briq_counter_add(&ctx->counts.writes, 1);
    briq_counter_add(&ctx->counts.write_bytes, op->len);
    return briq_op_next(op, write_go);
}
