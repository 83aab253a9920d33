/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/patient.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/device/device.h"
#include "common/store/engine.h"
#include "common/store/tree.h"
#include "tests/lib/fixture.h"
#include "tests/lib/loosen.h"
#include "tests/lib/raw_page.h"

#define RUN_BLOCKS_MAX 24u
#define LIFE_OPS       160u
#define LIVES          4u

static void need(bool well, const char *what)
{
    if (!well) {
        fprintf(stderr, "patient: %s failed\n", what);
        exit(1);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct briq_open_options open_options(const struct test_patient *p)
{
    return (struct briq_open_options){.windows_dir = p->windows.path, .streams = 2, .windows = 16};
}

struct briq_store *test_patient_store(const struct test_patient *p)
{
    struct briq_open_options options = open_options(p);
    return test_volume_open(p->path.text, &options);
}

static void write_some(struct test_patient *p, struct briq_store *store, uint64_t off, size_t len)
{
    uint8_t bytes[RUN_BLOCKS_MAX * BRIQ_BLOCK_BYTES];
    enum test_data kind = test_corpus_draw(&p->prng);
    test_corpus_fill(p->corpus, &p->prng, kind, ++p->stamp, bytes, len);
    need(briq_write(store, bytes, len, off, 0) == 0, "a write");
    memcpy(p->content + off, bytes, len);
}

static void act(struct test_patient *p, struct briq_store *store)
{
    uint64_t block = briq_prng_below(&p->prng, TEST_PATIENT_BLOCKS);
    uint64_t count = 1 + briq_prng_below(&p->prng, RUN_BLOCKS_MAX);
    uint64_t off = block * BRIQ_BLOCK_BYTES;
    uint64_t len = briq_min_u64(count * BRIQ_BLOCK_BYTES, TEST_PATIENT_BYTES - off);
    switch (briq_prng_below(&p->prng, 10)) {
    case 0:
        need(briq_trim(store, len, off, 0) == 0, "a trim");
        memset(p->content + off, 0, briq_align_down(len, BRIQ_BLOCK_BYTES)); /* whole blocks only */
        return;
    case 1:
        need(briq_zero(store, len, off, 0) == 0, "a zero");
        memset(p->content + off, 0, len);
        return;
    case 2:
        need(briq_flush(store) == 0, "a flush");
        return;
    default:
        write_some(p, store, off, len);
    }
}

void test_patient_live(struct test_patient *p, struct briq_store *store, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        act(p, store);
        need(briq_store_maintain(store) >= 0, "maintenance");
    }
}

static void bring_up(struct test_patient *p, enum test_patient_state state)
{
    for (unsigned i = 0; i < LIVES; i++) {
        struct briq_store *store = test_patient_store(p);
        test_patient_live(p, store, LIFE_OPS);
        need(i % 2 == 0 || briq_store_checkpoint(store) == 0, "a checkpoint");
        need(i != 2 || briq_store_compact(store, NULL, NULL) == 0, "a compaction");
        test_patient_live(p, store, LIFE_OPS / 4);
        need(briq_flush(store) == 0, "the last flush");
        if (i == LIVES - 1 && state == TEST_PATIENT_CUT) {
            struct test_path cut = test_dir_file(&p->dir, "cut.briq");
            test_file_copy(p->path.text, cut.text);
            test_volume_close(store);
            p->path = cut;
        } else {
            test_volume_close(store);
        }
    }
}

void test_patient_open(struct test_patient *p, uint64_t seed, unsigned segment_shift,
                       enum test_patient_state state)
{
    struct briq_create_options options = {.size_bytes = TEST_PATIENT_BYTES,
                                          .segment_shift = segment_shift};
    memset(p, 0, sizeof *p);
    p->prng.state = seed;
    p->corpus = test_corpus_open();
    p->content = calloc(TEST_PATIENT_BLOCKS, BRIQ_BLOCK_BYTES);
    need(p->content != NULL, "memory");
    test_dir_open(&p->dir, TEST_DIR_MEMORY);
    test_dir_open(&p->windows, TEST_DIR_MEMORY);
    p->path = test_dir_file(&p->dir, "volume.briq");
    test_volume_create(p->path.text, &options);
    bring_up(p, state);
    test_image_open(&p->image, p->path.text);
}

void test_patient_close(struct test_patient *p)
{
    test_image_close(&p->image);
    test_dir_close(&p->dir);
    test_dir_close(&p->windows);
    test_corpus_close(p->corpus);
    free(p->content);
}

void test_patient_renew(struct test_patient *p)
{
    test_image_close(&p->image);
    test_image_open(&p->image, p->path.text);
}

void test_patient_loosen(struct test_patient *p)
{
    /* A segment that was never used may lie behind the end of the file. */
    struct briq_superblock sb;
    need(briq_superblock_decode(p->image.bytes, &sb) == BRIQ_SB_OK, "decoding the superblock");
    uint64_t size = (uint64_t)sb.seg_end << sb.seg_shift;
    need(ftruncate(p->image.fd, (off_t)briq_max_u64(size, p->image.size)) == 0, "growing an image");
    test_patient_renew(p);
    test_loosen(p->image.bytes, p->image.size, (1u << TEST_PATIENT_PAGES) - 1);
    test_image_restore(&p->image);
}

void test_patient_restore(struct test_patient *p)
{
    test_image_restore(&p->image);
    test_dir_empty(&p->windows);
}

/* ---- reading --------------------------------------------------------------------------------- */

void test_patient_read(const struct test_patient *p, struct briq_device *device,
                       struct test_reading *ret)
{
    struct briq_open_options options = open_options(p);
    struct briq_error err = {0};
    struct briq_store *store = NULL;
    options.read_only = true;
    options.device = device;
    memset(ret, 0, sizeof *ret);
    ret->content = calloc(TEST_PATIENT_BLOCKS, BRIQ_BLOCK_BYTES);
    need(ret->content != NULL, "memory");
    if (briq_store_open(p->path.text, &options, &err, &store) < 0)
        return;
    ret->opened = true;
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++) {
        uint64_t off = block * (uint64_t)BRIQ_BLOCK_BYTES;
        size_t len = briq_min_u64(BRIQ_BLOCK_BYTES, TEST_PATIENT_BYTES - off);
        ret->readable[block] = briq_read(store, ret->content + off, len, off) == 0;
    }
    need(briq_store_close(store) == 0, "closing what was only read");
}

void test_reading_free(struct test_reading *reading)
{
    free(reading->content);
    reading->content = NULL;
}

bool test_reading_is_right(const struct test_patient *p, const struct test_reading *reading,
                           uint32_t block)
{
    size_t off = block * (size_t)BRIQ_BLOCK_BYTES;
    size_t len = briq_min_u64(BRIQ_BLOCK_BYTES, TEST_PATIENT_BYTES - off);
    return reading->readable[block] && memcmp(reading->content + off, p->content + off, len) == 0;
}

/* ---- examination ----------------------------------------------------------------------------- */

static void take_line(void *opaque, const char *line)
{
    struct test_findings *findings = opaque;
    size_t used = strlen(findings->text);
    findings->lines++;
    snprintf(findings->text + used, sizeof findings->text - used, "%s\n", line);
}

void test_patient_check(const struct test_patient *p, struct briq_device *device, bool deep,
                        bool repair, struct test_findings *ret)
{
    struct briq_check_options options = {
        .deep = deep,
        .repair = repair,
        .report = take_line,
        .opaque = ret,
        .windows_dir = p->windows.path,
        .device = device,
    };
    memset(ret, 0, sizeof *ret);
    ret->error = briq_check(p->path.text, &options, &ret->result, &ret->err);
}

uint64_t test_findings_errors(const struct test_findings *findings)
{
    const struct briq_check_result *r = &findings->result;
    return r->superblock_errors + r->map_errors + r->segment_errors + r->chunk_errors +
           r->payload_errors + r->lost_flushed;
}

/* ---- where things are ------------------------------------------------------------------------ */

static uint64_t place_of(uint64_t pointer)
{
    return briq_tree_granule(pointer) << BRIQ_GRANULE_SHIFT;
}

void test_patient_places(const struct test_patient *p, struct test_places *ret)
{
    struct briq_open_options options = open_options(p);
    options.read_only = true;
    struct briq_store *store = test_volume_open(p->path.text, &options);
    memset(ret, 0, sizeof *ret);
    ret->map_root = place_of(store->sb.map_roots[0]);
    ret->seg_root = place_of(store->sb.seg_roots[0]);
    ret->map_node = place_of(store->tree.map_nodes[0]);
    ret->seg_first = store->space.seg_first;
    ret->seg_end = store->space.seg_end;
    ret->seg_shift = store->space.seg_shift;
    ret->seg_page = place_of(store->tree.seg_pages[ret->seg_first / BRIQ_SEGS_PER_PAGE]);
    for (unsigned page = 0; page < TEST_PATIENT_PAGES; page++)
        ret->map_page[page] = place_of(briq_map_page_place(&store->map, page));
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++) {
        need(briq_tree_need_page(store, briq_map_page_of(block)) == 0, "loading a map page");
        briq_word word = briq_map_word(&store->map, block);
        ret->data[block] = briq_word_is_data(word) ? place_of(briq_word_granule(word)) : 0;
    }
    test_volume_close(store);
}

/* ---- damage with sound checksums ------------------------------------------------------------- */

static void get_page(const struct test_patient *p, uint64_t at, uint8_t *page)
{
    memcpy(page, p->image.bytes + at + BRIQ_EXTENT_HEADER_BYTES, BRIQ_PAGE_BYTES);
}

static void put_page(struct test_patient *p, uint64_t at, enum briq_record_type type,
                     uint64_t index, uint64_t segseq, const uint8_t *page)
{
    uint8_t extent[TEST_RAW_PAGE_BYTES];
    test_raw_page_write(extent, page, briq_meta_tag(type, index), segseq);
    test_image_write(&p->image, at, extent, sizeof extent);
}

struct briq_segment_entry test_patient_entry(const struct test_patient *p,
                                             const struct test_places *places, uint32_t seg)
{
    const uint8_t *page = p->image.bytes + places->seg_page + BRIQ_EXTENT_HEADER_BYTES;
    struct briq_segment_entry entry;
    briq_segment_decode(page + seg % BRIQ_SEGS_PER_PAGE * sizeof(struct briq_fmt_segment), &entry);
    return entry;
}

void test_patient_put_entry(struct test_patient *p, const struct test_places *places, uint32_t seg,
                            const struct briq_segment_entry *entry)
{
    uint8_t page[BRIQ_PAGE_BYTES];
    struct briq_superblock sb;
    uint64_t index = seg / BRIQ_SEGS_PER_PAGE;
    need(briq_superblock_decode(p->image.bytes, &sb) == BRIQ_SB_OK, "decoding the superblock");
    get_page(p, places->seg_page, page);
    briq_segment_encode(entry, page + seg % BRIQ_SEGS_PER_PAGE * sizeof(struct briq_fmt_segment));
    put_page(p, places->seg_page, BRIQ_REC_SEG_PAGE, index, 0, page);

    briq_le64 pointer = briq_le64_of(
        briq_tree_pointer(places->seg_page >> BRIQ_GRANULE_SHIFT, page, BRIQ_REC_SEG_PAGE, index));
    get_page(p, places->seg_root, page);
    memcpy(page + index * sizeof pointer, &pointer, sizeof pointer);
    put_page(p, places->seg_root, BRIQ_REC_SEG_ROOT, 0, 0, page);
    sb.seg_roots[0] =
        briq_tree_pointer(places->seg_root >> BRIQ_GRANULE_SHIFT, page, BRIQ_REC_SEG_ROOT, 0);
    briq_superblock_encode(&sb, page);
    test_image_write(&p->image, BRIQ_SB_A_OFFSET, page, sizeof page);
    test_image_write(&p->image, BRIQ_SB_B_OFFSET, page, sizeof page);
}

void test_patient_put_word(struct test_patient *p, const struct test_places *places, uint32_t block,
                           briq_word word)
{
    uint8_t page[BRIQ_PAGE_BYTES];
    uint64_t index = block / BRIQ_PAGE_WORDS, at = places->map_page[index];
    struct briq_segment_entry entry =
        test_patient_entry(p, places, (uint32_t)(at >> places->seg_shift));
    briq_le64 raw = briq_le64_of(word);
    get_page(p, at, page);
    memcpy(page + block % BRIQ_PAGE_WORDS * sizeof raw, &raw, sizeof raw);
    put_page(p, at, BRIQ_REC_MAP_PAGE, index, entry.segseq, page);
}
