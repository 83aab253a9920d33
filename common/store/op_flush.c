/* SPDX-License-Identifier: BSD-3-Clause */
/* op_flush.c - the phases of an operation that makes things durable; see flush.h for the protocol.
 */
#include "common/store/op.h"

#include <errno.h>

void briq_flusher_init(struct briq_flusher *flusher)
{
    pthread_mutex_init(&flusher->lock, NULL);
    briq_list_init(&flusher->waiting);
    flusher->running = false;
    flusher->waiting_count = 0;
    flusher->drainer = NULL;
    atomic_init(&flusher->pushed, 0);
}

void briq_flusher_fini(struct briq_flusher *flusher)
{
    pthread_mutex_destroy(&flusher->lock);
}

static enum briq_step flush_join(struct briq_ctx *ctx, struct briq_op *op);
static enum briq_step round_collect(struct briq_ctx *ctx, struct briq_op *op);

static enum briq_step flush_done(struct briq_ctx *ctx, struct briq_op *op)
{
    return briq_op_done(ctx, op, briq_store_is_latched(ctx->store) ? -EIO : 0);
}

static bool is_covered(struct briq_store *store, const struct briq_op_state *st)
{
    if (st->force_sync)
        return false;
    return st->target <=
           atomic_load(st->push_only ? &store->flusher.pushed : &store->journal.durable_seq);
}

/* Ends the round: whoever waits for the next one looks again, and one of them will lead it. */
static enum briq_step round_end(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_flusher *flusher = &ctx->store->flusher;
    struct briq_list woken;
    briq_list_init(&woken);
    pthread_mutex_lock(&flusher->lock);
    flusher->running = false;
    briq_counter_add(&flusher->rounds, 1);
    briq_counter_max(&flusher->batch_max, flusher->waiting_count + 1);
    flusher->waiting_count = 0;
    briq_list_take_all(&woken, &flusher->waiting);
    pthread_mutex_unlock(&flusher->lock);

    struct briq_node *node;
    while ((node = briq_list_pop_front(&woken)) != NULL) {
        struct briq_op *waiter = BRIQ_CONTAINER_OF(node, struct briq_waiter, node)->op;
        waiter->wake(waiter);
    }
    return flush_done(ctx, op);
}

static void raise_to(_Atomic uint64_t *seq, uint64_t target)
{
    /* Only the leader of the one running round writes these. */
    if (atomic_load(seq) < target)
        atomic_store(seq, target);
}

static enum briq_step round_synced(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_store *store = ctx->store;
    struct briq_op_state *st = briq_op_state(op);
    int r = briq_op_io_result(op);
    op->io_count = 0;
    briq_counter_add(&ctx->counts.device_flushes, 1);
    if (r < 0)
        briq_store_latch(store, r, "flushing the volume");
    else
        raise_to(&store->journal.durable_seq, st->round_target);
    return round_end(ctx, op);
}

static enum briq_step round_sync(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_op_state *st = briq_op_state(op);
    if (briq_store_is_latched(ctx->store))
        return round_end(ctx, op);
    raise_to(&ctx->store->flusher.pushed, st->round_target);
    if (st->push_only)
        return round_end(ctx, op);
    op->io[0] = (struct briq_io){.kind = BRIQ_IO_FLUSH};
    op->io_count = 1;
    st->next = round_synced;
    return BRIQ_STEP_IO;
}

/* The last write of the old phase is done, or was when the leader looked. */
static enum briq_step round_drain(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_flusher *flusher = &ctx->store->flusher;
    struct briq_op_state *st = briq_op_state(op);
    uint32_t old_phase = st->claim_phase[0];
    pthread_mutex_lock(&flusher->lock);
    bool wait = atomic_load(&ctx->store->journal.inflight[old_phase]) != 0;
    flusher->drainer = wait ? op : NULL;
    if (wait)
        st->next = round_drain;
    pthread_mutex_unlock(&flusher->lock);
    return wait ? BRIQ_STEP_WAIT : briq_op_next(op, round_sync);
}

void briq_flush_drained(struct briq_store *store)
{
    pthread_mutex_lock(&store->flusher.lock);
    struct briq_op *op = store->flusher.drainer;
    store->flusher.drainer = NULL;
    pthread_mutex_unlock(&store->flusher.lock);
    if (op != NULL)
        op->wake(op);
}

static enum briq_step round_turn_phase(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_journal *journal = &ctx->store->journal;
    uint32_t old_phase = atomic_load(&journal->phase);
    briq_op_state(op)->claim_phase[0] = (uint8_t)old_phase;
    atomic_store(&journal->phase, 1 - old_phase);
    return briq_op_next(op, round_drain);
}

static enum briq_step round_written(struct briq_ctx *ctx, struct briq_op *op)
{
    bool more = briq_op_state(op)->claim_count == BRIQ_OP_IO_MAX;
    /* A failure has latched the store; the round goes on to its end, to wake who waits. */
    if (briq_op_claims_written(ctx, op) < 0)
        more = false;
    return briq_op_next(op, more ? round_collect : round_turn_phase);
}

/* Seals (the first time) and claims until all request slots are taken or nothing is left. */
static enum briq_step round_collect(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_journal *journal = &ctx->store->journal;
    struct briq_op_state *st = briq_op_state(op);
    for (uint32_t i = 0; i < journal->user_count; i++) {
        struct briq_stream *stream = &journal->streams[i];
        struct briq_claim claim;
        pthread_mutex_lock(&stream->lock);
        if (!st->sealed)
            briq_journal_seal(journal, stream);
        while (st->claim_count < BRIQ_OP_IO_MAX && briq_journal_claim(journal, stream, &claim))
            briq_op_add_claim(op, &claim);
        pthread_mutex_unlock(&stream->lock);
    }
    st->sealed = true;
    if (st->claim_count == 0)
        return briq_op_next(op, round_turn_phase);
    op->io_count = st->claim_count;
    st->next = round_written;
    return BRIQ_STEP_IO;
}

static enum briq_step flush_join(struct briq_ctx *ctx, struct briq_op *op)
{
    struct briq_store *store = ctx->store;
    struct briq_flusher *flusher = &store->flusher;
    struct briq_op_state *st = briq_op_state(op);
    if (briq_store_is_latched(store) || is_covered(store, st))
        return flush_done(ctx, op);

    pthread_mutex_lock(&flusher->lock);
    bool lead = !flusher->running;
    if (lead) {
        flusher->running = true;
    } else {
        st->next = flush_join;
        flusher->waiting_count++;
        briq_list_push_back(&flusher->waiting, &st->waiter.node);
    }
    pthread_mutex_unlock(&flusher->lock);
    if (!lead)
        return BRIQ_STEP_WAIT;
    st->sealed = false;
    st->round_target = atomic_load(&store->journal.seq);
    return briq_op_next(op, round_collect);
}

/* A flush follows no map word, and may take long: it stays outside of the epochs. */
static enum briq_step flush_from_here(struct briq_ctx *ctx, struct briq_op *op)
{
    briq_reader_leave(ctx->store, &briq_op_state(op)->guard);
    briq_op_state(op)->outside = true;
    briq_op_state(op)->target = atomic_load(&ctx->store->journal.seq);
    return briq_op_next(op, flush_join);
}

enum briq_step briq_op_flush_begin(struct briq_ctx *ctx, struct briq_op *op)
{
    briq_counter_add(&ctx->counts.flushes, 1);
    if (ctx->store->in_memory || ctx->store->opened_read_only)
        return briq_op_done(ctx, op, 0);
    return flush_from_here(ctx, op);
}

enum briq_step briq_op_commit(struct briq_ctx *ctx, struct briq_op *op)
{
    bool fua = (op->flags & BRIQ_OP_FUA) != 0;
    if (fua)
        briq_counter_add(&ctx->counts.fua_writes, 1);
    if (ctx->store->in_memory || (!fua && !ctx->store->push_before_ack))
        return briq_op_done(ctx, op, 0);
    briq_op_state(op)->push_only = !fua;
    return flush_from_here(ctx, op);
}
