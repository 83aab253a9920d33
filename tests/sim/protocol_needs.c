/* SPDX-License-Identifier: BSD-3-Clause */
/* protocol_needs.c - what a superblock refers to: its tree, its map, and the journal behind it. */
#include <inttypes.h>
#include <string.h>

#include "common/store/codec.h"
#include "common/store/tree.h"
#include "common/store/word.h"
#include "tests/sim/protocol_state.h"

/* A superblock being gone through. */
struct walk {
    struct protocol *p;
    enum protocol_which which;
    const struct briq_superblock *sb;
    bool fresh; /* just being written: what it names must be flushed */
};

static void need_range(const struct walk *w, uint64_t granule, uint32_t granules,
                       enum protocol_need need, const char *what, uint64_t index)
{
    uint64_t begin = granule << BRIQ_GRANULE_SHIFT;
    uint64_t end = begin + (uint64_t)granules * BRIQ_GRANULE_BYTES;
    if (begin >> w->sb->seg_shift < w->sb->seg_first || end > (uint64_t)w->sb->seg_end
                                                                  << w->sb->seg_shift) {
        protocol_complain(w->p,
                          "superblock of generation %" PRIu64 ": %s %" PRIu64
                          " would lie outside of the segments",
                          w->sb->generation, what, index);
        return;
    }
    for (uint64_t off = begin / PROTOCOL_SECTOR * PROTOCOL_SECTOR; off < end;
         off += PROTOCOL_SECTOR) {
        struct protocol_sector *sector = protocol_sector(w->p, off);
        sector->need[w->which] = (uint8_t)need;
        if (w->fresh && !protocol_is_flushed(w->p, sector->written))
            protocol_complain(w->p,
                              "superblock of generation %" PRIu64 " is written before the flush "
                              "that makes %s %" PRIu64 " durable",
                              w->sb->generation, what, index);
    }
}

static uint64_t use_of(const struct walk *w, enum briq_record_type type, uint64_t granule)
{
    if (type != BRIQ_REC_MAP_PAGE)
        return 0;
    uint32_t seg = (uint32_t)(granule >> (w->sb->seg_shift - BRIQ_GRANULE_SHIFT));
    return protocol_segment(w->p, seg)->table_use[w->which];
}

/* Pages above the map pages all have the same length. */
static briq_word whole_page_at(uint64_t pointer)
{
    return briq_word_data(briq_tree_granule(pointer), BRIQ_META_GRANULES);
}

/* Reads one page and notes that it is needed. */
static bool need_page(const struct walk *w, enum briq_record_type type, uint64_t index,
                      briq_word place, const char *what, briq_le64 page[BRIQ_PAGE_WORDS])
{
    uint8_t extent[BRIQ_META_GRANULES * BRIQ_GRANULE_BYTES];
    uint64_t granule = briq_word_granule(place);
    uint32_t granules = briq_word_granules(place);
    need_range(w, granule, granules, PROTOCOL_NEEDS_PAGE, what, index);
    if (briq_device_read(w->p->reader, extent, granules * BRIQ_GRANULE_BYTES,
                         granule << BRIQ_GRANULE_SHIFT) < 0)
        return false; /* the disk has stopped */
    if (briq_extent_read(extent, granules, briq_meta_tag(type, index), use_of(w, type, granule),
                         (uint8_t *)page) == 0)
        return true;
    protocol_complain(w->p, "superblock of generation %" PRIu64 ": %s %" PRIu64 " is not there",
                      w->sb->generation, what, index);
    return false;
}

static void need_blocks(const struct walk *w, uint64_t page_index,
                        const briq_le64 page[BRIQ_PAGE_WORDS])
{
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++) {
        briq_word word = briq_le64_get(page[i]);
        if (briq_word_is_data(word))
            need_range(w, briq_word_granule(word), briq_word_granules(word), PROTOCOL_NEEDS_EXTENT,
                       "block", page_index * BRIQ_PAGE_WORDS + i);
    }
}

static void need_node(const struct walk *w, uint64_t index, uint64_t pointer)
{
    briq_le64 node[BRIQ_PAGE_WORDS], page[BRIQ_PAGE_WORDS];
    if (!need_page(w, BRIQ_REC_MAP_NODE, index, whole_page_at(pointer), "map node", node))
        return;
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++) {
        briq_word place = briq_le64_get(node[i]);
        uint64_t number = index * BRIQ_PAGE_WORDS + i;
        if (place == 0)
            continue;
        if (!briq_word_is_data(place) || briq_word_granules(place) > BRIQ_META_GRANULES)
            protocol_complain(w->p,
                              "superblock of generation %" PRIu64 ": map node %" PRIu64
                              " does not say where map page %" PRIu64 " is",
                              w->sb->generation, index, number);
        else if (need_page(w, BRIQ_REC_MAP_PAGE, number, place, "map page", page))
            need_blocks(w, number, page);
    }
}

static void need_map(const struct walk *w)
{
    briq_le64 root[BRIQ_PAGE_WORDS];
    for (uint64_t i = 0; i < BRIQ_MAP_ROOTS; i++) {
        if (w->sb->map_roots[i] == 0 ||
            !need_page(w, BRIQ_REC_MAP_ROOT, i, whole_page_at(w->sb->map_roots[i]), "map root",
                       root))
            continue;
        for (unsigned k = 0; k < BRIQ_PAGE_WORDS; k++)
            if (briq_le64_get(root[k]) != 0)
                need_node(w, i * BRIQ_PAGE_WORDS + k, briq_le64_get(root[k]));
    }
}

static void need_segment_page(const struct walk *w, uint64_t index, uint64_t pointer)
{
    briq_le64 page[BRIQ_PAGE_WORDS];
    if (!need_page(w, BRIQ_REC_SEG_PAGE, index, whole_page_at(pointer), "segment page", page))
        return;
    for (unsigned i = 0; i < BRIQ_SEGS_PER_PAGE; i++) {
        struct briq_segment_entry e;
        uint32_t seg = (uint32_t)(index * BRIQ_SEGS_PER_PAGE + i);
        if (seg < w->sb->seg_first || seg >= w->sb->seg_end)
            continue;
        briq_segment_decode((const uint8_t *)page + i * sizeof(struct briq_fmt_segment), &e);
        struct protocol_segment *s = protocol_segment(w->p, seg);
        s->table_use[w->which] = e.segseq;
        s->table_state[w->which] = e.state;
    }
}

static void need_segment_table(const struct walk *w)
{
    briq_le64 root[BRIQ_PAGE_WORDS];
    for (uint64_t i = 0; i < BRIQ_SEG_ROOTS; i++) {
        if (w->sb->seg_roots[i] == 0 ||
            !need_page(w, BRIQ_REC_SEG_ROOT, i, whole_page_at(w->sb->seg_roots[i]), "segment root",
                       root))
            continue;
        for (unsigned k = 0; k < BRIQ_PAGE_WORDS; k++)
            if (briq_le64_get(root[k]) != 0)
                need_segment_page(w, i * BRIQ_PAGE_WORDS + k, briq_le64_get(root[k]));
    }
}

void protocol_note_needs(struct protocol *p, enum protocol_which which, bool fresh)
{
    struct walk w = {.p = p, .which = which, .sb = &p->superblock[which].sb, .fresh = fresh};
    for (size_t i = 0; i < p->sector_count; i++)
        p->sectors[i].need[which] = PROTOCOL_FREE;
    for (size_t i = 0; i < p->segment_count; i++)
        p->segments[i].table_state[which] = p->segments[i].table_use[which] = 0;
    need_segment_table(&w);
    need_map(&w);
}

/* ---- the journal ----------------------------------------------------------------------------- */

struct follower {
    struct protocol *p;
    const struct briq_superblock *sb;
    uint8_t stream;
    uint64_t use, above; /* as in recovery: 0 is any use above `above` */
    uint32_t next_seg;
};

static bool belongs(const struct follower *f, const struct briq_chunk *c, uint32_t seg,
                    uint32_t off)
{
    uint64_t uuid_lo;
    memcpy(&uuid_lo, f->sb->uuid, sizeof uuid_lo);
    return c->uuid_lo == le64toh(uuid_lo) && c->seg == seg && c->off == off &&
           c->incarnation == (uint32_t)f->sb->incarnation && c->stream == f->stream &&
           c->kind == BRIQ_KIND_USER && c->segseq > f->above &&
           (f->use == 0 || c->segseq == f->use);
}

static void note_chunk(struct protocol *p, uint64_t where, const struct briq_chunk *c,
                       const uint8_t *bytes)
{
    uint64_t seq_max = 0;
    for (unsigned i = 0; i < c->nrec; i++) {
        struct briq_record record;
        if (briq_record_decode(bytes, c, i, &record) && record.seq > seq_max)
            seq_max = record.seq;
    }
    /* Whatever goes on there now is the same use. */
    struct protocol_segment *segment = protocol_segment(p, c->seg);
    segment->use = c->segseq;
    segment->use_since = UINT64_MAX;
    for (uint64_t off = where; off < where + c->len; off += PROTOCOL_SECTOR) {
        struct protocol_sector *sector = protocol_sector(p, off);
        sector->seq_max = seq_max;
        sector->chunk_off = c->off;
        sector->incarnation = c->incarnation;
        sector->stream = c->stream;
    }
}

static bool follow_segment(struct follower *f, uint32_t seg, uint32_t off)
{
    uint32_t bytes = 1u << f->sb->seg_shift;
    uint64_t base = (uint64_t)seg << f->sb->seg_shift;
    bool found = false;
    if (briq_device_read(f->p->reader, f->p->scratch, bytes, base) < 0)
        return false;
    while (off < bytes) {
        struct briq_chunk c;
        size_t need;
        if (!briq_chunk_decode(f->p->scratch + off, bytes - off, &c, &need) ||
            !belongs(f, &c, seg, off)) {
            off += PROTOCOL_SECTOR;
            continue;
        }
        found = true;
        f->use = c.segseq;
        f->next_seg = c.next_seg;
        note_chunk(f->p, base + off, &c, f->p->scratch + off);
        off += c.len;
    }
    return found;
}

static void follow_stream(struct protocol *p, const struct briq_superblock *sb, uint8_t stream)
{
    const struct briq_head *head = &sb->heads[stream];
    struct follower f = {
        .p = p, .sb = sb, .stream = stream, .use = head->segseq, .next_seg = head->next_seg};
    if (head->seg == BRIQ_SEG_NONE)
        return;
    bool found = follow_segment(&f, head->seg, head->off);
    while (f.next_seg >= sb->seg_first && f.next_seg < sb->seg_end) {
        uint32_t seg = f.next_seg;
        f.above = f.use;
        f.use = 0;
        found = follow_segment(&f, seg, 0);
        if (!found)
            break;
    }
}

void protocol_note_journal(struct protocol *p)
{
    bool newer = p->superblock[PROTOCOL_WRITTEN].known;
    const struct briq_superblock *sb = &p->superblock[newer].sb;
    for (uint8_t i = 0; i < sb->streams && !sb->clean; i++)
        follow_stream(p, sb, i);
}
