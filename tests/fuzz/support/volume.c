/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/support/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/base/boot_id.h"
#include "common/base/prng.h"
#include "common/store/codec.h"
#include "common/store/tree.h"
#include "tests/lib/ledger.h"
#include "tests/lib/loosen.h"

#define LIVES      4u
#define LIFE_OPS   40u
#define RUN_MAX    3u
#define HOT_BLOCKS 5u /* what is written again and again, of each map page */

static void need(bool well, const char *what)
{
    if (!well) {
        fprintf(stderr, "fuzz volume: %s failed\n", what);
        abort();
    }
}

/* ---- making it ------------------------------------------------------------------------------- */

/* An empty volume is two superblocks. Not by briq_store_create(), which draws a uuid. */
static void create(struct fuzz_disk *disk)
{
    struct briq_superblock sb = {
        .version = BRIQ_FMT_VERSION,
        .uuid = "fuzzed volume.",
        .generation = 1,
        .seg_shift = FUZZ_SEG_SHIFT,
        .window_shift = FUZZ_SEG_SHIFT,
        .accel = 1,
        .clean = true,
        .logical_bytes = FUZZ_BLOCKS * (uint64_t)BRIQ_BLOCK_BYTES - BRIQ_SECTOR_BYTES,
        .limit_bytes = FUZZ_DISK_BYTES,
        .seg_first = FUZZ_SEG_FIRST,
        .seg_end = FUZZ_SEG_END,
    };
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        sb.heads[i].seg = sb.heads[i].next_seg = BRIQ_SEG_NONE;
    briq_superblock_encode(&sb, fuzz_disk_change(disk, BRIQ_SB_A_OFFSET, BRIQ_SB_BYTES));
    briq_superblock_encode(&sb, fuzz_disk_change(disk, BRIQ_SB_B_OFFSET, BRIQ_SB_BYTES));
}

static void fill(struct briq_prng *prng, uint64_t number, uint32_t block, uint8_t *bytes)
{
    uint64_t kind = briq_prng_below(prng, 8);
    if (kind == 0)
        briq_fill_block(bytes, (uint32_t)number);
    else if (kind == 1)
        memset(bytes, 0, BRIQ_BLOCK_BYTES);
    else if (kind > 2)
        test_ledger_content(number, block, bytes);
    else
        for (size_t i = 0; i < BRIQ_BLOCK_BYTES; i += sizeof number) {
            number = briq_prng_next(prng);
            memcpy(bytes + i, &number, sizeof number);
        }
}

static uint32_t draw_block(struct briq_prng *prng)
{
    uint32_t first = briq_prng_below(prng, 2) == 0 ? 0 : FUZZ_BLOCKS - HOT_BLOCKS;
    return first + (uint32_t)briq_prng_below(prng, HOT_BLOCKS);
}

static void act(struct briq_store *store, struct briq_prng *prng, uint64_t number)
{
    uint8_t bytes[RUN_MAX * BRIQ_BLOCK_BYTES];
    uint32_t block = draw_block(prng);
    uint64_t count = 1 + briq_prng_below(prng, RUN_MAX);
    uint64_t off = block * (uint64_t)BRIQ_BLOCK_BYTES;
    uint64_t len = briq_min_u64(count * BRIQ_BLOCK_BYTES, briq_store_size(store) - off);
    int r;
    switch (briq_prng_below(prng, 16)) {
    case 0:
        r = briq_trim(store, len, off, 0);
        break;
    case 1:
        r = briq_zero(store, len, off, 0);
        break;
    case 2:
        r = briq_flush(store);
        break;
    default:
        for (uint32_t i = 0; i < RUN_MAX; i++)
            fill(prng, number, block + i, bytes + i * BRIQ_BLOCK_BYTES);
        r = briq_write(store, bytes, len, off, 0);
    }
    need(r == 0, "an operation");
}

static struct briq_store *open_to_write(struct fuzz_disk *disk, const char *windows_dir)
{
    struct briq_store *store = NULL;
    need(fuzz_volume_open(disk, false, windows_dir, &store) == 0, "opening");
    return store;
}

static void live(struct briq_store *store, struct briq_prng *prng, unsigned life)
{
    for (unsigned i = 0; i < LIFE_OPS; i++) {
        act(store, prng, life * 1000 + i + 1);
        need(briq_store_maintain(store) >= 0, "maintenance");
        if (i == LIFE_OPS / 2)
            need(briq_store_checkpoint(store) == 0, "a checkpoint");
    }
    need(life % 2 == 0 || briq_store_compact(store, NULL, NULL) == 0, "a compaction");
    for (unsigned i = 0; i < LIFE_OPS / 4; i++)
        act(store, prng, life * 1000 + 500 + i);
}

/* Lives a few lives on the disk; of the last one *ret_store stays open. */
static struct fuzz_disk *bring_up(const char *windows_dir, struct briq_store **ret_store)
{
    struct fuzz_disk *disk = fuzz_disk_open(FUZZ_DISK_BYTES);
    struct briq_prng prng = {.state = 1};
    create(disk);
    for (unsigned life = 0; life < LIVES; life++) {
        struct briq_store *store = open_to_write(disk, windows_dir);
        live(store, &prng, life);
        *ret_store = store;
        need(life == LIVES - 1 || briq_store_close(store) == 0, "closing");
    }
    return disk;
}

/* The volume was last opened by the present boot of this host, or by another. */
static void set_boot(struct fuzz_disk *disk, bool ours)
{
    const uint64_t at[] = {BRIQ_SB_A_OFFSET, BRIQ_SB_B_OFFSET};
    for (unsigned i = 0; i < BRIQ_COUNT_OF(at); i++) {
        struct briq_superblock sb;
        uint8_t *page = fuzz_disk_change(disk, at[i], BRIQ_SB_BYTES);
        need(briq_superblock_decode(page, &sb) == BRIQ_SB_OK, "decoding a superblock");
        need(briq_boot_id(sb.boot_id) == 0, "the boot id");
        sb.boot_id[0] ^= ours ? 0 : 1;
        briq_superblock_encode(&sb, page);
    }
    fuzz_disk_keep(disk);
}

/* ---- where everything is --------------------------------------------------------------------- */

static void note_records(struct fuzz_volume *v, uint32_t chunk)
{
    const struct fuzz_chunk *c = &v->chunks[chunk];
    const uint8_t *bytes = fuzz_disk_bytes(v->disk);
    for (unsigned i = 0; i < c->header.nrec && v->record_count < FUZZ_RECORDS_MAX; i++) {
        struct fuzz_record *r = &v->records[v->record_count++];
        *r = (struct fuzz_record){
            .at = c->at + briq_chunk_header_bytes(i), .chunk = chunk, .index = i};
        need(briq_record_decode(bytes + c->at, &c->header, i, &r->record), "decoding a record");
        if (briq_record_has_payload(r->record.type))
            r->payload_at = c->at + (uint64_t)r->record.off_granules * BRIQ_GRANULE_BYTES;
        r->use = r->record.type > BRIQ_REC_MAP_PAGE ? 0 : c->header.segseq;
    }
}

static void note_chunks(struct fuzz_volume *v)
{
    const uint8_t *bytes = fuzz_disk_bytes(v->disk);
    uint64_t at = (uint64_t)FUZZ_SEG_FIRST << FUZZ_SEG_SHIFT;
    while (at < FUZZ_DISK_BYTES && v->chunk_count < FUZZ_CHUNKS_MAX) {
        struct fuzz_chunk *c = &v->chunks[v->chunk_count];
        size_t more;
        c->at = at;
        if (!briq_chunk_decode(bytes + at, FUZZ_DISK_BYTES - at, &c->header, &more)) {
            at += BRIQ_CHUNK_ALIGN;
            continue;
        }
        note_records(v, v->chunk_count++);
        at += c->header.len;
    }
}

static uint64_t page_word(const struct fuzz_volume *v, const struct fuzz_page *page, uint64_t index)
{
    briq_le64 word;
    memcpy(&word,
           fuzz_disk_bytes(v->disk) + page->at + BRIQ_EXTENT_HEADER_BYTES + index * sizeof word,
           sizeof word);
    return briq_le64_get(word);
}

static struct fuzz_page page_at(const struct fuzz_volume *v, enum briq_record_type type,
                                uint64_t index, uint64_t pointer)
{
    struct fuzz_page page = {.type = type,
                             .index = index,
                             .at = briq_tree_granule(pointer) << BRIQ_GRANULE_SHIFT,
                             .bytes = BRIQ_PAGE_BYTES,
                             .pointer = pointer};
    need(page.at != 0, "finding a page of the tree");
    for (uint32_t i = 0; i < v->record_count && type == BRIQ_REC_MAP_PAGE; i++)
        if (v->records[i].payload_at == page.at) {
            page.use = v->records[i].use;
            page.bytes =
                v->records[i].record.granules * BRIQ_GRANULE_BYTES - BRIQ_EXTENT_HEADER_BYTES;
        }
    return page;
}

static void note_pages(struct fuzz_volume *v)
{
    struct fuzz_page *p = v->pages;
    p[1] = page_at(v, BRIQ_REC_SEG_ROOT, 0, v->sb.seg_roots[0]);
    p[0] = page_at(v, BRIQ_REC_SEG_PAGE, 0, page_word(v, &p[1], 0));
    p[5] = page_at(v, BRIQ_REC_MAP_ROOT, 0, v->sb.map_roots[0]);
    p[4] = page_at(v, BRIQ_REC_MAP_NODE, 0, page_word(v, &p[5], 0));
    p[2] = page_at(v, BRIQ_REC_MAP_PAGE, 0, page_word(v, &p[4], 0));
    p[3] = page_at(v, BRIQ_REC_MAP_PAGE, 1, page_word(v, &p[4], 1));
}

static struct fuzz_volume *look_at(struct fuzz_disk *disk)
{
    struct fuzz_volume *v = calloc(1, sizeof *v);
    need(v != NULL, "memory");
    v->disk = disk;
    need(briq_superblock_decode(fuzz_disk_bytes(disk), &v->sb) == BRIQ_SB_OK, "the superblock");
    note_chunks(v);
    note_pages(v);
    return v;
}

struct fuzz_volume *fuzz_volume_make(enum fuzz_state state)
{
    struct briq_store *store;
    struct fuzz_disk *disk = bring_up(NULL, &store), *left = disk;
    if (state != FUZZ_CLEAN) {
        need(briq_flush(store) == 0, "the last flush");
        left = fuzz_disk_copy(disk);
        set_boot(left, state == FUZZ_DEAD);
    }
    need(briq_store_close(store) == 0, "closing");
    if (left != disk)
        fuzz_disk_close(disk);
    test_loosen(fuzz_disk_change(left, 0, FUZZ_DISK_BYTES), FUZZ_DISK_BYTES, 1);
    fuzz_disk_keep(left);
    return look_at(left);
}

struct fuzz_volume *fuzz_volume_make_windows(const char *windows_dir, struct briq_store **ret_dead)
{
    struct fuzz_disk *left = fuzz_disk_copy(bring_up(windows_dir, ret_dead));
    return look_at(left);
}

/* ---- opening it ------------------------------------------------------------------------------ */

struct briq_open_options fuzz_volume_options(struct fuzz_disk *disk, bool read_only,
                                             const char *windows_dir)
{
    return (struct briq_open_options){
        .read_only = read_only,
        .unfinished = true, /* takes those that are whole, too */
        .streams = FUZZ_STREAMS,
        .windows = FUZZ_WINDOWS,
        .growth_bytes = BRIQ_SECTOR_BYTES,
        .no_windows_file = windows_dir == NULL,
        .windows_dir = windows_dir != NULL ? windows_dir : "/nowhere",
        .device = fuzz_disk_device(disk),
    };
}

/* Errors that store.h names for an opening. */
static bool is_named(int r)
{
    return r == -EUCLEAN || r == -ENOTSUP || r == -EINVAL || r == -ENOMEM || r == -EIO ||
           r == -ENOSPC || r == -EACCES;
}

int fuzz_volume_open(struct fuzz_disk *disk, bool read_only, const char *windows_dir,
                     struct briq_store **ret)
{
    struct briq_open_options options = fuzz_volume_options(disk, read_only, windows_dir);
    struct briq_error err = {{0}};
    int r = briq_store_open(FUZZ_NAME, &options, &err, ret);
    BRIQ_ASSERT(r == 0 || is_named(r));
    BRIQ_ASSERT(r == 0 || strncmp(err.text, FUZZ_NAME, strlen(FUZZ_NAME)) == 0 ||
                windows_dir != NULL);
    BRIQ_ASSERT(r == 0 || strchr(err.text, '\n') == NULL);
    return r;
}
