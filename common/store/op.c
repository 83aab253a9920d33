/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/op.h"

#include <errno.h>
#include <string.h>

#include "common/base/align.h"
#include "common/store/tree.h"

/* Reading a few KiB that nobody asked for costs less than another request. */
#define READ_GAP_BYTES 8192u

/* A trim or zero is never refused for space; if it still cannot be placed after this many complete attempts
 * to free some, something is wrong, and an error is better than waiting for ever. */
#define GIVING_ROUNDS_MAX 64u

/* ---- beginning and end ----------------------------------------------------------------------- */

void briq_op_init(struct briq_op *op, enum briq_op_kind kind, void *buf, uint64_t len, uint64_t off,
                  unsigned flags)
{
    op->kind = kind;
    op->flags = flags;
    op->buf = buf;
    op->off = off;
    op->len = len;
    op->result = 0;
    op->io_count = 0;
    memset(&op->priv, 0, sizeof op->priv);
    briq_op_state(op)->waiter.op = op;
}

static bool changes(const struct briq_op *op)
{
    return op->kind == BRIQ_OP_WRITE || op->kind == BRIQ_OP_TRIM || op->kind == BRIQ_OP_ZERO;
}

/* What is wrong with the request as such, or 0. */
static int check_request(struct briq_store *store, const struct briq_op *op)
{
    if (op->kind == BRIQ_OP_FLUSH)
        return 0;
    if (changes(op) && store->opened_read_only)
        return -EROFS;
    bool moves_data = op->kind == BRIQ_OP_READ || op->kind == BRIQ_OP_WRITE;
    if (moves_data && op->len > BRIQ_REQUEST_BYTES_MAX)
        return -EINVAL;
    uint64_t size = atomic_load_explicit(&store->logical_bytes, memory_order_relaxed);
    if (op->off > size || op->len > size - op->off)
        return op->kind == BRIQ_OP_WRITE || op->kind == BRIQ_OP_ZERO ? -ENOSPC : -EINVAL;
    return 0;
}

static briq_phase begin_phase(const struct briq_op *op)
{
    switch (op->kind) {
    case BRIQ_OP_READ:
        return briq_op_read_begin;
    case BRIQ_OP_WRITE:
        return briq_op_write_begin;
    case BRIQ_OP_TRIM:
    case BRIQ_OP_ZERO:
        return briq_op_range_begin;
    case BRIQ_OP_STATUS:
        return briq_op_status_begin;
    case BRIQ_OP_FLUSH:
        return briq_op_flush_begin;
    }
    return NULL;
}

static enum briq_step begin(struct briq_ctx *ctx, struct briq_op *op)
{
    int r = check_request(ctx->store, op);
    if (r == 0 && (changes(op) || op->kind == BRIQ_OP_FLUSH) && briq_store_is_latched(ctx->store))
        r = -EIO;
    if (r < 0)
        return briq_op_done(ctx, op, r);
    return briq_op_next(op, begin_phase(op));
}

enum briq_step briq_op_step(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    if (st->next == NULL)
        st->next = begin;
    if (!st->guard.inside && !st->outside)
        briq_epoch_enter(&ctx->store->epoch, &st->guard, ctx->index);

    enum briq_step step;
    do
        step = st->next(ctx, op);
    while (step == BRIQ_STEP_NEXT);
    return step;
}

static void kick_if_readers_are_watched(struct briq_store *store)
{
    if (BRIQ_UNLIKELY(atomic_load(&store->maintain.waits_for_readers)) &&
        atomic_exchange(&store->maintain.waits_for_readers, false))
        briq_waitq_wake(&store->waitq);
    if (BRIQ_UNLIKELY(atomic_load(&store->maintain.watch_readers)) &&
        atomic_exchange(&store->maintain.watch_readers, false))
        briq_maintain_kick(store);
}

/* Somebody may be waiting for the readers of an old epoch, and we may have been the last. */
void briq_reader_leave(struct briq_store *store, struct briq_epoch_guard *guard)
{
    briq_epoch_leave(&store->epoch, guard);
    kick_if_readers_are_watched(store);
    if (BRIQ_LIKELY(atomic_load(&store->waitq.count) == 0))
        return;
    briq_windows_reclaim(&store->windows);
    if (atomic_load(&store->maintain.want_space))
        briq_waitq_wake(&store->waitq);
}

enum briq_step briq_op_done(struct briq_ctx *ctx, struct briq_op *op, int result)
{
    briq_op_put_buf(ctx, op);
    briq_reader_leave(ctx->store, &briq_op_state(op)->guard);
    op->io_count = 0;
    op->result = result;
    return BRIQ_STEP_DONE;
}

/* ---- waiting --------------------------------------------------------------------------------- */

enum briq_step briq_op_wait(struct briq_ctx *ctx, struct briq_op *op, uint64_t ticket,
                            briq_phase phase)
{
    struct briq_store *store = ctx->store;
    struct briq_op_state *st = briq_op_state(op);
    briq_op_put_buf(ctx, op);
    /* Quietly: operations that wait and wake each other would never let anybody think that it is
     * time for maintenance. Whoever maintains, finds that we have left. */
    briq_epoch_leave(&store->epoch, &st->guard);
    st->next = phase;
    if (briq_waitq_wait(&store->waitq, &st->waiter, ticket)) {
        /* No more ours. The last reader may have left just before he could see us waiting. */
        briq_windows_reclaim(&store->windows);
        kick_if_readers_are_watched(store);
        return BRIQ_STEP_WAIT;
    }
    briq_epoch_enter(&store->epoch, &st->guard, ctx->index);
    return BRIQ_STEP_NEXT;
}

bool briq_op_need_buf(struct briq_ctx *ctx, struct briq_op *op, briq_phase phase,
                      enum briq_step *ret_step)
{
    struct briq_op_state *st = briq_op_state(op);
    if (st->buf != NULL)
        return true;
    uint64_t ticket = briq_waitq_ticket(&ctx->store->waitq);
    st->buf = briq_iobuf_get(&ctx->store->iobufs);
    if (st->buf != NULL)
        return true;
    briq_counter_add(&ctx->counts.waits_buffer, 1);
    *ret_step = briq_op_wait(ctx, op, ticket, phase);
    return false;
}

void briq_op_put_buf(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    if (st->buf == NULL)
        return;
    bool was_empty = briq_iobuf_put(&ctx->store->iobufs, st->buf);
    st->buf = NULL;
    if (BRIQ_UNLIKELY(was_empty))
        briq_waitq_wake(&ctx->store->waitq);
}

/* ---- device reads ---------------------------------------------------------------------------- */

static struct briq_io *last_read(struct briq_op *op)
{
    return op->io_count == 0 ? NULL : &op->io[op->io_count - 1];
}

/* Lengthens the last planned read to reach `end`, if it begins before `off` and ends near it. */
static bool extend_read(struct briq_op *op, struct briq_iobuf *buf, uint64_t off, uint64_t end)
{
    struct briq_io *io = last_read(op);
    if (io == NULL || off < io->off || off > io->off + io->len + READ_GAP_BYTES)
        return false;
    if (end <= io->off + io->len)
        return true;
    uint32_t more = (uint32_t)(end - (io->off + io->len));
    if (buf->used + more > BRIQ_IOBUF_BYTES)
        return false;
    io->len += more;
    buf->used += more;
    return true;
}

bool briq_op_plan_read(struct briq_ctx *ctx, struct briq_op *op, uint64_t off, uint32_t len,
                       uint32_t *ret_at)
{
    struct briq_iobuf *buf = briq_op_state(op)->buf;
    uint64_t begin_off = briq_align_down(off, ctx->store->align);
    uint64_t end = briq_align_up(off + len, ctx->store->align);
    if (!extend_read(op, buf, begin_off, end)) {
        uint32_t at = (uint32_t)briq_align_up(buf->used, ctx->store->align);
        if (op->io_count == BRIQ_OP_IO_MAX || at + (end - begin_off) > BRIQ_IOBUF_BYTES)
            return false;
        op->io[op->io_count++] = (struct briq_io){
            .kind = BRIQ_IO_READ,
            .buf = buf->mem + at,
            .len = (uint32_t)(end - begin_off),
            .off = begin_off,
        };
        buf->used = at + (uint32_t)(end - begin_off);
    }
    struct briq_io *io = last_read(op);
    *ret_at = (uint32_t)((uint8_t *)io->buf - buf->mem) + (uint32_t)(off - io->off);
    return true;
}

int briq_op_io_result(const struct briq_op *op)
{
    for (unsigned i = 0; i < op->io_count; i++)
        if (op->io[i].result < 0)
            return op->io[i].result;
    return 0;
}

enum briq_step briq_op_submit_reads(struct briq_ctx *ctx, struct briq_op *op, briq_phase phase)
{
    for (unsigned i = 0; i < op->io_count; i++)
        briq_counter_add(&ctx->counts.device_read_bytes, op->io[i].len);
    briq_counter_add(&ctx->counts.device_reads, op->io_count);
    briq_op_state(op)->next = phase;
    return BRIQ_STEP_IO;
}

static enum briq_step page_loaded(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    uint32_t at = st->buf->items[0].off;
    int r = briq_op_io_result(op);
    op->io_count = 0;
    if (r == 0)
        r = briq_tree_install_page(ctx->store, st->page, st->buf->items[0].word, st->buf->mem + at);
    briq_op_put_buf(ctx, op);
    if (r == 0)
        return briq_op_next(op, st->resume);
    briq_counter_add(&ctx->counts.metadata_errors, 1);
    return briq_op_done(ctx, op, -EIO);
}

enum briq_step briq_op_load_page(struct briq_ctx *ctx, struct briq_op *op, uint64_t page,
                                 briq_phase phase)
{
    struct briq_op_state *st = briq_op_state(op);
    enum briq_step step;
    if (!briq_op_need_buf(ctx, op, phase, &step))
        return step;
    briq_word place = briq_map_page_place(&ctx->store->map, page);
    st->buf->used = st->buf->item_count = 0;
    op->io_count = 0;
    st->buf->items[0].word = place;
    bool fits =
        briq_op_plan_read(ctx, op, briq_word_granule(place) << BRIQ_GRANULE_SHIFT,
                          briq_word_granules(place) * BRIQ_GRANULE_BYTES, &st->buf->items[0].off);
    BRIQ_ASSERT(fits);
    st->page = page;
    st->resume = phase;
    return briq_op_submit_reads(ctx, op, page_loaded);
}

/* ---- writing windows ------------------------------------------------------------------------- */

void briq_op_add_claim(struct briq_op *op, const struct briq_claim *claim)
{
    struct briq_op_state *st = briq_op_state(op);
    unsigned i = st->claim_count;
    BRIQ_ASSERT(i < BRIQ_OP_IO_MAX);
    st->claim_win[i] = claim->win;
    st->claim_phase[i] = (uint8_t)claim->phase;
    st->claim_count++;
    op->io[i] = (struct briq_io){
        .kind = BRIQ_IO_WRITE,
        .buf = claim->buf,
        .len = claim->len,
        .off = claim->where,
    };
}

int briq_op_claims_written(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_store *store = ctx->store;
    struct briq_op_state *st = briq_op_state(op);
    int r = 0;
    for (unsigned i = 0; i < st->claim_count; i++) {
        if (op->io[i].result < 0) {
            r = op->io[i].result;
            briq_store_latch(store, r, "writing to the volume");
        }
        if (briq_journal_written(&store->journal, st->claim_win[i], st->claim_phase[i],
                                 op->io[i].result))
            briq_flush_drained(store);
    }
    briq_counter_add(&ctx->counts.device_writes, st->claim_count);
    st->claim_count = 0;
    op->io_count = 0;
    briq_waitq_wake(&store->waitq); /* windows may be free now */
    return r;
}

static enum briq_step claims_written(struct briq_ctx *ctx, struct briq_op *op)
{
    if (briq_op_claims_written(ctx, op) < 0)
        return briq_op_done(ctx, op, -EIO);
    return briq_op_next(op, briq_op_state(op)->resume);
}

enum briq_step briq_op_write_claims(struct briq_ctx *ctx, struct briq_op *op, briq_phase phase)
{
    (void)ctx;
    struct briq_op_state *st = briq_op_state(op);
    op->io_count = st->claim_count;
    st->resume = phase;
    st->next = claims_written;
    return BRIQ_STEP_IO;
}

/* Space is waited for until maintenance has found, since this operation began to wait, that there
 * is no more to be had. */
static bool space_is_out(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    uint64_t rounds = atomic_load(&ctx->store->maintain.full_rounds);
    if (st->full_round == 0) {
        st->full_round = rounds + 1;
        briq_counter_add(&ctx->counts.waits_space, 1);
    }
    bool gives_back = op->kind == BRIQ_OP_TRIM || op->kind == BRIQ_OP_ZERO;
    uint64_t allowed = gives_back ? GIVING_ROUNDS_MAX : 0;
    return rounds >= st->full_round + allowed;
}

static enum briq_step out_of_space(struct briq_ctx *ctx, struct briq_op *op)
{
    briq_counter_add(&ctx->counts.enospc, 1);
    return briq_op_done(ctx, op, -ENOSPC);
}

enum briq_step briq_op_after_put(struct briq_ctx *ctx, struct briq_op *op, int r,
                                 const struct briq_put_result *put, uint64_t ticket,
                                 briq_phase phase)
{
    struct briq_store *store = ctx->store;
    if (put->has_claim) {
        briq_op_put_buf(ctx, op);
        briq_op_add_claim(op, &put->claim);
        return briq_op_write_claims(ctx, op, phase);
    }
    if (r != -EAGAIN)
        return r == -ENOSPC ? out_of_space(ctx, op) : briq_op_done(ctx, op, r);
    if (briq_store_is_latched(store))
        return briq_op_done(ctx, op, -EIO);
    if (put->need == BRIQ_PUT_NEEDS_SEGMENT) {
        if (space_is_out(ctx, op))
            return out_of_space(ctx, op);
        atomic_store(&store->maintain.want_space, true);
        briq_maintain_kick(store);
    } else {
        briq_counter_add(&ctx->counts.waits_window, 1);
    }
    return briq_op_wait(ctx, op, ticket, phase);
}
