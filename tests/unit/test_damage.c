/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_damage.c - a volume whose file was truncated, or has a flipped bit: in a superblock, a map
 * page, a chunk header, a record, a payload. Every read then returns what was written or -EIO,
 * never anything else; damage to a payload costs that one block.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/align.h"
#include "tests/lib/fixture.h"
#include "tests/lib/image.h"
#include "tests/lib/ledger.h"
#include "tests/lib/temp_dir.h"

#define BLOCKS       600u /* more than one map page of 512 */
#define FLUSH_BLOCKS 100u /* every so many; divides the above */
#define RECORDS_MAX  8192u
#define SAMPLES      16u
#define RANDOM_FLIPS 250u
#define ANY_BLOCK    UINT64_MAX

struct fixture {
    struct test_dir dir, windows;
    struct test_path path;
    bool cut; /* the file of a volume that was open, as after a power cut */
    struct test_image image;
    struct test_found *found;
    size_t found_count;
    struct test_ledger *ledger;
    struct briq_prng prng;
};

static struct fixture *fixture_of(void **state)
{
    return *state;
}

/* Operation i + 1 wrote block i, for all blocks but every eighth, which is a hole. */
static uint64_t number_of(uint32_t block)
{
    return block % 8 == 7 ? 0 : block + 1;
}

static void write_blocks(struct briq_store *store)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    for (uint32_t block = 0; block < BLOCKS; block++) {
        test_ledger_content(number_of(block), block, bytes);
        if (number_of(block) != 0)
            assert_int_equal(
                briq_write(store, bytes, sizeof bytes, (uint64_t)block * BRIQ_BLOCK_BYTES, 0), 0);
        if ((block + 1) % FLUSH_BLOCKS == 0)
            assert_int_equal(briq_flush(store), 0);
    }
}

static struct briq_open_options open_options(const struct fixture *f, bool read_only)
{
    return (struct briq_open_options){
        .read_only = read_only, .windows_dir = f->windows.path, .streams = 1};
}

static void make_volume(struct fixture *f)
{
    struct briq_create_options options = {.size_bytes = BLOCKS * BRIQ_BLOCK_BYTES,
                                          .segment_shift = 16};
    test_dir_open(&f->dir, TEST_DIR_MEMORY);
    test_dir_open(&f->windows, TEST_DIR_MEMORY);
    f->path = test_dir_file(&f->dir, "volume.briq");
    test_volume_create(f->path.text, &options);
}

static int set_up_clean(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->prng.state = test_seed("build/tests/unit/test_damage");
    make_volume(f);
    struct briq_open_options options = open_options(f, false);
    struct briq_store *store = test_volume_open(f->path.text, &options);
    write_blocks(store);
    test_volume_close(store);
    test_image_open(&f->image, f->path.text);
    f->found = calloc(RECORDS_MAX, sizeof *f->found);
    f->found_count = test_image_records(&f->image, f->found, RECORDS_MAX);
    assert_true(f->found_count >= BLOCKS / 8 * 7 && f->found_count < RECORDS_MAX);
    *state = f;
    return 0;
}

/* The file of a volume that is open: flushed, not closed, as after a power cut. */
static int set_up_cut(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->prng.state = test_seed("build/tests/unit/test_damage");
    make_volume(f);
    f->cut = true;
    struct test_path live = f->path;
    struct briq_open_options options = open_options(f, false);
    struct briq_store *store = test_volume_open(live.text, &options);
    write_blocks(store);
    f->path = test_dir_file(&f->dir, "cut.briq");
    test_file_copy(live.text, f->path.text);
    test_volume_close(store);
    test_image_open(&f->image, f->path.text);
    f->found = calloc(RECORDS_MAX, sizeof *f->found);
    f->found_count = test_image_records(&f->image, f->found, RECORDS_MAX);
    assert_true(f->found_count >= BLOCKS / 8 * 7 && f->found_count < RECORDS_MAX);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = fixture_of(state);
    test_image_close(&f->image);
    test_dir_close(&f->dir);
    test_dir_close(&f->windows);
    free(f->found);
    free(f);
    return 0;
}

/* The file as it was; what the last opening may have left beside it is gone. */
static void restore(struct fixture *f)
{
    test_image_restore(&f->image);
    test_dir_empty(&f->windows);
}

/* Opens the damaged volume; NULL when that is refused, which must be explained. */
static struct briq_store *open_damaged(struct fixture *f, bool read_only)
{
    struct briq_open_options options = open_options(f, read_only);
    struct briq_error err = {0};
    struct briq_store *store = NULL;
    int r = briq_store_open(f->path.text, &options, &err, &store);
    if (r == 0)
        return store;
    if (r != -EUCLEAN || strchr(err.text, '\n') != NULL || strstr(err.text, f->path.text) == NULL)
        fail_msg("opening a damaged volume returned %d: \"%s\"", r, err.text);
    return NULL;
}

/* How many blocks answer -EIO; every other must be right. From block `older` on they may also be
 * holes, as before the first write. */
static unsigned count_lost(struct briq_store *store, uint64_t *ret_lost, uint32_t older,
                           uint64_t damage)
{
    unsigned lost = 0;
    for (uint32_t block = 0; block < BLOCKS; block++) {
        uint8_t bytes[BRIQ_BLOCK_BYTES];
        int r = briq_read(store, bytes, sizeof bytes, (uint64_t)block * BRIQ_BLOCK_BYTES);
        uint64_t number = r == 0 ? test_ledger_number(bytes, block) : 0;
        if (r == -EIO) {
            *ret_lost = block;
            lost++;
        } else if (r != 0 || (number != number_of(block) && !(block >= older && number == 0))) {
            fail_msg("damage at byte %" PRIu64 ": block %" PRIu32 " reads as operation %" PRIu64
                     " (result %d) and should as %" PRIu64,
                     damage, block, number, r, number_of(block));
        }
    }
    return lost;
}

/* ---- payload --------------------------------------------------------------------------------- */

static void expect_one_block_lost(struct fixture *f, const struct test_found *found, uint64_t at,
                                  uint8_t mask)
{
    uint64_t lost = ANY_BLOCK;
    test_image_flip(&f->image, at, mask);
    struct briq_store *store = open_damaged(f, false);
    assert_non_null(store);
    if (count_lost(store, &lost, BLOCKS, at) != 1 || lost != found->record.lba)
        fail_msg("a flip in the payload of block %" PRIu64 " at byte %" PRIu64
                 " lost block %" PRIu64,
                 found->record.lba, at, lost);
    struct briq_stats stats;
    briq_store_stats(store, &stats);
    assert_true(stats.payload_errors >= 1);
    assert_false(briq_store_read_only(store)); /* it is one block's fault */
    test_volume_close(store);
    restore(f);
}

/* Where a data record's payload really ends: its header says how many bytes follow it. */
static uint64_t payload_bytes(const struct fixture *f, const struct test_found *found)
{
    struct briq_fmt_extent extent;
    memcpy(&extent, f->image.bytes + test_found_payload_at(found), sizeof extent);
    return sizeof extent + briq_le16_get(extent.len);
}

static void a_flipped_payload_bit_costs_one_block(void **state)
{
    struct fixture *f = fixture_of(state);
    unsigned seen = 0;
    for (size_t i = 0; i < f->found_count; i++) {
        const struct test_found *found = &f->found[i];
        if (found->record.type != BRIQ_REC_DATA ||
            i % (f->found_count / test_repeats(SAMPLES)) != 0)
            continue;
        uint64_t at = test_found_payload_at(found), len = payload_bytes(f, found);
        expect_one_block_lost(f, found, at, 0x01);     /* the check */
        expect_one_block_lost(f, found, at + 4, 0x10); /* the length */
        expect_one_block_lost(f, found, at + 6, 0x01); /* the codec */
        expect_one_block_lost(f, found, at + 8, 0x80); /* the first byte */
        expect_one_block_lost(f, found, at + len / 2, 0x04);
        expect_one_block_lost(f, found, at + len - 1, 0x01);
        seen++;
    }
    assert_true(seen >= test_repeats(SAMPLES) / 2);
}

static void a_payload_of_another_block_is_not_taken_for_its_own(void **state)
{
    struct fixture *f = fixture_of(state);
    const struct test_found *one = NULL, *other = NULL;
    for (size_t i = 0; i < f->found_count; i++) {
        const struct test_found *found = &f->found[i];
        if (found->record.type != BRIQ_REC_DATA)
            continue;
        if (one == NULL)
            one = found;
        else if (found->record.granules == one->record.granules)
            other = found;
    }
    assert_non_null(other);
    uint64_t lost = ANY_BLOCK, len = (uint64_t)one->record.granules * BRIQ_GRANULE_BYTES;
    test_image_write(&f->image, test_found_payload_at(one),
                     f->image.bytes + test_found_payload_at(other), len);
    struct briq_store *store = open_damaged(f, false);
    assert_non_null(store);
    assert_int_equal(count_lost(store, &lost, BLOCKS, test_found_payload_at(one)), 1);
    assert_int_equal(lost, one->record.lba);
    test_volume_close(store);
    restore(f);
}

static void a_damaged_block_can_be_written_again(void **state)
{
    struct fixture *f = fixture_of(state);
    const struct test_found *found = &f->found[0];
    while (found->record.type != BRIQ_REC_DATA)
        found++;
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    uint64_t lost = ANY_BLOCK, off = found->record.lba * BRIQ_BLOCK_BYTES;
    test_image_flip(&f->image, test_found_payload_at(found) + 20, 0x20);
    struct briq_store *store = open_damaged(f, false);
    /* A part of it cannot be merged with what is lost; all of it can be replaced. */
    assert_int_equal(briq_write(store, "x", 1, off + 5, 0), -EIO);
    assert_false(briq_store_read_only(store));
    test_ledger_content(number_of((uint32_t)found->record.lba), (uint32_t)found->record.lba, bytes);
    assert_int_equal(briq_write(store, bytes, sizeof bytes, off, 0), 0);
    assert_int_equal(count_lost(store, &lost, BLOCKS, off), 0);
    test_volume_close(store);
}

/* Moving the data about must not wash the damage into something that passes. */
static void garbage_collection_keeps_damage_visible(void **state)
{
    struct fixture *f = fixture_of(state);
    const struct test_found *found = &f->found[0];
    while (found->record.type != BRIQ_REC_DATA)
        found++;
    uint64_t lost = ANY_BLOCK, at = test_found_payload_at(found) + 20;
    test_image_flip(&f->image, at, 0x20);
    struct briq_store *store = open_damaged(f, false);
    assert_non_null(store);
    for (uint32_t block = 0; block < BLOCKS; block += 2) { /* garbage in every segment */
        uint8_t bytes[BRIQ_BLOCK_BYTES];
        if (block == found->record.lba || number_of(block) == 0)
            continue;
        test_ledger_content(number_of(block), block, bytes);
        assert_int_equal(
            briq_write(store, bytes, sizeof bytes, (uint64_t)block * BRIQ_BLOCK_BYTES, 0), 0);
    }
    assert_int_equal(briq_store_compact(store, NULL, NULL), 0);
    assert_int_equal(count_lost(store, &lost, BLOCKS, at), 1);
    assert_int_equal(lost, found->record.lba);
    test_volume_close(store);
}

/* ---- metadata -------------------------------------------------------------------------------- */

static void either_superblock_is_enough(void **state)
{
    struct fixture *f = fixture_of(state);
    static const uint64_t offsets[] = {BRIQ_SB_A_OFFSET, BRIQ_SB_B_OFFSET};
    static const uint32_t places[] = {0, 8, 80, 104, 700, 2000, 4090};
    for (unsigned copy = 0; copy < 2; copy++) {
        for (unsigned i = 0; i < BRIQ_COUNT_OF(places); i++) {
            struct briq_volume_info info = {0};
            uint64_t lost = ANY_BLOCK, at = offsets[copy] + places[i];
            test_image_flip(&f->image, at, 0x40);
            assert_int_equal(briq_volume_info(f->path.text, &info, NULL), 0);
            assert_true(info.superblock_damaged);
            struct briq_store *store = open_damaged(f, true);
            assert_non_null(store);
            assert_int_equal(count_lost(store, &lost, BLOCKS, at), 0);
            test_volume_close(store);
            store = open_damaged(f, false);
            assert_non_null(store);
            test_volume_close(store);
            restore(f);
        }
    }
}

static void without_both_superblocks_it_is_refused(void **state)
{
    struct fixture *f = fixture_of(state);
    test_image_flip(&f->image, BRIQ_SB_A_OFFSET + 80, 0x01);
    test_image_flip(&f->image, BRIQ_SB_B_OFFSET + 80, 0x01);
    assert_null(open_damaged(f, false));
    assert_null(open_damaged(f, true));
    restore(f);
}

/* A flip in a page of the map, a node over it, or a segment page: refused, or -EIO below it. */
static void a_flipped_bit_in_the_map_gives_no_wrong_bytes(void **state)
{
    struct fixture *f = fixture_of(state);
    unsigned seen = 0, noticed = 0;
    for (size_t i = 0; i < f->found_count; i++) {
        const struct test_found *found = &f->found[i];
        if (found->record.type < BRIQ_REC_MAP_PAGE)
            continue;
        uint64_t start = test_found_payload_at(found);
        for (unsigned j = 0; j < 4; j++) {
            uint64_t lost, at = start + briq_prng_below(&f->prng, found->record.granules * 16u);
            test_image_flip(&f->image, at, (uint8_t)(1u << j));
            struct briq_store *store = open_damaged(f, true);
            noticed += store == NULL;
            if (store != NULL && count_lost(store, &lost, BLOCKS, at) > 0)
                noticed++;
            if (store != NULL)
                test_volume_close(store);
            restore(f);
        }
        seen++;
    }
    assert_true(seen >= 2);
    assert_true(noticed >= 1);
}

static void a_flipped_bit_anywhere_gives_no_wrong_bytes(void **state)
{
    struct fixture *f = fixture_of(state);
    uint64_t begin = f->found[0].chunk, end = briq_align_up(f->image.size, 4096);
    for (unsigned i = 0; i < test_repeats(RANDOM_FLIPS); i++) {
        uint64_t lost, at = begin + briq_prng_below(&f->prng, end - begin);
        if (at >= f->image.size)
            continue;
        test_image_flip(&f->image, at, (uint8_t)(1u << i % 8));
        struct briq_store *store = open_damaged(f, true);
        if (store != NULL) {
            /* Damage to a log that was not checkpointed may cost its end. */
            count_lost(store, &lost, f->cut ? 0 : BLOCKS, at);
            test_volume_close(store);
        }
        restore(f);
    }
}

/* ---- after a power cut ----------------------------------------------------------------------- */

/*
 * What was flushed and is unreadable in the log: the volume says so and can only be read. Of what
 * the last flush covered nothing later tells, so it looks like the torn end of a log.
 */
static void damage_to_a_flushed_log_is_told(void **state)
{
    struct fixture *f = fixture_of(state);
    unsigned told = 0, seen = 0;
    for (size_t i = 0; i < f->found_count; i += 1 + f->found_count / 60) {
        const struct test_found *found = &f->found[i];
        if (found->record.type != BRIQ_REC_DATA)
            continue;
        uint64_t lost, at = i % 2 == 0 ? test_found_record_at(found) + i % 24
                                       : found->chunk + i % sizeof(struct briq_fmt_chunk);
        test_image_flip(&f->image, at, 0x08);
        struct briq_store *store = open_damaged(f, false);
        bool tells = store == NULL || briq_store_read_only(store);
        if (store != NULL) {
            count_lost(store, &lost, tells ? 0 : BLOCKS - FLUSH_BLOCKS, at);
            (void)briq_store_close(store);
        }
        told += tells;
        seen++;
        restore(f);
    }
    assert_true(told >= seen / 2);
}

static void a_cut_volume_without_damage_is_whole(void **state)
{
    struct fixture *f = fixture_of(state);
    uint64_t lost = ANY_BLOCK;
    struct briq_store *store = open_damaged(f, false);
    assert_non_null(store);
    assert_false(briq_store_read_only(store));
    assert_int_equal(count_lost(store, &lost, BLOCKS, 0), 0);
    test_volume_close(store);
    assert_true(test_volume_is_sound(f->path.text, f->windows.path));
}

/* ---- truncation ------------------------------------------------------------------------------ */

static void a_truncated_volume_is_refused(void **state)
{
    struct fixture *f = fixture_of(state);
    uint64_t last = f->found[f->found_count - 1].chunk;
    const uint64_t sizes[] = {
        1, 511, 4095, 4096, BRIQ_SB_B_OFFSET, BRIQ_DATA_OFFSET, (BRIQ_DATA_OFFSET + last) / 2,
    };
    for (unsigned i = 0; i < BRIQ_COUNT_OF(sizes); i++) {
        assert_int_equal(truncate(f->path.text, (off_t)sizes[i]), 0);
        for (int read_only = 0; read_only < 2; read_only++) {
            struct briq_store *store = open_damaged(f, read_only);
            if (store != NULL)
                fail_msg("a volume of %" PRIu64 " bytes was opened at %" PRIu64 " bytes",
                         f->image.size, sizes[i]);
        }
        restore(f);
    }
}

#define CLEAN(name) cmocka_unit_test_setup_teardown(name, set_up_clean, tear_down)
#define CUT(name)   cmocka_unit_test_setup_teardown(name, set_up_cut, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CLEAN(a_flipped_payload_bit_costs_one_block),
        CLEAN(a_payload_of_another_block_is_not_taken_for_its_own),
        CLEAN(a_damaged_block_can_be_written_again),
        CLEAN(garbage_collection_keeps_damage_visible),
        CLEAN(either_superblock_is_enough),
        CLEAN(without_both_superblocks_it_is_refused),
        CLEAN(a_flipped_bit_in_the_map_gives_no_wrong_bytes),
        CLEAN(a_flipped_bit_anywhere_gives_no_wrong_bytes),
        CUT(a_cut_volume_without_damage_is_whole),
        CUT(damage_to_a_flushed_log_is_told),
        CUT(a_flipped_bit_anywhere_gives_no_wrong_bytes),
        CLEAN(a_truncated_volume_is_refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
