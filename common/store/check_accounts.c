/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_accounts.c - what is in use, counted from the map, against what the volume says of it.
 *
 * The engine trusts these figures: a segment whose count is too low could be taken for empty. So
 * they are made exact here, in memory, before anything is replayed or written.
 */
#include <inttypes.h>
#include <string.h>

#include "common/store/check.h"
#include "common/store/tree.h"

/* ---- counting -------------------------------------------------------------------------------- */

static void count_word(struct briq_checker *c, briq_word word, struct briq_check_tally *tally)
{
    switch (briq_word_type(word)) {
    case BRIQ_WORD_TYPE_DATA:
        tally->mapped_blocks++;
        tally->data_granules += briq_word_granules(word);
        c->live[briq_space_seg_of(&c->store->space, briq_word_granule(word))] +=
            briq_word_granules(word);
        return;
    case BRIQ_WORD_TYPE_FILL:
        tally->mapped_blocks++;
        tally->fill_blocks++;
        return;
    default:
        tally->zero_blocks += word == BRIQ_WORD_ZERO;
    }
}

static void count_page(struct briq_checker *c, uint64_t page, struct briq_check_tally *tally)
{
    const struct briq_map *map = &c->store->map;
    briq_word place = briq_map_page_place(map, page);
    if (place != 0) {
        c->live[briq_space_seg_of(&c->store->space, briq_word_granule(place))] +=
            briq_word_granules(place);
        tally->meta_granules += briq_word_granules(place);
    }
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++)
        count_word(c, briq_map_word(map, page * BRIQ_PAGE_WORDS + i), tally);
}

static uint64_t count_pointers(const uint64_t *pointers, uint64_t count)
{
    uint64_t used = 0;
    for (uint64_t i = 0; i < count; i++)
        used += pointers[i] != 0;
    return used;
}

static void count_all(struct briq_checker *c, struct briq_check_tally *tally)
{
    struct briq_store *store = c->store;
    const struct briq_tree *tree = &store->tree;
    memset(tally, 0, sizeof *tally);
    memset(c->live + store->space.seg_first, 0,
           (store->space.seg_end - store->space.seg_first) * sizeof *c->live);
    for (uint64_t page = 0; page < store->map.page_max; page++)
        if (!briq_map_page_is_hole(&store->map, page))
            count_page(c, page, tally);
    uint64_t pages = count_pointers(tree->map_nodes, tree->map_node_max) +
                     count_pointers(tree->seg_pages, tree->seg_page_max) +
                     count_pointers(store->sb.map_roots, BRIQ_MAP_ROOTS) +
                     count_pointers(store->sb.seg_roots, BRIQ_SEG_ROOTS);
    tally->meta_granules += pages * BRIQ_META_GRANULES;
}

/* ---- segments -------------------------------------------------------------------------------- */

/* Where parts of the map were lost, its counts differ as a matter of course: that was told. */
static bool map_was_whole(const struct briq_checker *c)
{
    return c->pages_lost == 0 && c->words_lost == 0 && c->pages_wanted == 0;
}

static bool is_comparable(const struct briq_checker *c, uint32_t seg)
{
    return map_was_whole(c) && (c->seg_flags[seg] & BRIQ_CHECK_SEG_LOST) == 0;
}

static void use_free_segment(struct briq_checker *c, uint32_t seg)
{
    struct briq_space *space = &c->store->space;
    uint8_t kind = atomic_load(&space->segs[seg].kind);
    briq_check_error(c, &c->result->segment_errors, "it is in use now",
                     "segment %" PRIu32 " is free in the table, but the map refers to %" PRIu32
                     " granules in it",
                     seg, c->live[seg]);
    briq_space_load_seg(space, seg, briq_space_segseq(space, seg), 0, 1,
                        kind == 0 ? BRIQ_KIND_USER : kind, true);
}

static void settle_segment(struct briq_checker *c, uint32_t seg, const char *what)
{
    struct briq_space *space = &c->store->space;
    uint32_t told = atomic_load(&space->live[seg]);
    if (c->live[seg] > 0 && briq_check_state(c, seg) == BRIQ_SEG_BARE)
        use_free_segment(c, seg);
    else if (told != c->live[seg] && is_comparable(c, seg))
        briq_check_error(c, &c->result->segment_errors, "counted anew",
                         "segment %" PRIu32 ": %s its table says %" PRIu32
                         " granules are live, and the map refers to %" PRIu32,
                         seg, what, told, c->live[seg]);
    if (told == c->live[seg])
        return;
    atomic_store(&space->live[seg], c->live[seg]);
    atomic_store(&space->page_dirty[seg / BRIQ_SEGS_PER_PAGE], 1);
}

/* ---- figures of the volume ------------------------------------------------------------------- */

static void sum_counts(struct briq_store *store, struct briq_check_tally *sum)
{
    memset(sum, 0, sizeof *sum);
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++) {
        const struct briq_journal_counts *counts = &store->journal.streams[i].counts;
        sum->mapped_blocks += briq_counter_get(&counts->mapped_blocks);
        sum->fill_blocks += briq_counter_get(&counts->fill_blocks);
        sum->zero_blocks += briq_counter_get(&counts->zero_blocks);
        sum->data_granules += briq_counter_get(&counts->data_granules);
    }
}

/* Adds what is missing, which may be less than nothing, to one stream's share. */
static void settle_figure(struct briq_checker *c, briq_counter *share, uint64_t told,
                          uint64_t counted, const char *name, const char *what)
{
    if (told == counted)
        return;
    briq_counter_add(share, counted - told);
    if (map_was_whole(c))
        briq_check_error(c, &c->result->map_errors, "counted anew",
                         "%s the volume counts %" PRIu64 " %s, and the map has %" PRIu64, what,
                         told, name, counted);
}

static void settle_figures(struct briq_checker *c, const struct briq_check_tally *counted,
                           const char *what)
{
    struct briq_journal_counts *share = &c->store->journal.streams[0].counts;
    struct briq_check_tally told;
    sum_counts(c->store, &told);
    settle_figure(c, &share->mapped_blocks, told.mapped_blocks, counted->mapped_blocks,
                  "mapped blocks", what);
    settle_figure(c, &share->fill_blocks, told.fill_blocks, counted->fill_blocks,
                  "same-filled blocks", what);
    settle_figure(c, &share->zero_blocks, told.zero_blocks, counted->zero_blocks, "zero blocks",
                  what);
    settle_figure(c, &share->data_granules, told.data_granules, counted->data_granules,
                  "granules of data", what);
}

static void settle_meta(struct briq_checker *c, uint64_t counted, const char *what)
{
    uint64_t told = atomic_exchange(&c->store->maintain.meta_granules, counted);
    if (told != counted && !c->tree_damaged && map_was_whole(c))
        briq_check_error(c, &c->result->map_errors, "counted anew",
                         "%s the volume counts %" PRIu64
                         " granules of metadata, and there are %" PRIu64,
                         what, told, counted);
}

int briq_check_accounts(struct briq_checker *c, const char *what)
{
    struct briq_check_tally tally;
    struct briq_space *space = &c->store->space;
    count_all(c, &tally);
    for (uint32_t seg = space->seg_first; seg < space->seg_end; seg++)
        if (seg < space->virgin || c->live[seg] > 0)
            settle_segment(c, seg, what);
    settle_figures(c, &tally, what);
    settle_meta(c, tally.meta_granules, what);
    return 0;
}
