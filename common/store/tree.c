/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tree.c - see tree.h. A pointer to a page of the tree (above the map pages) carries, besides the
 * 44 bits of its granule, 20 bits of that page's check: so a page that the medium failed to write
 * is found, although the segment table, which would tell the use of the segment, may not be read
 * yet.
 */
#include "common/store/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/store/maintain.h"

#define POINTER_CHECK_SHIFT 44

uint64_t briq_tree_pointer(uint64_t granule, const void *page, enum briq_record_type type,
                           uint64_t index)
{
    uint64_t hash = briq_payload_hash(page, BRIQ_PAGE_BYTES);
    uint64_t check = briq_extent_check(hash, briq_meta_tag(type, index), 1);
    return granule | check << POINTER_CHECK_SHIFT;
}

int briq_tree_init(struct briq_store *store, uint64_t page_max, uint32_t seg_max)
{
    struct briq_tree *tree = &store->tree;
    tree->map_node_max = briq_div_up(page_max, BRIQ_PAGE_WORDS);
    tree->seg_page_max = briq_div_up(seg_max, BRIQ_SEGS_PER_PAGE);
    tree->map_nodes = calloc(tree->map_node_max, sizeof *tree->map_nodes);
    tree->map_node_dirty = calloc(tree->map_node_max, 1);
    tree->seg_pages = calloc(tree->seg_page_max, sizeof *tree->seg_pages);
    return tree->map_nodes && tree->map_node_dirty && tree->seg_pages ? 0 : -ENOMEM;
}

void briq_tree_fini(struct briq_store *store)
{
    free(store->tree.map_nodes);
    free(store->tree.map_node_dirty);
    free(store->tree.seg_pages);
    memset(&store->tree, 0, sizeof store->tree);
}

/* ---- reading --------------------------------------------------------------------------------- */

int briq_read_bytes(struct briq_store *store, void *buf, size_t len, uint64_t off)
{
    if (store->align <= 1)
        return briq_device_read(store->dev, buf, len, off);
    /* An extent, wherever it lies: maintenance must not fail for want of memory. */
    BRIQ_ALIGNED(4096) uint8_t small[3 * 4096];
    uint64_t begin = briq_align_down(off, store->align);
    size_t span = briq_align_up(off + len, store->align) - begin;
    uint8_t *bounce = span <= sizeof small ? small : aligned_alloc(4096, briq_align_up(span, 4096));
    if (bounce == NULL)
        return -ENOMEM;
    int r = briq_device_read(store->dev, bounce, span, begin);
    if (r == 0)
        memcpy(buf, bounce + (off - begin), len);
    if (bounce != small)
        free(bounce);
    return r;
}

/* Map pages are checked against the use of their segment, pages of the tree against use 0. */
static uint64_t segseq_for(const struct briq_store *store, enum briq_record_type type,
                           uint64_t granule)
{
    return type == BRIQ_REC_MAP_PAGE
               ? briq_space_segseq(&store->space, briq_space_seg_of(&store->space, granule))
               : 0;
}

int briq_tree_read(struct briq_store *store, enum briq_record_type type, uint64_t index,
                   briq_word place, void *ret)
{
    uint8_t extent[BRIQ_META_GRANULES * BRIQ_GRANULE_BYTES];
    if (!briq_tree_place_is_valid(&store->space, place))
        return -EUCLEAN;
    uint64_t granule = briq_word_granule(place);
    uint32_t granules = briq_word_granules(place);
    int r = briq_read_bytes(store, extent, granules * BRIQ_GRANULE_BYTES,
                            granule << BRIQ_GRANULE_SHIFT);
    if (r < 0)
        return r;
    r = briq_extent_read(extent, granules, briq_meta_tag(type, index),
                         segseq_for(store, type, granule), ret);
    return r < 0 ? -EUCLEAN : 0;
}

static int read_tree_page(struct briq_store *store, enum briq_record_type type, uint64_t index,
                          uint64_t pointer, void *ret)
{
    uint64_t granule = briq_tree_granule(pointer);
    int r = briq_tree_read(store, type, index, briq_word_data(granule, BRIQ_META_GRANULES), ret);
    if (r == 0 && briq_tree_pointer(granule, ret, type, index) != pointer)
        r = -EUCLEAN;
    if (r == 0)
        briq_space_tree_load(&store->space, granule, BRIQ_META_GRANULES);
    return r;
}

int briq_tree_install_page(struct briq_store *store, uint64_t page, briq_word place,
                           const uint8_t *extent)
{
    briq_le64 image[BRIQ_PAGE_WORDS];
    /* Others may have loaded it, changed it, and a checkpoint stored it elsewhere since. */
    if (briq_map_page_ready(&store->map, page))
        return 0;
    int r = briq_extent_read(
        extent, briq_word_granules(place), briq_meta_tag(BRIQ_REC_MAP_PAGE, page),
        segseq_for(store, BRIQ_REC_MAP_PAGE, briq_word_granule(place)), (uint8_t *)image);
    if (r < 0)
        return -EUCLEAN;
    briq_map_install(&store->map, page, image);
    return 0;
}

int briq_tree_need_page(struct briq_store *store, uint64_t page)
{
    if (briq_map_page_ready(&store->map, page))
        return 0;
    briq_le64 image[BRIQ_PAGE_WORDS];
    int r = briq_tree_read(store, BRIQ_REC_MAP_PAGE, page, briq_map_page_place(&store->map, page),
                           image);
    if (r == 0)
        briq_map_install(&store->map, page, image);
    return r;
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Is it a line that a writer makes? In a free segment nothing is live. */
static bool entry_plausible(const struct briq_store *store, uint64_t seg,
                            const struct briq_segment_entry *e)
{
    return seg >= store->space.seg_first && seg < store->space.seg_end && e->state <= 2 &&
           e->kind <= BRIQ_KIND_META && e->live <= briq_seg_granules(store) &&
           (e->state != 0 || e->live == 0);
}

static int load_seg_page(struct briq_store *store, uint64_t index, uint64_t pointer)
{
    uint8_t page[BRIQ_PAGE_BYTES];
    int r = read_tree_page(store, BRIQ_REC_SEG_PAGE, index, pointer, page);
    if (r < 0)
        return r;
    store->tree.seg_pages[index] = pointer;
    for (unsigned i = 0; i < BRIQ_SEGS_PER_PAGE; i++) {
        struct briq_segment_entry e;
        uint64_t seg = index * BRIQ_SEGS_PER_PAGE + i;
        briq_segment_decode(page + i * sizeof(struct briq_fmt_segment), &e);
        if (e.state == 0 && !e.on_host)
            continue;
        if (!entry_plausible(store, seg, &e))
            return -EUCLEAN;
        /* What a page of the tree has put in use stays so: that page is newer than this line. */
        bool tree = briq_space_live(&store->space, (uint32_t)seg) != 0;
        briq_space_load_seg(&store->space, (uint32_t)seg, e.segseq, e.live,
                            tree && e.state == 0 ? 1 : e.state,
                            tree && e.state == 0 ? BRIQ_KIND_META : e.kind, e.on_host || tree);
    }
    return 0;
}

static int load_map_node(struct briq_store *store, uint64_t index, uint64_t pointer)
{
    briq_le64 page[BRIQ_PAGE_WORDS];
    int r = read_tree_page(store, BRIQ_REC_MAP_NODE, index, pointer, page);
    if (r < 0)
        return r;
    store->tree.map_nodes[index] = pointer;
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++) {
        briq_word place = briq_le64_get(page[i]);
        uint64_t map_page = index * BRIQ_PAGE_WORDS + i;
        if (place == 0)
            continue;
        if (map_page >= store->map.page_max || !briq_tree_place_is_valid(&store->space, place))
            return -EUCLEAN;
        briq_map_set_node(&store->map, map_page, place);
    }
    return 0;
}

/* Passes damage on to those who want to know; 0: the load goes on behind it. */
static int tell(const struct briq_tree_damage *damage, enum briq_record_type type, uint64_t index,
                uint64_t pointer, int r)
{
    if (damage == NULL || (r != -EUCLEAN && r != -EIO))
        return r;
    damage->found(damage->opaque, type, index, briq_tree_granule(pointer), r);
    return 0;
}

struct level {
    const uint64_t *roots;
    unsigned root_count;
    enum briq_record_type root_type, child_type;
    uint64_t child_max;
    int (*load)(struct briq_store *store, uint64_t index, uint64_t pointer);
};

static int load_children(struct briq_store *store, const struct level *level, uint64_t root,
                         const briq_le64 *page, const struct briq_tree_damage *damage)
{
    for (unsigned k = 0; k < BRIQ_PAGE_WORDS; k++) {
        uint64_t pointer = briq_le64_get(page[k]);
        uint64_t index = root * BRIQ_PAGE_WORDS + k;
        if (pointer == 0)
            continue;
        int r = index < level->child_max ? level->load(store, index, pointer) : -EUCLEAN;
        if (r < 0)
            r = tell(damage, level->child_type, index, pointer, r);
        if (r < 0)
            return r;
    }
    return 0;
}

static int load_level(struct briq_store *store, const struct level *level,
                      const struct briq_tree_damage *damage)
{
    briq_le64 page[BRIQ_PAGE_WORDS];
    for (uint64_t i = 0; i < level->root_count; i++) {
        uint64_t pointer = level->roots[i];
        if (pointer == 0)
            continue;
        int r = read_tree_page(store, level->root_type, i, pointer, page);
        r = r < 0 ? tell(damage, level->root_type, i, pointer, r)
                  : load_children(store, level, i, page, damage);
        if (r < 0)
            return r;
    }
    return 0;
}

static int explain(struct briq_store *store, const char *what, int r, struct briq_error *err)
{
    return briq_error_set(err, r == -EIO ? r : -EUCLEAN,
                          "%s: %s is damaged (%s): run briq check --repair", store->name, what,
                          r == -EIO ? "read error" : "checksum");
}

int briq_tree_load(struct briq_store *store, const struct briq_tree_damage *damage,
                   struct briq_error *err)
{
    const struct level segs = {
        .roots = store->sb.seg_roots,
        .root_count = BRIQ_SEG_ROOTS,
        .root_type = BRIQ_REC_SEG_ROOT,
        .child_type = BRIQ_REC_SEG_PAGE,
        .child_max = store->tree.seg_page_max,
        .load = load_seg_page,
    };
    const struct level map = {
        .roots = store->sb.map_roots,
        .root_count = BRIQ_MAP_ROOTS,
        .root_type = BRIQ_REC_MAP_ROOT,
        .child_type = BRIQ_REC_MAP_NODE,
        .child_max = store->tree.map_node_max,
        .load = load_map_node,
    };
    int r = load_level(store, &segs, damage);
    if (r < 0)
        return explain(store, "the segment table", r, err);
    r = load_level(store, &map, damage);
    return r < 0 ? explain(store, "the map", r, err) : 0;
}

/* ---- storing --------------------------------------------------------------------------------- */

void briq_tree_page_placed(struct briq_store *store, uint64_t page)
{
    store->tree.map_node_dirty[page / BRIQ_PAGE_WORDS] = 1;
}

static bool page_is_zero(const void *page)
{
    const uint8_t *bytes = page;
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, BRIQ_PAGE_BYTES - 1) == 0;
}

/* Stores one page of the tree and makes *pointer point at it; its old place is free of it. */
static int store_page(struct briq_store *store, enum briq_record_type type, uint64_t index,
                      const void *page, uint64_t *pointer, briq_tree_append append)
{
    uint64_t granule = 0, old = *pointer;
    if (!page_is_zero(page)) {
        briq_word place;
        int r = append(store, type, index, page, &place);
        if (r < 0)
            return r;
        granule = briq_word_granule(place);
        briq_space_tree_add(&store->space, granule, BRIQ_META_GRANULES);
    }
    *pointer = granule == 0 ? 0 : briq_tree_pointer(granule, page, type, index);
    if (old != 0)
        briq_space_tree_sub(&store->space, briq_tree_granule(old), BRIQ_META_GRANULES);
    uint64_t now = granule != 0 ? BRIQ_META_GRANULES : 0;
    uint64_t before = old != 0 ? BRIQ_META_GRANULES : 0;
    atomic_fetch_add(&store->maintain.meta_granules, now - before);
    return 0;
}

static int store_map_node(struct briq_store *store, uint64_t index, briq_tree_append append)
{
    briq_le64 page[BRIQ_PAGE_WORDS];
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++) {
        uint64_t map_page = index * BRIQ_PAGE_WORDS + i;
        bool exists = map_page < store->map.page_max;
        page[i] = briq_le64_of(exists ? briq_map_page_place(&store->map, map_page) : 0);
    }
    return store_page(store, BRIQ_REC_MAP_NODE, index, page, &store->tree.map_nodes[index], append);
}

static int store_seg_page(struct briq_store *store, uint64_t index, briq_tree_append append)
{
    uint8_t page[BRIQ_PAGE_BYTES];
    memset(page, 0, sizeof page);
    for (unsigned i = 0; i < BRIQ_SEGS_PER_PAGE; i++) {
        uint64_t seg = index * BRIQ_SEGS_PER_PAGE + i;
        struct briq_segment_entry e;
        if (seg < store->space.seg_first || seg >= store->space.virgin)
            continue;
        briq_space_stored(&store->space, (uint32_t)seg, &e.segseq, &e.live, &e.state, &e.kind,
                          &e.on_host);
        briq_segment_encode(&e, page + i * sizeof(struct briq_fmt_segment));
    }
    return store_page(store, BRIQ_REC_SEG_PAGE, index, page, &store->tree.seg_pages[index], append);
}

static int store_root(struct briq_store *store, enum briq_record_type type, uint64_t index,
                      const uint64_t *children, uint64_t child_max, uint64_t *pointer,
                      briq_tree_append append)
{
    briq_le64 page[BRIQ_PAGE_WORDS];
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++) {
        uint64_t child = index * BRIQ_PAGE_WORDS + i;
        page[i] = briq_le64_of(child < child_max ? children[child] : 0);
    }
    return store_page(store, type, index, page, pointer, append);
}

static int store_map_levels(struct briq_store *store, struct briq_superblock *sb,
                            briq_tree_append append)
{
    struct briq_tree *tree = &store->tree;
    int r = 0;
    for (uint64_t i = 0; i < tree->map_node_max && r == 0; i++) {
        if (!tree->map_node_dirty[i])
            continue;
        tree->map_node_dirty[i] = 0;
        tree->map_root_dirty[i / BRIQ_PAGE_WORDS] = true;
        r = store_map_node(store, i, append);
    }
    for (uint64_t i = 0; i < BRIQ_MAP_ROOTS && r == 0; i++) {
        if (!tree->map_root_dirty[i])
            continue;
        tree->map_root_dirty[i] = false;
        r = store_root(store, BRIQ_REC_MAP_ROOT, i, tree->map_nodes, tree->map_node_max,
                       &sb->map_roots[i], append);
    }
    return r;
}

static int store_seg_levels(struct briq_store *store, struct briq_superblock *sb,
                            briq_tree_append append)
{
    struct briq_tree *tree = &store->tree;
    int r = 0;
    for (uint64_t i = 0; i < tree->seg_page_max && r == 0; i++) {
        if (atomic_exchange(&store->space.page_dirty[i], 0) == 0)
            continue;
        tree->seg_root_dirty[i / BRIQ_PAGE_WORDS] = true;
        r = store_seg_page(store, i, append);
    }
    for (uint64_t i = 0; i < BRIQ_SEG_ROOTS && r == 0; i++) {
        if (!tree->seg_root_dirty[i])
            continue;
        tree->seg_root_dirty[i] = false;
        r = store_root(store, BRIQ_REC_SEG_ROOT, i, tree->seg_pages, tree->seg_page_max,
                       &sb->seg_roots[i], append);
    }
    return r;
}

int briq_tree_store(struct briq_store *store, struct briq_superblock *sb, briq_tree_append append)
{
    int r = store_map_levels(store, sb, append);
    return r < 0 ? r : store_seg_levels(store, sb, append);
}

/* ---- what is where --------------------------------------------------------------------------- */

bool briq_tree_is_at(struct briq_store *store, enum briq_record_type type, uint64_t index,
                     uint64_t granule)
{
    const struct briq_tree *tree = &store->tree;
    switch (type) {
    case BRIQ_REC_MAP_PAGE:
        return index < store->map.page_max &&
               briq_word_granule(briq_map_page_place(&store->map, index)) == granule;
    case BRIQ_REC_MAP_NODE:
        return index < tree->map_node_max && briq_tree_granule(tree->map_nodes[index]) == granule;
    case BRIQ_REC_SEG_PAGE:
        return index < tree->seg_page_max && briq_tree_granule(tree->seg_pages[index]) == granule;
    case BRIQ_REC_MAP_ROOT:
        return index < BRIQ_MAP_ROOTS && briq_tree_granule(store->sb.map_roots[index]) == granule;
    case BRIQ_REC_SEG_ROOT:
        return index < BRIQ_SEG_ROOTS && briq_tree_granule(store->sb.seg_roots[index]) == granule;
    default:
        return false;
    }
}

static int rewrite_map_page(struct briq_store *store, uint64_t page)
{
    int r = briq_tree_need_page(store, page);
    if (r < 0)
        return r;
    /* Like any change of the map: under the lock of a stream, and of the page's stripe. */
    struct briq_stream *gc = briq_journal_gc(&store->journal);
    pthread_mutex_lock(&gc->lock);
    pthread_mutex_lock(briq_map_stripe(&store->map, page));
    r = briq_map_touch(&store->map, page);
    pthread_mutex_unlock(briq_map_stripe(&store->map, page));
    pthread_mutex_unlock(&gc->lock);
    return r;
}

int briq_tree_rewrite(struct briq_store *store, enum briq_record_type type, uint64_t index)
{
    switch (type) {
    case BRIQ_REC_MAP_PAGE:
        return rewrite_map_page(store, index);
    case BRIQ_REC_MAP_NODE:
        store->tree.map_node_dirty[index] = 1;
        return 0;
    case BRIQ_REC_SEG_PAGE:
        atomic_store(&store->space.page_dirty[index], 1);
        return 0;
    case BRIQ_REC_MAP_ROOT:
        store->tree.map_root_dirty[index] = true;
        return 0;
    case BRIQ_REC_SEG_ROOT:
        store->tree.seg_root_dirty[index] = true;
        return 0;
    default:
        return -EINVAL;
    }
}

uint64_t briq_tree_pages(const struct briq_store *store, uint64_t map_pages)
{
    uint64_t all = briq_div_up(briq_store_blocks(store), BRIQ_PAGE_WORDS);
    uint64_t nodes = briq_div_up(all, BRIQ_PAGE_WORDS);
    uint64_t seg_pages = briq_div_up(store->space.virgin, BRIQ_SEGS_PER_PAGE) -
                         store->space.seg_first / BRIQ_SEGS_PER_PAGE;
    return briq_min_u64(nodes, map_pages + 1) + briq_div_up(nodes, BRIQ_PAGE_WORDS) + seg_pages +
           briq_div_up(seg_pages, BRIQ_PAGE_WORDS) + 2;
}
