/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/put.h"

#include <errno.h>

static uint64_t word_granules(briq_word word)
{
    return briq_word_is_data(word) ? briq_word_granules(word) : 0;
}

static bool word_is_mapped(briq_word word)
{
    return briq_word_is_data(word) || briq_word_type(word) == BRIQ_WORD_TYPE_FILL;
}

void briq_put_account(struct briq_stream *stream, briq_word old, briq_word new)
{
    struct briq_journal_counts *c = &stream->counts;
    uint64_t grown = word_granules(new) - word_granules(old);
    if (grown != 0)
        briq_counter_add(&c->data_granules, grown);
    if (BRIQ_LIKELY(briq_word_is_data(old) && briq_word_is_data(new)))
        return;
    briq_counter_add(&c->mapped_blocks,
                     (uint64_t)word_is_mapped(new) - (uint64_t)word_is_mapped(old));
    briq_counter_add(&c->fill_blocks, (uint64_t)(briq_word_type(new) == BRIQ_WORD_TYPE_FILL) -
                                          (uint64_t)(briq_word_type(old) == BRIQ_WORD_TYPE_FILL));
    briq_counter_add(&c->zero_blocks,
                     (uint64_t)(new == BRIQ_WORD_ZERO) - (uint64_t)(old == BRIQ_WORD_ZERO));
}

/* The map word changes; live space follows. The new place is counted before anybody can find it, so
 * that whoever overwrites it next finds something to take off. Under the stripe lock.
 * -EUCLEAN: there was nothing to take off, see briq_space_live_sub(); the change has happened. */
static int publish(struct briq_store *store, struct briq_stream *stream, uint64_t block,
                   briq_word old, briq_word new)
{
    int r = 0;
    if (briq_word_is_data(new))
        briq_space_live_add(&store->space, briq_word_granule(new), briq_word_granules(new));
    briq_map_set(&store->map, block, new);
    if (briq_word_is_data(old))
        r = briq_space_live_sub(&store->space, briq_word_granule(old), briq_word_granules(old));
    briq_put_account(stream, old, new);
    return r;
}

/* No change can be told from damage of the accounts any more: this was the last one. */
static int latch_accounts(struct briq_store *store, int r)
{
    if (r < 0)
        briq_store_latch(store, r, "accounting (the segment table counts less than is live)");
    return r < 0 ? -EIO : 0;
}

static uint64_t next_seq(struct briq_store *store)
{
    return atomic_fetch_add_explicit(&store->journal.seq, 1, memory_order_relaxed) + 1;
}

static int make_room(struct briq_store *store, struct briq_stream *stream, uint32_t granules,
                     enum briq_seg_class class, struct briq_room *room, struct briq_put_result *ret)
{
    enum briq_room_need need;
    /* The floor is looked up only when a segment may be needed: that is rare, and costs a little.
     */
    int r = briq_journal_room(&store->journal, stream, granules, UINT32_MAX, room, &need);
    if (r < 0 && need == BRIQ_NEED_SEGMENT) {
        r = briq_journal_room(&store->journal, stream, granules, briq_store_floor(store, class),
                              room, &need);
        briq_store_update_tight(store);
        briq_maintain_kick(store); /* the stock of ready segments shrank, or is empty */
    }
    if (r < 0)
        ret->need = need == BRIQ_NEED_WINDOW ? BRIQ_PUT_NEEDS_WINDOW : BRIQ_PUT_NEEDS_SEGMENT;
    return r;
}

/* At the limit of live space only changes that do not grow it are let through. */
static bool may_grow(struct briq_store *store, briq_word old, uint32_t granules)
{
    if (BRIQ_LIKELY(!atomic_load_explicit(&store->tight, memory_order_relaxed)) ||
        granules <= word_granules(old))
        return true;
    if (briq_store_live(store) >= briq_store_live_max(store))
        return false;
    atomic_store_explicit(&store->tight, 0, memory_order_relaxed);
    return true;
}

static briq_word payload_word(const struct briq_payload *payload, const struct briq_room *room)
{
    switch (payload->kind) {
    case BRIQ_PAYLOAD_ZERO:
        return BRIQ_WORD_ZERO;
    case BRIQ_PAYLOAD_FILL:
        return briq_word_fill(payload->pattern);
    default:
        return briq_word_data(room->granule, room->granules);
    }
}

static struct briq_record payload_record(uint64_t block, const struct briq_payload *payload)
{
    static const enum briq_record_type types[] = {
        [BRIQ_PAYLOAD_ZERO] = BRIQ_REC_ZERO,
        [BRIQ_PAYLOAD_FILL] = BRIQ_REC_FILL,
        [BRIQ_PAYLOAD_EXTENT] = BRIQ_REC_DATA,
    };
    return (struct briq_record){
        .lba = block,
        .type = types[payload->kind],
        .pattern = payload->pattern,
        .count = 1,
    };
}

static uint32_t write_payload(struct briq_store *store, const struct briq_room *room,
                              const struct briq_payload *payload, uint64_t block)
{
    if (room->payload == NULL)
        return 0;
    if (!store->in_memory)
        return briq_extent_write(room->payload, payload, block, room->segseq);
    briq_ram_extent_write(room->payload, payload, block);
    return 0;
}

/* Zeros over zeros, or over a hole, change nothing that a reader could see. */
static bool is_no_change(briq_word old, briq_word new)
{
    return !briq_word_is_data(new) &&
           (old == new || (old == BRIQ_WORD_HOLE && new == BRIQ_WORD_ZERO));
}

/* The moment of the change. Under the stream's and the stripe's lock. */
static int put_under_stripe(struct briq_store *store, struct briq_stream *stream, uint64_t block,
                            const struct briq_payload *payload, const briq_word *expect,
                            const struct briq_room *room, struct briq_record *record,
                            struct briq_put_result *ret)
{
    briq_word old = briq_map_word(&store->map, block);
    briq_word new = payload_word(payload, room);
    if (expect != NULL && old != *expect)
        return -ESTALE;
    if (is_no_change(old, new))
        return 0;
    if (!may_grow(store, old, room->granules))
        return -ENOSPC;
    if (briq_map_touch(&store->map, briq_map_page_of(block)) < 0) {
        ret->need = BRIQ_PUT_NEEDS_CHECKPOINT;
        return -EAGAIN;
    }
    if (stream->kind == BRIQ_KIND_USER)
        record->seq = next_seq(store);
    briq_journal_commit(&store->journal, stream, room, record);
    return latch_accounts(store, publish(store, stream, block, old, new));
}

static int put_under_stream(struct briq_store *store, struct briq_stream *stream, uint64_t block,
                            const struct briq_payload *payload, const briq_word *expect,
                            uint64_t seq, enum briq_seg_class class, struct briq_put_result *ret)
{
    struct briq_room room;
    int r = make_room(store, stream, payload->granules, class, &room, ret);
    if (r < 0)
        return r;
    struct briq_record record = payload_record(block, payload);
    record.seq = seq;
    record.check = write_payload(store, &room, payload, block);

    pthread_mutex_t *stripe = briq_map_stripe(&store->map, briq_map_page_of(block));
    pthread_mutex_lock(stripe);
    r = put_under_stripe(store, stream, block, payload, expect, &room, &record, ret);
    pthread_mutex_unlock(stripe);
    return r;
}

int briq_put_block(struct briq_ctx *ctx, uint64_t block, const struct briq_payload *payload,
                   const briq_word *expect, struct briq_put_result *ret)
{
    struct briq_stream *stream = ctx->stream;
    ret->need = BRIQ_PUT_NEEDS_NOTHING;
    pthread_mutex_lock(&stream->lock);
    int r = put_under_stream(ctx->store, stream, block, payload, expect, 0, BRIQ_CLASS_USER, ret);
    ret->has_claim = briq_journal_claim_filled(&ctx->store->journal, stream, &ret->claim);
    pthread_mutex_unlock(&stream->lock);
    return r;
}

int briq_put_moved(struct briq_store *store, uint64_t block, briq_word old, uint64_t seq,
                   const struct briq_payload *payload, struct briq_put_result *ret)
{
    struct briq_stream *stream = briq_journal_gc(&store->journal);
    ret->need = BRIQ_PUT_NEEDS_NOTHING;
    pthread_mutex_lock(&stream->lock);
    int r = put_under_stream(store, stream, block, payload, &old, seq, BRIQ_CLASS_GC, ret);
    ret->has_claim = briq_journal_claim_filled(&store->journal, stream, &ret->claim);
    pthread_mutex_unlock(&stream->lock);
    return r;
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static bool range_has_change(struct briq_store *store, uint64_t block, uint32_t count,
                             briq_word word)
{
    for (uint32_t i = 0; i < count; i++)
        if (briq_map_word(&store->map, block + i) != word)
            return true;
    return false;
}

static int range_under_stripe(struct briq_store *store, struct briq_stream *stream, uint64_t block,
                              uint32_t count, briq_word word, const struct briq_room *room,
                              struct briq_put_result *ret)
{
    if (!range_has_change(store, block, count, word))
        return 0;
    if (briq_map_touch(&store->map, briq_map_page_of(block)) < 0) {
        ret->need = BRIQ_PUT_NEEDS_CHECKPOINT;
        return -EAGAIN;
    }
    struct briq_record record = {
        .lba = block,
        .type = word == BRIQ_WORD_HOLE ? BRIQ_REC_TRIM : BRIQ_REC_ZERO,
        .count = count,
        .seq = next_seq(store),
    };
    briq_journal_commit(&store->journal, stream, room, &record);
    int r = 0;
    for (uint32_t i = 0; i < count; i++) {
        int p = publish(store, stream, block + i, briq_map_word(&store->map, block + i), word);
        r = r == 0 ? p : r;
    }
    return latch_accounts(store, r);
}

int briq_put_range(struct briq_ctx *ctx, uint64_t block, uint32_t count, briq_word word,
                   struct briq_put_result *ret)
{
    struct briq_store *store = ctx->store;
    struct briq_stream *stream = ctx->stream;
    struct briq_room room;
    BRIQ_ASSERT(briq_map_page_of(block) == briq_map_page_of(block + count - 1));

    ret->need = BRIQ_PUT_NEEDS_NOTHING;
    pthread_mutex_lock(&stream->lock);
    int r = make_room(store, stream, 0, BRIQ_CLASS_TRIM, &room, ret);
    if (r == 0) {
        pthread_mutex_t *stripe = briq_map_stripe(&store->map, briq_map_page_of(block));
        pthread_mutex_lock(stripe);
        r = range_under_stripe(store, stream, block, count, word, &room, ret);
        pthread_mutex_unlock(stripe);
    }
    ret->has_claim = briq_journal_claim_filled(&store->journal, stream, &ret->claim);
    pthread_mutex_unlock(&stream->lock);
    return r;
}

int briq_put_replay(struct briq_store *store, uint64_t block, uint32_t count, briq_word word)
{
    struct briq_stream *stream = &store->journal.streams[0];
    int r = briq_map_touch(&store->map, briq_map_page_of(block));
    for (uint32_t i = 0; i < count && r == 0; i++)
        r = publish(store, stream, block + i, briq_map_word(&store->map, block + i), word);
    return r;
}
