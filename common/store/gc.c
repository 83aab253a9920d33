/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gc.c - emptying a segment.
 *
 * The live counter only proposes a segment. What is freed is decided by the segment's own records,
 * each held against the map: what the map still points at is moved (its payload verified, copied as
 * it is, the map word exchanged only if it has not changed), and the segment is retired only when
 * the exact counter then says that nothing refers to it. A record that cannot be read, or a payload
 * that fails its check, leaves the counter above zero: such a segment is kept, marked bad.
 *
 * Recovery ignores the GC stream: until the next checkpoint is durable the originals stay where
 * they were, and the map on the medium refers to them.
 */
#include <errno.h>
#include <string.h>

#include "common/store/maintain.h"
#include "common/store/put.h"
#include "common/store/tree.h"
#include "common/store/walk.h"

static bool has_window(struct briq_store *store, uint32_t seg)
{
    uint64_t begin = briq_space_offset(&store->space, seg);
    for (uint64_t off = 0; off < briq_space_seg_bytes(&store->space);
         off += store->windows.window_bytes)
        if (briq_windows_attached(&store->windows, begin + off))
            return true;
    return false;
}

/* Windows still being written hold bytes the device does not have yet; metadata that was already
 * made dirty is moved by the next checkpoint. */
static bool may_collect(void *opaque, uint32_t seg)
{
    struct briq_store *store = opaque;
    bool moving = atomic_load(&store->space.segs[seg].moving) != 0;
    if (moving && briq_space_live(&store->space, seg) != 0)
        return false;
    return store->in_memory || !has_window(store, seg);
}

uint32_t briq_gc_pick(struct briq_store *store, uint32_t max_live)
{
    return briq_space_emptiest(&store->space, max_live, may_collect, store);
}

/* ---- moving ---------------------------------------------------------------------------------- */

/* Puts the payload into the GC stream, waiting for windows. -EAGAIN: no segment to move to. */
static int move(struct briq_store *store, uint64_t block, briq_word word, uint64_t seq,
                const struct briq_payload *payload)
{
    for (;;) {
        struct briq_put_result put;
        uint64_t ticket = briq_waitq_ticket(&store->waitq);
        int r = briq_put_moved(store, block, word, seq, payload, &put);
        if (put.has_claim) {
            int w = briq_maintain_write_claim(store, &put.claim);
            if (w < 0)
                return w;
        }
        if (r == 0) {
            briq_counter_add(&store->maintain.gc_moved_blocks, 1);
            briq_counter_add(&store->maintain.gc_moved_bytes,
                             payload->granules * BRIQ_GRANULE_BYTES);
        }
        if (r != -EAGAIN)
            return r == -ESTALE ? 0 : r;
        if (put.need == BRIQ_PUT_NEEDS_SEGMENT)
            return -EAGAIN;
        if (put.need == BRIQ_PUT_NEEDS_CHECKPOINT)
            return -EIO; /* one has failed: the store is latched */
        if (!put.has_claim)
            briq_maintain_wait(store, ticket);
    }
}

/*
 * The extents of a segment in memory go through a pipe. What is to be known of each lies in a line
 * of memory of its own, in no cache: its header, which also tells where the next one is; its map
 * word, which says whether it is live; its payload. Each is asked for some steps before it is
 * looked at, so that collection waits for memory once where it would three times. It runs beside
 * the writers and takes their processors.
 */
#define PIPE_STEPS 16u
#define PIPE_HALF  (PIPE_STEPS / 2)

struct ram_extent {
    uint64_t block;
    briq_word word; /* of the map, while it is live */
    struct briq_payload payload;
    bool live;
};

struct ram_pipe {
    struct ram_extent steps[PIPE_STEPS];
    uint64_t off, end; /* next header */
};

/* The header at pipe->off. False: there is none. */
static bool pipe_parse(struct briq_store *store, struct ram_pipe *pipe, struct ram_extent *e)
{
    const uint8_t *at = store->journal.ram_base + pipe->off;
    if (pipe->off + BRIQ_EXTENT_HEADER_BYTES > pipe->end ||
        !briq_ram_extent_parse(at, &e->block, &e->payload))
        return false;
    uint32_t bytes = e->payload.granules * BRIQ_GRANULE_BYTES;
    __builtin_prefetch(at + bytes);
    __builtin_prefetch(&store->map.words[e->block]);
    e->word = briq_word_data(pipe->off >> BRIQ_GRANULE_SHIFT, e->payload.granules);
    pipe->off += bytes;
    return true;
}

static void pipe_check(struct briq_store *store, struct ram_extent *e)
{
    e->live = briq_map_word(&store->map, e->block) == e->word;
    for (uint32_t at = 0; e->live && at < e->payload.len; at += BRIQ_CACHELINE_BYTES)
        __builtin_prefetch(e->payload.bytes + at);
}

static int collect_memory(struct briq_store *store, uint32_t seg)
{
    uint64_t begin = briq_space_offset(&store->space, seg);
    struct ram_pipe pipe = {.off = begin, .end = begin + briq_space_seg_bytes(&store->space)};
    uint64_t parsed = 0, checked = 0, moved = 0;
    bool more = true;
    while (more || moved < parsed) {
        if (more && (more = pipe_parse(store, &pipe, &pipe.steps[parsed % PIPE_STEPS])))
            parsed++;
        if (checked < parsed && (!more || parsed - checked > PIPE_HALF))
            pipe_check(store, &pipe.steps[checked++ % PIPE_STEPS]);
        if (moved == checked || (more && parsed - moved < PIPE_STEPS))
            continue;
        const struct ram_extent *e = &pipe.steps[moved++ % PIPE_STEPS];
        int r = e->live ? move(store, e->block, e->word, 0, &e->payload) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* What the medium failed to read now it may read another time: the segment is left alone until the
 * volume is opened again, or nothing in it is live. */
static void leave_alone(struct briq_store *store, uint32_t seg)
{
    if (atomic_exchange(&store->space.segs[seg].moving, 1) == 0)
        briq_log_line(&store->options.log, BRIQ_LOG_ERROR,
                      "%s: segment %u cannot be read; it is left alone until the volume is opened "
                      "again",
                      store->name, seg);
}

/* The map page of a record, or the record's own page, cannot be read: what it is about stays where
 * it is, and with it the segment. Another error ends the collection. */
static int stays(struct briq_store *store, uint32_t seg, int r)
{
    if (r != -EIO && r != -EUCLEAN)
        return r;
    briq_counter_add(&store->maintain.metadata_errors, 1);
    if (r == -EIO)
        leave_alone(store, seg);
    return 0;
}

static int collect_block(struct briq_store *store, const struct briq_walk *walk,
                         const struct briq_record *record)
{
    uint64_t page = briq_map_page_of(record->lba);
    if (page >= store->map.page_max)
        return 0;
    int r = briq_tree_need_page(store, page);
    if (r < 0)
        return stays(store, walk->seg, r);
    uint64_t granule =
        ((briq_space_offset(&store->space, walk->seg) + walk->chunk.off) >> BRIQ_GRANULE_SHIFT) +
        record->off_granules;
    briq_word word = briq_word_data(granule, record->granules);
    if (briq_map_word(&store->map, record->lba) != word)
        return 0;

    struct briq_payload payload;
    r = briq_extent_parse(walk->at + (uint64_t)record->off_granules * BRIQ_GRANULE_BYTES,
                          record->granules, record->lba, walk->chunk.segseq, &payload);
    if (r < 0) {
        briq_counter_add(&store->maintain.payload_errors, 1);
        return 0; /* it stays, and with it the segment */
    }
    return move(store, record->lba, word, record->seq, &payload);
}

static int collect_record(struct briq_store *store, const struct briq_walk *walk,
                          const struct briq_record *record)
{
    if (record->type == BRIQ_REC_DATA)
        return collect_block(store, walk, record);
    if (record->type < BRIQ_REC_MAP_PAGE)
        return 0;
    uint64_t granule =
        ((briq_space_offset(&store->space, walk->seg) + walk->chunk.off) >> BRIQ_GRANULE_SHIFT) +
        record->off_granules;
    if (!briq_tree_is_at(store, record->type, record->lba, granule))
        return 0;
    int r = briq_tree_rewrite(store, record->type, record->lba);
    if (r < 0)
        return stays(store, walk->seg, r);
    atomic_store(&store->space.segs[walk->seg].moving, 1);
    return 0;
}

/* The segment as it lies on the medium. What cannot be read is zeros: records there are not found,
 * and what they are about keeps the segment in use. */
static int read_segment(struct briq_store *store, uint32_t seg)
{
    uint8_t *bytes = store->maintain.segment;
    uint64_t len = briq_space_seg_bytes(&store->space);
    uint64_t begin = briq_space_offset(&store->space, seg);
    int r = briq_device_read(store->dev, bytes, len, begin);
    for (uint64_t off = 0; off < len && r == -EIO; off += BRIQ_CHUNK_ALIGN) {
        int piece = briq_device_read(store->dev, bytes + off, BRIQ_CHUNK_ALIGN, begin + off);
        if (piece < 0 && piece != -EIO)
            return piece;
        if (piece == -EIO) {
            memset(bytes + off, 0, BRIQ_CHUNK_ALIGN);
            leave_alone(store, seg);
        }
    }
    return r == -EIO ? 0 : r;
}

static int collect_segment(struct briq_store *store, uint32_t seg)
{
    uint64_t seg_bytes = briq_space_seg_bytes(&store->space);
    int r = read_segment(store, seg);
    if (r < 0)
        return r;
    bool meta = atomic_load(&store->space.segs[seg].kind) == BRIQ_KIND_META;
    struct briq_walk walk = {
        .bytes = store->maintain.segment,
        .seg = seg,
        .seg_bytes = (uint32_t)seg_bytes,
        .window_bytes = store->windows.window_bytes,
        .uuid_lo = store->journal.uuid_lo,
        .segseq = meta ? 0 : briq_space_segseq(&store->space, seg),
    };
    while (briq_walk_next(&walk)) {
        for (unsigned i = 0; i < walk.chunk.nrec; i++) {
            struct briq_record record;
            if (!briq_record_decode(walk.at, &walk.chunk, i, &record))
                continue;
            r = collect_record(store, &walk, &record);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* Who changes a map word takes the old place off the count a moment later, both under the lock of
 * its stream. What was seen here to be overwritten may still be counted: when each lock has been free
 * once, it is not. */
static void await_changes(struct briq_store *store)
{
    for (uint32_t i = 0; i < store->journal.user_count; i++) {
        pthread_mutex_lock(&store->journal.streams[i].lock);
        pthread_mutex_unlock(&store->journal.streams[i].lock);
    }
}

/* Nothing more can be moved out of it. */
static void settle(struct briq_store *store, uint32_t seg)
{
    if (briq_space_live(&store->space, seg) != 0)
        await_changes(store);
    if (briq_space_live(&store->space, seg) == 0) {
        briq_space_retire(&store->space, seg);
        briq_counter_add(&store->maintain.gc_segments, 1);
        if (store->in_memory) {
            briq_space_cut(&store->space);
            briq_space_release(&store->space, &store->epoch);
        }
        return;
    }
    if (atomic_load(&store->space.segs[seg].moving) != 0)
        return; /* the next checkpoint empties it; or it is left alone */
    briq_space_mark_bad(&store->space, seg);
    briq_log_line(&store->options.log, BRIQ_LOG_ERROR,
                  "%s: segment %u holds data that cannot be read back; it is kept as it is "
                  "(run briq check --deep)",
                  store->name, seg);
}

int briq_gc_segment(struct briq_store *store, uint32_t seg)
{
    int r = store->in_memory ? collect_memory(store, seg) : collect_segment(store, seg);
    if (r == -EUCLEAN) {
        briq_counter_add(&store->maintain.metadata_errors, 1);
        briq_space_mark_bad(&store->space, seg);
        return 0;
    }
    if (r == 0)
        settle(store, seg);
    return r;
}
