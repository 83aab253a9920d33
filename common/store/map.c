/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/base/vmem.h"

static size_t words_bytes(const struct briq_map *map)
{
    return map->page_max * BRIQ_PAGE_WORDS * sizeof *map->words;
}

static size_t copies_bytes(void)
{
    return (size_t)BRIQ_MAP_COPIES * BRIQ_PAGE_BYTES;
}

static int map_arrays(struct briq_map *map)
{
    map->words = briq_vmem_map(words_bytes(map));
    map->nodes = briq_vmem_map(map->page_max * sizeof *map->nodes);
    map->pages = briq_vmem_map(map->page_max * sizeof *map->pages);
    map->copies = briq_vmem_map(copies_bytes());
    map->stripes = aligned_alloc(BRIQ_CACHELINE_BYTES, BRIQ_MAP_STRIPES * sizeof *map->stripes);
    map->free_copies = calloc(BRIQ_MAP_COPIES, sizeof *map->free_copies);
    bool ok =
        map->words && map->nodes && map->pages && map->copies && map->stripes && map->free_copies;
    return ok ? 0 : -ENOMEM;
}

int briq_map_init(struct briq_map *map, uint64_t max_bytes)
{
    memset(map, 0, sizeof *map);
    map->page_max = briq_div_up(max_bytes, (uint64_t)BRIQ_PAGE_WORDS << BRIQ_BLOCK_SHIFT);
    if (map_arrays(map) < 0) {
        if (map->stripes != NULL)
            memset(map->stripes, 0, BRIQ_MAP_STRIPES * sizeof *map->stripes);
        briq_map_fini(map);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < BRIQ_MAP_STRIPES; i++)
        pthread_mutex_init(&map->stripes[i].lock, NULL);
    pthread_mutex_init(&map->copies_lock, NULL);
    for (uint32_t i = 0; i < BRIQ_MAP_COPIES; i++)
        map->free_copies[i] = BRIQ_MAP_COPIES - 1 - i;
    map->free_copy_count = BRIQ_MAP_COPIES;
    map->period = 1;
    return 0;
}

void briq_map_fini(struct briq_map *map)
{
    briq_vmem_unmap(map->words, words_bytes(map));
    briq_vmem_unmap(map->nodes, map->page_max * sizeof *map->nodes);
    briq_vmem_unmap(map->pages, map->page_max * sizeof *map->pages);
    briq_vmem_unmap(map->copies, copies_bytes());
    free(map->stripes);
    free(map->free_copies);
    memset(map, 0, sizeof *map);
}

/* ---- copies of frozen pages ------------------------------------------------------------------ */

static briq_word *copy_at(struct briq_map *map, uint32_t index)
{
    return map->copies + (size_t)index * BRIQ_PAGE_WORDS;
}

static int copy_take(struct briq_map *map, uint32_t *ret_index)
{
    pthread_mutex_lock(&map->copies_lock);
    int r = map->free_copy_count == 0 ? -EAGAIN : 0;
    if (r == 0)
        *ret_index = map->free_copies[--map->free_copy_count];
    pthread_mutex_unlock(&map->copies_lock);
    return r;
}

static void copy_give(struct briq_map *map, uint32_t index)
{
    pthread_mutex_lock(&map->copies_lock);
    map->free_copies[map->free_copy_count++] = index;
    pthread_mutex_unlock(&map->copies_lock);
}

/* ---- dirty pages ----------------------------------------------------------------------------- */

static void dirty_push(struct briq_map *map, uint64_t page)
{
    _Atomic uint32_t *head = &map->dirty_head[map->period & 1];
    uint32_t first = atomic_load(head);
    do
        map->pages[page].next[map->period & 1] = first;
    while (!atomic_compare_exchange_weak(head, &first, (uint32_t)page + 1));
    atomic_fetch_add_explicit(&map->dirty_count, 1, memory_order_relaxed);
}

/* The page is frozen and not yet taken: what it held at the cut must outlive the coming change. */
static int freeze_copy(struct briq_map *map, uint64_t page)
{
    uint32_t index;
    int r = copy_take(map, &index);
    if (r < 0)
        return r;
    briq_word *copy = copy_at(map, index);
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++)
        copy[i] =
            atomic_load_explicit(&map->words[page * BRIQ_PAGE_WORDS + i], memory_order_relaxed);
    map->pages[page].copy = index + 1;
    return 0;
}

int briq_map_touch(struct briq_map *map, uint64_t page)
{
    struct briq_map_page *state = &map->pages[page];
    if (BRIQ_LIKELY(state->dirty == map->period))
        return 0;
    if (state->dirty != 0) {
        int r = freeze_copy(map, page);
        if (r < 0)
            return r;
    }
    state->dirty = map->period;
    dirty_push(map, page);
    /* The checkpoint may be placing an older image of the page at this very moment. */
    atomic_fetch_or(&map->nodes[page], BRIQ_MAP_RESIDENT);
    return 0;
}

void briq_map_install(struct briq_map *map, uint64_t page, const briq_le64 *image)
{
    pthread_mutex_t *stripe = briq_map_stripe(map, page);
    pthread_mutex_lock(stripe);
    uint64_t node = atomic_load_explicit(&map->nodes[page], memory_order_relaxed);
    if (node != 0 && (node & BRIQ_MAP_RESIDENT) == 0) {
        for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++)
            atomic_store_explicit(&map->words[page * BRIQ_PAGE_WORDS + i], briq_le64_get(image[i]),
                                  memory_order_relaxed);
        atomic_store_explicit(&map->nodes[page], node | BRIQ_MAP_RESIDENT, memory_order_release);
    }
    pthread_mutex_unlock(stripe);
}

void briq_map_cut(struct briq_map *map)
{
    map->period++;
    BRIQ_ASSERT(atomic_load(&map->dirty_head[map->period & 1]) == 0);
    atomic_store(&map->dirty_count, 0);
}

/* Copies the frozen content out and marks the page as taken. Under the stripe lock. */
static bool take_content(struct briq_map *map, uint64_t page, briq_le64 *image)
{
    struct briq_map_page *state = &map->pages[page];
    briq_word any = 0;
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++) {
        briq_word word = state->copy != 0
                             ? copy_at(map, state->copy - 1)[i]
                             : atomic_load_explicit(&map->words[page * BRIQ_PAGE_WORDS + i],
                                                    memory_order_relaxed);
        image[i] = briq_le64_of(word);
        any |= word;
    }
    if (state->copy != 0)
        copy_give(map, state->copy - 1);
    else
        state->dirty = 0; /* unchanged since the cut */
    state->copy = 0;
    return any == 0;
}

uint64_t briq_map_take(struct briq_map *map, briq_le64 *image, bool *ret_hole)
{
    unsigned frozen = (map->period + 1) & 1;
    uint32_t first = atomic_load(&map->dirty_head[frozen]);
    if (first == 0)
        return UINT64_MAX;
    uint64_t page = first - 1;
    /* Nobody pushes to the frozen list, so its head is this thread's alone. */
    atomic_store(&map->dirty_head[frozen], map->pages[page].next[frozen]);

    pthread_mutex_t *stripe = briq_map_stripe(map, page);
    pthread_mutex_lock(stripe);
    *ret_hole = take_content(map, page, image);
    pthread_mutex_unlock(stripe);
    return page;
}

void briq_map_placed(struct briq_map *map, uint64_t page, briq_word place)
{
    atomic_store_explicit(&map->nodes[page], place | BRIQ_MAP_RESIDENT, memory_order_release);
}
