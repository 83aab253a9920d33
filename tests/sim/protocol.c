/* SPDX-License-Identifier: BSD-3-Clause */
/* protocol.c - the device, and the rules that each of its requests is held against. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/store/superblock.h"
#include "tests/sim/protocol_state.h"

#define UNDER_WAY UINT64_MAX

struct protocol_device {
    struct briq_device dev; /* what the store sees */
    struct protocol *p;
    struct briq_device *inner, *reader;
};

static struct protocol_device *device_of(struct briq_device *dev)
{
    return BRIQ_CONTAINER_OF(dev, struct protocol_device, dev);
}

void protocol_complain(struct protocol *p, const char *fmt, ...)
{
    char line[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    p->illegal(p->opaque, line);
}

/* ---- what is known of places ------------------------------------------------------------------
 */

/* Makes room for element `index` of a zeroed array. */
static void *grow(void *array, size_t *count, size_t index, size_t size)
{
    if (index < *count)
        return array;
    size_t more = index + index / 2 + 64;
    uint8_t *grown = realloc(array, more * size);
    BRIQ_ASSERT(grown != NULL);
    memset(grown + *count * size, 0, (more - *count) * size);
    *count = more;
    return grown;
}

struct protocol_sector *protocol_sector(struct protocol *p, uint64_t off)
{
    size_t index = off / PROTOCOL_SECTOR;
    p->sectors = grow(p->sectors, &p->sector_count, index, sizeof *p->sectors);
    return &p->sectors[index];
}

struct protocol_segment *protocol_segment(struct protocol *p, uint32_t seg)
{
    p->segments = grow(p->segments, &p->segment_count, seg, sizeof *p->segments);
    return &p->segments[seg];
}

/* The superblock that the opening goes by; NULL: there is none, anything may be written. */
static const struct briq_superblock *newest(const struct protocol *p)
{
    for (int i = PROTOCOL_WRITTEN; i >= PROTOCOL_DURABLE; i--)
        if (p->superblock[i].known)
            return &p->superblock[i].sb;
    return NULL;
}

/* Is the record in this sector of the journal behind that superblock? */
static bool in_journal(const struct protocol_superblock *from, const struct protocol_sector *sector)
{
    return from->known && !from->sb.clean && sector->seq_max > from->sb.checkpoint_seq &&
           sector->incarnation == (uint32_t)from->sb.incarnation;
}

/* Why the sector must stay as it is, or NULL. What the process that died had not flushed, or had
 * not even written to its end, is not needed as it is: its recovery writes it again. */
static const char *needed_for(const struct protocol *p, const struct protocol_sector *sector,
                              const struct briq_superblock **ret_by)
{
    if (p->recovering && (sector->unanswered || sector->written > p->flushed_before))
        return NULL;
    for (int i = PROTOCOL_DURABLE; i <= PROTOCOL_WRITTEN; i++) {
        const struct protocol_superblock *from = &p->superblock[i];
        *ret_by = &from->sb;
        if (from->known && sector->need[i] == PROTOCOL_NEEDS_PAGE)
            return "a page of the map";
        if (from->known && sector->need[i] == PROTOCOL_NEEDS_EXTENT)
            return "an extent of the map";
        if (in_journal(from, sector))
            return "a record of the journal";
    }
    return NULL;
}

/* ---- writes to segments ------------------------------------------------------------------------
 */

/* Nothing that is needed may change. */
static void check_not_needed(struct protocol *p, const char *step, uint64_t off, uint64_t len)
{
    for (uint64_t at = off; at < off + len; at += PROTOCOL_SECTOR) {
        const struct protocol_sector *sector = protocol_sector(p, at);
        const struct briq_superblock *by;
        const char *what = needed_for(p, sector, &by);
        if (what == NULL)
            continue;
        protocol_complain(p,
                          "%s at 0x%" PRIx64 " of %" PRIu64 " bytes over %s that the superblock of "
                          "generation %" PRIu64 " needs, at 0x%" PRIx64,
                          step, off, len, what, by->generation, at);
        return;
    }
}

/* The first thing in the segment that some superblock needs, or NULL. */
static const char *needed_in(struct protocol *p, uint32_t seg, uint32_t seg_shift)
{
    const struct briq_superblock *by;
    const char *what = NULL;
    uint64_t begin = (uint64_t)seg << seg_shift, end = begin + (UINT64_C(1) << seg_shift);
    for (uint64_t at = begin; at < end && what == NULL; at += PROTOCOL_SECTOR)
        what = needed_for(p, protocol_sector(p, at), &by);
    return what;
}

/* A stream has it, or has named it as the next. If nothing was ever written there it may give it
 * back. */
static bool is_of_stream(const struct briq_superblock *sb, uint32_t seg)
{
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        if (sb->heads[i].seg == seg || sb->heads[i].next_seg == seg)
            return true;
    return false;
}

/* Does the segment table of one of the superblocks say that it is in use, and another use? */
static bool in_use_before(struct protocol *p, const struct briq_chunk *c)
{
    const struct protocol_segment *s = protocol_segment(p, c->seg);
    for (int i = PROTOCOL_DURABLE; i <= PROTOCOL_WRITTEN; i++)
        if (p->superblock[i].known && s->table_state[i] != 0 && s->table_use[i] != c->segseq &&
            !is_of_stream(&p->superblock[i].sb, c->seg))
            return true;
    return false;
}

/* A head of the newest superblock may have taken it after the table was written. */
static bool is_of_head(const struct protocol *p, const struct briq_chunk *c)
{
    const struct briq_superblock *sb = newest(p);
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        if (sb->heads[i].seg == c->seg && sb->heads[i].segseq == c->segseq)
            return true;
    return false;
}

/* The first chunk of another use of a segment. */
static void check_use(struct protocol *p, const struct briq_chunk *c)
{
    struct protocol_segment *s = protocol_segment(p, c->seg);
    uint64_t generation = p->superblock[PROTOCOL_DURABLE].sb.generation;
    if (s->use == c->segseq)
        return;
    const char *why = needed_in(p, c->seg, newest(p)->seg_shift);
    if (in_use_before(p, c))
        why = "data, for it is in use";
    if (s->use != 0 && s->use_since == generation)
        why = "nothing, but it was taken since";
    bool goes_on = s->use == 0 && (is_of_head(p, c) || s->table_use[PROTOCOL_DURABLE] == c->segseq);
    if (why != NULL && !goes_on)
        protocol_complain(p,
                          "segment %" PRIu32 " is written again (use 0x%" PRIx64
                          ") before the checkpoint that frees it is durable: by that of generation "
                          "%" PRIu64 " it holds %s",
                          c->seg, c->segseq, generation, why);
    s->use = c->segseq;
    s->use_since = generation;
}

static void check_place(struct protocol *p, const struct briq_chunk *c, uint64_t where,
                        uint64_t left)
{
    const struct briq_superblock *sb = newest(p);
    uint64_t window = UINT64_C(1) << sb->window_shift, uuid_lo;
    memcpy(&uuid_lo, sb->uuid, sizeof uuid_lo);
    bool here = ((uint64_t)c->seg << sb->seg_shift) + c->off == where;
    bool ours = c->uuid_lo == le64toh(uuid_lo);
    bool this_opening = c->incarnation == (uint32_t)p->incarnation ||
                        (p->recovering && c->incarnation == (uint32_t)(p->incarnation - 1));
    bool whole = (c->len <= left || p->recovering) && c->off % window + c->len <= window;
    if (!here || !ours || !this_opening || !whole)
        protocol_complain(p, "a chunk is written at 0x%" PRIx64 " that %s", where,
                          !here           ? "belongs elsewhere"
                          : !ours         ? "is of another volume"
                          : !this_opening ? "is of another opening"
                                          : "reaches out of its window");
}

/* What the chunk says of flushes is true. Recovery looks at that of user chunks only. */
static void check_promise(struct protocol *p, const struct briq_chunk *c)
{
    if (c->incarnation != (uint32_t)p->incarnation || c->kind != BRIQ_KIND_USER)
        return;
    while (p->seq_written[(p->prefix + 1) % PROTOCOL_SEQS] != 0 &&
           protocol_is_flushed(p, p->seq_written[(p->prefix + 1) % PROTOCOL_SEQS]))
        p->seq_written[++p->prefix % PROTOCOL_SEQS] = 0;
    if (c->durable_seq > p->prefix)
        protocol_complain(p,
                          "a chunk in segment %" PRIu32 " calls operations up to %" PRIu64
                          " flushed, and only those up to %" PRIu64 " are",
                          c->seg, c->durable_seq, p->prefix);
}

/* The operations of a user chunk are news. */
static void note_records(struct protocol *p, const struct briq_chunk *c, const uint8_t *bytes,
                         uint64_t where)
{
    const struct briq_superblock *sb = newest(p);
    uint64_t seq_max = 0;
    for (unsigned i = 0; i < c->nrec && c->kind == BRIQ_KIND_USER; i++) {
        struct briq_record record;
        if (!briq_record_decode(bytes, c, i, &record)) {
            protocol_complain(p, "a chunk at 0x%" PRIx64 " has a record that is none", where);
            continue;
        }
        if (c->incarnation == (uint32_t)p->incarnation && record.seq <= sb->checkpoint_seq)
            protocol_complain(p,
                              "operation %" PRIu64 " is written to the journal behind the "
                              "checkpoint that covers it",
                              record.seq);
        if (c->incarnation == (uint32_t)p->incarnation && record.seq > p->prefix)
            p->seq_written[record.seq % PROTOCOL_SEQS] = UNDER_WAY;
        seq_max = record.seq > seq_max ? record.seq : seq_max;
    }
    for (uint64_t off = where; off < where + c->len; off += PROTOCOL_SECTOR) {
        struct protocol_sector *sector = protocol_sector(p, off);
        sector->seq_max = seq_max;
        sector->chunk_off = c->off;
        sector->incarnation = c->incarnation;
        sector->stream = c->stream;
    }
}

/* Whether a chunk begins at `bytes`; *ret_len: how long it is. */
static bool check_chunk(struct protocol *p, const uint8_t *bytes, uint64_t left, uint64_t where,
                        uint64_t *ret_len)
{
    struct briq_chunk c;
    size_t need;
    if (!briq_chunk_decode(bytes, left, &c, &need))
        return false;
    check_place(p, &c, where, left);
    check_promise(p, &c);
    check_use(p, &c);
    note_records(p, &c, bytes, where);
    *ret_len = c.len;
    return true;
}

static void check_segment_write(struct protocol *p, const struct briq_device *dev,
                                const uint8_t *buf, uint64_t len, uint64_t off)
{
    const struct briq_superblock *sb = newest(p);
    uint64_t end = sb->limit_bytes != 0 ? sb->limit_bytes : UINT64_MAX;
    if (off % PROTOCOL_SECTOR != 0 || len % PROTOCOL_SECTOR != 0 || off + len > end ||
        off >> sb->seg_shift < sb->seg_first) {
        protocol_complain(p,
                          "a write of %" PRIu64 " bytes at 0x%" PRIx64
                          ", where neither segment nor superblock is",
                          len, off);
        return;
    }
    if (!dev->fixed_size && !protocol_segment(p, (uint32_t)(off >> sb->seg_shift))->on_host)
        protocol_complain(p, "segment %" PRIu64 " is written, and the host was not asked for it",
                          off >> sb->seg_shift);
    check_not_needed(p, "a write", off, len);
    for (uint64_t done = 0, part = 0; done < len; done += part) {
        if (check_chunk(p, buf + done, len - done, off + done, &part))
            continue;
        if (!p->recovering)
            protocol_complain(p, "what is written at 0x%" PRIx64 " is no chunk", off + done);
        part = PROTOCOL_SECTOR; /* the rest of a chunk that lacked it */
    }
}

/* ---- superblocks ----------------------------------------------------------------------------- */

/* The heads must not pass over what the checkpoint does not cover. */
static void check_heads(struct protocol *p, const struct briq_superblock *sb)
{
    for (unsigned i = 0; i < sb->streams; i++) {
        const struct briq_head *head = &sb->heads[i];
        if (head->seg == BRIQ_SEG_NONE)
            continue;
        uint64_t base = (uint64_t)head->seg << sb->seg_shift;
        for (uint32_t off = 0; off < head->off; off += PROTOCOL_SECTOR) {
            const struct protocol_sector *sector = protocol_sector(p, base + off);
            if (sector->seq_max > sb->checkpoint_seq && sector->stream == i &&
                sector->incarnation == (uint32_t)sb->incarnation)
                protocol_complain(p,
                                  "superblock of generation %" PRIu64 ": stream %u would go on "
                                  "behind operation %" PRIu64 ", which its map does not have",
                                  sb->generation, i, sector->seq_max);
        }
    }
}

/* Closed cleanly, and yet the journal holds what the map does not. */
static void check_clean(struct protocol *p, const struct briq_superblock *sb)
{
    for (size_t i = 0; i < p->sector_count && sb->clean && !p->recovering; i++)
        if (p->sectors[i].seq_max > sb->checkpoint_seq &&
            p->sectors[i].incarnation == (uint32_t)p->incarnation)
            protocol_complain(p,
                              "superblock of generation %" PRIu64
                              " is clean, and its map does not have operation %" PRIu64,
                              sb->generation, p->sectors[i].seq_max);
}

/* The copy that is written over must not be the only one that is sure to be there. */
static void check_other_copy(struct protocol *p, const struct briq_superblock *sb, unsigned slot)
{
    const struct protocol_superblock *other = &p->copy[1 - slot];
    const struct protocol_superblock *durable = &p->superblock[PROTOCOL_DURABLE];
    if (!durable->known)
        return;
    if (other->known && other->sb.generation >= durable->sb.generation &&
        protocol_is_flushed(p, other->written))
        return;
    protocol_complain(p,
                      "superblock of generation %" PRIu64 " is written to copy %c, the only one "
                      "that is sure to hold generation %" PRIu64,
                      sb->generation, slot == 0 ? 'A' : 'B', durable->sb.generation);
}

static void check_numbers(struct protocol *p, const struct briq_superblock *sb)
{
    const struct briq_superblock *old = newest(p);
    const char *wrong = NULL;
    if (sb->generation != old->generation + 1)
        wrong = "generation does not follow the last";
    else if (memcmp(sb->uuid, old->uuid, sizeof sb->uuid) != 0)
        wrong = "is of another volume";
    else if (sb->incarnation != p->incarnation)
        wrong = "incarnation is not of this opening";
    else if (sb->checkpoint_seq < old->checkpoint_seq && !p->recovering)
        wrong = "checkpoint is older than the last";
    else if (sb->logical_bytes < old->logical_bytes)
        wrong = "volume is smaller than it was";
    if (wrong != NULL)
        protocol_complain(p, "superblock of generation %" PRIu64 ": its %s", sb->generation, wrong);
}

static void new_superblock(struct protocol *p, const struct protocol_superblock *s)
{
    if (newest(p) != NULL) {
        check_numbers(p, &s->sb);
        check_heads(p, &s->sb);
        check_clean(p, &s->sb);
    }
    p->superblock[PROTOCOL_WRITTEN] = *s;
    protocol_note_needs(p, PROTOCOL_WRITTEN, true);
    p->recovering = false;
}

static bool is_same(const struct protocol_superblock *a, const struct protocol_superblock *b)
{
    return a->known && b->known && a->hash == b->hash;
}

static struct protocol_superblock decode_superblock(const uint8_t *page)
{
    struct protocol_superblock s = {0};
    const struct briq_fmt_superblock *fmt = (const void *)page;
    s.known = briq_superblock_decode(page, &s.sb) == BRIQ_SB_OK;
    s.hash = briq_le64_get(fmt->xxh64);
    return s;
}

static void check_superblock_write(struct protocol *p, const uint8_t *buf, unsigned slot)
{
    struct protocol_superblock s = decode_superblock(buf);
    const struct protocol_superblock *last =
        &p->superblock[p->superblock[PROTOCOL_WRITTEN].known ? PROTOCOL_WRITTEN : PROTOCOL_DURABLE];
    s.written = UNDER_WAY;
    if (!s.known) {
        protocol_complain(p, "what is written to copy %c of the superblock is none",
                          slot == 0 ? 'A' : 'B');
        return;
    }
    check_other_copy(p, &s.sb, slot);
    bool again = last->known && last->sb.generation == s.sb.generation;
    if (again && !is_same(last, &s))
        protocol_complain(p, "superblock of generation %" PRIu64 " differs from its other copy",
                          s.sb.generation);
    if (!again)
        new_superblock(p, &s);
    p->copy[slot] = s;
}

/* ---- requests -------------------------------------------------------------------------------- */

static int superblock_slot(uint64_t off, uint64_t len)
{
    if (len != BRIQ_SB_BYTES)
        return -1;
    return off == BRIQ_SB_A_OFFSET ? 0 : off == BRIQ_SB_B_OFFSET ? 1 : -1;
}

static void stamp_one(uint64_t *written, uint64_t clock)
{
    if (*written == UNDER_WAY)
        *written = clock;
}

/* The write has its answer; if that was an error, nobody knows whether it happened. */
static void stamp(struct protocol *p, const uint8_t *buf, uint64_t off, uint64_t len, int result)
{
    uint64_t clock = ++p->clock;
    int slot = superblock_slot(off, len);
    if (slot >= 0) {
        stamp_one(&p->copy[slot].written, clock);
        stamp_one(&p->superblock[PROTOCOL_WRITTEN].written, clock);
        return;
    }
    for (uint64_t at = off; at < off + len; at += PROTOCOL_SECTOR) {
        protocol_sector(p, at)->written = clock;
        protocol_sector(p, at)->unanswered = result != 0;
    }
    struct briq_chunk c;
    size_t need;
    for (uint64_t done = 0; done < len; done += c.len) {
        if (!briq_chunk_decode(buf + done, len - done, &c, &need))
            return;
        for (unsigned i = 0; i < c.nrec && c.kind == BRIQ_KIND_USER; i++) {
            struct briq_record record;
            if (briq_record_decode(buf + done, &c, i, &record))
                stamp_one(&p->seq_written[record.seq % PROTOCOL_SEQS], clock);
        }
    }
}

static int protocol_read(struct briq_device *dev, void *buf, size_t len, uint64_t off)
{
    return briq_device_read(device_of(dev)->inner, buf, len, off);
}

static int protocol_write(struct briq_device *dev, const void *buf, size_t len, uint64_t off)
{
    struct protocol *p = device_of(dev)->p;
    int slot = superblock_slot(off, len);
    pthread_mutex_lock(&p->lock);
    if (slot >= 0)
        check_superblock_write(p, buf, (unsigned)slot);
    else if (newest(p) != NULL)
        check_segment_write(p, dev, buf, len, off);
    for (uint64_t at = off; at < off + len && slot < 0; at += PROTOCOL_SECTOR)
        protocol_sector(p, at)->written = UNDER_WAY;
    pthread_mutex_unlock(&p->lock);
    int r = briq_device_write(device_of(dev)->inner, buf, len, off);
    pthread_mutex_lock(&p->lock);
    stamp(p, buf, off, len, r);
    pthread_mutex_unlock(&p->lock);
    return r;
}

/* A superblock that is written is the durable one from now on. */
static void promote(struct protocol *p)
{
    struct protocol_superblock *written = &p->superblock[PROTOCOL_WRITTEN];
    if (!written->known || !protocol_is_flushed(p, written->written))
        return;
    p->superblock[PROTOCOL_DURABLE] = *written;
    *written = (struct protocol_superblock){0};
    for (size_t i = 0; i < p->sector_count; i++) {
        p->sectors[i].need[PROTOCOL_DURABLE] = p->sectors[i].need[PROTOCOL_WRITTEN];
        p->sectors[i].need[PROTOCOL_WRITTEN] = PROTOCOL_FREE;
    }
    for (size_t i = 0; i < p->segment_count; i++) {
        struct protocol_segment *s = &p->segments[i];
        s->table_state[PROTOCOL_DURABLE] = s->table_state[PROTOCOL_WRITTEN];
        s->table_use[PROTOCOL_DURABLE] = s->table_use[PROTOCOL_WRITTEN];
        s->table_state[PROTOCOL_WRITTEN] = 0;
        s->table_use[PROTOCOL_WRITTEN] = 0;
    }
    uint64_t covered = p->superblock[PROTOCOL_DURABLE].sb.checkpoint_seq;
    while (p->prefix < covered)
        p->seq_written[++p->prefix % PROTOCOL_SEQS] = 0;
}

static int protocol_flush(struct briq_device *dev)
{
    struct protocol *p = device_of(dev)->p;
    pthread_mutex_lock(&p->lock);
    uint64_t covers = p->flush_covers < p->clock ? p->flush_covers : p->clock;
    p->flush_covers = UINT64_MAX;
    pthread_mutex_unlock(&p->lock);
    int r = briq_device_flush(device_of(dev)->inner);
    pthread_mutex_lock(&p->lock);
    if (r == 0 && covers > p->flushed)
        p->flushed = covers;
    promote(p);
    pthread_mutex_unlock(&p->lock);
    return r;
}

static void mark_on_host(struct protocol *p, uint64_t off, uint64_t len, bool on_host)
{
    const struct briq_superblock *sb = newest(p);
    if (sb == NULL)
        return;
    for (uint64_t at = off; at < off + len; at += UINT64_C(1) << sb->seg_shift)
        protocol_segment(p, (uint32_t)(at >> sb->seg_shift))->on_host = on_host;
}

static void note_discard(struct protocol *p, uint64_t off, uint64_t len)
{
    pthread_mutex_lock(&p->lock);
    for (uint64_t at = off; at < off + len; at += PROTOCOL_SECTOR)
        protocol_sector(p, at)->seq_max = 0;
    mark_on_host(p, off, len, false);
    pthread_mutex_unlock(&p->lock);
}

static int protocol_discard(struct briq_device *dev, uint64_t off, uint64_t len)
{
    struct protocol *p = device_of(dev)->p;
    pthread_mutex_lock(&p->lock);
    const struct briq_superblock *sb = newest(p);
    if (sb != NULL && off >> sb->seg_shift < sb->seg_first)
        protocol_complain(p, "a discard at 0x%" PRIx64 ", before the first segment", off);
    check_not_needed(p, "a discard", off, len);
    pthread_mutex_unlock(&p->lock);
    int r = briq_device_discard(device_of(dev)->inner, off, len);
    if (r == 0)
        note_discard(p, off, len);
    return r;
}

static int protocol_reserve(struct briq_device *dev, uint64_t off, uint64_t len)
{
    struct protocol *p = device_of(dev)->p;
    int r = briq_device_reserve(device_of(dev)->inner, off, len);
    pthread_mutex_lock(&p->lock);
    if (r == 0)
        mark_on_host(p, off, len, true);
    pthread_mutex_unlock(&p->lock);
    return r;
}

static void protocol_prefetch(struct briq_device *dev, uint64_t off, uint64_t len)
{
    briq_device_prefetch(device_of(dev)->inner, off, len);
}

static int protocol_allocated(struct briq_device *dev, uint64_t *ret_bytes)
{
    return briq_device_allocated(device_of(dev)->inner, ret_bytes);
}

static void protocol_end(struct briq_device *dev)
{
    briq_device_close(device_of(dev)->inner);
    briq_device_close(device_of(dev)->reader);
    free(device_of(dev));
}

static const struct briq_device_ops protocol_ops = {
    .read = protocol_read,
    .write = protocol_write,
    .flush = protocol_flush,
    .discard = protocol_discard,
    .reserve = protocol_reserve,
    .prefetch = protocol_prefetch,
    .allocated = protocol_allocated,
    .close = protocol_end,
};

/* ---- the life of a volume ----------------------------------------------------------------------
 */

struct protocol *protocol_open(void (*illegal)(void *opaque, const char *line), void *opaque)
{
    struct protocol *p = calloc(1, sizeof *p);
    BRIQ_ASSERT(p != NULL);
    p->illegal = illegal;
    p->opaque = opaque;
    pthread_mutex_init(&p->lock, NULL);
    p->scratch = malloc(1u << BRIQ_SEG_SHIFT_MAX);
    BRIQ_ASSERT(p->scratch != NULL);
    protocol_reset(p);
    return p;
}

void protocol_close(struct protocol *p)
{
    pthread_mutex_destroy(&p->lock);
    free(p->sectors);
    free(p->segments);
    free(p->scratch);
    free(p);
}

static void forget(struct protocol *p)
{
    for (size_t i = 0; i < p->sector_count; i++)
        p->sectors[i] = (struct protocol_sector){0};
    for (size_t i = 0; i < p->segment_count; i++)
        p->segments[i] = (struct protocol_segment){.on_host = p->segments[i].on_host};
    memset(p->superblock, 0, sizeof p->superblock);
    memset(p->copy, 0, sizeof p->copy);
    p->clock = p->flushed = 0;
    p->flush_covers = UINT64_MAX;
    p->medium_unknown = true;
}

void protocol_reset(struct protocol *p)
{
    forget(p);
    for (size_t i = 0; i < p->segment_count; i++)
        p->segments[i].on_host = false;
}

void protocol_power_cut(struct protocol *p)
{
    forget(p);
}

void protocol_process_death(struct protocol *p)
{
    p->flush_covers = UINT64_MAX;
}

void protocol_in_flight(struct protocol *p, uint64_t off, uint64_t len)
{
    uint64_t clock = ++p->clock;
    for (uint64_t at = off; at < off + len; at += PROTOCOL_SECTOR) {
        protocol_sector(p, at)->written = clock;
        protocol_sector(p, at)->unanswered = true;
    }
}

uint64_t protocol_clock(const struct protocol *p)
{
    return p->clock;
}

void protocol_flush_covers(struct protocol *p, uint64_t clock)
{
    p->flush_covers = clock;
}

/* What the copies hold by now. One that is not what was written last is old, and flushed. */
static void read_copies(struct protocol *p)
{
    for (unsigned i = 0; i < 2; i++) {
        if (briq_device_read(p->reader, p->scratch, BRIQ_SB_BYTES, briq_superblock_offset(i)) < 0)
            return;
        struct protocol_superblock there = decode_superblock(p->scratch);
        if (!is_same(&p->copy[i], &there))
            p->copy[i] = there;
    }
}

/* A superblock whose write did not happen is none. */
static void drop_unwritten(struct protocol *p)
{
    struct protocol_superblock *written = &p->superblock[PROTOCOL_WRITTEN];
    if (!written->known || is_same(&p->copy[0], written) || is_same(&p->copy[1], written))
        return;
    written->known = false;
    for (size_t i = 0; i < p->sector_count; i++)
        p->sectors[i].need[PROTOCOL_WRITTEN] = PROTOCOL_FREE;
}

/* Nothing is known: the newest superblock there is counts as flushed, with all it refers to. */
static void read_medium(struct protocol *p)
{
    unsigned pick = p->copy[1].known &&
                    (!p->copy[0].known || p->copy[1].sb.generation > p->copy[0].sb.generation);
    p->superblock[PROTOCOL_DURABLE] = p->copy[pick];
    if (p->copy[pick].known)
        protocol_note_needs(p, PROTOCOL_DURABLE, false);
    p->medium_unknown = false;
}

static void begin_opening(struct protocol *p)
{
    const struct briq_superblock *sb = newest(p);
    memset(p->seq_written, 0, sizeof p->seq_written);
    for (size_t i = 0; i < p->segment_count; i++)
        p->segments[i].use = 0;
    p->recovering = true;
    p->flushed_before = p->flushed;
    if (sb == NULL)
        return;
    p->prefix = sb->checkpoint_seq;
    p->incarnation = sb->incarnation + 1;
    protocol_note_journal(p);
}

struct briq_device *protocol_wrap(struct protocol *p, struct briq_device *inner,
                                  struct briq_device *reader)
{
    struct protocol_device *device = calloc(1, sizeof *device);
    BRIQ_ASSERT(device != NULL);
    device->dev = *inner;
    device->dev.ops = &protocol_ops;
    device->dev.fd = -1; /* every request has to come through here */
    device->dev.memory = NULL;
    device->inner = inner;
    device->reader = reader;
    p->reader = reader != NULL ? reader : inner;
    device->p = p;
    read_copies(p);
    drop_unwritten(p);
    if (p->medium_unknown)
        read_medium(p);
    begin_opening(p);
    return &device->dev;
}
