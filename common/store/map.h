/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * map.h - where every block is: one atomic word a block, in pages of 512 (2 MiB of the volume).
 *
 * Two loads and no lock find a block: the page's entry in the node array, which tells whether the
 * page is in memory, and the word itself. Both arrays are reserved for the largest volume at open
 * and never move. A page is one of
 *
 *   hole       node 0: all its words are zero, readable without more ado
 *   on medium  node = place of its image, a data word (word.h): load it first (briq_map_install)
 *   resident   node = RESIDENT | place of its last image, 0 if it has none
 *
 * Changes happen under the page's stripe lock, by a thread that also holds a stream lock. That is
 * what makes a checkpoint's cut exact: who holds all stream locks knows that no page changes.
 *
 * Dirty pages. Each change calls briq_map_touch() first. A checkpoint begins with briq_map_cut(),
 * under all stream locks: pages dirty until then form the frozen set, later changes dirty them
 * anew. A frozen page that is touched before the checkpoint has taken it (briq_map_take) is copied
 * first, into one of a fixed number of page copies; when none is left, touch says -EAGAIN and the
 * change has to wait for the checkpoint.
 *
 * Thread: lookups any. Locks, outer to inner: stream, stripe, dirty lists and copies.
 */
#ifndef BRIQ_STORE_MAP_H
#define BRIQ_STORE_MAP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/store/format.h"
#include "common/store/word.h"

#ifndef BRIQ_MAP_STRIPES
#define BRIQ_MAP_STRIPES 4096u
#endif
#ifndef BRIQ_MAP_COPIES
#define BRIQ_MAP_COPIES 4096u /* 16 MiB at the most, while a checkpoint runs */
#endif
#define BRIQ_MAP_RESIDENT (UINT64_C(1) << 63)

/* How far a page is dirty. Thread: under the stripe lock; `next` belongs to the list it is in. */
struct briq_map_page {
    uint32_t next[2]; /* page + 1 of the next in the dirty list of an even, odd cut; 0 ends it */
    uint32_t dirty;   /* number of the cut period of its oldest unwritten change, 0 = clean */
    uint32_t copy;    /* index + 1 of the copy that keeps its frozen content, 0 = none */
};

struct briq_map_stripe {
    pthread_mutex_t lock;
} BRIQ_ALIGNED(BRIQ_CACHELINE_BYTES);

struct briq_map {
    _Atomic(briq_word) *words;   /* one a block */
    _Atomic(uint64_t) *nodes;    /* one a page */
    struct briq_map_page *pages; /* one a page */
    uint64_t page_max;           /* what the arrays are reserved for */
    struct briq_map_stripe *stripes;

    uint32_t period; /* counts cuts, from 1; changes only under all stream locks */
    _Atomic uint32_t dirty_head[2];
    _Atomic uint64_t dirty_count; /* pages dirty since the last cut */

    pthread_mutex_t copies_lock; /* guards the two below */
    uint32_t *free_copies;
    uint32_t free_copy_count;
    briq_word *copies; /* BRIQ_MAP_COPIES pages */
};

/* Reserves address space for a volume of up to max_bytes. 0 or -ENOMEM. */
int briq_map_init(struct briq_map *map, uint64_t max_bytes) BRIQ_MUST;
void briq_map_fini(struct briq_map *map);

static inline uint64_t briq_map_page_of(uint64_t block)
{
    return block / BRIQ_PAGE_WORDS;
}

/* True when the page's words can be read: a hole or resident. */
static inline bool briq_map_page_ready(const struct briq_map *map, uint64_t page)
{
    uint64_t node = atomic_load_explicit(&map->nodes[page], memory_order_acquire);
    return node == 0 || (node & BRIQ_MAP_RESIDENT) != 0;
}

/* True when the page is known to hold nothing at all. */
static inline bool briq_map_page_is_hole(const struct briq_map *map, uint64_t page)
{
    return atomic_load_explicit(&map->nodes[page], memory_order_acquire) == 0;
}

/* Where the page's image is on the medium, as a data word says where a block is; 0 = nowhere. */
static inline briq_word briq_map_page_place(const struct briq_map *map, uint64_t page)
{
    return atomic_load_explicit(&map->nodes[page], memory_order_acquire) & ~BRIQ_MAP_RESIDENT;
}

/* The word of a block whose page is ready. What it points at stays valid inside the caller's epoch.
 */
static inline briq_word briq_map_word(const struct briq_map *map, uint64_t block)
{
    return atomic_load_explicit(&map->words[block], memory_order_acquire);
}

static inline pthread_mutex_t *briq_map_stripe(struct briq_map *map, uint64_t page)
{
    return &map->stripes[page % BRIQ_MAP_STRIPES].lock;
}

/* Publishes a word. Under the stripe lock, after briq_map_touch() returned 0. */
static inline void briq_map_set(struct briq_map *map, uint64_t block, briq_word word)
{
    atomic_store_explicit(&map->words[block], word, memory_order_release);
}

/*
 * Announces a change of `page`, which must be ready: marks it dirty and resident, keeps its frozen
 * content. Returns 0, or -EAGAIN when no copy is left: wait for the checkpoint. Under the stripe
 * lock and a stream lock.
 */
int briq_map_touch(struct briq_map *map, uint64_t page) BRIQ_MUST;

/* Makes a page resident with the words of its image; too late (another did) is fine. Any thread. */
void briq_map_install(struct briq_map *map, uint64_t page, const briq_le64 *image);

/* ---- for checkpoints ------------------------------------------------------------------------- */

/* Freezes what is dirty. Under all stream locks; the set frozen before must be empty. */
void briq_map_cut(struct briq_map *map);

/* The next page of the frozen set, or UINT64_MAX; its content as of the cut goes to image.
 * *ret_hole is true when it holds nothing. Takes the stripe lock. Thread: the checkpoint. */
uint64_t briq_map_take(struct briq_map *map, briq_le64 *image, bool *ret_hole);

/* The page's image now stands at `place` (0 = a hole). Thread: the checkpoint. */
void briq_map_placed(struct briq_map *map, uint64_t page, briq_word place);

/* Sets a node while nobody uses the map yet. Thread: open. */
static inline void briq_map_set_node(struct briq_map *map, uint64_t page, briq_word place)
{
    atomic_store_explicit(&map->nodes[page], place, memory_order_relaxed);
}

#endif
