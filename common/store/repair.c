/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * repair.c - the state that a check has arrived at becomes the volume.
 *
 * In this order: bad segments that are sound are used again; metadata in segments with lost headers
 * is to be written anew; the state is written to free segments and a superblock names it; from then
 * on it is an open volume like any other, in which blocks without a record are written again with
 * their own content, and closing it ends the repair. What was readable before stays so: only
 * segments to which nothing refers are written to, and of those none that told of lost blocks.
 */
#include <errno.h>
#include <string.h>

#include "common/base/align.h"
#include "common/store/check.h"
#include "common/store/maintain.h"
#include "common/store/open.h"
#include "common/store/superblock.h"
#include "common/store/tree.h"

/* A checkpoint, and what follows it, want this many free. */
#define FREE_WANTED 16u

/* ---- segments -------------------------------------------------------------------------------- */

static void set_state(struct briq_checker *c, uint32_t seg, uint8_t state)
{
    struct briq_space *space = &c->store->space;
    struct briq_seg *s = &space->segs[seg];
    uint8_t kind = atomic_load(&s->kind);
    if (state != 0 && kind == 0)
        kind = BRIQ_KIND_USER;
    briq_space_load_seg(space, seg, briq_space_segseq(space, seg), atomic_load(&space->live[seg]),
                        state, state == 0 ? 0 : kind, state != 0 || s->on_host);
    atomic_store(&space->page_dirty[seg / BRIQ_SEGS_PER_PAGE], 1);
}

static bool is_held(const struct briq_checker *c, uint32_t seg)
{
    return (c->seg_flags[seg] & (BRIQ_CHECK_SEG_SOURCE | BRIQ_CHECK_SEG_LOST)) != 0;
}

static uint32_t count_free(const struct briq_checker *c)
{
    const struct briq_space *space = &c->store->space;
    uint32_t count = space->seg_end - space->virgin;
    for (uint32_t seg = space->seg_first; seg < space->virgin; seg++)
        count += briq_check_state(c, seg) == BRIQ_SEG_BARE;
    return count;
}

/* Segments that tell of lost blocks are held back from reuse, unless nothing else is free. */
static void hold_sources(struct briq_checker *c)
{
    const struct briq_space *space = &c->store->space;
    for (uint32_t seg = space->seg_first; seg < space->seg_end; seg++)
        if (briq_check_state(c, seg) == BRIQ_SEG_BARE &&
            (c->seg_flags[seg] & BRIQ_CHECK_SEG_SOURCE) != 0)
            set_state(c, seg, 1);
    uint32_t have = count_free(c);
    for (uint32_t seg = space->seg_first; seg < space->virgin && have < FREE_WANTED; seg++) {
        if (briq_check_state(c, seg) != BRIQ_SEG_USED || !is_held(c, seg) ||
            briq_space_live(space, seg) != 0)
            continue;
        set_state(c, seg, 0);
        have++;
    }
}

/* Bad segments without damage are used again. True if any of them is empty: it is to be freed. */
static bool use_sound_segments(struct briq_checker *c)
{
    const struct briq_space *space = &c->store->space;
    bool empty = false;
    for (uint32_t seg = space->seg_first; seg < space->virgin; seg++) {
        if (briq_check_state(c, seg) != BRIQ_SEG_BAD ||
            (c->seg_flags[seg] & BRIQ_CHECK_SEG_BROKEN) != 0)
            continue;
        set_state(c, seg, 1);
        empty = empty || briq_space_live(space, seg) == 0;
    }
    return empty;
}

/* ---- metadata without a record --------------------------------------------------------------- */

static bool is_unbacked(const struct briq_checker *c, uint64_t granule)
{
    return granule != 0 && (c->seg_flags[briq_space_seg_of(&c->store->space, granule)] &
                            BRIQ_CHECK_SEG_UNBACKED) != 0;
}

static int rewrite_level(struct briq_checker *c, enum briq_record_type type,
                         const uint64_t *pointers, uint64_t count)
{
    int r = 0;
    for (uint64_t i = 0; i < count && r == 0; i++)
        if (is_unbacked(c, briq_tree_granule(pointers[i])))
            r = briq_tree_rewrite(c->store, type, i);
    return r;
}

/* Everything in such a segment: the next checkpoint puts it elsewhere. */
static int rewrite_metadata(struct briq_checker *c)
{
    struct briq_store *store = c->store;
    const struct briq_tree *tree = &store->tree;
    int r = 0;
    for (uint64_t page = 0; page < store->map.page_max && r == 0; page++)
        if (is_unbacked(c, briq_word_granule(briq_map_page_place(&store->map, page))))
            r = briq_tree_rewrite(store, BRIQ_REC_MAP_PAGE, page);
    if (r == 0)
        r = rewrite_level(c, BRIQ_REC_MAP_NODE, tree->map_nodes, tree->map_node_max);
    if (r == 0)
        r = rewrite_level(c, BRIQ_REC_SEG_PAGE, tree->seg_pages, tree->seg_page_max);
    if (r == 0)
        r = rewrite_level(c, BRIQ_REC_MAP_ROOT, store->sb.map_roots, BRIQ_MAP_ROOTS);
    if (r == 0)
        r = rewrite_level(c, BRIQ_REC_SEG_ROOT, store->sb.seg_roots, BRIQ_SEG_ROOTS);
    return r;
}

/* ---- data without a record ------------------------------------------------------------------- */

static bool is_stray(const struct briq_checker *c, uint64_t block)
{
    briq_word word = briq_map_word(&c->store->map, block);
    return briq_word_is_data(word) && !briq_check_bit(c->backed, block) &&
           is_unbacked(c, briq_word_granule(word));
}

/* The same content again, with a record. What cannot be read stays where it is. */
static int rewrite_block(struct briq_checker *c, uint64_t block)
{
    uint8_t content[BRIQ_BLOCK_SIZE];
    uint64_t off = block << BRIQ_BLOCK_SHIFT;
    size_t len = briq_min_u64(BRIQ_BLOCK_SIZE, briq_store_size(c->store) - off);
    if (briq_read(c->store, content, len, off) < 0)
        return 0;
    return briq_write(c->store, content, len, off, 0);
}

static int rewrite_strays(struct briq_checker *c)
{
    uint64_t blocks = briq_store_blocks(c->store);
    int r = 0;
    for (uint64_t block = 0; block < blocks && c->strays > 0 && r == 0; block++) {
        if (briq_map_page_is_hole(&c->store->map, briq_map_page_of(block)))
            block |= BRIQ_PAGE_WORDS - 1;
        else if (is_stray(c, block))
            r = rewrite_block(c, block);
    }
    return r;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* What was marked bad and is empty is free again when the volume is closed. */
static int collect_empty(struct briq_checker *c)
{
    struct briq_store *store = c->store;
    int r = 0;
    pthread_mutex_lock(&store->maintain.lock);
    for (uint32_t seg = store->space.seg_first; seg < store->space.virgin && r == 0; seg++)
        if (briq_check_state(c, seg) == BRIQ_SEG_USED && briq_space_live(&store->space, seg) == 0 &&
            c->seg_flags[seg] == 0)
            r = briq_gc_segment(store, seg);
    pthread_mutex_unlock(&store->maintain.lock);
    return r;
}

static int rewrite_superblock(struct briq_checker *c)
{
    struct briq_store *store = c->store;
    store->sb.generation++;
    int r = briq_superblock_write(store->dev, &store->sb, &store->sb_slot);
    if (r == 0)
        r = briq_device_flush(store->dev);
    store->opened_read_only = true; /* nothing else is to be written */
    return r;
}

/* What can only be done by an open volume. */
static int go_on_open(struct briq_checker *c)
{
    int r = briq_open_for_requests(c->store, c->err);
    if (r < 0) {
        c->store->opened_read_only = true; /* it is closed cleanly already */
        return r;
    }
    r = rewrite_strays(c);
    return r < 0 ? r : collect_empty(c);
}

int briq_check_repair(struct briq_checker *c)
{
    int r = briq_open_confirm_superblock(c->store, c->err);
    if (r < 0)
        return r;
    if (c->superblock_only)
        return rewrite_superblock(c);
    bool freed = use_sound_segments(c);
    hold_sources(c);
    r = rewrite_metadata(c);
    if (r == 0)
        r = briq_open_write_state(c->store, c->seq, c->err);
    if (r == 0 && (c->strays > 0 || freed))
        return go_on_open(c);
    c->store->opened_read_only = true; /* closing has nothing more to write */
    return r;
}
