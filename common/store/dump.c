/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dump.c - the structures of a volume as text, one a line.
 *
 * Nothing is locked and nothing is changed: of a volume in use this shows what the medium held at
 * that moment, which is the state of its last checkpoint. Damage is shown where it is, and the dump
 * goes on behind it. The words are those of format.h; addresses are in hexadecimal, counts are not.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/base/uuid.h"
#include "common/device/device.h"
#include "common/store/codec.h"
#include "common/store/scan.h"
#include "common/store/store.h"
#include "common/store/superblock.h"
#include "common/store/tree.h"

#define NO_INDEX UINT64_MAX

/* A page of the tree or of the map, as it was read. */
struct page {
    uint64_t index;
    bool sound;
    uint8_t bytes[BRIQ_PAGE_BYTES];
};

struct dump {
    struct briq_device *dev;
    const char *path;
    FILE *out;
    struct briq_superblock copy[2];
    enum briq_sb_state state[2];
    struct briq_superblock sb; /* the copy that counts */
    uint64_t uuid_lo;
    /* what was read last of each level */
    struct page seg_root, seg_page, map_root, map_node, map_page;
};

static const char *kind_name(unsigned kind)
{
    static const char *const names[] = {"-", "user", "gc", "meta"};
    return kind < BRIQ_COUNT_OF(names) ? names[kind] : "unknown";
}

static const char *type_name(enum briq_record_type type)
{
    static const char *const names[] = {
        [BRIQ_REC_DATA] = "data",         [BRIQ_REC_FILL] = "fill",
        [BRIQ_REC_TRIM] = "trim",         [BRIQ_REC_ZERO] = "zero",
        [BRIQ_REC_MAP_PAGE] = "map_page", [BRIQ_REC_MAP_NODE] = "map_node",
        [BRIQ_REC_MAP_ROOT] = "map_root", [BRIQ_REC_SEG_PAGE] = "seg_page",
        [BRIQ_REC_SEG_ROOT] = "seg_root",
    };
    return names[type];
}

/* "-" where there is none. */
static const char *seg_text(uint32_t seg, char text[16])
{
    if (seg == BRIQ_SEG_NONE)
        return "-";
    snprintf(text, 16, "%" PRIu32, seg);
    return text;
}

/* ---- superblock ------------------------------------------------------------------------------ */

static void print_head(const struct dump *d, unsigned copy, unsigned stream)
{
    const struct briq_head *head = &d->copy[copy].heads[stream];
    char next[16];
    if (head->seg == BRIQ_SEG_NONE)
        return;
    fprintf(d->out,
            "head copy=%u stream=%u seg=%" PRIu32 " off=0x%" PRIx32 " segseq=0x%" PRIx64
            " next_seg=%s\n",
            copy, stream, head->seg, head->off, head->segseq, seg_text(head->next_seg, next));
}

static void print_roots(const struct dump *d, unsigned copy, const char *what,
                        const uint64_t *roots, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (roots[i] != 0)
            fprintf(d->out, "%s copy=%u index=%u at=0x%" PRIx64 "\n", what, copy, i,
                    briq_tree_granule(roots[i]) << BRIQ_GRANULE_SHIFT);
}

static void print_fields(const struct dump *d, const struct briq_superblock *sb)
{
    char uuid[BRIQ_UUID_TEXT_MAX], boot[BRIQ_UUID_TEXT_MAX];
    fprintf(d->out,
            " version=%" PRIu32 " uuid=%s generation=%" PRIu64 " incarnation=%" PRIu64
            " features_compat=0x%" PRIx64 " features_ro=0x%" PRIx64 " features_incompat=0x%" PRIx64
            " seg_shift=%u window_shift=%u streams=%u clean=%u preallocated=%u accel=%u",
            sb->version, briq_uuid_format(sb->uuid, uuid), sb->generation, sb->incarnation,
            sb->features_compat, sb->features_ro, sb->features_incompat, sb->seg_shift,
            sb->window_shift, sb->streams, sb->clean, sb->preallocated, sb->accel);
    fprintf(d->out,
            " logical_bytes=%" PRIu64 " limit_bytes=%" PRIu64 " seg_first=%" PRIu32
            " seg_end=%" PRIu32 " checkpoint_seq=%" PRIu64 " segseq=0x%" PRIx64
            " boot_id=%s windows_in_file=%u",
            sb->logical_bytes, sb->limit_bytes, sb->seg_first, sb->seg_end, sb->checkpoint_seq,
            sb->segseq, briq_uuid_format(sb->boot_id, boot), sb->windows_in_file);
    fprintf(d->out,
            " mapped_blocks=%" PRIu64 " fill_blocks=%" PRIu64 " zero_blocks=%" PRIu64
            " data_granules=%" PRIu64 " meta_granules=%" PRIu64,
            sb->mapped_blocks, sb->fill_blocks, sb->zero_blocks, sb->data_granules,
            sb->meta_granules);
}

static void print_copy(const struct dump *d, unsigned copy)
{
    static const char *const states[] = {
        [BRIQ_SB_OK] = "ok",
        [BRIQ_SB_NOT_BRIQ] = "not_briq",
        [BRIQ_SB_DAMAGED] = "damaged",
        [BRIQ_SB_TOO_NEW] = "too_new",
    };
    const struct briq_superblock *sb = &d->copy[copy];
    fprintf(d->out, "superblock copy=%u at=0x%" PRIx64 " state=%s", copy,
            briq_superblock_offset(copy), states[d->state[copy]]);
    if (d->state[copy] == BRIQ_SB_TOO_NEW)
        fprintf(d->out, " version=%" PRIu32 " features_incompat=0x%" PRIx64, sb->version,
                sb->features_incompat);
    if (d->state[copy] == BRIQ_SB_OK)
        print_fields(d, sb);
    fputc('\n', d->out);
    if (d->state[copy] != BRIQ_SB_OK)
        return;
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        print_head(d, copy, i);
    print_roots(d, copy, "map_root", sb->map_roots, BRIQ_MAP_ROOTS);
    print_roots(d, copy, "seg_root", sb->seg_roots, BRIQ_SEG_ROOTS);
}

/* ---- pages of the trees ---------------------------------------------------------------------- */

static bool in_segments(const struct dump *d, uint64_t granule)
{
    uint64_t seg = granule >> (d->sb.seg_shift - BRIQ_GRANULE_SHIFT);
    return seg >= d->sb.seg_first && seg < d->sb.seg_end;
}

static bool read_extent(const struct dump *d, briq_word place, enum briq_record_type type,
                        uint64_t index, uint64_t segseq, struct page *page)
{
    uint8_t extent[BRIQ_META_GRANULES * BRIQ_GRANULE_BYTES];
    uint64_t granule = briq_word_granule(place);
    uint32_t granules = briq_word_granules(place);
    return in_segments(d, granule) && granules <= BRIQ_META_GRANULES &&
           briq_device_read(d->dev, extent, granules * BRIQ_GRANULE_BYTES,
                            granule << BRIQ_GRANULE_SHIFT) == 0 &&
           briq_extent_read(extent, granules, briq_meta_tag(type, index), segseq, page->bytes) == 0;
}

/* Brings page `index` of a level of the tree, which `pointer` names, into *page. */
static bool load_tree_page(const struct dump *d, enum briq_record_type type, uint64_t index,
                           uint64_t pointer, struct page *page)
{
    if (page->index == index)
        return page->sound;
    uint64_t granule = briq_tree_granule(pointer);
    page->index = index;
    page->sound =
        read_extent(d, briq_word_data(granule, BRIQ_META_GRANULES), type, index, 0, page) &&
        briq_tree_pointer(granule, page->bytes, type, index) == pointer;
    return page->sound;
}

static uint64_t child_of(const struct page *page, uint64_t index)
{
    briq_le64 word;
    memcpy(&word, page->bytes + index % BRIQ_PAGE_WORDS * sizeof word, sizeof word);
    return briq_le64_get(word);
}

enum found { FOUND, NOTHING, DAMAGED };

/* Follows a root to its child `index`. */
static enum found load_child(const struct dump *d, const uint64_t *roots,
                             enum briq_record_type root_type, enum briq_record_type type,
                             uint64_t index, struct page *root, struct page *child)
{
    uint64_t root_index = index / BRIQ_PAGE_WORDS;
    if (roots[root_index] == 0)
        return NOTHING;
    if (!load_tree_page(d, root_type, root_index, roots[root_index], root))
        return DAMAGED;
    uint64_t pointer = child_of(root, index);
    if (pointer == 0)
        return NOTHING;
    return load_tree_page(d, type, index, pointer, child) ? FOUND : DAMAGED;
}

static enum found load_seg_page(struct dump *d, uint64_t index)
{
    return load_child(d, d->sb.seg_roots, BRIQ_REC_SEG_ROOT, BRIQ_REC_SEG_PAGE, index, &d->seg_root,
                      &d->seg_page);
}

/* ---- segments -------------------------------------------------------------------------------- */

static void segment_entry(const struct dump *d, uint32_t seg, struct briq_segment_entry *ret)
{
    briq_segment_decode(
        d->seg_page.bytes + seg % BRIQ_SEGS_PER_PAGE * sizeof(struct briq_fmt_segment), ret);
}

static void print_segment(struct dump *d, uint32_t seg)
{
    static const char *const states[] = {"free", "used", "bad"};
    struct briq_segment_entry e;
    segment_entry(d, seg, &e);
    if (e.segseq == 0 && e.state == 0 && !e.on_host)
        return; /* never used */
    fprintf(d->out,
            "segment %" PRIu32 " at=0x%" PRIx64 " state=%s kind=%s live=%" PRIu32
            " segseq=0x%" PRIx64 " on_host=%u\n",
            seg, (uint64_t)seg << d->sb.seg_shift,
            e.state < BRIQ_COUNT_OF(states) ? states[e.state] : "unknown", kind_name(e.kind),
            e.live, e.segseq, e.on_host);
}

static void print_segments(struct dump *d, uint32_t begin, uint32_t end)
{
    for (uint32_t seg = begin; seg < end;) {
        uint64_t index = seg / BRIQ_SEGS_PER_PAGE;
        uint32_t page_end = (uint32_t)briq_min_u64((index + 1) * BRIQ_SEGS_PER_PAGE, end);
        enum found found = load_seg_page(d, index);
        if (found == DAMAGED)
            fprintf(d->out, "seg_page %" PRIu64 " state=damaged segments=%" PRIu32 "-%" PRIu32 "\n",
                    index, seg, page_end - 1);
        for (; seg < page_end; seg++)
            if (found == FOUND)
                print_segment(d, seg);
    }
}

/* ---- chunks and records ---------------------------------------------------------------------- */

static int read_for_scan(void *opaque, void *buf, size_t len, uint64_t off)
{
    return briq_device_read(opaque, buf, len, off);
}

static void print_chunk(const struct dump *d, const struct briq_scan *scan)
{
    const struct briq_chunk *c = &scan->chunk;
    char next[16];
    fprintf(d->out,
            "chunk at=0x%" PRIx64 " seg=%" PRIu32 " off=0x%" PRIx32 " len=0x%" PRIx32
            " kind=%s stream=%u incarnation=%" PRIu32 " segseq=0x%" PRIx64
            " cap=%u nrec=%u next_seg=%s durable_seq=%" PRIu64 "\n",
            briq_scan_where(scan), c->seg, c->off, c->len, kind_name(c->kind), c->stream,
            c->incarnation, c->segseq, c->cap, c->nrec, seg_text(c->next_seg, next),
            c->durable_seq);
}

static void print_record(const struct dump *d, const struct briq_scan *scan, unsigned index)
{
    struct briq_record r;
    uint64_t at = briq_scan_where(scan) + briq_chunk_header_bytes(index);
    if (!briq_record_decode(scan->page, &scan->chunk, index, &r)) {
        fprintf(d->out, "record at=0x%" PRIx64 " type=unknown\n", at);
        return;
    }
    fprintf(d->out, "record at=0x%" PRIx64 " type=%s seq=%" PRIu64 " lba=%" PRIu64, at,
            type_name(r.type), r.seq, r.lba);
    if (briq_record_has_payload(r.type))
        fprintf(d->out, " payload=0x%" PRIx64 " granules=%" PRIu32 " check=0x%08" PRIx32,
                briq_scan_granule(scan, &r) << BRIQ_GRANULE_SHIFT, r.granules, r.check);
    else if (r.type == BRIQ_REC_FILL)
        fprintf(d->out, " pattern=0x%08" PRIx32, r.pattern);
    else
        fprintf(d->out, " count=%" PRIu32, r.count);
    fputc('\n', d->out);
}

static int print_chunks(const struct dump *d, uint32_t seg, bool records, struct briq_scan *scan)
{
    *scan = (struct briq_scan){
        .read = read_for_scan,
        .opaque = d->dev,
        .seg = seg,
        .seg_shift = d->sb.seg_shift,
        .window_bytes = 1u << d->sb.window_shift,
        .uuid_lo = d->uuid_lo,
    };
    int r;
    while ((r = briq_scan_next(scan)) > 0) {
        print_chunk(d, scan);
        for (unsigned i = 0; records && i < scan->chunk.nrec; i++)
            print_record(d, scan, i);
    }
    if (scan->unreadable > 0)
        fprintf(d->out, "segment %" PRIu32 " unreadable=%" PRIu32 "\n", seg, scan->unreadable);
    return r;
}

static int print_log(const struct dump *d, uint32_t begin, uint32_t end, bool records)
{
    struct briq_scan *scan = aligned_alloc(BRIQ_CHUNK_ALIGN, sizeof *scan);
    int r = scan == NULL ? -ENOMEM : 0;
    /* Nothing lies behind the end of the file. */
    end = (uint32_t)briq_min_u64(end,
                                 briq_div_up(d->dev->size_bytes, UINT64_C(1) << d->sb.seg_shift));
    for (uint32_t seg = begin; seg < end && r == 0; seg++)
        r = print_chunks(d, seg, records, scan);
    free(scan);
    return r;
}

/* ---- map ------------------------------------------------------------------------------------- */

/* Which use of its segment an extent belongs to; the table may not be readable. */
static bool find_segseq(struct dump *d, uint64_t granule, uint64_t *ret)
{
    uint64_t seg = granule >> (d->sb.seg_shift - BRIQ_GRANULE_SHIFT);
    struct briq_segment_entry e;
    if (!in_segments(d, granule) || load_seg_page(d, seg / BRIQ_SEGS_PER_PAGE) != FOUND)
        return false;
    segment_entry(d, (uint32_t)seg, &e);
    *ret = e.segseq;
    return true;
}

static enum found load_map_page(struct dump *d, uint64_t index)
{
    enum found found = load_child(d, d->sb.map_roots, BRIQ_REC_MAP_ROOT, BRIQ_REC_MAP_NODE,
                                  index / BRIQ_PAGE_WORDS, &d->map_root, &d->map_node);
    if (found != FOUND)
        return found;
    briq_word place = child_of(&d->map_node, index);
    uint64_t segseq;
    if (place == 0)
        return NOTHING;
    if (d->map_page.index != index) {
        d->map_page.index = index;
        d->map_page.sound = find_segseq(d, briq_word_granule(place), &segseq) &&
                            read_extent(d, place, BRIQ_REC_MAP_PAGE, index, segseq, &d->map_page);
    }
    return d->map_page.sound ? FOUND : DAMAGED;
}

static void print_word(const struct dump *d, uint64_t block, briq_word word)
{
    fprintf(d->out, "block %" PRIu64 " ", block);
    if (!briq_word_is_valid(word))
        fprintf(d->out, "invalid word=0x%016" PRIx64 "\n", word);
    else if (briq_word_is_data(word))
        fprintf(d->out, "data at=0x%" PRIx64 " granules=%" PRIu32 "\n",
                briq_word_granule(word) << BRIQ_GRANULE_SHIFT, briq_word_granules(word));
    else if (briq_word_type(word) == BRIQ_WORD_TYPE_FILL)
        fprintf(d->out, "fill pattern=0x%08" PRIx32 "\n", briq_word_pattern(word));
    else
        fprintf(d->out, "%s\n", word == BRIQ_WORD_HOLE ? "hole" : "zero");
}

static void print_map(struct dump *d, uint64_t begin, uint64_t end)
{
    for (uint64_t block = begin; block < end;) {
        uint64_t index = block / BRIQ_PAGE_WORDS;
        uint64_t page_end = briq_min_u64((index + 1) * BRIQ_PAGE_WORDS, end);
        enum found found = load_map_page(d, index);
        if (found == DAMAGED)
            fprintf(d->out, "map_page %" PRIu64 " state=damaged blocks=%" PRIu64 "-%" PRIu64 "\n",
                    index, block, page_end - 1);
        for (; block < page_end; block++)
            if (found != DAMAGED)
                print_word(d, block,
                           found == NOTHING ? BRIQ_WORD_HOLE : child_of(&d->map_page, block));
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int check_segment(const struct dump *d, int64_t seg, struct briq_error *err)
{
    if (seg < 0 || (seg >= d->sb.seg_first && seg < d->sb.seg_end))
        return 0;
    return briq_error_set(err, -EINVAL,
                          "%s: has no segment %" PRId64 ": they are %" PRIu32 " to %" PRIu32,
                          d->path, seg, d->sb.seg_first, d->sb.seg_end - 1);
}

static int print_parts(struct dump *d, const struct briq_dump_options *options,
                       struct briq_error *err)
{
    int r = check_segment(d, options->segment, err);
    if (r < 0)
        return r;
    bool all = options->segment < 0;
    uint32_t begin = all ? d->sb.seg_first : (uint32_t)options->segment;
    uint32_t end = all ? d->sb.seg_end : begin + 1;
    uint64_t blocks = briq_div_up(d->sb.logical_bytes, BRIQ_BLOCK_BYTES);
    switch (options->what) {
    case BRIQ_DUMP_SUPERBLOCK:
        print_copy(d, 0);
        print_copy(d, 1);
        return 0;
    case BRIQ_DUMP_SEGMENTS:
        print_segments(d, begin, end);
        return 0;
    case BRIQ_DUMP_CHUNKS:
    case BRIQ_DUMP_RECORDS:
        return print_log(d, begin, end, options->what == BRIQ_DUMP_RECORDS);
    case BRIQ_DUMP_MAP:
        if (options->block < blocks)
            print_map(d, options->block,
                      options->block + briq_min_u64(options->count, blocks - options->block));
        return 0;
    }
    return briq_error_set(err, -EINVAL, "%s: no such part to dump", d->path);
}

static int load_superblock(struct dump *d, const struct briq_dump_options *options,
                           struct briq_error *err)
{
    struct briq_superblock_found found;
    int r = briq_superblock_look(d->dev, d->copy, d->state);
    if (r == 0)
        r = briq_superblock_read(d->dev, d->path, &found, err);
    if (r < 0) {
        /* Without a superblock nothing else can be found, but the copies can be shown. */
        if (options->what == BRIQ_DUMP_SUPERBLOCK && (r == -EUCLEAN || r == -ENOTSUP) &&
            !(d->state[0] == BRIQ_SB_NOT_BRIQ && d->state[1] == BRIQ_SB_NOT_BRIQ)) {
            print_copy(d, 0);
            print_copy(d, 1);
        }
        return r;
    }
    d->sb = found.sb;
    memcpy(&d->uuid_lo, d->sb.uuid, sizeof d->uuid_lo);
    d->uuid_lo = le64toh(d->uuid_lo);
    return 0;
}

static int dump_device(struct dump *d, const struct briq_dump_options *options,
                       struct briq_error *err)
{
    d->seg_root.index = d->seg_page.index = NO_INDEX;
    d->map_root.index = d->map_node.index = d->map_page.index = NO_INDEX;
    int r = load_superblock(d, options, err);
    if (r == 0)
        r = print_parts(d, options, err);
    if (r == 0 && (fflush(d->out) != 0 || ferror(d->out)))
        return briq_error_set(err, -EIO, "cannot write the dump of %s: %s", d->path,
                              strerror(errno));
    return r < 0 ? briq_error_set(err, r, "%s: cannot read: %s", d->path, strerror(-r)) : 0;
}

int briq_dump(const char *path, const struct briq_dump_options *options, FILE *out,
              struct briq_error *err)
{
    if (strncmp(path, "mem:", 4) == 0)
        return briq_error_set(err, -EINVAL,
                              "%s: a volume in memory has nothing on a medium to dump", path);
    struct dump *d = calloc(1, sizeof *d);
    if (d == NULL)
        return briq_error_set(err, -ENOMEM, "%s: not enough memory", path);
    d->path = path;
    d->out = out;
    int r = briq_file_open(path, BRIQ_FILE_READ_ONLY | BRIQ_FILE_UNLOCKED, err, &d->dev);
    if (r == 0)
        r = dump_device(d, options, err);
    briq_device_close(d->dev);
    free(d);
    return r;
}
