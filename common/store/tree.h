/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tree.h - the metadata pages on the medium: map pages, the nodes above them, the segment table.
 *
 *   superblock.map_roots[32] -> root: 512 nodes -> node: 512 map pages -> map page: 512 words
 *   superblock.seg_roots[64] -> root: 512 pages -> segment page: 256 segments
 *
 * Every one is 4 KiB, stored like a block's extent, with its own tag in the check: raw, and map
 * pages packed (page.h). A node says of a map page where it is and how long, as a data word does of
 * a block; roots and the superblock have pointers. 0 stands for a page of zeros. Pages are never
 * overwritten in place.
 *
 * Thread: open and the maintainer, but for briq_tree_install_page().
 */
#ifndef BRIQ_STORE_TREE_H
#define BRIQ_STORE_TREE_H

#include "common/store/engine.h"

#define BRIQ_META_GRANULES 257u /* 4096 + 8 bytes: a page above the map pages; none is longer */

/* What a parent says of the page `page` of the tree at `granule`: where it is, and part of its
 * check. */
uint64_t briq_tree_pointer(uint64_t granule, const void *page, enum briq_record_type type,
                           uint64_t index);

static inline uint64_t briq_tree_granule(uint64_t pointer)
{
    return pointer & BRIQ_WORD_GRANULE_MASK;
}

int briq_tree_init(struct briq_store *store, uint64_t page_max, uint32_t seg_max) BRIQ_MUST;
void briq_tree_fini(struct briq_store *store);

/* Told of a page of the tree that is damaged (-EUCLEAN) or cannot be read (-EIO) and was left out.
 */
struct briq_tree_damage {
    void (*found)(void *opaque, enum briq_record_type type, uint64_t index, uint64_t granule,
                  int error);
    void *opaque;
};

/* Reads the roots, nodes and the segment table that store->sb names into map, space and tree.
 * Damage ends it with -EUCLEAN and a line in err; or, with `damage`, is told there and left out.
 * Blocks. */
int briq_tree_load(struct briq_store *store, const struct briq_tree_damage *damage,
                   struct briq_error *err) BRIQ_MUST;

/* Makes map page `page` resident from its extent, which was read from `place` inside an epoch; does
 * nothing when it is resident by now. -EUCLEAN when the extent is damaged. Any thread. */
int briq_tree_install_page(struct briq_store *store, uint64_t page, briq_word place,
                           const uint8_t *extent) BRIQ_MUST;

/* Makes map page `page` ready, reading it if need be. Blocks. Thread: open, the maintainer. */
int briq_tree_need_page(struct briq_store *store, uint64_t page) BRIQ_MUST;

/* Reads the metadata page of a type and index at a place; ret is 4096 bytes. -EUCLEAN, or I/O. */
int briq_tree_read(struct briq_store *store, enum briq_record_type type, uint64_t index,
                   briq_word place, void *ret) BRIQ_MUST;

/* ---- for checkpoints ------------------------------------------------------------------------- */

/* A map page was placed anew: its node has to be written too. */
void briq_tree_page_placed(struct briq_store *store, uint64_t page);

/* Can an image of a map page be at `place`, which the medium tells? */
static inline bool briq_tree_place_is_valid(const struct briq_space *space, briq_word place)
{
    return briq_word_is_valid(place) && briq_word_is_data(place) &&
           briq_word_granules(place) <= BRIQ_META_GRANULES &&
           briq_space_contains(space, briq_word_granule(place), briq_word_granules(place));
}

/* Writes all dirty nodes, segment pages and roots through append(), into sb. */
typedef int (*briq_tree_append)(struct briq_store *store, enum briq_record_type type,
                                uint64_t index, const void *page, briq_word *ret_place);
int briq_tree_store(struct briq_store *store, struct briq_superblock *sb,
                    briq_tree_append append) BRIQ_MUST;

/* Is (type, index) now stored at `granule`? And: make sure that it gets written anew. */
bool briq_tree_is_at(struct briq_store *store, enum briq_record_type type, uint64_t index,
                     uint64_t granule);
int briq_tree_rewrite(struct briq_store *store, enum briq_record_type type,
                      uint64_t index) BRIQ_MUST;

/* Pages above the map pages that a checkpoint may have to write with so many of those, at the most.
 */
uint64_t briq_tree_pages(const struct briq_store *store, uint64_t map_pages);

/* Device read of any bytes, with the alignment the device needs. buf is `len` bytes. Blocks. */
int briq_read_bytes(struct briq_store *store, void *buf, size_t len, uint64_t off) BRIQ_MUST;

#endif
