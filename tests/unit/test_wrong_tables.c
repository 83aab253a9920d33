/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_wrong_tables.c - superblocks and tables whose checksums are right and whose content is
 * wrong, as only a mistake or malice makes them: they end in an error, never in a dead program or
 * wrong data. Most were found by the fuzz targets.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/fixture.h"
#include "tests/lib/patient.h"

struct fixture {
    struct test_patient patient;
    struct test_places places;
    struct test_findings findings;
};

static struct fixture *fixture_of(void **state)
{
    return *state;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_patient_open(&f->patient, test_seed("build/tests/unit/test_wrong_tables"), 16,
                      TEST_PATIENT_CLEAN);
    test_patient_loosen(&f->patient);
    test_patient_places(&f->patient, &f->places);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    test_patient_close(&fixture_of(state)->patient);
    free(*state);
    return 0;
}

/* Changes both copies of the superblock by `change`, with a good checksum. */
static void change_superblock(struct fixture *f, void (*change)(struct briq_superblock *sb))
{
    uint8_t page[BRIQ_SB_BYTES];
    struct briq_superblock sb;
    assert_int_equal(briq_superblock_decode(f->patient.image.bytes, &sb), BRIQ_SB_OK);
    change(&sb);
    briq_superblock_encode(&sb, page);
    test_image_write(&f->patient.image, BRIQ_SB_A_OFFSET, page, sizeof page);
    test_image_write(&f->patient.image, BRIQ_SB_B_OFFSET, page, sizeof page);
}

static void expect_refused(const struct fixture *f)
{
    struct briq_open_options options = {.windows_dir = f->patient.windows.path};
    struct briq_error err = {{0}};
    struct briq_store *store = NULL;
    assert_int_equal(briq_store_open(f->patient.path.text, &options, &err, &store), -EUCLEAN);
    assert_non_null(strstr(err.text, f->patient.path.text));
}

static void expect_all_right(struct fixture *f)
{
    struct test_reading reading;
    test_patient_read(&f->patient, NULL, &reading);
    assert_true(reading.opened);
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++)
        if (!test_reading_is_right(&f->patient, &reading, block))
            fail_msg("block %u is not what it was", block);
    test_reading_free(&reading);
}

static void repair(struct fixture *f)
{
    test_patient_check(&f->patient, NULL, true, true, &f->findings);
    if (f->findings.error != 0)
        fail_msg("the repair failed: %s", f->findings.err.text);
}

static uint32_t data_block(const struct fixture *f)
{
    uint32_t block = 0;
    while (f->places.data[block] == 0)
        block++;
    return block;
}

/* ---- superblock ------------------------------------------------------------------------------ */

static void begin_at_once(struct briq_superblock *sb)
{
    sb->seg_first = 1;
}

static void segments_that_reach_over_the_superblock_are_refused(void **state)
{
    struct fixture *f = fixture_of(state);
    change_superblock(f, begin_at_once);
    expect_refused(f);
}

static struct briq_head *begun_head(struct briq_superblock *sb)
{
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        if (sb->heads[i].seg != BRIQ_SEG_NONE)
            return &sb->heads[i];
    fail_msg("no stream goes on");
    return NULL;
}

static void name_a_used_segment(struct briq_superblock *sb)
{
    struct briq_head *head = begun_head(sb);
    head->next_seg = head->seg;
}

static void name_another_use(struct briq_superblock *sb)
{
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        sb->heads[i].segseq++;
}

/* Opening and closing it again loses nothing. */
static void expect_harmless(struct fixture *f, void (*change)(struct briq_superblock *sb))
{
    change_superblock(f, change);
    test_volume_close(test_patient_store(&f->patient));
    expect_all_right(f);
    assert_true(test_volume_is_sound(f->patient.path.text, f->patient.windows.path));
}

static void a_stream_that_names_a_next_segment_after_a_clean_close_is_not_believed(void **state)
{
    expect_harmless(fixture_of(state), name_a_used_segment);
}

static void a_stream_that_names_another_use_of_its_segment_is_not_believed(void **state)
{
    expect_harmless(fixture_of(state), name_another_use);
}

/* ---- map and segment table ------------------------------------------------------------------- */

/* Overwriting every block that has data ends in an error at some point, and then nothing can be
 * written any more. */
static void expect_latched_by_overwriting(struct fixture *f)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    struct briq_store *store = test_patient_store(&f->patient);
    memset(bytes, 0x5a, sizeof bytes);
    for (uint64_t block = 0; block < TEST_PATIENT_BLOCKS - 1; block++)
        if (f->places.data[block] != 0 &&
            briq_write(store, bytes, sizeof bytes, block * sizeof bytes, 0) < 0)
            break;
    assert_true(briq_store_read_only(store));
    assert_int_equal(briq_store_close(store), -EIO);
    test_patient_restore(&f->patient);
}

static void a_live_count_that_is_too_low_stops_writing(void **state)
{
    struct fixture *f = fixture_of(state);
    uint32_t seg = (uint32_t)(f->places.data[data_block(f)] >> f->places.seg_shift);
    struct briq_segment_entry entry = test_patient_entry(&f->patient, &f->places, seg);
    entry.live = 1;
    test_patient_put_entry(&f->patient, &f->places, seg, &entry);
    expect_latched_by_overwriting(f);
    test_patient_put_entry(&f->patient, &f->places, seg, &entry);
    repair(f);
    expect_all_right(f);
}

static void a_map_word_behind_the_last_segment_stops_writing(void **state)
{
    struct fixture *f = fixture_of(state);
    test_patient_put_word(&f->patient, &f->places, data_block(f),
                          briq_word_data(UINT64_C(1) << 40, 20));
    expect_latched_by_overwriting(f);
}

static void a_map_word_that_no_writer_makes_is_an_error_to_read(void **state)
{
    struct fixture *f = fixture_of(state);
    static const briq_word words[] = {(briq_word)1 << 32, (briq_word)5 << 61 | 7,
                                      BRIQ_WORD_ZERO | 1};
    uint32_t block = data_block(f);
    for (unsigned i = 0; i < BRIQ_COUNT_OF(words); i++) {
        struct test_reading reading;
        test_patient_put_word(&f->patient, &f->places, block, words[i]);
        test_patient_read(&f->patient, NULL, &reading);
        assert_true(reading.opened);
        assert_false(reading.readable[block]);
        test_reading_free(&reading);
        test_patient_restore(&f->patient);
    }
}

static void a_free_segment_with_live_data_is_refused_and_mended(void **state)
{
    struct fixture *f = fixture_of(state);
    uint32_t seg = (uint32_t)(f->places.data[data_block(f)] >> f->places.seg_shift);
    struct briq_segment_entry entry = test_patient_entry(&f->patient, &f->places, seg);
    entry.state = 0;
    entry.on_host = true;
    test_patient_put_entry(&f->patient, &f->places, seg, &entry);
    expect_refused(f);
    repair(f);
    expect_all_right(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(segments_that_reach_over_the_superblock_are_refused),
        TEST(a_stream_that_names_a_next_segment_after_a_clean_close_is_not_believed),
        TEST(a_stream_that_names_another_use_of_its_segment_is_not_believed),
        TEST(a_live_count_that_is_too_low_stops_writing),
        TEST(a_map_word_behind_the_last_segment_stops_writing),
        TEST(a_map_word_that_no_writer_makes_is_an_error_to_read),
        TEST(a_free_segment_with_live_data_is_refused_and_mended),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
