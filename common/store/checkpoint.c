/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint.c - an exact image of the map becomes durable.
 *
 *   1. the cut, under all stream locks: C = last sequence number; dirty pages are frozen, live
 *      counters copied, segments found empty so far are set aside, stream heads noted.
 *      Microseconds.
 *   2. frozen pages, the nodes above them, the segment table and its nodes go to the META stream;
 *      what the GC stream holds is written. Requests go on meanwhile.
 *   3. a flush round: all user data up to C, and all of 2, is durable.
 *   4. the superblock names the new roots, C, and the heads: from now on recovery starts here.
 *   5. the segments set aside in 1 are free once their last reader has left.
 *
 * A failure anywhere latches the store: the old checkpoint and the journal behind it stay valid.
 */
#include <errno.h>
#include <string.h>

#include "common/base/align.h"
#include "common/base/clock.h"
#include "common/store/maintain.h"
#include "common/store/page.h"
#include "common/store/superblock.h"
#include "common/store/tree.h"

static void lock_streams(struct briq_store *store)
{
    for (uint32_t i = 0; i < store->journal.user_count; i++)
        pthread_mutex_lock(&store->journal.streams[i].lock);
    pthread_mutex_lock(&briq_journal_gc(&store->journal)->lock);
}

static void unlock_streams(struct briq_store *store)
{
    pthread_mutex_unlock(&briq_journal_gc(&store->journal)->lock);
    for (uint32_t i = store->journal.user_count; i > 0; i--)
        pthread_mutex_unlock(&store->journal.streams[i - 1].lock);
}

static void cut_stream(struct briq_store *store, unsigned id, struct briq_superblock *sb)
{
    struct briq_stream *stream = &store->journal.streams[id];
    briq_journal_seal(&store->journal, stream);
    sb->heads[id] = briq_journal_head(stream);
}

static void sum_counts(struct briq_store *store, struct briq_superblock *sb)
{
    sb->mapped_blocks = sb->fill_blocks = sb->zero_blocks = sb->data_granules = 0;
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++) {
        struct briq_journal_counts *c = &store->journal.streams[i].counts;
        sb->mapped_blocks += briq_counter_get(&c->mapped_blocks);
        sb->fill_blocks += briq_counter_get(&c->fill_blocks);
        sb->zero_blocks += briq_counter_get(&c->zero_blocks);
        sb->data_granules += briq_counter_get(&c->data_granules);
    }
}

static void cut(struct briq_store *store, struct briq_superblock *sb)
{
    lock_streams(store);
    sb->checkpoint_seq = atomic_load(&store->journal.seq);
    for (uint32_t i = 0; i < store->journal.user_count; i++)
        cut_stream(store, i, sb);
    cut_stream(store, BRIQ_HEAD_GC, sb);
    sb->seg_end = store->space.seg_end;
    sum_counts(store, sb);
    briq_map_cut(&store->map);
    briq_space_cut(&store->space);
    unlock_streams(store);
}

/* ---- appending metadata ---------------------------------------------------------------------- */

/*
 * No segment is ready: waits for the readers of those that are free but for them. A checkpoint must
 * not fail for space, and several in a row can use up what was reserved for it while one slow read
 * holds up all that they free. -ENOSPC when there are none to wait for.
 */
static int wait_for_readers(struct briq_store *store)
{
    for (;;) {
        uint64_t ticket = briq_waitq_ticket(&store->waitq);
        /* First the wish, then the look, as in maintain.c. */
        atomic_store(&store->maintain.waits_for_readers, true);
        briq_space_reclaim(&store->space, &store->epoch);
        int r = briq_space_prepare(&store->space, 1); /* not all that is free is the host's */
        if (atomic_load(&store->space.ready_count) > 0)
            return 0;
        if (briq_space_in_grace(&store->space) == 0)
            return r < 0 ? r : -ENOSPC;
        briq_maintain_wait(store, ticket);
    }
}

/* Room in the META stream, waiting for windows and readers; segments are reserved for it. */
static int meta_room(struct briq_store *store, uint32_t granules, struct briq_room *room)
{
    struct briq_stream *meta = briq_journal_meta(&store->journal);
    for (;;) {
        enum briq_room_need need;
        uint64_t ticket = briq_waitq_ticket(&store->waitq);
        if (briq_store_is_latched(store))
            return -EIO; /* windows whose write failed never come back */
        pthread_mutex_lock(&meta->lock);
        int r = briq_journal_room(&store->journal, meta, granules, 0, room, &need);
        pthread_mutex_unlock(&meta->lock);
        if (r == 0)
            return 0;
        r = briq_maintain_write(store, meta, false);
        if (r < 0)
            return r;
        if (need == BRIQ_NEED_SEGMENT) {
            r = briq_space_prepare(&store->space, 1);
            if (atomic_load(&store->space.ready_count) == 0)
                r = r < 0 && r != -ENOSPC ? r : wait_for_readers(store);
            if (r < 0)
                return r;
        } else {
            briq_maintain_wait(store, ticket);
        }
    }
}

static int append_payload(struct briq_store *store, enum briq_record_type type, uint64_t index,
                          struct briq_payload *payload, briq_word *ret_place)
{
    struct briq_room room;
    struct briq_stream *meta = briq_journal_meta(&store->journal);
    payload->kind = BRIQ_PAYLOAD_EXTENT;
    payload->granules = briq_extent_granules(payload->len);
    payload->hash = briq_payload_hash(payload->bytes, payload->len);
    int r = meta_room(store, payload->granules, &room);
    if (r < 0)
        return r;
    struct briq_record record = {.lba = index, .type = type, .count = 1};
    pthread_mutex_lock(&meta->lock);
    record.check = briq_extent_write(room.payload, payload, briq_meta_tag(type, index),
                                     type == BRIQ_REC_MAP_PAGE ? room.segseq : 0);
    briq_journal_commit(&store->journal, meta, &room, &record);
    pthread_mutex_unlock(&meta->lock);
    *ret_place = briq_word_data(room.granule, payload->granules);
    return briq_maintain_write(store, meta, false);
}

static int append_page(struct briq_store *store, enum briq_record_type type, uint64_t index,
                       const void *page, briq_word *ret_place)
{
    struct briq_payload payload = {.codec = BRIQ_CODEC_RAW, .len = BRIQ_PAGE_BYTES, .bytes = page};
    return append_payload(store, type, index, &payload, ret_place);
}

static int append_map_page(struct briq_store *store, uint64_t page, const briq_le64 *image,
                           briq_word *ret_place)
{
    uint8_t packed[BRIQ_PAGE_BYTES];
    uint32_t len = briq_page_pack(image, packed);
    if (len == 0)
        return append_page(store, BRIQ_REC_MAP_PAGE, page, image, ret_place);
    struct briq_payload payload = {.codec = BRIQ_CODEC_PACKED, .len = len, .bytes = packed};
    return append_payload(store, BRIQ_REC_MAP_PAGE, page, &payload, ret_place);
}

static int store_map_page(struct briq_store *store, uint64_t page, const briq_le64 *image,
                          bool hole)
{
    briq_word place = 0, old = briq_map_page_place(&store->map, page);
    if (!hole) {
        int r = append_map_page(store, page, image, &place);
        if (r < 0)
            return r;
        briq_space_page_add(&store->space, briq_word_granule(place), briq_word_granules(place));
        atomic_fetch_add(&store->maintain.meta_granules, briq_word_granules(place));
    }
    briq_map_placed(&store->map, page, place);
    briq_tree_page_placed(store, page);
    if (old != 0) {
        int r = briq_space_page_sub(&store->space, briq_word_granule(old), briq_word_granules(old));
        if (r < 0)
            return r;
        atomic_fetch_sub(&store->maintain.meta_granules, briq_word_granules(old));
    }
    briq_counter_add(&store->maintain.checkpoint_pages, 1);
    return 0;
}

static int store_map_pages(struct briq_store *store)
{
    briq_le64 image[BRIQ_PAGE_WORDS];
    bool hole;
    uint64_t page;
    while ((page = briq_map_take(&store->map, image, &hole)) != UINT64_MAX) {
        int r = store_map_page(store, page, image, hole);
        if (r < 0)
            return r;
        /* A copy may be free now for a writer who waits for one. */
        briq_waitq_wake(&store->waitq);
    }
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int write_all(struct briq_store *store, struct briq_superblock *sb)
{
    int r = briq_maintain_write(store, briq_journal_gc(&store->journal), true);
    if (r == 0)
        r = store_map_pages(store);
    if (r == 0)
        r = briq_tree_store(store, sb, append_page);
    if (r == 0)
        r = briq_maintain_write(store, briq_journal_meta(&store->journal), true);
    if (r == 0)
        r = briq_maintain_flush(store, true);
    return r;
}

static int commit(struct briq_store *store, struct briq_superblock *sb, bool clean)
{
    sb->generation++;
    sb->clean = clean;
    sb->segseq = briq_space_last_segseq(&store->space);
    sb->heads[BRIQ_HEAD_META] = briq_journal_head(briq_journal_meta(&store->journal));
    sb->meta_granules = atomic_load(&store->maintain.meta_granules);
    if (clean)
        memset(sb->boot_id, 0, sizeof sb->boot_id);
    int r = briq_superblock_write(store->dev, sb, &store->sb_slot);
    if (r == 0 && clean)
        r = briq_device_flush(store->dev);
    if (r == 0) {
        store->sb = *sb;
        atomic_store(&store->maintain.checkpoint_seq, sb->checkpoint_seq);
    }
    return r;
}

static void note_done(struct briq_store *store, uint64_t began_ns)
{
    struct briq_maintain *m = &store->maintain;
    uint64_t now = briq_clock_ns();
    m->checkpoint_ns = now;
    briq_counter_add(&m->checkpoints, 1);
    atomic_store(&m->checkpoint_ns_last, now - began_ns);
    briq_counter_max(&m->checkpoint_ns_max, now - began_ns);
}

int briq_checkpoint(struct briq_store *store, bool clean)
{
    uint64_t began_ns = briq_clock_ns();
    if (briq_store_is_latched(store))
        return -EIO;
    struct briq_superblock sb = store->sb;
    cut(store, &sb);
    int r = write_all(store, &sb);
    if (r == 0)
        r = commit(store, &sb, clean);
    if (r < 0) {
        briq_store_latch(store, r, "writing a checkpoint");
        briq_waitq_wake(&store->waitq);
        return r;
    }
    briq_space_release(&store->space, &store->epoch);
    briq_space_reclaim(&store->space, &store->epoch);
    note_done(store, began_ns);
    briq_waitq_wake(&store->waitq);
    return 0;
}

/* An extent of so many granules. */
static uint64_t with_record(uint32_t granules)
{
    return (uint64_t)granules * BRIQ_GRANULE_BYTES + sizeof(struct briq_fmt_record);
}

uint32_t briq_checkpoint_segments(struct briq_store *store, uint64_t map_pages)
{
    uint64_t granule_end = (uint64_t)store->space.seg_end
                           << (store->space.seg_shift - BRIQ_GRANULE_SHIFT);
    uint32_t map_page = briq_extent_granules(briq_page_bytes_max(granule_end));
    uint64_t bytes = map_pages * with_record(map_page) +
                     briq_tree_pages(store, map_pages) * with_record(BRIQ_META_GRANULES);
    /* And what the ends of windows and chunks leave unused. */
    bytes += bytes / 8 + BRIQ_CHUNK_ALIGN;
    return (uint32_t)briq_div_up(bytes, briq_space_seg_bytes(&store->space));
}
