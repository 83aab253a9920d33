/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_repair.c - a repair mends what it promises to, says what it cannot, and never makes things
 * worse: what could be read before can be read after, also when it dies on the way.
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

#include <cmocka.h>

#include "common/base/align.h"
#include "common/store/codec.h"
#include "tests/lib/fixture.h"
#include "tests/lib/patient.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/ward.h"

/* Opening a volume takes a quarter of a second under the thread sanitizer, and there is one thread.
 */
#ifdef __SANITIZE_THREAD__
#define RANDOM_ROUNDS 4u
#define CUT_ROUNDS    4u
#else
#define RANDOM_ROUNDS 30u
#define CUT_ROUNDS    12u
#endif
#define FLIPS_MAX 6u

static struct test_ward *fixture_of(void **state)
{
    return *state;
}

#define PROGRAM "build/tests/unit/test_repair"

static int set_up_small(void **state)
{
    return test_ward_open(state, PROGRAM, 16, TEST_PATIENT_CLEAN);
}

static int set_up_large(void **state)
{
    return test_ward_open(state, PROGRAM, 18, TEST_PATIENT_CLEAN);
}

static int set_up_cut(void **state)
{
    return test_ward_open(state, PROGRAM, 16, TEST_PATIENT_CUT);
}

static const struct test_findings *repair(struct test_ward *f)
{
    test_patient_check(&f->patient, NULL, true, true, &f->findings);
    if (f->findings.error != 0)
        fail_msg("the repair failed: %s", f->findings.err.text);
    return &f->findings;
}

/* Everything that was found is mended, each with a line of its own; the volume is sound, can be
 * written, and stays sound. */
static void expect_mended(struct test_ward *f, uint64_t found)
{
    const struct test_findings *findings = repair(f);
    unsigned mended = 0;
    for (const char *at = findings->text; (at = strstr(at, "mended: ")) != NULL; at++)
        mended++;
    if (findings->result.unrepaired != 0 || findings->result.repaired < found ||
        findings->result.repaired != mended)
        fail_msg("%" PRIu64 " mended, %u of them told, %" PRIu64 " not: %s",
                 findings->result.repaired, mended, findings->result.unrepaired, findings->text);
    test_patient_check(&f->patient, NULL, true, false, &f->findings);
    if (f->findings.error != 0 || f->findings.lines != 0)
        fail_msg("not sound after a repair: %s%s", f->findings.err.text, f->findings.text);
}

static void expect_all_right(struct test_ward *f)
{
    struct test_reading reading;
    test_patient_read(&f->patient, NULL, &reading);
    assert_true(reading.opened);
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++)
        if (!test_reading_is_right(&f->patient, &reading, block))
            fail_msg("block %" PRIu32 " is %s after the repair", block,
                     reading.readable[block] ? "wrong" : "unreadable");
    test_reading_free(&reading);
}

/* Blocks with data are what they were; others in [begin, end) may have fallen back. */
static void expect_data_right(struct test_ward *f, uint32_t begin, uint32_t end)
{
    struct test_reading reading;
    test_patient_read(&f->patient, NULL, &reading);
    assert_true(reading.opened);
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++) {
        bool may_differ = block >= begin && block < end && f->places.data[block] == 0;
        if (!may_differ && !test_reading_is_right(&f->patient, &reading, block))
            fail_msg("block %" PRIu32 " is %s after the repair", block,
                     reading.readable[block] ? "wrong" : "unreadable");
    }
    test_reading_free(&reading);
}

static void expect_life_goes_on(struct test_ward *f)
{
    struct test_patient copy = f->patient;
    struct briq_store *store = test_patient_store(&f->patient);
    uint8_t *content = malloc(TEST_PATIENT_BLOCKS * (size_t)BRIQ_BLOCK_BYTES);
    memcpy(content, f->patient.content, TEST_PATIENT_BLOCKS * (size_t)BRIQ_BLOCK_BYTES);
    assert_false(briq_store_read_only(store));
    test_patient_live(&f->patient, store, 60);
    assert_int_equal(briq_store_compact(store, NULL, NULL), 0);
    test_volume_close(store);
    test_patient_check(&f->patient, NULL, true, false, &f->findings);
    if (f->findings.error != 0 || f->findings.lines != 0)
        fail_msg("not sound in its later life: %s%s", f->findings.err.text, f->findings.text);
    memcpy(f->patient.content, content, TEST_PATIENT_BLOCKS * (size_t)BRIQ_BLOCK_BYTES);
    f->patient.prng = copy.prng;
    free(content);
}

static void flip(struct test_ward *f, uint64_t at)
{
    test_image_flip(&f->patient.image, at, (uint8_t)(1u << at % 8));
}

/* ---- one kind of damage at a time ------------------------------------------------------------ */

static void a_sound_volume_is_left_alone(void **state)
{
    struct test_ward *f = fixture_of(state);
    struct test_image now;
    const struct test_findings *findings = repair(f);
    assert_int_equal(findings->lines, 0);
    assert_int_equal(findings->result.repaired, 0);
    test_image_open(&now, f->patient.path.text);
    assert_int_equal(now.size, f->patient.image.size);
    assert_memory_equal(now.bytes, f->patient.image.bytes, now.size);
    test_image_close(&now);
}

static void a_superblock_copy_is_mended(void **state)
{
    struct test_ward *f = fixture_of(state);
    const uint64_t at[] = {BRIQ_SB_A_OFFSET + 700, BRIQ_SB_B_OFFSET + 3};
    for (unsigned i = 0; i < BRIQ_COUNT_OF(at); i++) {
        flip(f, at[i]);
        expect_mended(f, 1);
        expect_all_right(f);
        test_patient_restore(&f->patient);
    }
    expect_life_goes_on(f);
}

static void a_map_page_is_rebuilt(void **state)
{
    struct test_ward *f = fixture_of(state);
    for (uint32_t page = 0; page < TEST_PATIENT_PAGES; page++) {
        flip(f, f->places.map_page[page] + 40 + page);
        expect_mended(f, 1);
        expect_data_right(f, page * 512, (page + 1) * 512);
        expect_life_goes_on(f);
        test_patient_restore(&f->patient);
    }
}

/* Nothing is lost but where the map pages are: all of it comes back, trims included. */
static void upper_levels_of_the_map_are_found_again(void **state)
{
    struct test_ward *f = fixture_of(state);
    const uint64_t at[] = {f->places.map_root, f->places.map_node};
    for (unsigned i = 0; i < BRIQ_COUNT_OF(at); i++) {
        flip(f, at[i] + 8);
        expect_mended(f, 1);
        expect_all_right(f);
        expect_life_goes_on(f);
        test_patient_restore(&f->patient);
    }
}

static void the_segment_table_is_rebuilt(void **state)
{
    struct test_ward *f = fixture_of(state);
    const uint64_t at[] = {f->places.seg_root, f->places.seg_page};
    for (unsigned i = 0; i < BRIQ_COUNT_OF(at); i++) {
        flip(f, at[i] + 8);
        expect_mended(f, 1);
        expect_all_right(f);
        expect_life_goes_on(f);
        test_patient_restore(&f->patient);
    }
}

static void all_of_the_metadata_is_rebuilt(void **state)
{
    struct test_ward *f = fixture_of(state);
    flip(f, f->places.seg_root + 8);
    flip(f, f->places.map_root + 8);
    for (uint32_t page = 0; page < TEST_PATIENT_PAGES; page++)
        flip(f, f->places.map_page[page] + 80);
    expect_mended(f, 2);
    expect_data_right(f, 0, TEST_PATIENT_BLOCKS);
    expect_life_goes_on(f);
}

static void blocks_without_a_record_get_a_new_one(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint64_t chunk = test_ward_chunk_around(f, f->places.data[test_ward_data_block(f, 900)]);
    flip(f, chunk + 65);
    expect_mended(f, 1);
    expect_all_right(f);
    expect_life_goes_on(f);
}

static void map_pages_without_a_record_get_a_new_one(void **state)
{
    struct test_ward *f = fixture_of(state);
    flip(f, test_ward_chunk_around(f, f->places.map_page[1]) + 20);
    expect_mended(f, 1);
    expect_all_right(f);
}

static void a_damaged_payload_is_left_and_told(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint32_t block = test_ward_data_block(f, 300);
    struct test_reading reading;
    flip(f, f->places.data[block] + 15);
    for (unsigned i = 0; i < 2; i++) {
        const struct test_findings *findings = repair(f);
        assert_int_equal(findings->result.payload_errors, 1);
        assert_int_equal(findings->result.unrepaired, 1);
        assert_int_equal(findings->result.repaired, 0);
    }
    test_patient_read(&f->patient, NULL, &reading);
    for (uint32_t other = 0; other < TEST_PATIENT_BLOCKS; other++)
        assert_int_equal(test_reading_is_right(&f->patient, &reading, other), other != block);
    assert_false(reading.readable[block]);
    test_reading_free(&reading);
}

/* Blocks with data in the segment of `block`. */
static unsigned neighbours(const struct test_ward *f, uint32_t block)
{
    unsigned count = 0;
    for (uint32_t other = 0; other < TEST_PATIENT_BLOCKS; other++)
        count += f->places.data[other] != 0 && f->places.data[other] >> f->places.seg_shift ==
                                                   f->places.data[block] >> f->places.seg_shift;
    return count;
}

/* A whole block (the last one is not) in the segment with the most blocks. */
static uint32_t block_of_a_full_segment(const struct test_ward *f)
{
    uint32_t best = test_ward_data_block(f, 0);
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS - 1; block++)
        if (f->places.data[block] != 0 && neighbours(f, block) > neighbours(f, best))
            best = block;
    return best;
}

/* Other blocks of the segment become garbage, so that it is worth collecting; those elsewhere are
 * written again, so that no stream goes on in it, should one have done so when the volume was
 * opened. */
static void use_again(struct test_ward *f, struct briq_store *store, uint32_t other, uint32_t block)
{
    uint64_t at = other * (uint64_t)BRIQ_BLOCK_BYTES;
    uint8_t *content = f->patient.content + at;
    if (f->places.data[other] >> f->places.seg_shift ==
        f->places.data[block] >> f->places.seg_shift) {
        assert_int_equal(briq_trim(store, BRIQ_BLOCK_BYTES, at, 0), 0);
        memset(content, 0, BRIQ_BLOCK_BYTES);
    } else if (f->places.data[other] != 0) {
        assert_int_equal(briq_write(store, content, BRIQ_BLOCK_BYTES, at, 0), 0);
    }
}

/* Damage makes a segment bad; when the block is written again, a repair frees the segment. */
static void a_bad_segment_comes_back_to_use(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint32_t block = block_of_a_full_segment(f);
    uint64_t off = block * (uint64_t)BRIQ_BLOCK_BYTES;
    flip(f, f->places.data[block] + 15);
    struct briq_store *store = test_patient_store(&f->patient);
    struct briq_stats stats;
    for (uint32_t other = 0; other < TEST_PATIENT_BLOCKS - 1; other++)
        if (other != block)
            use_again(f, store, other, block);
    assert_int_equal(briq_store_compact(store, NULL, NULL), 0);
    briq_store_stats(store, &stats);
    assert_int_equal(stats.segments_bad, 1);
    assert_int_equal(briq_write(store, f->patient.content + off, BRIQ_BLOCK_BYTES, off, 0), 0);
    test_volume_close(store);

    expect_mended(f, 1);
    expect_all_right(f);
    store = test_patient_store(&f->patient);
    briq_store_stats(store, &stats);
    assert_int_equal(stats.segments_bad, 0);
    test_volume_close(store);
}

/* ---- journals -------------------------------------------------------------------------------- */

static void an_open_journal_is_replayed_and_closed(void **state)
{
    struct test_ward *f = fixture_of(state);
    const struct test_findings *findings = repair(f);
    assert_int_equal(test_findings_errors(findings), 0);
    expect_all_right(f);
    test_patient_check(&f->patient, NULL, true, false, &f->findings);
    assert_int_equal(f->findings.lines, 0); /* closed cleanly now */
    expect_life_goes_on(f);
}

/* Damage in front of what is known to have been flushed: read-only until it is given up. */
static void losses_of_the_medium_are_given_up_and_told(void **state)
{
    struct test_ward *f = fixture_of(state);
    struct briq_open_options options = {.windows_dir = f->patient.windows.path, .streams = 1};
    struct briq_store *store = test_volume_open(f->patient.path.text, &options);
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    for (uint32_t i = 0; i < 8; i++) {
        memset(bytes, 'a' + (int)i, sizeof bytes);
        bytes[0] = 1; /* not a pattern: it has a payload */
        assert_int_equal(briq_write(store, bytes, sizeof bytes, i * sizeof bytes, 0), 0);
        if (i < 4)
            memcpy(f->patient.content + i * sizeof bytes, bytes, sizeof bytes);
        assert_int_equal(briq_flush(store), 0);
    }
    struct test_path live = f->patient.path;
    f->patient.path = test_dir_file(&f->patient.dir, "cut.briq");
    test_file_copy(live.text, f->patient.path.text);
    test_volume_close(store);
    test_patient_renew(&f->patient);

    /* The chunk of the fifth write. */
    struct test_found *found = calloc(1 << 16, sizeof *found);
    size_t count = test_image_records(&f->patient.image, found, 1 << 16);
    uint64_t seq = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        if (found[i].record.lba == 4 && found[i].record.seq > seq &&
            found[i].record.type == BRIQ_REC_DATA) {
            seq = found[i].record.seq;
            at = found[i].chunk;
        }
    free(found);
    flip(f, at + 30);

    options.read_only = false;
    store = test_volume_open(f->patient.path.text, &options);
    assert_true(briq_store_read_only(store));
    (void)briq_store_close(store);
    test_patient_check(&f->patient, NULL, true, false, &f->findings);
    assert_true(f->findings.result.lost_flushed > 0);
    assert_non_null(strstr(f->findings.text, "the medium lost"));
    expect_mended(f, 1);
    expect_all_right(f);
    expect_life_goes_on(f);
}

/* ---- random damage --------------------------------------------------------------------------- */

/* Anywhere where something is; half of the time where it hurts most. */
static uint64_t random_place(struct test_ward *f)
{
    const struct test_places *p = &f->places;
    struct briq_prng *prng = &f->patient.prng;
    uint64_t begin = (uint64_t)p->seg_first << p->seg_shift;
    uint64_t in_page = briq_prng_below(prng, BRIQ_PAGE_BYTES + BRIQ_EXTENT_HEADER_BYTES);
    switch (briq_prng_below(prng, 8)) {
    case 0:
        return briq_prng_below(prng, 2) * BRIQ_SB_B_OFFSET + briq_prng_below(prng, 4096);
    case 1:
        return (briq_prng_below(prng, 2) ? p->map_root : p->map_node) + in_page;
    case 2:
        return (briq_prng_below(prng, 2) ? p->seg_root : p->seg_page) + in_page;
    case 3:
        return p->map_page[briq_prng_below(prng, TEST_PATIENT_PAGES)] + in_page;
    case 4: {
        uint32_t block =
            test_ward_data_block(f, (uint32_t)briq_prng_below(prng, TEST_PATIENT_BLOCKS));
        return test_ward_chunk_around(f, p->data[block]) + briq_prng_below(prng, 200);
    }
    default:
        return begin + briq_prng_below(prng, f->patient.image.size - begin);
    }
}

static void hurt(struct test_ward *f)
{
    uint64_t flips = 1 + briq_prng_below(&f->patient.prng, FLIPS_MAX);
    for (uint64_t i = 0; i < flips; i++)
        flip(f, random_place(f));
}

/* Whatever could be read is still there, and the same. */
static void expect_not_worse(const struct test_reading *before, const struct test_reading *after,
                             const char *when)
{
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++) {
        size_t off = block * (size_t)BRIQ_BLOCK_BYTES;
        if (!before->readable[block])
            continue;
        if (!after->readable[block])
            fail_msg("%s: block %" PRIu32 " cannot be read any more", when, block);
        if (memcmp(before->content + off, after->content + off, BRIQ_BLOCK_BYTES) != 0)
            fail_msg("%s: block %" PRIu32 " has changed", when, block);
    }
}

static void one_random_repair(struct test_ward *f, unsigned round, unsigned *mended)
{
    struct test_reading before, after;
    char when[64];
    snprintf(when, sizeof when, "round %u", round);
    hurt(f);
    test_patient_read(&f->patient, NULL, &before);
    test_patient_check(&f->patient, NULL, true, true, &f->findings);
    test_patient_read(&f->patient, NULL, &after);
    expect_not_worse(&before, &after, when);
    if (f->findings.error == 0) {
        /* What is left is damaged data, and the segments that hold it. */
        uint64_t left = f->findings.result.unrepaired;
        *mended += f->findings.result.repaired > 0;
        assert_true(after.opened);
        test_patient_check(&f->patient, NULL, true, false, &f->findings);
        assert_int_equal(f->findings.error, 0);
        const struct briq_check_result *r = &f->findings.result;
        if (r->superblock_errors + r->map_errors + r->lost_flushed > 0 ||
            test_findings_errors(&f->findings) > left + r->chunk_errors)
            fail_msg("%s: there is more wrong after the repair: %s", when, f->findings.text);
    } else {
        /* Both superblocks, most likely. */
        assert_false(before.opened);
        assert_true(f->findings.err.text[0] != '\0');
    }
    test_reading_free(&before);
    test_reading_free(&after);
    test_patient_restore(&f->patient);
}

static void what_could_be_read_before_can_be_read_after(void **state)
{
    struct test_ward *f = fixture_of(state);
    unsigned mended = 0;
    for (unsigned round = 0; round < RANDOM_ROUNDS; round++)
        one_random_repair(f, round, &mended);
    assert_true(RANDOM_ROUNDS < 30 || mended > RANDOM_ROUNDS / 4);
}

/* ---- power cuts during a repair -------------------------------------------------------------- */

static void cut_during_a_repair(struct test_ward *f, struct test_disk *disk, uint64_t requests)
{
    struct test_reading before, after;
    test_patient_read(&f->patient, test_disk_handle(disk), &before);
    test_disk_cut_after(disk, requests);
    test_patient_check(&f->patient, test_disk_handle(disk), false, true, &f->findings);
    test_disk_cut(disk, &f->patient.prng);
    test_dir_empty(&f->patient.windows);
    test_patient_read(&f->patient, test_disk_handle(disk), &after);
    expect_not_worse(&before, &after, "after a power cut");
    test_reading_free(&after);

    test_patient_check(&f->patient, test_disk_handle(disk), false, true, &f->findings);
    if (f->findings.error != 0)
        fail_msg("the second repair failed: %s", f->findings.err.text);
    test_patient_read(&f->patient, test_disk_handle(disk), &after);
    assert_true(after.opened);
    expect_not_worse(&before, &after, "after the second repair");
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++)
        if (f->places.data[block] != 0 && !test_reading_is_right(&f->patient, &after, block))
            fail_msg("block %" PRIu32 " was lost when a repair was cut at request %" PRIu64, block,
                     requests);
    test_reading_free(&before);
    test_reading_free(&after);
}

static void a_repair_may_lose_its_power(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint64_t bytes = (uint64_t)f->places.seg_end << f->places.seg_shift;
    for (unsigned round = 0; round < CUT_ROUNDS; round++) {
        struct test_disk *disk = test_disk_open(bytes);
        flip(f, f->places.map_page[round % TEST_PATIENT_PAGES] + 99);
        flip(f, round % 2 == 0 ? f->places.map_node + 8 : f->places.seg_page + 8);
        flip(f,
             test_ward_chunk_around(f, f->places.map_page[(round + 1) % TEST_PATIENT_PAGES]) + 33);
        test_disk_load(disk, f->patient.path.text);
        cut_during_a_repair(f, disk, 1 + round);
        test_disk_close(disk);
        test_patient_restore(&f->patient);
    }
}

/* A chunk that is followed by another in the same use of its segment, which tells that use too. */
static uint64_t chunk_with_another(const struct test_ward *f, struct briq_chunk *ret)
{
    const struct test_image *image = &f->patient.image;
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++) {
        if (f->places.data[block] == 0)
            continue;
        uint64_t at = test_ward_chunk_around(f, f->places.data[block]);
        struct briq_chunk next;
        size_t more;
        assert_true(briq_chunk_decode(image->bytes + at, image->size - at, ret, &more));
        uint64_t behind = at + ret->len;
        if (behind < image->size &&
            briq_chunk_decode(image->bytes + behind, image->size - behind, &next, &more) &&
            next.segseq == ret->segseq && ret->off == 0)
            return at;
    }
    fail_msg("no segment has two chunks");
    return 0;
}

/* With a sound checksum: a segment table rebuilt from it would be one that cannot be. */
static void a_chunk_of_no_kind_is_not_believed(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint8_t raw[BRIQ_CHUNK_ALIGN];
    struct briq_chunk chunk;
    uint64_t at = chunk_with_another(f, &chunk);
    memcpy(raw, f->patient.image.bytes + at, sizeof raw);
    chunk.kind = 9;
    briq_chunk_encode(&chunk, raw);
    test_image_write(&f->patient.image, at, raw, sizeof raw);
    flip(f, f->places.seg_page + 8);
    expect_mended(f, 1);
    expect_all_right(f);
    expect_life_goes_on(f);
}

/* The journal tells of them still: a repair must not put them back. */
static void blocks_behind_the_end_stay_away(void **state)
{
    struct test_ward *f = fixture_of(state);
    struct briq_superblock sb;
    uint8_t raw[BRIQ_SB_BYTES];
    assert_int_equal(briq_superblock_decode(f->patient.image.bytes, &sb), BRIQ_SB_OK);
    sb.logical_bytes = 10 * BRIQ_BLOCK_BYTES;
    briq_superblock_encode(&sb, raw);
    test_image_write(&f->patient.image, BRIQ_SB_A_OFFSET, raw, sizeof raw);
    test_image_write(&f->patient.image, BRIQ_SB_B_OFFSET, raw, sizeof raw);
    test_patient_check(&f->patient, NULL, true, false, &f->findings);
    if (strstr(f->findings.text, "the journal tells of") == NULL)
        fail_msg("the journal tells nothing: %s", f->findings.text);
    expect_mended(f, 2);
}

#define SMALL(name) cmocka_unit_test_setup_teardown(name, set_up_small, test_ward_close)
#define LARGE(name) cmocka_unit_test_setup_teardown(name, set_up_large, test_ward_close)
#define CUT(name)   cmocka_unit_test_setup_teardown(name, set_up_cut, test_ward_close)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SMALL(a_sound_volume_is_left_alone),
        SMALL(a_superblock_copy_is_mended),
        SMALL(a_map_page_is_rebuilt),
        LARGE(a_map_page_is_rebuilt),
        SMALL(upper_levels_of_the_map_are_found_again),
        SMALL(the_segment_table_is_rebuilt),
        LARGE(the_segment_table_is_rebuilt),
        SMALL(a_chunk_of_no_kind_is_not_believed),
        SMALL(all_of_the_metadata_is_rebuilt),
        LARGE(all_of_the_metadata_is_rebuilt),
        SMALL(blocks_without_a_record_get_a_new_one),
        LARGE(blocks_without_a_record_get_a_new_one),
        SMALL(map_pages_without_a_record_get_a_new_one),
        SMALL(a_damaged_payload_is_left_and_told),
        SMALL(a_bad_segment_comes_back_to_use),
        CUT(an_open_journal_is_replayed_and_closed),
        CUT(blocks_behind_the_end_stay_away),
        SMALL(losses_of_the_medium_are_given_up_and_told),
        SMALL(what_could_be_read_before_can_be_read_after),
        LARGE(what_could_be_read_before_can_be_read_after),
        CUT(what_could_be_read_before_can_be_read_after),
        SMALL(a_repair_may_lose_its_power),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
