/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/loosen.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/store/codec.h"
#include "common/store/encode.h"
#include "common/store/tree.h"
#include "tests/lib/raw_page.h"

#define CAP BRIQ_CHUNK_CAP_MIN

/* The volume, and copies of the pages that change. */
struct loosen {
    uint8_t *volume;
    uint64_t size;
    struct briq_superblock sb;
    uint64_t seg_index; /* of the one segment page */
    briq_le64 seg_root[BRIQ_PAGE_WORDS], map_root[BRIQ_PAGE_WORDS], node[BRIQ_PAGE_WORDS];
    uint8_t seg_page[BRIQ_PAGE_BYTES];
    struct briq_chunk chunk; /* the new one */
    uint32_t used;           /* bytes of it */
};

static void need(bool well, const char *what)
{
    if (well)
        return;
    fprintf(stderr, "loosening map pages: %s\n", what);
    exit(2);
}

static uint8_t *at_granule(const struct loosen *l, uint64_t granule)
{
    need((granule << BRIQ_GRANULE_SHIFT) < l->size, "a place behind the end");
    return l->volume + (granule << BRIQ_GRANULE_SHIFT);
}

/* ---- pages above the map pages --------------------------------------------------------------- */

static void get_page(const struct loosen *l, uint64_t pointer, void *page)
{
    need(pointer != 0, "a page of the tree is not there");
    memcpy(page, at_granule(l, briq_tree_granule(pointer)) + BRIQ_EXTENT_HEADER_BYTES,
           BRIQ_PAGE_BYTES);
}

/* In its place, and what its parent is to say of it. */
static uint64_t put_page(const struct loosen *l, uint64_t pointer, enum briq_record_type type,
                         uint64_t index, const void *page)
{
    uint64_t granule = briq_tree_granule(pointer);
    test_raw_page_write(at_granule(l, granule), page, briq_meta_tag(type, index), 0);
    return briq_tree_pointer(granule, page, type, index);
}

static uint8_t *entry_at(struct loosen *l, uint32_t seg)
{
    need(seg / BRIQ_SEGS_PER_PAGE == l->seg_index, "more than one segment page");
    return l->seg_page + seg % BRIQ_SEGS_PER_PAGE * sizeof(struct briq_fmt_segment);
}

static void begin(struct loosen *l)
{
    need(briq_superblock_decode(l->volume, &l->sb) == BRIQ_SB_OK, "no superblock");
    l->seg_index = l->sb.seg_first / BRIQ_SEGS_PER_PAGE;
    get_page(l, l->sb.seg_roots[0], l->seg_root);
    get_page(l, briq_le64_get(l->seg_root[l->seg_index]), l->seg_page);
    get_page(l, l->sb.map_roots[0], l->map_root);
    get_page(l, briq_le64_get(l->map_root[0]), l->node);
}

static void end(struct loosen *l)
{
    uint64_t node = briq_le64_get(l->map_root[0]);
    uint64_t seg_page = briq_le64_get(l->seg_root[l->seg_index]);
    l->map_root[0] = briq_le64_of(put_page(l, node, BRIQ_REC_MAP_NODE, 0, l->node));
    l->seg_root[l->seg_index] =
        briq_le64_of(put_page(l, seg_page, BRIQ_REC_SEG_PAGE, l->seg_index, l->seg_page));
    l->sb.map_roots[0] = put_page(l, l->sb.map_roots[0], BRIQ_REC_MAP_ROOT, 0, l->map_root);
    l->sb.seg_roots[0] = put_page(l, l->sb.seg_roots[0], BRIQ_REC_SEG_ROOT, 0, l->seg_root);
    briq_superblock_encode(&l->sb, l->volume + BRIQ_SB_A_OFFSET);
    briq_superblock_encode(&l->sb, l->volume + BRIQ_SB_B_OFFSET);
}

/* ---- the new segment ------------------------------------------------------------------------- */

static bool is_head(const struct briq_superblock *sb, uint32_t seg)
{
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        if (sb->heads[i].seg == seg || sb->heads[i].next_seg == seg)
            return true;
    return false;
}

static uint32_t find_segment(struct loosen *l)
{
    uint64_t bytes = UINT64_C(1) << l->sb.seg_shift;
    for (uint32_t seg = l->sb.seg_end; seg-- > l->sb.seg_first;) {
        const uint8_t *at = l->volume + (uint64_t)seg * bytes;
        if ((uint64_t)(seg + 1) * bytes <= l->size && !is_head(&l->sb, seg) &&
            memcmp(at, at + 1, bytes - 1) == 0)
            return seg;
    }
    need(false, "no segment without content");
    return BRIQ_SEG_NONE;
}

/* As the first opening would have used it: recovery takes newer images to be better. */
static void open_segment(struct loosen *l)
{
    l->chunk = (struct briq_chunk){
        .cap = CAP,
        .incarnation = 1,
        .stream = BRIQ_HEAD_META,
        .kind = BRIQ_KIND_META,
        .segseq = UINT64_C(1) << 32 | 0xfffffff0,
        .seg = find_segment(l),
        .next_seg = BRIQ_SEG_NONE,
    };
    need(l->sb.incarnation > 1, "it was opened once only");
    memset(l->volume + ((uint64_t)l->chunk.seg << l->sb.seg_shift), 0,
           UINT64_C(1) << l->sb.seg_shift);
    memcpy(&l->chunk.uuid_lo, l->sb.uuid, sizeof l->chunk.uuid_lo);
    l->used = briq_chunk_header_bytes(CAP);
}

static void loosen_page(struct loosen *l, uint64_t page)
{
    uint8_t words[BRIQ_PAGE_BYTES];
    struct briq_segment_entry entry;
    briq_word place = briq_le64_get(l->node[page]);
    uint64_t granule = briq_word_granule(place), tag = briq_meta_tag(BRIQ_REC_MAP_PAGE, page);
    uint32_t granules = briq_word_granules(place);
    need(place != 0, "a page is a hole");
    uint8_t *line = entry_at(l, (uint32_t)(granule >> (l->sb.seg_shift - BRIQ_GRANULE_SHIFT)));
    briq_segment_decode(line, &entry);
    need(briq_extent_read(at_granule(l, granule), granules, tag, entry.segseq, words) == 0,
         "a page is damaged");
    entry.live -= granules;
    briq_segment_encode(&entry, line);

    uint64_t where = ((uint64_t)l->chunk.seg << l->sb.seg_shift) + l->used;
    test_raw_page_write(l->volume + where, words, tag, l->chunk.segseq);
    struct briq_fmt_extent header;
    memcpy(&header, l->volume + where, sizeof header);
    struct briq_record record = {
        .lba = page,
        .type = BRIQ_REC_MAP_PAGE,
        .off_granules = l->used >> BRIQ_GRANULE_SHIFT,
        .granules = BRIQ_META_GRANULES,
        .count = 1,
        .check = briq_le32_get(header.check),
    };
    briq_record_encode(&record, l->volume + ((uint64_t)l->chunk.seg << l->sb.seg_shift) +
                                    briq_chunk_header_bytes(l->chunk.nrec++));
    l->node[page] = briq_le64_of(briq_word_data(where >> BRIQ_GRANULE_SHIFT, BRIQ_META_GRANULES));
    l->used += BRIQ_META_GRANULES * BRIQ_GRANULE_BYTES;
    l->sb.meta_granules += BRIQ_META_GRANULES - granules;
}

static void close_segment(struct loosen *l)
{
    struct briq_segment_entry entry = {
        .segseq = l->chunk.segseq,
        .live = l->chunk.nrec * BRIQ_META_GRANULES,
        .state = 1,
        .kind = BRIQ_KIND_META,
        .on_host = true,
    };
    l->chunk.len = (uint32_t)briq_align_up(l->used, BRIQ_CHUNK_ALIGN);
    briq_chunk_encode(&l->chunk, l->volume + ((uint64_t)l->chunk.seg << l->sb.seg_shift));
    briq_segment_encode(&entry, entry_at(l, l->chunk.seg));
}

void test_loosen(uint8_t *volume, uint64_t size, uint64_t pages)
{
    struct loosen l = {.volume = volume, .size = size};
    begin(&l);
    open_segment(&l);
    for (uint64_t page = 0; page < 64; page++)
        if ((pages >> page & 1) != 0)
            loosen_page(&l, page);
    close_segment(&l);
    end(&l);
}
