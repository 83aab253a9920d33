/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/support/edit.h"

#include <xxhash.h>

#include "common/store/codec.h"
#include "common/store/tree.h"

#define EDIT_BYTES 8u
#define EDITS_MAX  32u
#define MAP_PAGE_0 2u /* in fuzz_volume.pages */

enum how { SET, ADD, XOR, COPY };

struct edit {
    enum fuzz_kind kind;
    uint32_t which;
    uint32_t where;
    uint32_t width;
    enum how how;
    unsigned shift;
    int32_t value;
    bool seal;
};

/* A structure on the disk. */
struct place {
    uint64_t at, len;
    uint32_t number; /* of the page, chunk or record */
};

/* What has to be sealed when all edits are done. */
struct seals {
    bool sb[2], pages[FUZZ_PAGES], records[FUZZ_RECORDS_MAX], chunks[FUZZ_CHUNKS_MAX];
};

/* The kind that stands for this byte, of those that are allowed. */
static enum fuzz_kind pick_kind(unsigned byte, unsigned kinds)
{
    unsigned nth = byte % (unsigned)__builtin_popcount(kinds);
    for (unsigned kind = 0; kind < FUZZ_KIND_COUNT; kind++)
        if ((kinds >> kind & 1) != 0 && nth-- == 0)
            return (enum fuzz_kind)kind;
    return FUZZ_SUPERBLOCK;
}

static struct edit read_edit(struct fuzz_input *in, unsigned kinds)
{
    static const uint8_t shifts[] = {0, 8, 24, 44};
    struct edit e = {.kind = pick_kind((unsigned)fuzz_number(in, 1), kinds)};
    e.which = (uint32_t)fuzz_number(in, 1);
    e.where = (uint32_t)fuzz_number(in, 2);
    unsigned how = (unsigned)fuzz_number(in, 1);
    e.width = 1u << (how & 3);
    e.how = (enum how)(how >> 2 & 3);
    e.shift = shifts[how >> 4 & 3];
    e.seal = (how & 0x80) != 0;
    e.value = (int32_t)(fuzz_number(in, 3) << 8) >> 8;
    return e;
}

static uint64_t page_bytes_at(const struct fuzz_page *page)
{
    return page->at + BRIQ_EXTENT_HEADER_BYTES;
}

/* ---- where an edit goes ---------------------------------------------------------------------- */

static uint32_t map_word_at(const struct edit *e, uint32_t which)
{
    /* The blocks that have a history stand at the start of page 0 and the end of page 1. */
    uint32_t in_page = which % 14;
    return e->where % 2 == 0 ? in_page : FUZZ_BLOCKS - 1 - BRIQ_PAGE_WORDS - in_page;
}

static struct place place_of(const struct fuzz_volume *v, const struct edit *e, uint32_t which)
{
    uint32_t chunk = which % v->chunk_count;
    /* Beyond the first 256 records by the upper bits of the place. */
    uint32_t record = (which + (e->where >> 8) * 256) % v->record_count;
    uint32_t page = which % FUZZ_PAGES;
    switch (e->kind) {
    case FUZZ_SUPERBLOCK:
    case FUZZ_SUPERBLOCK_A:
        return (struct place){BRIQ_SB_A_OFFSET, offsetof(struct briq_fmt_superblock, reserved2), 0};
    case FUZZ_SUPERBLOCK_B:
        return (struct place){BRIQ_SB_B_OFFSET, offsetof(struct briq_fmt_superblock, reserved2), 1};
    case FUZZ_PAGE:
        return (struct place){v->pages[page].at, BRIQ_EXTENT_HEADER_BYTES + v->pages[page].bytes,
                              page};
    case FUZZ_MAP_WORD:
        page = MAP_PAGE_0 + (e->where % 2 == 0 ? 0 : 1);
        /* In a packed page: some of its bits. */
        return (struct place){page_bytes_at(&v->pages[page]) +
                                  map_word_at(e, which) * 8 % (v->pages[page].bytes & ~7u),
                              8, page};
    case FUZZ_SEGMENT:
        return (struct place){page_bytes_at(&v->pages[0]) +
                                  (FUZZ_SEG_FIRST + which % (FUZZ_SEG_END - FUZZ_SEG_FIRST)) *
                                      sizeof(struct briq_fmt_segment),
                              sizeof(struct briq_fmt_segment), 0};
    case FUZZ_CHUNK:
        return (struct place){v->chunks[chunk].at, sizeof(struct briq_fmt_chunk), chunk};
    case FUZZ_RECORD:
        return (struct place){v->records[record].at, sizeof(struct briq_fmt_record), record};
    case FUZZ_EXTENT:
        if (v->records[record].payload_at != 0)
            return (struct place){v->records[record].payload_at,
                                  v->records[record].record.granules * BRIQ_GRANULE_BYTES, record};
        return (struct place){v->records[record].at, sizeof(struct briq_fmt_record), record};
    case FUZZ_ANYWHERE:
        break;
    }
    uint64_t begin = (uint64_t)FUZZ_SEG_FIRST << FUZZ_SEG_SHIFT;
    uint64_t off = (e->where * 256u + which) * (uint64_t)BRIQ_GRANULE_BYTES;
    return (struct place){begin + off % (FUZZ_DISK_BYTES - begin), BRIQ_GRANULE_BYTES, 0};
}

/* ---- applying -------------------------------------------------------------------------------- */

static uint64_t read_field(const struct fuzz_volume *v, uint64_t at, uint32_t width)
{
    briq_le64 raw = briq_le64_of(0);
    memcpy(&raw, fuzz_disk_bytes(v->disk) + at, width);
    return briq_le64_get(raw);
}

static void change_field(struct fuzz_volume *v, const struct edit *e, const struct place *p,
                         uint64_t at)
{
    uint64_t value = (uint64_t)(int64_t)e->value << e->shift;
    uint64_t old = read_field(v, at, e->width);
    if (e->how == ADD)
        value += old;
    else if (e->how == XOR)
        value ^= old;
    else if (e->how == COPY)
        value =
            read_field(v, place_of(v, e, (uint32_t)e->value & 0xffff).at + (at - p->at), e->width);
    briq_le64 raw = briq_le64_of(value);
    memcpy(fuzz_disk_change(v->disk, at, e->width), &raw, e->width);
}

static void note_seal(const struct edit *e, const struct place *p, struct seals *seals,
                      const struct fuzz_volume *v)
{
    switch (e->kind) {
    case FUZZ_SUPERBLOCK:
        seals->sb[0] = seals->sb[1] = true;
        return;
    case FUZZ_SUPERBLOCK_A:
    case FUZZ_SUPERBLOCK_B:
        seals->sb[p->number] = true;
        return;
    case FUZZ_PAGE:
    case FUZZ_MAP_WORD:
    case FUZZ_SEGMENT:
        seals->pages[p->number] = true;
        return;
    case FUZZ_CHUNK:
        seals->chunks[p->number] = true;
        return;
    case FUZZ_EXTENT:
        seals->records[p->number] = true;
        seals->chunks[v->records[p->number].chunk] = true;
        return;
    case FUZZ_RECORD:
        seals->chunks[v->records[p->number].chunk] = true;
        return;
    case FUZZ_ANYWHERE:
        return;
    }
}

static void apply(struct fuzz_volume *v, const struct edit *e, struct seals *seals)
{
    struct place p = place_of(v, e, e->which);
    uint64_t room = p.len - (p.len < e->width ? p.len : e->width) + 1;
    uint64_t off = e->where % room;
    if (e->kind != FUZZ_EXTENT && e->kind != FUZZ_CHUNK)
        off -= off % e->width; /* fields are aligned */
    change_field(v, e, &p, p.at + off);
    if (e->kind == FUZZ_SUPERBLOCK)
        memcpy(fuzz_disk_change(v->disk, BRIQ_SB_B_OFFSET + off, e->width),
               fuzz_disk_bytes(v->disk) + BRIQ_SB_A_OFFSET + off, e->width);
    if (e->seal)
        note_seal(e, &p, seals, v);
}

/* ---- sealing --------------------------------------------------------------------------------- */

/* The check that fits the extent at `at` as its header describes it; 0 when that cannot be. */
static uint32_t check_of(const struct fuzz_volume *v, uint64_t at, uint64_t tag, uint64_t use)
{
    const uint8_t *extent = fuzz_disk_bytes(v->disk) + at;
    uint32_t len = (uint32_t)read_field(v, at + offsetof(struct briq_fmt_extent, len), 2);
    if (at + BRIQ_EXTENT_HEADER_BYTES + len > FUZZ_DISK_BYTES)
        return 0;
    return briq_extent_check(briq_payload_hash(extent + BRIQ_EXTENT_HEADER_BYTES, len), tag, use);
}

static void put32(struct fuzz_volume *v, uint64_t at, uint32_t value)
{
    briq_le32 raw = briq_le32_of(value);
    memcpy(fuzz_disk_change(v->disk, at, sizeof raw), &raw, sizeof raw);
}

static void put64(struct fuzz_volume *v, uint64_t at, uint64_t value)
{
    briq_le64 raw = briq_le64_of(value);
    memcpy(fuzz_disk_change(v->disk, at, sizeof raw), &raw, sizeof raw);
}

static void seal_record(struct fuzz_volume *v, const struct fuzz_record *r)
{
    if (r->payload_at == 0)
        return;
    uint64_t tag = r->record.type == BRIQ_REC_DATA ? r->record.lba
                                                   : briq_meta_tag(r->record.type, r->record.lba);
    uint32_t check = check_of(v, r->payload_at, tag, r->use);
    put32(v, r->payload_at + offsetof(struct briq_fmt_extent, check), check);
    put32(v, r->at + offsetof(struct briq_fmt_record, check), check);
}

static void seal_chunk(struct fuzz_volume *v, uint64_t at)
{
    const uint8_t *bytes = fuzz_disk_bytes(v->disk) + at;
    uint64_t nrec = read_field(v, at + offsetof(struct briq_fmt_chunk, nrec), 2);
    struct briq_fmt_chunk header;
    if (nrec > BRIQ_CHUNK_CAP_MAX)
        return;
    memcpy(&header, bytes, sizeof header);
    header.xxh64 = briq_le64_of(0);
    put64(v, at + offsetof(struct briq_fmt_chunk, xxh64),
          XXH3_64bits_withSeed(bytes + sizeof header, nrec * sizeof(struct briq_fmt_record),
                               XXH3_64bits(&header, sizeof header)));
}

static void seal_superblock(struct fuzz_volume *v, uint64_t at)
{
    const uint8_t *bytes = fuzz_disk_bytes(v->disk) + at;
    size_t len = offsetof(struct briq_fmt_superblock, xxh64);
    put64(v, at + len, XXH3_64bits(bytes, len));
}

/* Where the pointer to a page stands: in the superblock, or in the page above it. */
static uint64_t pointer_at(const struct fuzz_volume *v, uint32_t page, unsigned copy)
{
    uint64_t sb = copy == 0 ? BRIQ_SB_A_OFFSET : BRIQ_SB_B_OFFSET;
    switch (v->pages[page].type) {
    case BRIQ_REC_SEG_ROOT:
        return sb + offsetof(struct briq_fmt_superblock, seg_roots);
    case BRIQ_REC_MAP_ROOT:
        return sb + offsetof(struct briq_fmt_superblock, map_roots);
    case BRIQ_REC_SEG_PAGE:
    case BRIQ_REC_MAP_NODE:
        return page_bytes_at(&v->pages[page + 1]);
    default:
        return 0;
    }
}

static void seal_page(struct fuzz_volume *v, uint32_t number, struct seals *seals)
{
    const struct fuzz_page *page = &v->pages[number];
    put32(v, page->at, check_of(v, page->at, briq_meta_tag(page->type, page->index), page->use));
    if (page->type == BRIQ_REC_MAP_PAGE)
        return; /* named by its place alone */
    uint64_t pointer =
        briq_tree_pointer(page->pointer & BRIQ_WORD_GRANULE_MASK,
                          fuzz_disk_bytes(v->disk) + page_bytes_at(page), page->type, page->index);
    bool root = page->type == BRIQ_REC_SEG_ROOT || page->type == BRIQ_REC_MAP_ROOT;
    for (unsigned copy = 0; copy < (root ? 2 : 1); copy++) {
        uint64_t at = pointer_at(v, number, copy);
        if (at == 0 || read_field(v, at, 8) != page->pointer)
            continue;
        put64(v, at, pointer);
        if (root)
            seals->sb[copy] = true;
        else
            seals->pages[number + 1] = true;
    }
}

/* From the leaves up: a page of the tree may itself be in a chunk whose header is sealed too. */
static void seal(struct fuzz_volume *v, struct seals *seals)
{
    for (uint32_t i = 0; i < v->record_count; i++)
        if (seals->records[i])
            seal_record(v, &v->records[i]);
    for (uint32_t i = 0; i < v->chunk_count; i++)
        if (seals->chunks[i])
            seal_chunk(v, v->chunks[i].at);
    for (uint32_t i = 0; i < FUZZ_PAGES; i++)
        if (seals->pages[i])
            seal_page(v, i, seals);
    if (seals->sb[0])
        seal_superblock(v, BRIQ_SB_A_OFFSET);
    if (seals->sb[1])
        seal_superblock(v, BRIQ_SB_B_OFFSET);
}

bool fuzz_edit(struct fuzz_volume *v, struct fuzz_input *in, unsigned kinds)
{
    struct seals seals;
    bool sealed = false;
    memset(&seals, 0, sizeof seals);
    for (unsigned i = 0; i < EDITS_MAX && in->left >= EDIT_BYTES; i++) {
        struct edit e = read_edit(in, kinds);
        apply(v, &e, &seals);
        sealed = sealed || e.seal;
    }
    seal(v, &seals);
    return sealed;
}
