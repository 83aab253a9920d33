/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rebuild.c - lost map words, from the records of all segments.
 *
 * Every change of a block left a record with a sequence number; the one with the highest number
 * tells the block's state. Two things have to be kept in mind:
 *
 *  - Numbers that a power cut made void were given out again after it. So each opening
 * (incarnation) has a number up to which the records of earlier ones count: none of its own is
 * lower, and its chunks name a number up to which all was durable, which is not lower either.
 *  - A record outlives what it tells. One whose segment is free, or in another use by now, says no
 *    more where the block is - but that everything with a lower number is out of date.
 *
 * What cannot be known is whether a record that would tell of a later trim, zero or pattern is gone
 * with its segment. That is said to whoever repairs.
 *
 * The state is that of the last checkpoint: what came later is in the journal, and replayed next.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/base/vmem.h"
#include "common/store/check.h"
#include "common/store/tree.h"

/* How much a record of one sequence number tells. Higher wins. */
enum rank {
    RANK_GONE,    /* there was data, but it is not at that place any more */
    RANK_DAMAGED, /* there is data, and it fails its check */
    RANK_SOUND,
    RANK_WORD, /* a trim, zero or pattern: nothing to verify */
    RANK_COUNT,
};

/* Records of earlier incarnations count up to `limit`. */
struct bound {
    uint32_t incarnation;
    uint64_t limit;
};

struct rebuild {
    struct briq_checker *c;
    uint64_t *best; /* one a block: sequence number and rank of what is known, 0 = nothing */
    uint64_t best_bytes;
    struct bound *bounds; /* by rising incarnation */
    size_t bound_count, bound_max;
    uint64_t found, damaged, unknown;
};

typedef int (*visitor)(struct rebuild *b, const struct briq_scan *scan);

/* Calls visit() with every chunk of the volume, of whatever use of its segment. */
static int visit_all(struct rebuild *b, visitor visit)
{
    struct briq_checker *c = b->c;
    uint32_t end = briq_check_seg_end(c);
    int r = 0;
    for (uint32_t seg = c->store->space.seg_first; seg < end && r == 0; seg++) {
        struct briq_scan *scan = briq_check_scan(c, seg, 0, true);
        while (r == 0 && (r = briq_scan_next(scan)) > 0)
            r = visit(b, scan);
    }
    return r;
}

/* ---- which records count -----------------------------------------------------------------------
 */

/* The bound of this incarnation, made if there is none; NULL without memory. */
static struct bound *bound_of(struct rebuild *b, uint32_t incarnation)
{
    size_t at = b->bound_count;
    while (at > 0 && b->bounds[at - 1].incarnation > incarnation)
        at--;
    if (at > 0 && b->bounds[at - 1].incarnation == incarnation)
        return &b->bounds[at - 1];
    if (b->bound_count == b->bound_max) {
        size_t max = b->bound_max == 0 ? 64 : 2 * b->bound_max;
        struct bound *grown = realloc(b->bounds, max * sizeof *grown);
        if (grown == NULL)
            return NULL;
        b->bounds = grown;
        b->bound_max = max;
    }
    memmove(&b->bounds[at + 1], &b->bounds[at], (b->bound_count++ - at) * sizeof *b->bounds);
    b->bounds[at] = (struct bound){.incarnation = incarnation, .limit = UINT64_MAX};
    return &b->bounds[at];
}

static int learn_bound(struct rebuild *b, const struct briq_scan *scan)
{
    const struct briq_chunk *chunk = &scan->chunk;
    struct bound *bound = bound_of(b, chunk->incarnation);
    if (bound == NULL)
        return -ENOMEM;
    bound->limit = briq_min_u64(bound->limit, chunk->durable_seq);
    for (unsigned i = 0; i < chunk->nrec && chunk->kind == BRIQ_KIND_USER; i++) {
        struct briq_record record;
        if (briq_record_decode(scan->page, chunk, i, &record) && record.seq > 0)
            bound->limit = briq_min_u64(bound->limit, record.seq - 1);
    }
    return 0;
}

/* The limits become those of all later incarnations together. */
static void join_bounds(struct rebuild *b)
{
    for (size_t i = b->bound_count; i > 1; i--)
        b->bounds[i - 2].limit = briq_min_u64(b->bounds[i - 2].limit, b->bounds[i - 1].limit);
}

static bool counts(const struct rebuild *b, const struct briq_chunk *chunk, uint64_t seq)
{
    if (seq > b->c->store->sb.checkpoint_seq)
        return false;
    if (chunk->kind != BRIQ_KIND_USER)
        return true; /* a copy of what counted when it was made */
    size_t later = b->bound_count;
    while (later > 0 && b->bounds[later - 1].incarnation > chunk->incarnation)
        later--;
    return later == b->bound_count || seq <= b->bounds[later].limit;
}

/* ---- what they tell ----------------------------------------------------------------------------
 */

static bool is_lost(const struct rebuild *b, uint64_t block)
{
    const struct briq_checker *c = b->c;
    uint8_t flags = c->page_flags[briq_map_page_of(block)];
    return (flags & BRIQ_CHECK_PAGE_LOST) != 0 ||
           ((flags & BRIQ_CHECK_PAGE_HOLED) != 0 && briq_check_bit(c->lost_blocks, block));
}

static uint64_t key_of(uint64_t seq, enum rank rank)
{
    return (seq + 1) * RANK_COUNT + rank;
}

static void learn_word(struct rebuild *b, const struct briq_scan *scan, uint64_t block,
                       uint64_t key, briq_word word)
{
    if (block >= briq_store_blocks(b->c->store) || !is_lost(b, block) || key <= b->best[block])
        return;
    b->best[block] = key;
    briq_map_set(&b->c->store->map, block, word);
    /* Should this end before it is durable, the next attempt must find the same record. */
    b->c->seg_flags[scan->seg] |= BRIQ_CHECK_SEG_SOURCE;
}

static int learn_data(struct rebuild *b, const struct briq_scan *scan,
                      const struct briq_record *record)
{
    struct briq_checker *c = b->c;
    uint64_t block = record->lba, granule = briq_scan_granule(scan, record);
    bool current = scan->chunk.segseq == briq_space_segseq(&c->store->space, scan->seg) &&
                   briq_check_state(c, scan->seg) != BRIQ_SEG_BARE &&
                   briq_space_contains(&c->store->space, granule, record->granules);
    if (block >= briq_store_blocks(c->store) || !is_lost(b, block) ||
        key_of(record->seq, RANK_SOUND) <= b->best[block])
        return 0;
    if (!current) {
        learn_word(b, scan, block, key_of(record->seq, RANK_GONE), BRIQ_WORD_HOLE);
        return 0;
    }
    briq_word word = briq_word_data(granule, record->granules);
    int r = briq_check_payload(c, block, word);
    if (r < 0 && !briq_check_is_damage(r))
        return r;
    learn_word(b, scan, block, key_of(record->seq, r == 0 ? RANK_SOUND : RANK_DAMAGED), word);
    return 0;
}

static int learn_record(struct rebuild *b, const struct briq_scan *scan,
                        const struct briq_record *record)
{
    uint64_t key = key_of(record->seq, RANK_WORD);
    switch (record->type) {
    case BRIQ_REC_DATA:
        return learn_data(b, scan, record);
    case BRIQ_REC_FILL:
        learn_word(b, scan, record->lba, key, briq_word_fill(record->pattern));
        return 0;
    case BRIQ_REC_TRIM:
    case BRIQ_REC_ZERO:
        for (uint32_t i = 0; i < record->count; i++)
            learn_word(b, scan, record->lba + i, key,
                       record->type == BRIQ_REC_TRIM ? BRIQ_WORD_HOLE : BRIQ_WORD_ZERO);
        return 0;
    default:
        return 0;
    }
}

static int learn_records(struct rebuild *b, const struct briq_scan *scan)
{
    const struct briq_chunk *chunk = &scan->chunk;
    int r = 0;
    if (chunk->kind == BRIQ_KIND_META)
        return 0;
    for (unsigned i = 0; i < chunk->nrec && r == 0; i++) {
        struct briq_record record;
        if (!briq_record_decode(scan->page, chunk, i, &record) || !counts(b, chunk, record.seq))
            continue;
        r = learn_record(b, scan, &record);
    }
    return r;
}

/* ---- the outcome -------------------------------------------------------------------------------
 */

static void take_stock(struct rebuild *b, uint64_t page)
{
    uint64_t first = page * BRIQ_PAGE_WORDS;
    uint64_t end = briq_min_u64(first + BRIQ_PAGE_WORDS, briq_store_blocks(b->c->store));
    for (uint64_t block = first; block < end; block++) {
        if (!is_lost(b, block))
            continue;
        uint64_t rank = b->best[block] % RANK_COUNT;
        if (b->best[block] == 0 || rank == RANK_GONE)
            b->unknown++;
        else
            b->found++;
        b->damaged += b->best[block] != 0 && rank == RANK_DAMAGED;
    }
}

/* The page counts as resident and is written by the next checkpoint. */
static int renew_pages(struct rebuild *b)
{
    struct briq_map *map = &b->c->store->map;
    for (uint64_t page = 0; page < map->page_max; page++) {
        if (!(b->c->page_flags[page] & (BRIQ_CHECK_PAGE_LOST | BRIQ_CHECK_PAGE_HOLED)))
            continue;
        take_stock(b, page);
        bool empty = briq_map_page_is_hole(map, page);
        for (unsigned i = 0; i < BRIQ_PAGE_WORDS && empty; i++)
            empty = briq_map_word(map, page * BRIQ_PAGE_WORDS + i) == BRIQ_WORD_HOLE;
        int r = empty ? 0 : briq_map_touch(map, page);
        if (r < 0)
            return r;
    }
    return 0;
}

int briq_check_rebuild(struct briq_checker *c)
{
    struct rebuild b = {.c = c};
    b.best_bytes = briq_align_up(briq_store_blocks(c->store), BRIQ_PAGE_WORDS) * sizeof *b.best;
    b.best = briq_vmem_map(b.best_bytes);
    int r = b.best == NULL ? -ENOMEM : visit_all(&b, learn_bound);
    join_bounds(&b);
    if (r == 0)
        r = visit_all(&b, learn_records);
    if (r == 0)
        r = renew_pages(&b);
    if (r == 0)
        briq_check_note(c,
                        "of the blocks that cannot be found, the records tell %" PRIu64 " (%" PRIu64
                        " of them damaged); %" PRIu64 " have no record and %s zeros",
                        b.found, b.damaged, b.unknown, c->options->repair ? "become" : "would be");
    briq_vmem_unmap(b.best, b.best_bytes);
    free(b.bounds);
    return r;
}
