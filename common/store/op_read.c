/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_read.c - the life of a read: plan a batch of blocks, read what is on the device, decode.
 *
 * Blocks that need no device (holes, fills, append windows, memory) go straight into the caller's
 * buffer while planning; the others are collected, with near extents joined into one request, until
 * the buffer or the request slots are used up. Then the next batch.
 */
#include "common/store/op.h"

#include <errno.h>
#include <string.h>

#include "common/base/align.h"

/* ---- one block ------------------------------------------------------------------------------- */

int briq_block_decode(struct briq_ctx *ctx, uint64_t block, briq_word word, const uint8_t *extent,
                      uint8_t *dst)
{
    struct briq_space *space = &ctx->store->space;
    uint32_t seg = briq_space_seg_of(space, briq_word_granule(word));
    int r = briq_extent_read(extent, briq_word_granules(word), block, briq_space_segseq(space, seg),
                             dst);
    if (BRIQ_UNLIKELY(r < 0))
        briq_counter_add(&ctx->counts.payload_errors, 1);
    return r;
}

static int fetch_data(struct briq_ctx *ctx, uint64_t block, briq_word word, uint8_t *dst)
{
    struct briq_store *store = ctx->store;
    uint64_t where = briq_word_granule(word) << BRIQ_GRANULE_SHIFT;
    if (store->in_memory)
        return briq_ram_extent_read(store->journal.ram_base + where, briq_word_granules(word), dst);
    if (BRIQ_UNLIKELY(!briq_space_contains(&store->space, briq_word_granule(word),
                                           briq_word_granules(word)) ||
                      !briq_word_is_valid(word)))
        return -EBADMSG;
    const uint8_t *extent = briq_windows_find(&store->windows, where);
    if (extent == NULL)
        return -EAGAIN;
    /* No writer lets an extent cross the end of a window; a word from the medium may say anything.
     */
    uint32_t window_bytes = store->windows.window_bytes;
    if (BRIQ_UNLIKELY(where % window_bytes + briq_word_granules(word) * BRIQ_GRANULE_BYTES >
                      window_bytes))
        return -EBADMSG;
    briq_counter_add(&ctx->counts.window_reads, 1);
    return briq_block_decode(ctx, block, word, extent, dst);
}

int briq_block_fetch(struct briq_ctx *ctx, uint64_t block, briq_word word, uint8_t *dst)
{
    switch (briq_word_type(word)) {
    case BRIQ_WORD_TYPE_DATA:
        return fetch_data(ctx, block, word, dst);
    case BRIQ_WORD_TYPE_FILL:
        briq_fill_block(dst, briq_word_pattern(word));
        break;
    default:
        memset(dst, 0, BRIQ_BLOCK_SIZE);
    }
    /* What no writer makes stood for something else. */
    return BRIQ_LIKELY(briq_word_is_valid(word)) ? 0 : -EBADMSG;
}

/* ---- pieces -------------------------------------------------------------------------------- */

/* Where a whole block may be decoded to: in place, or aside when only part of it is wanted. */
static uint8_t *target_of(struct briq_ctx *ctx, const struct briq_piece *piece)
{
    return piece->len == BRIQ_BLOCK_SIZE ? piece->buf : ctx->block;
}

static void deliver(struct briq_ctx *ctx, const struct briq_piece *piece)
{
    if (piece->len != BRIQ_BLOCK_SIZE)
        memcpy(piece->buf, ctx->block + piece->from, piece->len);
}

/* ---- the sector cache of direct I/O ---------------------------------------------------------- */

static struct briq_cache_key sector_key(struct briq_store *store, uint64_t off)
{
    uint32_t seg = (uint32_t)(off >> store->space.seg_shift);
    return (struct briq_cache_key){
        .sector = off / BRIQ_CACHE_SECTOR_BYTES,
        .generation = briq_space_segseq(&store->space, seg),
    };
}

/* All sectors of the extent are in the cache: its bytes are now in buf->mem at *ret_at. The place
 * is not kept: it is used at once. */
static bool cached(struct briq_ctx *ctx, struct briq_op *op, uint64_t off, uint32_t len,
                   uint32_t *ret_at)
{
    struct briq_store *store = ctx->store;
    struct briq_iobuf *buf = briq_op_state(op)->buf;
    if (store->cache == NULL)
        return false;
    uint64_t from = briq_align_down(off, BRIQ_CACHE_SECTOR_BYTES);
    uint32_t at = (uint32_t)briq_align_up(buf->used, BRIQ_CACHE_SECTOR_BYTES);
    if (at + (off + len - from) + BRIQ_CACHE_SECTOR_BYTES > BRIQ_IOBUF_BYTES)
        return false;
    for (uint64_t s = from; s < off + len; s += BRIQ_CACHE_SECTOR_BYTES)
        if (!briq_cache_get(store->cache, sector_key(store, s), buf->mem + at + (s - from)))
            return false;
    *ret_at = at + (uint32_t)(off - from);
    return true;
}

/*
 * Only the sectors of the extents that were asked for: their windows are on the device as a whole.
 * What was read in between, to save a request, may belong to a window that is still being written.
 */
static void keep_in_cache(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_store *store = ctx->store;
    const struct briq_iobuf *buf = briq_op_state(op)->buf;
    if (store->cache == NULL)
        return;
    for (uint32_t i = 0; i < buf->item_count; i++) {
        const struct briq_iobuf_item *item = &buf->items[i];
        uint64_t off = briq_word_granule(item->word) << BRIQ_GRANULE_SHIFT;
        uint64_t end = off + briq_word_granules(item->word) * BRIQ_GRANULE_BYTES;
        uint64_t from = briq_align_down(off, BRIQ_CACHE_SECTOR_BYTES);
        const uint8_t *mem = buf->mem + item->off - (off - from);
        for (uint64_t s = from; s < end; s += BRIQ_CACHE_SECTOR_BYTES)
            briq_cache_put(store->cache, sector_key(store, s), mem + (s - from));
    }
}

/* ---- phases ---------------------------------------------------------------------------------- */

static enum briq_step read_plan(struct briq_ctx *ctx, struct briq_op *op);

/* The request slots hold reads that were handed out: decode what they brought. */
static enum briq_step read_finish(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    struct briq_iobuf *buf = st->buf;
    int r = briq_op_io_result(op);
    for (uint32_t i = 0; i < buf->item_count && r == 0; i++) {
        const struct briq_iobuf_item *item = &buf->items[i];
        uint64_t begin = item->block << BRIQ_BLOCK_SHIFT;
        struct briq_piece piece = briq_op_piece(op, begin > op->off ? begin - op->off : 0);
        r = briq_block_decode(ctx, item->block, item->word, buf->mem + item->off,
                              target_of(ctx, &piece));
        if (r == 0)
            deliver(ctx, &piece);
    }
    if (r == 0)
        keep_in_cache(ctx, op); /* an answer that is wrong once is not to be given again */
    op->io_count = 0;
    briq_op_put_buf(ctx, op);
    if (r < 0)
        return briq_op_done(ctx, op, -EIO);
    st->pos = st->batch_end;
    return briq_op_next(op, read_plan);
}

/* Takes the block into the batch. True when it is in, false when the batch is full. */
static bool plan_block(struct briq_ctx *ctx, struct briq_op *op, uint64_t block, briq_word word,
                       uint32_t *ret_cached_at)
{
    struct briq_iobuf *buf = briq_op_state(op)->buf;
    uint64_t off = briq_word_granule(word) << BRIQ_GRANULE_SHIFT;
    uint32_t len = briq_word_granules(word) * BRIQ_GRANULE_BYTES;
    *ret_cached_at = UINT32_MAX;
    if (cached(ctx, op, off, len, ret_cached_at))
        return true;
    struct briq_iobuf_item *item = &buf->items[buf->item_count];
    if (buf->item_count == BRIQ_IOBUF_ITEMS || !briq_op_plan_read(ctx, op, off, len, &item->off))
        return false;
    item->word = word;
    item->block = block;
    buf->item_count++;
    return true;
}

enum planned { PLANNED, BATCH_FULL, NEED_BUFFER, FAILED };

static enum planned read_block(struct briq_ctx *ctx, struct briq_op *op,
                               const struct briq_piece *piece)
{
    briq_word word = briq_map_word(&ctx->store->map, piece->block);
    int r = briq_block_fetch(ctx, piece->block, word, target_of(ctx, piece));
    if (r == -EAGAIN) {
        if (briq_op_state(op)->buf == NULL)
            return NEED_BUFFER;
        uint32_t at;
        if (!plan_block(ctx, op, piece->block, word, &at))
            return BATCH_FULL;
        if (at == UINT32_MAX)
            return PLANNED;
        r = briq_block_decode(ctx, piece->block, word, briq_op_state(op)->buf->mem + at,
                              target_of(ctx, piece));
    }
    if (r < 0)
        return FAILED;
    deliver(ctx, piece);
    return PLANNED;
}

/* Memory far away: the fetch of the next word and payload begins while this block is decoded. */
static void prefetch_next(struct briq_ctx *ctx, const struct briq_op *op, uint64_t pos)
{
    struct briq_store *store = ctx->store;
    if (!store->in_memory || pos >= op->len)
        return;
    briq_word word = briq_map_word(&store->map, (op->off + pos) >> BRIQ_BLOCK_SHIFT);
    if (!briq_word_is_data(word))
        return;
    const uint8_t *extent =
        store->journal.ram_base + (briq_word_granule(word) << BRIQ_GRANULE_SHIFT);
    for (uint32_t i = 0; i < 8 * BRIQ_CACHELINE_BYTES; i += BRIQ_CACHELINE_BYTES)
        __builtin_prefetch(extent + i);
}

/* long: one loop over the blocks with its exits; taken apart it would be harder to follow */
static enum briq_step read_plan(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    uint64_t pos = st->pos;
    while (pos < op->len) {
        struct briq_piece piece = briq_op_piece(op, pos);
        uint64_t page = briq_map_page_of(piece.block);
        if (BRIQ_UNLIKELY(!briq_map_page_ready(&ctx->store->map, page))) {
            if (op->io_count > 0)
                break; /* first what is planned */
            st->pos = pos;
            return briq_op_load_page(ctx, op, page, read_plan);
        }
        prefetch_next(ctx, op, pos + piece.len);
        enum planned planned = read_block(ctx, op, &piece);
        if (planned == FAILED)
            return briq_op_done(ctx, op, -EIO);
        if (planned == BATCH_FULL)
            break;
        if (planned == NEED_BUFFER) {
            enum briq_step step;
            st->pos = pos;
            if (!briq_op_need_buf(ctx, op, read_plan, &step))
                return step;
            continue;
        }
        pos += piece.len;
    }
    st->batch_end = pos;
    if (op->io_count > 0)
        return briq_op_submit_reads(ctx, op, read_finish);
    BRIQ_ASSERT(pos >= op->len);
    return briq_op_done(ctx, op, 0);
}

enum briq_step briq_op_read_begin(struct briq_ctx *ctx, struct briq_op *op)
{
    briq_counter_add(&ctx->counts.reads, 1);
    briq_counter_add(&ctx->counts.read_bytes, op->len);
    return briq_op_next(op, read_plan);
}
