/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_tree.c - what stands above the map pages: roots, nodes, the segment table.
 *
 * What is lost of the segment table is told by the segments themselves: the newest chunk in a
 * segment says which use it is in, and how much of it is live is counted from the map. What is lost
 * of the map's upper levels is found in the META stream: the newest image of each map page, as far
 * as the last checkpoint had come, is the one that the lost node named.
 */
#include <errno.h>
#include <inttypes.h>

#include "common/base/align.h"
#include "common/store/check.h"
#include "common/store/tree.h"

static const char *reason(int error)
{
    return error == -EIO ? "read error" : "checksum";
}

/* ---- what is lost ---------------------------------------------------------------------------- */

static void lose_segments(struct briq_checker *c, uint64_t seg_page, uint64_t count)
{
    struct briq_space *space = &c->store->space;
    uint64_t begin = briq_max_u64(seg_page * BRIQ_SEGS_PER_PAGE, space->seg_first);
    uint64_t end = briq_min_u64((seg_page + count) * BRIQ_SEGS_PER_PAGE, space->seg_end);
    for (uint64_t seg = begin; seg < end; seg++)
        c->seg_flags[seg] |= BRIQ_CHECK_SEG_LOST;
    uint64_t page_end = briq_min_u64(seg_page + count, c->store->tree.seg_page_max);
    for (uint64_t page = seg_page; page < page_end; page++)
        atomic_store(&space->page_dirty[page], 1);
}

static void lose_pages(struct briq_checker *c, uint64_t node, uint64_t count)
{
    struct briq_store *store = c->store;
    uint64_t end = briq_min_u64((node + count) * BRIQ_PAGE_WORDS,
                                briq_div_up(briq_store_blocks(store), BRIQ_PAGE_WORDS));
    for (uint64_t page = node * BRIQ_PAGE_WORDS; page < end; page++) {
        briq_map_set_node(&store->map, page, 0); /* part of a bad node may have been taken */
        c->page_flags[page] |= BRIQ_CHECK_PAGE_WANTED;
        c->pages_wanted++;
    }
    uint64_t node_end = briq_min_u64(node + count, store->tree.map_node_max);
    for (uint64_t i = node; i < node_end; i++)
        store->tree.map_node_dirty[i] = 1;
}

static void lost_of_table(struct briq_checker *c, enum briq_record_type type, uint64_t index,
                          unsigned long long where, int error)
{
    bool root = type == BRIQ_REC_SEG_ROOT;
    uint64_t pages = root ? BRIQ_PAGE_WORDS : 1;
    lose_segments(c, index * pages, pages);
    if (root)
        c->store->sb.seg_roots[index] = 0;
    /* Also above a page: one that there should not be has nothing else that would be written. */
    c->store->tree.seg_root_dirty[index / (root ? 1 : BRIQ_PAGE_WORDS)] = true;
    briq_check_error(c, &c->result->segment_errors, "rebuilt from the segments",
                     "%s %" PRIu64 " of the segment table, at 0x%llx, is damaged (%s)",
                     root ? "root" : "page", index, where, reason(error));
}

static void lost_of_map(struct briq_checker *c, enum briq_record_type type, uint64_t index,
                        unsigned long long where, int error)
{
    bool root = type == BRIQ_REC_MAP_ROOT;
    uint64_t nodes = root ? BRIQ_PAGE_WORDS : 1;
    uint64_t first = index * nodes * BRIQ_PAGE_WORDS * BRIQ_PAGE_WORDS;
    lose_pages(c, index * nodes, nodes);
    if (root)
        c->store->sb.map_roots[index] = 0;
    c->store->tree.map_root_dirty[index / (root ? 1 : BRIQ_PAGE_WORDS)] = true;
    briq_check_error(c, &c->result->map_errors,
                     "rebuilt from the map pages and records that were found; what was trimmed or "
                     "overwritten with zeros there may show older data",
                     "map %s %" PRIu64 ", at 0x%llx, is damaged (%s): blocks from %" PRIu64
                     " on cannot be found through it",
                     root ? "root" : "node", index, where, reason(error), first);
}

static void take_damage(void *opaque, enum briq_record_type type, uint64_t index, uint64_t granule,
                        int error)
{
    struct briq_checker *c = opaque;
    unsigned long long where = (unsigned long long)granule << BRIQ_GRANULE_SHIFT;
    c->tree_damaged = true;
    c->unreadable += error == -EIO;
    if (type == BRIQ_REC_SEG_ROOT || type == BRIQ_REC_SEG_PAGE)
        lost_of_table(c, type, index, where, error);
    else
        lost_of_map(c, type, index, where, error);
}

/* ---- the segment table ----------------------------------------------------------------------- */

/* The newest use of a segment that its chunks tell. */
static int find_use(struct briq_checker *c, uint32_t seg)
{
    struct briq_scan *scan = briq_check_scan(c, seg, 0);
    uint64_t segseq = 0;
    uint8_t kind = 0;
    int r;
    while ((r = briq_scan_next(scan)) > 0) {
        if (scan->chunk.segseq > segseq) {
            segseq = scan->chunk.segseq;
            kind = scan->chunk.kind;
        }
    }
    c->unreadable += scan->unreadable;
    /* In use until the map is counted, and longer: what it tells may still be needed. */
    if (r == 0 && segseq != 0)
        briq_space_load_seg(&c->store->space, seg, segseq, 0, 1, kind, true);
    return r;
}

static int find_lost_segments(struct briq_checker *c)
{
    uint32_t end = briq_check_seg_end(c);
    int r = 0;
    for (uint32_t seg = c->store->space.seg_first; seg < end && r == 0; seg++)
        if (c->seg_flags[seg] & BRIQ_CHECK_SEG_LOST)
            r = find_use(c, seg);
    return r;
}

/* ---- lost places of map pages ---------------------------------------------------------------- */

/* Is it a chunk that the last checkpoint had written? What came after it is not part of it. */
static bool is_committed(const struct briq_checker *c, const struct briq_chunk *chunk)
{
    const struct briq_head *head = &c->store->sb.heads[BRIQ_HEAD_META];
    if (head->seg == BRIQ_SEG_NONE)
        return false;
    return chunk->segseq < head->segseq ||
           (chunk->segseq == head->segseq && chunk->seg == head->seg && chunk->off < head->off);
}

static bool is_newer(const struct briq_checker *c, briq_word place, briq_word than)
{
    const struct briq_space *space = &c->store->space;
    if (than == 0)
        return true;
    uint64_t granule = briq_word_granule(place), other = briq_word_granule(than);
    uint64_t a = briq_space_segseq(space, briq_space_seg_of(space, granule));
    uint64_t b = briq_space_segseq(space, briq_space_seg_of(space, other));
    return a != b ? a > b : granule > other;
}

static void take_page(struct briq_checker *c, const struct briq_scan *scan,
                      const struct briq_record *record)
{
    struct briq_map *map = &c->store->map;
    uint64_t page = record->lba;
    if (record->type != BRIQ_REC_MAP_PAGE || page >= map->page_max ||
        !(c->page_flags[page] & BRIQ_CHECK_PAGE_WANTED))
        return;
    briq_word place = briq_word_data(briq_scan_granule(scan, record), record->granules);
    if (is_newer(c, place, briq_map_page_place(map, page)))
        briq_map_set_node(map, page, place);
}

static int find_pages_in(struct briq_checker *c, uint32_t seg)
{
    struct briq_space *space = &c->store->space;
    struct briq_scan *scan = briq_check_scan(c, seg, briq_space_segseq(space, seg));
    int r;
    while ((r = briq_scan_next(scan)) > 0) {
        struct briq_record record;
        if (scan->chunk.kind != BRIQ_KIND_META || !is_committed(c, &scan->chunk))
            continue;
        for (unsigned i = 0; i < scan->chunk.nrec; i++)
            if (briq_record_decode(scan->page, &scan->chunk, i, &record))
                take_page(c, scan, &record);
    }
    c->unreadable += scan->unreadable;
    return r;
}

static int find_wanted_pages(struct briq_checker *c)
{
    int r = 0;
    uint32_t end = briq_check_seg_end(c);
    for (uint32_t seg = c->store->space.seg_first; seg < end && r == 0; seg++)
        if (briq_check_state(c, seg) != BRIQ_SEG_BARE)
            r = find_pages_in(c, seg);
    return r;
}

int briq_check_tree(struct briq_checker *c)
{
    const struct briq_tree_damage damage = {.found = take_damage, .opaque = c};
    int r = briq_tree_load(c->store, &damage, c->err);
    if (r == 0 && c->tree_damaged)
        r = find_lost_segments(c);
    if (r == 0 && c->pages_wanted > 0)
        r = find_wanted_pages(c);
    return r;
}
