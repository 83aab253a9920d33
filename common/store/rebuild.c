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
 * A map page that was found again without its node may not be the newest there was. It is believed
 * unless a record is newer than the one that a word of the page stands for: then all of it is lost.
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

/* What the records tell of one block. */
struct told {
    uint64_t best; /* sequence number and rank, see key_of(); 0 = nothing */
    uint64_t own;  /* the same of the record that the word in the map stands for, if it was found */
    briq_word word; /* what `best` makes of it */
};

struct rebuild {
    struct briq_checker *c;
    struct told *told; /* one a block */
    uint64_t told_bytes;
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
        struct briq_scan *scan = briq_check_scan(c, seg, 0);
        while (r == 0 && (r = briq_scan_next(scan)) > 0)
            r = visit(b, scan);
        c->unreadable += scan->unreadable;
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

static bool is_of_interest(const struct rebuild *b, uint64_t block)
{
    const struct briq_checker *c = b->c;
    return block < briq_store_blocks(c->store) &&
           ((c->page_flags[briq_map_page_of(block)] & BRIQ_CHECK_PAGE_WANTED) != 0 ||
            is_lost(b, block));
}

static uint64_t key_of(uint64_t seq, enum rank rank)
{
    return (seq + 1) * RANK_COUNT + rank;
}

static void learn_word(struct rebuild *b, const struct briq_scan *scan, uint64_t block,
                       uint64_t key, briq_word word)
{
    if (!is_of_interest(b, block) || key <= b->told[block].best)
        return;
    b->told[block].best = key;
    b->told[block].word = word;
    /* Should this end before it is durable, the next attempt must find the same record. */
    b->c->seg_flags[scan->seg] |= BRIQ_CHECK_SEG_SOURCE;
}

/* Does the segment still hold what this chunk says? */
static bool is_current(const struct rebuild *b, const struct briq_scan *scan)
{
    return scan->chunk.segseq == briq_space_segseq(&b->c->store->space, scan->seg) &&
           briq_check_state(b->c, scan->seg) != BRIQ_SEG_BARE;
}

static int learn_data(struct rebuild *b, const struct briq_scan *scan,
                      const struct briq_record *record)
{
    uint64_t block = record->lba;
    briq_word word = briq_word_data(briq_scan_granule(scan, record), record->granules);
    if (!is_of_interest(b, block))
        return 0;
    if (!is_current(b, scan)) {
        learn_word(b, scan, block, key_of(record->seq, RANK_GONE), BRIQ_WORD_HOLE);
        return 0;
    }
    uint64_t sound = key_of(record->seq, RANK_SOUND);
    if (!is_lost(b, block) && briq_map_word(&b->c->store->map, block) == word)
        b->told[block].own = sound;
    if (sound <= b->told[block].best)
        return 0;
    int r = briq_check_payload(b->c, block, word);
    if (r < 0 && !briq_check_is_damage(r))
        return r;
    learn_word(b, scan, block, r == 0 ? sound : key_of(record->seq, RANK_DAMAGED), word);
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
        if (briq_record_decode(scan->page, chunk, i, &record) && counts(b, chunk, record.seq))
            r = learn_record(b, scan, &record);
    }
    return r;
}

/* ---- the outcome -------------------------------------------------------------------------------
 */

static uint64_t end_of_page(const struct rebuild *b, uint64_t page)
{
    return briq_min_u64((page + 1) * BRIQ_PAGE_WORDS, briq_store_blocks(b->c->store));
}

/* Is there a record newer than the one that a word of this page stands for? */
static bool is_out_of_date(const struct rebuild *b, uint64_t page)
{
    for (uint64_t block = page * BRIQ_PAGE_WORDS; block < end_of_page(b, page); block++) {
        const struct told *told = &b->told[block];
        if (told->own != 0 && told->best / RANK_COUNT > told->own / RANK_COUNT)
            return true;
    }
    return false;
}

static void take_word(struct rebuild *b, uint64_t block)
{
    const struct told *told = &b->told[block];
    bool known = told->best != 0 && told->best % RANK_COUNT != RANK_GONE;
    b->found += known;
    b->unknown += !known;
    b->damaged += known && told->best % RANK_COUNT == RANK_DAMAGED;
    briq_map_set(&b->c->store->map, block, told->word);
}

/* Fills in what is lost of the page. It counts as resident then, and the next checkpoint writes it.
 */
static int renew_page(struct rebuild *b, uint64_t page)
{
    struct briq_map *map = &b->c->store->map;
    uint8_t *flags = &b->c->page_flags[page];
    if ((*flags & BRIQ_CHECK_PAGE_WANTED) != 0 && is_out_of_date(b, page))
        *flags |= BRIQ_CHECK_PAGE_LOST;
    if ((*flags & (BRIQ_CHECK_PAGE_LOST | BRIQ_CHECK_PAGE_HOLED)) == 0)
        return 0;
    bool empty = briq_map_page_is_hole(map, page);
    for (uint64_t block = page * BRIQ_PAGE_WORDS; block < end_of_page(b, page); block++) {
        if (is_lost(b, block))
            take_word(b, block);
        empty = empty && briq_map_word(map, block) == BRIQ_WORD_HOLE;
    }
    return empty ? 0 : briq_map_touch(map, page);
}

static int renew_pages(struct rebuild *b)
{
    int r = 0;
    for (uint64_t page = 0; page < b->c->store->map.page_max && r == 0; page++)
        if (b->c->page_flags[page] != 0)
            r = renew_page(b, page);
    return r;
}

int briq_check_rebuild(struct briq_checker *c)
{
    struct rebuild b = {.c = c};
    b.told_bytes = briq_store_blocks(c->store) * sizeof *b.told;
    b.told = briq_vmem_map(b.told_bytes);
    int r = b.told == NULL ? -ENOMEM : visit_all(&b, learn_bound);
    join_bounds(&b);
    if (r == 0)
        r = visit_all(&b, learn_records);
    if (r == 0)
        r = renew_pages(&b);
    if (r == 0 && b.found + b.unknown > 0)
        briq_check_note(c,
                        "of the blocks that cannot be found, the records tell %" PRIu64 " (%" PRIu64
                        " of them damaged); %" PRIu64 " have no record and %s zeros",
                        b.found, b.damaged, b.unknown, c->options->repair ? "become" : "would be");
    briq_vmem_unmap(b.told, b.told_bytes);
    free(b.bounds);
    return r;
}
