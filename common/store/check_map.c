/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_map.c - every map page and every word in it.
 *
 * A page that cannot be read is lost as a whole; a word that no writer of this version makes, or
 * that points where no extent can be, is lost alone. In a page that was found again without its
 * node, a word counts only if the block's payload is where it says.
 */
#include <errno.h>
#include <inttypes.h>

#include "common/base/align.h"
#include "common/store/check.h"
#include "common/store/tree.h"

#define CURE                                                                                       \
    "rebuilt from the records; what was trimmed or overwritten with zeros there may show older "   \
    "data"

static void lose_word(struct briq_checker *c, uint64_t page, uint64_t block)
{
    c->page_flags[page] |= BRIQ_CHECK_PAGE_HOLED;
    briq_check_set_bit(c->lost_blocks, block);
    briq_map_set(&c->store->map, block, BRIQ_WORD_HOLE);
    c->words_lost++;
}

/* A volume that was cut off is not checked at all: what lies behind the end of the device never was. */
static bool is_inside(const struct briq_checker *c, briq_word word)
{
    uint64_t granule = briq_word_granule(word), count = briq_word_granules(word);
    return count <= BRIQ_EXTENT_GRANULES_MAX &&
           briq_space_contains(&c->store->space, granule, (uint32_t)count) &&
           (granule + count) << BRIQ_GRANULE_SHIFT <= c->store->dev->size_bytes;
}

static bool is_plausible(const struct briq_checker *c, briq_word word)
{
    return briq_word_is_valid(word) && (!briq_word_is_data(word) || is_inside(c, word));
}

static int check_word(struct briq_checker *c, uint64_t page, uint64_t block, bool doubted)
{
    briq_word word = briq_map_word(&c->store->map, block);
    if (word == BRIQ_WORD_HOLE)
        return 0;
    if (!is_plausible(c, word)) {
        briq_check_error(c, &c->result->map_errors, CURE,
                         "map word 0x%016" PRIx64 " of block %" PRIu64 " cannot be", word, block);
        lose_word(c, page, block);
        return 0;
    }
    if (!doubted || !briq_word_is_data(word))
        return 0;
    int r = briq_check_payload(c, block, word);
    if (!briq_check_is_damage(r))
        return r;
    lose_word(c, page, block);
    return 0;
}

/* Blocks behind the end of the volume cannot be read; nothing may be stored of them. */
static void check_behind_end(struct briq_checker *c, uint64_t page, uint64_t begin, uint64_t end)
{
    struct briq_map *map = &c->store->map;
    uint64_t mapped = 0;
    for (uint64_t block = begin; block < end; block++) {
        mapped += briq_map_word(map, block) != BRIQ_WORD_HOLE;
        briq_map_set(map, block, BRIQ_WORD_HOLE);
    }
    if (mapped == 0)
        return;
    c->page_flags[page] |= BRIQ_CHECK_PAGE_HOLED; /* to be written anew */
    c->words_lost += mapped;
    briq_check_error(c, &c->result->map_errors, "unmapped",
                     "%" PRIu64 " blocks from %" PRIu64
                     " on are mapped, but lie behind the end of the volume",
                     mapped, begin);
}

static int check_words(struct briq_checker *c, uint64_t page)
{
    uint64_t first = page * BRIQ_PAGE_WORDS, last = first + BRIQ_PAGE_WORDS;
    uint64_t end = briq_max_u64(briq_min_u64(briq_store_blocks(c->store), last), first);
    bool doubted = (c->page_flags[page] & BRIQ_CHECK_PAGE_WANTED) != 0;
    int r = 0;
    for (uint64_t block = first; block < end && r == 0; block++)
        r = check_word(c, page, block, doubted);
    c->result->blocks_checked += end - first;
    check_behind_end(c, page, end, last);
    return r;
}

static void lose_page(struct briq_checker *c, uint64_t page, int error)
{
    bool wanted = (c->page_flags[page] & BRIQ_CHECK_PAGE_WANTED) != 0;
    unsigned long long where = briq_word_granule(briq_map_page_place(&c->store->map, page))
                               << BRIQ_GRANULE_SHIFT;
    uint64_t first = page * BRIQ_PAGE_WORDS;
    c->page_flags[page] |= BRIQ_CHECK_PAGE_LOST;
    c->pages_lost++;
    c->unreadable += error == -EIO;
    if (wanted)
        return; /* told with the node */
    briq_check_error(
        c, &c->result->map_errors, CURE,
        "map page %" PRIu64 ", at 0x%llx, is damaged (%s): blocks %" PRIu64 " to %" PRIu64, page,
        where, error == -EIO ? "read error" : "checksum", first, first + BRIQ_PAGE_WORDS - 1);
}

static int check_page(struct briq_checker *c, uint64_t page)
{
    struct briq_map *map = &c->store->map;
    if (briq_map_page_is_hole(map, page)) {
        if (c->page_flags[page] & BRIQ_CHECK_PAGE_WANTED)
            lose_page(c, page, -EUCLEAN);
        return 0;
    }
    int r = briq_tree_need_page(c->store, page);
    if (briq_check_is_damage(r)) {
        lose_page(c, page, r);
        return 0;
    }
    return r < 0 ? r : check_words(c, page);
}

static uint64_t count_work(const struct briq_checker *c)
{
    const struct briq_store *store = c->store;
    uint64_t work = 0;
    for (uint64_t page = 0; page < store->map.page_max; page++)
        work += !briq_map_page_is_hole(&store->map, page);
    for (uint32_t seg = store->space.seg_first; seg < store->space.virgin; seg++)
        work += briq_check_state(c, seg) != BRIQ_SEG_BARE;
    return work;
}

int briq_check_map(struct briq_checker *c)
{
    uint64_t pages = briq_div_up(briq_store_blocks(c->store), BRIQ_PAGE_WORDS);
    c->total = count_work(c);
    for (uint64_t page = 0; page < c->store->map.page_max; page++) {
        bool hole = briq_map_page_is_hole(&c->store->map, page);
        if (hole && page < pages)
            c->result->blocks_checked +=
                briq_min_u64(BRIQ_PAGE_WORDS, briq_store_blocks(c->store) - page * BRIQ_PAGE_WORDS);
        int r = check_page(c, page);
        if (r < 0)
            return r;
        briq_check_progress(c, !hole);
    }
    return 0;
}
