/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_tree.c - the pages of the tree: segment table, map roots and nodes, map pages, damaged with
 * and without right checksums. Loading them into a store that is kept for all inputs refuses what
 * cannot be, or tells of it and goes on; what was loaded lies inside the volume.
 *
 *   byte 0: bit 0 damage is told instead of ending the load; then edits of metadata, see edit.h.
 */
#include "tests/fuzz/support/fuzz.h"

#include <errno.h>
#include <stdlib.h>

#include "common/store/open.h"
#include "common/store/tree.h"
#include "tests/fuzz/support/edit.h"
#include "tests/fuzz/support/volume.h"

struct scene {
    struct fuzz_volume *volume;
    struct briq_store *store; /* opened in parts: its tree is loaded anew for each input */
};

static const struct scene *make_scene(void)
{
    static struct scene scene;
    if (scene.store != NULL)
        return &scene;
    scene.volume = fuzz_volume_make(FUZZ_CLEAN);
    struct briq_open_options options = fuzz_volume_options(scene.volume->disk, true, NULL);
    BRIQ_ASSERT(briq_open_parts(FUZZ_NAME, &options, NULL, &scene.store) == 0);
    return &scene;
}

/* What an opening would have made of the superblock, and nothing loaded yet. */
static void begin(struct briq_store *store, const struct briq_superblock *sb)
{
    struct briq_map *map = &store->map;
    struct briq_space *space = &store->space;
    uint32_t seg_max = space->seg_max;
    store->sb = *sb;
    briq_space_fini(space);
    BRIQ_ASSERT(briq_space_init(space, store->dev, FUZZ_SEG_SHIFT, FUZZ_SEG_FIRST, FUZZ_SEG_END,
                                seg_max) == 0);
    briq_tree_fini(store);
    BRIQ_ASSERT(briq_tree_init(store, map->page_max, seg_max) == 0);
    for (uint64_t page = 0; page < map->page_max; page++) {
        briq_map_set_node(map, page, 0);
        for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++)
            briq_map_set(map, page * BRIQ_PAGE_WORDS + i, BRIQ_WORD_HOLE);
    }
}

static void take_damage(void *opaque, enum briq_record_type type, uint64_t index, uint64_t granule,
                        int error)
{
    unsigned *count = opaque;
    (void)granule;
    BRIQ_ASSERT(error == -EUCLEAN || error == -EIO);
    BRIQ_ASSERT(type >= BRIQ_REC_MAP_NODE && type <= BRIQ_REC_SEG_ROOT);
    BRIQ_ASSERT(index < BRIQ_SEG_ROOTS * BRIQ_PAGE_WORDS);
    ++*count;
}

static void expect_inside(struct briq_store *store)
{
    for (uint64_t page = 0; page < store->map.page_max; page++) {
        briq_word place = briq_map_page_place(&store->map, page);
        BRIQ_ASSERT(place == 0 || (briq_word_granules(place) <= BRIQ_META_GRANULES &&
                                   briq_space_contains(&store->space, briq_word_granule(place),
                                                       briq_word_granules(place))));
        int r = briq_tree_need_page(store, page);
        BRIQ_ASSERT(r == 0 || r == -EUCLEAN);
        BRIQ_ASSERT((r == 0) == briq_map_page_ready(&store->map, page));
    }
    for (uint32_t seg = 0; seg < store->space.seg_max; seg++) {
        bool usable = seg >= FUZZ_SEG_FIRST && seg < FUZZ_SEG_END;
        BRIQ_ASSERT(usable || atomic_load(&store->space.segs[seg].state) == BRIQ_SEG_BARE);
    }
}

/* Every block reads as something, or fails. */
static void read_some(struct briq_store *store)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    for (unsigned i = 0; i < 8; i++) {
        uint64_t block = i % 2 == 0 ? i : FUZZ_BLOCKS - 2 - i;
        int r = briq_read(store, bytes, sizeof bytes, block * BRIQ_BLOCK_BYTES);
        BRIQ_ASSERT(r == 0 || r == -EIO);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct scene *scene = make_scene();
    struct fuzz_input in = {data, size};
    struct briq_error err = {{0}};
    struct briq_superblock sb;
    unsigned told = 0;
    const struct briq_tree_damage damage = {.found = take_damage, .opaque = &told};
    bool tell = (fuzz_number(&in, 1) & 1) != 0;
    fuzz_disk_reset(scene->volume->disk);
    (void)fuzz_edit(scene->volume, &in, FUZZ_METADATA & ~(1u << FUZZ_SUPERBLOCK_A));
    if (briq_superblock_decode(fuzz_disk_bytes(scene->volume->disk), &sb) != BRIQ_SB_OK)
        return 0;
    sb.seg_first = FUZZ_SEG_FIRST;
    sb.seg_end = FUZZ_SEG_END;
    sb.seg_shift = sb.window_shift = FUZZ_SEG_SHIFT;
    begin(scene->store, &sb);
    int r = briq_tree_load(scene->store, tell ? &damage : NULL, &err);
    BRIQ_ASSERT(r == 0 || (r == -EUCLEAN && err.text[0] != '\0'));
    BRIQ_ASSERT(!tell || r == 0);
    expect_inside(scene->store);
    read_some(scene->store);
    return 0;
}
