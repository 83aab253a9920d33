/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recover.c - the life of a crash.
 *
 *   1. If the process died and the machine did not (same boot, its windows are there), what the
 *      windows hold is sealed and written where it belongs: the device then has every operation
 *      that was acknowledged.
 *   2. Each user stream is followed from its head in the superblock, chunk by chunk, segment by
 *      segment. A chunk counts if it names this volume, this incarnation, this stream, this place,
 *      and its checksum is right. Every chunk names the next segment, so one readable chunk in a
 *      segment is enough to go on.
 *   3. The records of all streams are applied in the order of their sequence numbers, up to the
 *      first that is missing, or whose payload is torn and nothing proves that it was flushed.
 *      Where windows outlived a process none is torn, and a gap may be an operation that was never
 *      acknowledged: see gap_is_of_death().
 *   4. If a record is missing that was flushed (chunks say how far flushes had come), or more than
 *      a process can take with it when it dies, the medium has lost data. If the journal cannot be
 *      read somewhere, or a window is damaged, it may have. Then the volume opens read-only.
 */
#include "common/store/recover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/base/boot_id.h"
#include "common/store/open.h"
#include "common/store/put.h"
#include "common/store/tree.h"
#include "common/store/walk.h"

/* ---- windows of a dead process --------------------------------------------------------------- */

static struct briq_windows_options left_options(struct briq_store *store)
{
    struct briq_windows_options options = {
        .dir = store->options.windows_dir,
        .incarnation = store->sb.incarnation,
        .host_dev = store->dev->host_dev,
        .host_ino = store->dev->host_ino,
        .window_shift = store->sb.window_shift,
    };
    memcpy(options.uuid, store->sb.uuid, sizeof options.uuid);
    memcpy(options.boot_id, store->sb.boot_id, sizeof options.boot_id);
    return options;
}

/* The descriptor may be of any moment: nothing in it is believed before it is checked. */
static bool desc_is_sound(const struct briq_store *store, const struct briq_window_desc *d,
                          uint32_t window_bytes)
{
    return atomic_load(&d->active) == briq_window_desc_check(d) && d->stream < BRIQ_FMT_HEADS &&
           d->seg >= store->space.seg_first && d->seg < store->space.seg_end &&
           d->base % window_bytes == 0 && d->base < briq_space_seg_bytes(&store->space) &&
           d->start <= window_bytes && d->start % BRIQ_CHUNK_ALIGN == 0;
}

/* Sealed chunks follow each other without a gap. Returns the end of those that do: sealed_end, if
 * all is well. */
static uint32_t end_of_sealed(const struct briq_store *store, const struct briq_window_desc *d,
                              const uint8_t *mem, uint32_t window_bytes)
{
    const struct briq_walk place = {
        .seg = d->seg,
        .window_bytes = window_bytes,
        .uuid_lo = store->journal.uuid_lo,
        .segseq = d->segseq,
    };
    uint32_t off = d->start;
    uint32_t sealed = (uint32_t)briq_min_u64(atomic_load(&d->sealed_end), window_bytes);
    while (off < sealed) {
        struct briq_chunk chunk;
        size_t need;
        if (!briq_chunk_decode(mem + off, sealed - off, &chunk, &need) ||
            !briq_walk_belongs(&place, &chunk, d->base + off) || chunk.len > sealed - off ||
            chunk.incarnation != (uint32_t)store->sb.incarnation || chunk.stream != d->stream ||
            chunk.kind != d->kind)
            break;
        off += chunk.len;
    }
    return off;
}

/* Bytes from the start of the chunk behind its last payload. */
static bool open_chunk_extent(const struct briq_chunk *chunk, const uint8_t *at, uint32_t room,
                              uint32_t *ret_end)
{
    uint32_t end = briq_chunk_header_bytes(chunk->cap);
    struct briq_chunk limits = *chunk;
    limits.len = room;
    for (unsigned i = 0; i < chunk->nrec; i++) {
        struct briq_record record;
        if (!briq_record_decode(at, &limits, i, &record))
            return false;
        if (briq_record_has_payload(record.type))
            end = (uint32_t)briq_max_u64(end, (record.off_granules + record.granules) *
                                                  (uint64_t)BRIQ_GRANULE_BYTES);
    }
    *ret_end = end;
    return end <= room;
}

static bool open_chunk_is_sound(const struct briq_window_desc *d, uint32_t window_bytes)
{
    uint32_t off = atomic_load(&d->open_off);
    return off == atomic_load(&d->sealed_end) && off < window_bytes &&
           atomic_load(&d->open_nrec) <= d->cap && d->cap <= BRIQ_CHUNK_CAP_MAX && d->cap % 2 == 0;
}

static struct briq_chunk open_chunk(const struct briq_store *store,
                                    const struct briq_window_desc *d)
{
    return (struct briq_chunk){
        .cap = (uint16_t)d->cap,
        .nrec = (uint16_t)atomic_load(&d->open_nrec),
        .uuid_lo = store->journal.uuid_lo,
        .incarnation = (uint32_t)store->sb.incarnation,
        .stream = (uint8_t)d->stream,
        .kind = BRIQ_KIND_USER,
        .segseq = d->segseq,
        .seg = d->seg,
        .off = d->base + atomic_load(&d->open_off),
        .next_seg = d->next_seg,
        .durable_seq = store->sb.checkpoint_seq,
    };
}

/* Seals the chunk that was open when the process died, if one was: *end becomes its end. False when
 * what the descriptor says of it cannot be. */
static bool seal_open_chunk(const struct briq_store *store, const struct briq_window_desc *d,
                            uint8_t *mem, uint32_t window_bytes, uint32_t *end)
{
    uint32_t off = atomic_load(&d->open_off);
    if (off < *end || (off == *end && atomic_load(&d->open_nrec) == 0))
        return true;
    if (!open_chunk_is_sound(d, window_bytes))
        return false;
    struct briq_chunk chunk = open_chunk(store, d);
    uint32_t used;
    if (!open_chunk_extent(&chunk, mem + off, window_bytes - off, &used))
        return false;
    chunk.len = (uint32_t)briq_align_up(used, BRIQ_CHUNK_ALIGN);
    memset(mem + off + used, 0, chunk.len - used);
    briq_chunk_encode(&chunk, mem + off);
    *end = off + chunk.len;
    return true;
}

/* Writes the sectors of `mem` that differ from what the device has there; all are multiples of the
 * chunk alignment. */
static int write_differing(struct briq_store *store, const uint8_t *mem, const uint8_t *there,
                           uint32_t len, uint64_t where)
{
    int r = 0;
    for (uint32_t off = 0, upto; off < len && r == 0; off = upto) {
        upto = off + BRIQ_CHUNK_ALIGN;
        if (memcmp(mem + off, there + off, BRIQ_CHUNK_ALIGN) == 0)
            continue;
        while (upto < len && memcmp(mem + upto, there + upto, BRIQ_CHUNK_ALIGN) != 0)
            upto += BRIQ_CHUNK_ALIGN;
        r = briq_device_write(store->dev, mem + off, upto - off, where + off);
    }
    return r;
}

/* Reads sector by sector; what cannot be read differs from `mem`, and can perhaps be written. */
static int read_sectors(struct briq_store *store, const uint8_t *mem, uint8_t *there, uint32_t len,
                        uint64_t where)
{
    for (uint32_t off = 0; off < len; off += BRIQ_CHUNK_ALIGN) {
        int r = briq_device_read(store->dev, there + off, BRIQ_CHUNK_ALIGN, where + off);
        if (r < 0 && r != -EIO)
            return r;
        if (r < 0)
            there[off] = (uint8_t)~mem[off];
    }
    return 0;
}

/* Writes what the device does not hold yet. What a flush covered is not written again: a power cut
 * in the middle of that could destroy it. */
static int write_missing(struct briq_store *store, const uint8_t *mem, uint32_t len, uint64_t where)
{
    uint8_t *there = aligned_alloc(4096, len);
    if (there == NULL)
        return -ENOMEM;
    int r = briq_device_read(store->dev, there, len, where);
    if (r == -EIO)
        r = read_sectors(store, mem, there, len, where);
    if (r == 0)
        r = write_differing(store, mem, there, len, where);
    free(there);
    return r;
}

static int replay_window(struct briq_store *store, struct briq_recovery *recovery, uint32_t i)
{
    const struct briq_windows_header *h = recovery->left.header;
    const struct briq_window_desc *d = &recovery->left.descs[i];
    uint8_t *mem = recovery->left.mem + (size_t)i * h->window_bytes;
    if (atomic_load(&d->active) == 0)
        return 0;
    if (!desc_is_sound(store, d, h->window_bytes)) {
        recovery->broken_windows++;
        return 0;
    }
    if (d->kind != BRIQ_KIND_USER)
        return 0;
    uint32_t end = end_of_sealed(store, d, mem, h->window_bytes);
    if (end != atomic_load(&d->sealed_end) ||
        !seal_open_chunk(store, d, mem, h->window_bytes, &end))
        recovery->broken_windows++;
    if (end == d->start)
        return 0;
    recovery->from_windows++;
    uint64_t where = briq_space_offset(&store->space, d->seg) + d->base;
    if (store->opened_read_only)
        return briq_windows_adopt(&store->windows, where, mem, d->start, end);
    return write_missing(store, mem + d->start, end - d->start, where + d->start);
}

/* Not to know would mean to give up what the windows hold: that is an error. */
static int is_same_boot(const struct briq_store *store, bool *ret, struct briq_error *err)
{
    static const uint8_t unknown[BRIQ_BOOT_ID_BYTES];
    uint8_t boot_id[BRIQ_BOOT_ID_BYTES];
    *ret = false;
    if (memcmp(store->sb.boot_id, unknown, sizeof unknown) == 0)
        return 0;
    int r = briq_open_boot_id(store, boot_id);
    if (r < 0)
        return briq_error_set(err, r,
                              "%s: was not closed cleanly, and the id of this boot cannot be read "
                              "from /proc (%s): it is not known whether shared memory holds some "
                              "of it",
                              store->name, strerror(-r));
    *ret = memcmp(boot_id, store->sb.boot_id, sizeof boot_id) == 0;
    return 0;
}

static int replay_windows(struct briq_store *store, struct briq_recovery *recovery,
                          struct briq_error *err)
{
    struct briq_windows_options options = left_options(store);
    bool same_boot;
    int r = is_same_boot(store, &same_boot, err);
    if (r < 0 || !same_boot)
        return r;
    if (!store->sb.windows_in_file) {
        /* Everything was written before it was acknowledged, unless nobody was to rely on it. */
        recovery->process_death = !briq_superblock_unfinished(&store->sb);
        return 0;
    }
    r = briq_windows_left_open(&options, &recovery->left, &recovery->leftover, err);
    if (r < 0)
        return r;
    if (recovery->leftover != BRIQ_LEFTOVER_FOUND) {
        briq_log_line(&store->options.log, BRIQ_LOG_WARNING,
                      "%s: the append windows of the server that died in this boot are gone (%s); "
                      "what it acknowledged and did not flush may be lost",
                      store->name, recovery->left.path);
        return 0;
    }
    recovery->process_death = true;
    for (uint32_t i = 0; i < recovery->left.header->window_count && r == 0; i++)
        r = replay_window(store, recovery, i);
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot write back the append windows: %s", store->name,
                              strerror(-r));
    return 0;
}

/* ---- following a stream ---------------------------------------------------------------------- */

/* A record, small: there may be millions. */
struct item {
    uint64_t seq;
    uint64_t where; /* lba | type << 56 */
    uint64_t what;  /* the map word; trim, zero: the count */
};

struct items {
    struct item *item;
    size_t count, max, next;
};

struct follower {
    struct briq_store *store;
    struct briq_recovery *recovery;
    struct items *items;
    uint8_t stream;
    uint64_t segseq; /* of the segment in hand; 0: not known yet, above `above` */
    uint64_t above;
    uint32_t next_seg; /* as the last chunk names it */
    uint8_t *page;     /* 4 KiB: the longest header there is */
};

static bool items_push(struct items *items, struct item item)
{
    if (items->count == items->max) {
        size_t max = items->max == 0 ? 1024 : items->max * 2;
        struct item *grown = realloc(items->item, max * sizeof *grown);
        if (grown == NULL)
            return false;
        items->item = grown;
        items->max = max;
    }
    items->item[items->count++] = item;
    return true;
}

static int read_journal(struct briq_store *store, void *buf, size_t len, uint64_t off)
{
    const uint8_t *kept = briq_windows_find(&store->windows, off);
    if (kept == NULL)
        return briq_read_bytes(store, buf, len, off);
    memcpy(buf, kept, len);
    return 0;
}

static uint64_t item_word(const struct briq_store *store, const struct briq_chunk *chunk,
                          const struct briq_record *record)
{
    if (record->type == BRIQ_REC_FILL)
        return briq_word_fill(record->pattern);
    if (record->type != BRIQ_REC_DATA)
        return record->count;
    uint64_t at = briq_space_offset(&store->space, chunk->seg) + chunk->off;
    return briq_word_data((at >> BRIQ_GRANULE_SHIFT) + record->off_granules, record->granules);
}

static int take_records(struct follower *f, const struct briq_chunk *chunk)
{
    for (unsigned i = 0; i < chunk->nrec; i++) {
        struct briq_record record;
        if (!briq_record_decode(f->page, chunk, i, &record) || record.type >= BRIQ_REC_MAP_PAGE)
            continue; /* missing from the order, it ends the prefix */
        if (record.seq <= f->store->sb.checkpoint_seq)
            continue;
        struct item item = {
            .seq = record.seq,
            .where = record.lba | (uint64_t)record.type << 56,
            .what = item_word(f->store, chunk, &record),
        };
        if (!items_push(f->items, item))
            return -ENOMEM;
    }
    return 0;
}

/* Is it a chunk of this stream, in this place, of this use of the segment? */
static bool chunk_counts(const struct follower *f, const struct briq_chunk *chunk, uint32_t seg,
                         uint32_t off)
{
    struct briq_walk place = {
        .seg = seg,
        .window_bytes = f->store->windows.window_bytes,
        .uuid_lo = f->store->journal.uuid_lo,
        .segseq = f->segseq,
    };
    return briq_walk_belongs(&place, chunk, off) &&
           chunk->incarnation == (uint32_t)f->store->sb.incarnation && chunk->stream == f->stream &&
           chunk->kind == BRIQ_KIND_USER && chunk->segseq > f->above;
}

/* All chunks of one segment from `off` on. *ret_found: there was at least one. */
static int follow_segment(struct follower *f, uint32_t seg, uint32_t off, bool *ret_found)
{
    struct briq_store *store = f->store;
    *ret_found = false;
    while (off < briq_space_seg_bytes(&store->space)) {
        struct briq_chunk chunk;
        size_t need;
        int r = read_journal(store, f->page, BRIQ_CHUNK_ALIGN,
                             briq_space_offset(&store->space, seg) + off);
        if (r < 0 && r != -EIO)
            return r;
        f->recovery->unreadable += r == -EIO;
        if (r == 0 && briq_chunk_decode(f->page, BRIQ_CHUNK_ALIGN, &chunk, &need) &&
            chunk_counts(f, &chunk, seg, off)) {
            *ret_found = true;
            f->segseq = chunk.segseq;
            f->next_seg = chunk.next_seg;
            f->recovery->durable_seq = briq_max_u64(f->recovery->durable_seq, chunk.durable_seq);
            r = take_records(f, &chunk);
            if (r < 0)
                return r;
            off += chunk.len;
        } else {
            /* The end, or damage: a later chunk may yet say how far flushes had come. */
            off += BRIQ_CHUNK_ALIGN;
        }
    }
    return 0;
}

static bool seg_exists(const struct briq_store *store, uint32_t seg)
{
    return seg >= store->space.seg_first && seg < store->space.seg_end;
}

/* The segment belongs to the journal: in use, with what is live in it still to be counted. */
static void claim_segment(struct briq_store *store, uint32_t seg, uint64_t segseq)
{
    briq_space_load_seg(&store->space, seg, segseq, atomic_load(&store->space.live[seg]), 1,
                        BRIQ_KIND_USER, true);
}

static int follow_stream(struct follower *f, const struct briq_head *head)
{
    struct briq_store *store = f->store;
    if (head->seg == BRIQ_SEG_NONE)
        return 0;
    bool found;
    f->segseq = head->segseq;
    f->above = 0;
    f->next_seg = head->next_seg;
    /* The stored table may be older than this head: opening writes a superblock only. */
    claim_segment(store, head->seg, head->segseq);
    int r = follow_segment(f, head->seg, head->off, &found);
    /* Each segment has a higher use number than the one before, so this cannot go in circles. */
    while (r == 0 && seg_exists(store, f->next_seg)) {
        uint32_t seg = f->next_seg;
        f->above = f->segseq;
        f->segseq = 0;
        r = follow_segment(f, seg, 0, &found);
        if (r < 0 || !found)
            break;
        claim_segment(store, seg, f->segseq);
    }
    return r;
}

/* ---- applying -------------------------------------------------------------------------------- */

static bool payload_is_whole(struct briq_store *store, struct briq_recovery *recovery,
                             const struct item *item)
{
    if (!briq_word_is_data(item->what) || item->where >> 56 != BRIQ_REC_DATA)
        return true;
    uint8_t extent[BRIQ_EXTENT_GRANULES_MAX * BRIQ_GRANULE_BYTES];
    uint64_t granule = briq_word_granule(item->what);
    uint32_t granules = briq_word_granules(item->what);
    uint64_t lba = item->where & ((UINT64_C(1) << 56) - 1);
    uint32_t seg = briq_space_seg_of(&store->space, granule);
    if (read_journal(store, extent, granules * BRIQ_GRANULE_BYTES, granule << BRIQ_GRANULE_SHIFT) <
        0) {
        recovery->unreadable++;
        return false;
    }
    return briq_extent_read(extent, granules, lba, briq_space_segseq(&store->space, seg), NULL) ==
           0;
}

/* Nothing may be stored behind the end of the volume: no reader would find it, no trim free it. */
static int apply(struct briq_store *store, struct briq_recovery *recovery, const struct item *item)
{
    enum briq_record_type type = (enum briq_record_type)(item->where >> 56);
    uint64_t lba = item->where & ((UINT64_C(1) << 56) - 1);
    bool range = type == BRIQ_REC_TRIM || type == BRIQ_REC_ZERO;
    briq_word word = type == BRIQ_REC_TRIM   ? BRIQ_WORD_HOLE
                     : type == BRIQ_REC_ZERO ? BRIQ_WORD_ZERO
                                             : item->what;
    uint64_t count = range ? item->what : 1, blocks = briq_store_blocks(store);
    uint64_t inside = briq_min_u64(count, blocks - briq_min_u64(lba, blocks));
    recovery->behind_end += count - inside;
    if (inside == 0)
        return 0;
    int r = briq_tree_need_page(store, briq_map_page_of(lba));
    if (r == 0)
        r = briq_put_replay(store, lba, (uint32_t)inside, word);
    return r;
}

/* The stream whose next record is the oldest; NULL when all are done. */
static struct items *oldest(struct items *streams, unsigned count)
{
    struct items *best = NULL;
    for (unsigned i = 0; i < count; i++) {
        struct items *s = &streams[i];
        if (s->next < s->count &&
            (best == NULL || s->item[s->next].seq < best->item[best->next].seq))
            best = s;
    }
    return best;
}

/*
 * A process that dies takes at most one operation of each stream with it: its number given out, its
 * record not yet written; and that is the last of its stream. So of the `missing` numbers up to
 * here there is one for each stream that has come to its end, or the medium has lost some.
 *
 * After a power cut, and where windows are private memory, whatever was acknowledged had all before
 * it on the medium, so that a gap is the end.
 */
static bool gap_is_of_death(struct briq_recovery *recovery, const struct items *streams,
                            unsigned count, uint64_t last, uint64_t missing)
{
    uint64_t ended = 0;
    if (recovery->leftover != BRIQ_LEFTOVER_FOUND || last < recovery->durable_seq)
        return false;
    for (unsigned i = 0; i < count; i++)
        ended += streams[i].next == streams[i].count;
    if (missing <= ended)
        return true;
    recovery->lost_acked = missing - ended;
    return false;
}

static uint64_t left_over(const struct items *streams, unsigned count)
{
    uint64_t left = 0;
    for (unsigned i = 0; i < count; i++)
        left += streams[i].count - streams[i].next;
    return left;
}

static int apply_in_order(struct briq_store *store, struct briq_recovery *recovery,
                          struct items *streams, unsigned count)
{
    struct items *s;
    uint64_t last = store->sb.checkpoint_seq, missing = 0;
    while ((s = oldest(streams, count)) != NULL) {
        const struct item *item = &s->item[s->next];
        bool flushed = item->seq <= recovery->durable_seq;
        if (item->seq != last + 1) {
            missing += item->seq - 1 - last;
            if (!gap_is_of_death(recovery, streams, count, last, missing))
                break;
        }
        if (!flushed && recovery->leftover != BRIQ_LEFTOVER_FOUND &&
            !payload_is_whole(store, recovery, item))
            break;
        int r = apply(store, recovery, item);
        if (r < 0)
            return r;
        last = item->seq;
        recovery->applied++;
        s->next++;
    }
    recovery->last_seq = last;
    recovery->discarded = left_over(streams, count);
    if (last < recovery->durable_seq)
        recovery->lost_flushed += recovery->durable_seq - last;
    return 0;
}

static int collect_and_apply(struct briq_store *store, struct briq_recovery *recovery)
{
    struct items streams[BRIQ_STREAMS_MAX];
    memset(streams, 0, sizeof streams);
    uint8_t *page = aligned_alloc(4096, BRIQ_CHUNK_ALIGN);
    int r = page == NULL ? -ENOMEM : 0;
    for (unsigned i = 0; i < store->sb.streams && r == 0; i++) {
        struct follower f = {
            .store = store,
            .recovery = recovery,
            .items = &streams[i],
            .stream = (uint8_t)i,
            .page = page,
        };
        r = follow_stream(&f, &store->sb.heads[i]);
    }
    if (r == 0)
        r = apply_in_order(store, recovery, streams, store->sb.streams);
    for (unsigned i = 0; i < BRIQ_STREAMS_MAX; i++)
        free(streams[i].item);
    free(page);
    return r;
}

int briq_recover(struct briq_store *store, struct briq_recovery *recovery, struct briq_error *err)
{
    memset(recovery, 0, sizeof *recovery);
    recovery->durable_seq = store->sb.checkpoint_seq;
    int r = replay_windows(store, recovery, err);
    if (r < 0)
        return r;
    r = collect_and_apply(store, recovery);
    if (r < 0)
        return briq_error_set(err, r == -EIO || r == -ENOMEM ? r : -EUCLEAN,
                              "%s: replaying the journal failed: %s: run briq check --repair",
                              store->name, strerror(-r));
    return 0;
}

void briq_recovery_end(struct briq_recovery *recovery, bool unlink_file)
{
    bool ours = recovery->leftover == BRIQ_LEFTOVER_FOUND;
    briq_windows_left_close(&recovery->left, unlink_file && ours);
}
