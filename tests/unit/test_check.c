/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_check.c - a check finds nothing in a sound volume, whatever it has lived through, and names
 * every kind of damage; it changes nothing. The dump shows every structure.
 */
#include <assert.h>
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
#include "common/store/superblock.h"
#include "common/store/word.h"
#include "tests/lib/child.h"
#include "tests/lib/fixture.h"
#include "tests/lib/patient.h"
#include "tests/lib/ward.h"

#define ROUNDS          6u
#define NONSENSE_ROUNDS 25u

static struct test_ward *fixture_of(void **state)
{
    return *state;
}

#define PROGRAM "build/tests/unit/test_check"

static int set_up_small(void **state)
{
    return test_ward_open(state, PROGRAM, 16, TEST_PATIENT_CLEAN);
}

static int set_up_loose(void **state)
{
    int r = set_up_small(state);
    test_patient_loosen(&fixture_of(state)->patient);
    test_patient_places(&fixture_of(state)->patient, &fixture_of(state)->places);
    return r;
}

static int set_up_large(void **state)
{
    return test_ward_open(state, PROGRAM, 18, TEST_PATIENT_CLEAN);
}

static int set_up_cut(void **state)
{
    return test_ward_open(state, PROGRAM, 16, TEST_PATIENT_CUT);
}

/* Checks; whatever is found, the file is afterwards what it was. */
static const struct test_findings *check(struct test_ward *f, bool deep)
{
    struct test_image now, later;
    test_image_open(&now, f->patient.path.text);
    test_patient_check(&f->patient, NULL, deep, false, &f->findings);
    test_image_open(&later, f->patient.path.text);
    assert_int_equal(now.size, later.size);
    assert_memory_equal(now.bytes, later.bytes, now.size);
    test_image_close(&now);
    test_image_close(&later);
    if (f->findings.error != 0)
        fail_msg("the check failed: %s", f->findings.err.text);
    return &f->findings;
}

static void expect_sound(struct test_ward *f)
{
    const struct test_findings *findings = check(f, true);
    if (findings->lines != 0 || test_findings_errors(findings) != 0)
        fail_msg("a sound volume: %" PRIu64 " errors\n%s", test_findings_errors(findings),
                 findings->text);
}

/* ---- sound volumes --------------------------------------------------------------------------- */

static void a_sound_volume_is_sound(void **state)
{
    struct test_ward *f = fixture_of(state);
    expect_sound(f);
    uint64_t data = 0;
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++)
        data += f->places.data[block] != 0;
    assert_true(data > TEST_PATIENT_BLOCKS / 4);
    assert_int_equal(f->findings.result.blocks_checked, TEST_PATIENT_BLOCKS);
    assert_int_equal(f->findings.result.payloads_checked, data);
    check(f, false);
    assert_int_equal(f->findings.lines, 0);
    assert_int_equal(f->findings.result.payloads_checked, 0);
}

static void it_stays_sound_through_its_life(void **state)
{
    struct test_ward *f = fixture_of(state);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct briq_store *store = test_patient_store(&f->patient);
        test_patient_live(&f->patient, store, 40);
        if (i % 3 == 0)
            assert_int_equal(briq_store_compact(store, NULL, NULL), 0);
        if (i % 3 == 1)
            assert_int_equal(briq_trim(store, TEST_PATIENT_BYTES / 2, 4096, 0), 0);
        test_volume_close(store);
        expect_sound(f);
    }
}

static void a_new_volume_is_sound(void **state)
{
    struct test_ward *f = fixture_of(state);
    struct briq_create_options options = {.size_bytes = 1 << 20, .force = true};
    test_volume_create(f->patient.path.text, &options);
    expect_sound(f);
}

static void a_volume_that_was_not_closed_is_no_error(void **state)
{
    struct test_ward *f = fixture_of(state);
    const struct test_findings *findings = check(f, true);
    if (test_findings_errors(findings) != 0)
        fail_msg("after a power cut: %s", findings->text);
    assert_int_equal(findings->lines, 1);
    assert_non_null(strstr(findings->text, "not closed cleanly"));
}

static void die_open(void *arg)
{
    const struct test_patient *p = arg;
    struct briq_store *store = test_patient_store(p);
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    memset(bytes, 'x', sizeof bytes);
    bytes[0] = 'y';
    for (uint64_t i = 0; i < 40; i++)
        assert(briq_write(store, bytes, sizeof bytes, i * 31 * sizeof bytes, 0) == 0);
    _exit(0);
}

/* What its windows hold is looked at where it is. */
static void a_volume_whose_server_died_is_no_error(void **state)
{
    struct test_ward *f = fixture_of(state);
    assert_int_equal(test_in_child(die_open, &f->patient), 0);
    const struct test_findings *findings = check(f, true);
    if (test_findings_errors(findings) != 0)
        fail_msg("after a process death: %s", findings->text);
    assert_int_equal(findings->lines, 1);
    assert_non_null(strstr(findings->text, "40 operations replayed (process death)"));
}

static void a_volume_in_use_is_refused(void **state)
{
    struct test_ward *f = fixture_of(state);
    struct briq_store *store = test_patient_store(&f->patient);
    for (int repair = 0; repair < 2; repair++) {
        test_patient_check(&f->patient, NULL, false, repair, &f->findings);
        assert_int_equal(f->findings.error, -EBUSY);
        assert_true(f->findings.err.text[0] != '\0');
    }
    test_volume_close(store);
}

static void a_volume_in_memory_is_refused(void **state)
{
    (void)state;
    struct briq_check_options options = {.deep = true};
    struct briq_check_result result;
    struct briq_error err = {0};
    assert_int_equal(briq_check("mem:16M", &options, &result, &err), -EINVAL);
    assert_non_null(strstr(err.text, "mem:16M"));
}

/* ---- damage by a flipped bit ----------------------------------------------------------------- */

static uint64_t counter_of(const struct test_findings *findings, size_t counter)
{
    uint64_t value;
    memcpy(&value, (const char *)&findings->result + counter, sizeof value);
    return value;
}

static void expect_finding(struct test_ward *f, bool deep, const char *says, size_t counter)
{
    const struct test_findings *findings = check(f, deep);
    if (strstr(findings->text, says) == NULL || counter_of(findings, counter) == 0)
        fail_msg("expected a finding of \"%s\", got %u: %s", says, findings->lines, findings->text);
    test_patient_restore(&f->patient);
}

#define COUNTER(name) offsetof(struct briq_check_result, name)

static void damage_to_a_superblock_is_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    test_image_flip(&f->patient.image, BRIQ_SB_A_OFFSET + 100, 1);
    expect_finding(f, false, "superblock copy 0 at 0x0 is damaged", COUNTER(superblock_errors));
    test_image_flip(&f->patient.image, BRIQ_SB_B_OFFSET, 1);
    expect_finding(f, false, "superblock copy 1 at 0x100000 is damaged",
                   COUNTER(superblock_errors));
}

static void a_superblock_that_is_out_of_date_is_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint8_t old[BRIQ_SB_BYTES];
    memcpy(old, f->patient.image.bytes + BRIQ_SB_B_OFFSET, sizeof old);
    struct briq_store *store = test_patient_store(&f->patient);
    test_volume_close(store);
    test_patient_renew(&f->patient);
    test_image_write(&f->patient.image, BRIQ_SB_B_OFFSET, old, sizeof old);
    expect_finding(f, false, "superblock copy 1 at 0x100000 is out of date",
                   COUNTER(superblock_errors));
}

static void damage_to_the_map_is_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    test_image_flip(&f->patient.image, f->places.map_root + 8, 1);
    expect_finding(f, false, "map root 0", COUNTER(map_errors));
    test_image_flip(&f->patient.image, f->places.map_node + 9, 1);
    expect_finding(f, false, "map node 0", COUNTER(map_errors));
    test_image_flip(&f->patient.image, f->places.map_page[1] + 400, 1);
    expect_finding(f, false, "map page 1", COUNTER(map_errors));
    assert_non_null(strstr(f->findings.text, "blocks 512 to 1023"));
}

static void damage_to_the_segment_table_is_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    test_image_flip(&f->patient.image, f->places.seg_root + 8, 1);
    expect_finding(f, false, "root 0 of the segment table", COUNTER(segment_errors));
    assert_int_equal(f->findings.result.map_errors, 0);
    test_image_flip(&f->patient.image, f->places.seg_page + 2000, 1);
    expect_finding(f, false, "of the segment table", COUNTER(segment_errors));
    assert_int_equal(f->findings.result.map_errors, 0);
}

static void damage_to_a_chunk_header_is_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint64_t at = f->places.data[test_ward_data_block(f, 700)];
    test_image_flip(&f->patient.image, test_ward_chunk_around(f, at) + 70, 1);
    expect_finding(f, false, "a chunk header is damaged", COUNTER(chunk_errors));
    assert_int_equal(f->findings.result.payload_errors, 0);
    assert_true(f->findings.result.payloads_checked > 0);
}

static void damage_to_a_payload_is_named_by_its_block(void **state)
{
    struct test_ward *f = fixture_of(state);
    char says[128];
    uint32_t block = test_ward_data_block(f, 700);
    test_image_flip(&f->patient.image, f->places.data[block] + 12, 1);
    check(f, false);
    assert_int_equal(f->findings.lines, 0);
    snprintf(says, sizeof says, "block %" PRIu32 " (byte %" PRIu32 " of the volume)", block,
             block * BRIQ_BLOCK_BYTES);
    expect_finding(f, true, says, COUNTER(payload_errors));
    assert_int_equal(f->findings.result.payload_errors, 1);
    assert_int_equal(test_findings_errors(&f->findings), 1);
}

/* ---- damage with sound checksums: what only a faulty program writes -------------------------- */

static void a_word_that_cannot_be_is_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    const briq_word words[] = {
        BRIQ_WORD_ZERO | 1,
        briq_word_fill(5) | UINT64_C(1) << 40,
        briq_word_data(1, 3),                      /* in front of the first segment */
        briq_word_data(BRIQ_WORD_GRANULE_MASK, 1), /* behind the last */
        briq_word_data(f->places.data[test_ward_data_block(f, 700)] >> 4,
                       4096), /* longer than any */
        12345,
    };
    for (unsigned i = 0; i < BRIQ_COUNT_OF(words); i++) {
        test_patient_put_word(&f->patient, &f->places, 600, words[i]);
        expect_finding(f, false, "of block 600 cannot be", COUNTER(map_errors));
    }
}

static void a_block_behind_the_end_is_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    test_patient_put_word(&f->patient, &f->places, TEST_PATIENT_BLOCKS + 3, BRIQ_WORD_ZERO);
    expect_finding(f, false, "behind the end of the volume", COUNTER(map_errors));
}

static void two_blocks_at_one_place_are_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint32_t block = test_ward_data_block(f, 700);
    uint64_t at = f->places.data[block];
    uint32_t hole = 0;
    while (f->places.data[hole] != 0)
        hole++;
    test_patient_put_word(&f->patient, &f->places, hole,
                          briq_word_data(at >> BRIQ_GRANULE_SHIFT, 7));
    const struct test_findings *findings = check(f, true);
    assert_true(findings->result.chunk_errors > 0);
    assert_true(findings->result.segment_errors > 0);
    assert_int_equal(findings->result.payload_errors, 1);
}

static void wrong_counts_are_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint32_t seg = (uint32_t)(f->places.data[test_ward_data_block(f, 700)] >> f->places.seg_shift);
    char says[64];
    struct briq_segment_entry entry = test_patient_entry(&f->patient, &f->places, seg);
    assert_true(entry.live > 0);

    entry.live -= 1;
    test_patient_put_entry(&f->patient, &f->places, seg, &entry);
    snprintf(says, sizeof says, "segment %" PRIu32 ": at the last checkpoint", seg);
    expect_finding(f, false, says, COUNTER(segment_errors));

    entry = (struct briq_segment_entry){.segseq = entry.segseq, .on_host = true};
    test_patient_put_entry(&f->patient, &f->places, seg, &entry);
    snprintf(says, sizeof says, "segment %" PRIu32 " is free in the table", seg);
    expect_finding(f, false, says, COUNTER(segment_errors));
    assert_int_equal(f->findings.result.chunk_errors, 0);
}

static void wrong_figures_of_the_volume_are_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    struct briq_superblock sb;
    uint8_t raw[BRIQ_SB_BYTES];
    assert_int_equal(briq_superblock_decode(f->patient.image.bytes, &sb), BRIQ_SB_OK);
    sb.mapped_blocks++;
    sb.fill_blocks += 2;
    sb.zero_blocks += 3;
    sb.data_granules += 4;
    sb.meta_granules += 5;
    briq_superblock_encode(&sb, raw);
    test_image_write(&f->patient.image, BRIQ_SB_A_OFFSET, raw, sizeof raw);
    test_image_write(&f->patient.image, BRIQ_SB_B_OFFSET, raw, sizeof raw);
    expect_finding(f, false, "mapped blocks", COUNTER(map_errors));
    assert_int_equal(f->findings.result.map_errors, 5);
}

static void a_bad_segment_is_named(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint32_t block = test_ward_data_block(f, 700);
    uint32_t seg = (uint32_t)(f->places.data[block] >> f->places.seg_shift);
    struct briq_segment_entry entry = test_patient_entry(&f->patient, &f->places, seg);
    entry.state = 2;
    test_patient_put_entry(&f->patient, &f->places, seg, &entry);
    expect_finding(f, false, "is marked bad, but all its data is sound", COUNTER(segment_errors));
    test_patient_put_entry(&f->patient, &f->places, seg, &entry);
    test_image_flip(&f->patient.image, f->places.data[block] + 12, 1);
    expect_finding(f, false, "is marked bad: it holds data that cannot be read",
                   COUNTER(segment_errors));
    assert_int_equal(f->findings.result.payload_errors, 1);
}

/* Not only random bits: words and lines that could be, and are not. */
static void nonsense_with_sound_checksums_ends_nothing(void **state)
{
    struct test_ward *f = fixture_of(state);
    struct briq_prng *prng = &f->patient.prng;
    uint64_t granules = (uint64_t)f->places.seg_end << f->places.seg_shift >> BRIQ_GRANULE_SHIFT;
    for (unsigned round = 0; round < NONSENSE_ROUNDS; round++) {
        uint32_t seg = f->places.seg_first + (uint32_t)briq_prng_below(prng, 64);
        uint32_t block = (uint32_t)briq_prng_below(prng, TEST_PATIENT_BLOCKS + 200);
        struct briq_segment_entry entry = {
            .segseq = briq_prng_next(prng) >> briq_prng_below(prng, 64),
            .live = (uint32_t)briq_prng_next(prng) >> briq_prng_below(prng, 32),
            .state = (uint8_t)briq_prng_below(prng, 4),
            .kind = (uint8_t)briq_prng_below(prng, 5),
            .on_host = round % 2 == 0,
        };
        test_patient_put_entry(&f->patient, &f->places, seg, &entry);
        test_patient_put_word(&f->patient, &f->places, block,
                              briq_word_data(briq_prng_below(prng, granules),
                                             1 + (uint32_t)briq_prng_below(prng, 300)));
        check(f, true);
        assert_true(test_findings_errors(&f->findings) > 0);
        test_patient_check(&f->patient, NULL, true, true, &f->findings);
        assert_int_equal(f->findings.error, 0);
        test_patient_check(&f->patient, NULL, true, false, &f->findings);
        assert_int_equal(f->findings.result.map_errors + f->findings.result.superblock_errors, 0);
        test_patient_restore(&f->patient);
    }
}

/* ---- dump ------------------------------------------------------------------------------------ */

static char *dump(const struct test_ward *f, const struct briq_dump_options *options)
{
    char *text = NULL;
    size_t bytes = 0;
    struct briq_error err = {0};
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    int r = briq_dump(f->patient.path.text, options, out, &err);
    assert_int_equal(fclose(out), 0);
    if (r != 0)
        fail_msg("the dump failed: %s", err.text);
    return text;
}

static unsigned count_of(const char *text, const char *what)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        count++;
    return count;
}

static unsigned dumped(const struct test_ward *f, enum briq_dump_what what, const char *line)
{
    struct briq_dump_options options = {.what = what, .segment = -1, .count = UINT64_MAX};
    char *text = dump(f, &options);
    unsigned count = count_of(text, line);
    free(text);
    return count;
}

static void the_dump_shows_every_structure(void **state)
{
    struct test_ward *f = fixture_of(state);
    struct test_found *found = calloc(1 << 16, sizeof *found);
    size_t records = test_image_records(&f->patient.image, found, 1 << 16);
    uint32_t data = 0;
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++)
        data += f->places.data[block] != 0;
    free(found);

    assert_int_equal(dumped(f, BRIQ_DUMP_SUPERBLOCK, "superblock copy="), 2);
    assert_int_equal(dumped(f, BRIQ_DUMP_SUPERBLOCK, "state=ok"), 2);
    assert_int_equal(dumped(f, BRIQ_DUMP_SUPERBLOCK, "map_root copy="), 2);
    assert_true(dumped(f, BRIQ_DUMP_SEGMENTS, "state=used") > 3);
    assert_true(dumped(f, BRIQ_DUMP_CHUNKS, "chunk at=0x") > 10);
    assert_int_equal(dumped(f, BRIQ_DUMP_CHUNKS, "record at=0x"), 0);
    assert_int_equal(dumped(f, BRIQ_DUMP_RECORDS, "record at=0x"), records);
    assert_true(dumped(f, BRIQ_DUMP_RECORDS, "type=trim") > 0);
    assert_int_equal(dumped(f, BRIQ_DUMP_MAP, "block "), TEST_PATIENT_BLOCKS);
    assert_int_equal(dumped(f, BRIQ_DUMP_MAP, " data at=0x"), data);
}

static void the_dump_can_be_limited(void **state)
{
    struct test_ward *f = fixture_of(state);
    uint32_t block = test_ward_data_block(f, 700);
    uint32_t seg = (uint32_t)(f->places.data[block] >> f->places.seg_shift);
    char line[96];
    struct briq_dump_options options = {
        .what = BRIQ_DUMP_MAP, .segment = -1, .block = block, .count = 1};
    char *text = dump(f, &options);
    snprintf(line, sizeof line, "block %" PRIu32 " data at=0x%" PRIx64 " ", block,
             f->places.data[block]);
    assert_int_equal(strncmp(text, line, strlen(line)), 0);
    assert_int_equal(count_of(text, "\n"), 1);
    free(text);

    options = (struct briq_dump_options){.what = BRIQ_DUMP_CHUNKS, .segment = seg};
    text = dump(f, &options);
    snprintf(line, sizeof line, " seg=%" PRIu32 " ", seg);
    assert_true(count_of(text, line) > 0);
    assert_int_equal(count_of(text, line), count_of(text, "\n"));
    free(text);

    options.segment = f->places.seg_end;
    struct briq_error err = {0};
    assert_int_equal(briq_dump(f->patient.path.text, &options, stdout, &err), -EINVAL);
    assert_non_null(strstr(err.text, f->patient.path.text));
}

static void the_dump_goes_on_behind_damage(void **state)
{
    struct test_ward *f = fixture_of(state);
    test_image_flip(&f->patient.image, BRIQ_SB_A_OFFSET + 50, 4);
    test_image_flip(&f->patient.image, f->places.map_page[0] + 50, 4);
    test_image_flip(&f->patient.image,
                    test_ward_chunk_around(f, f->places.data[test_ward_data_block(f, 700)]) + 9, 4);
    assert_int_equal(dumped(f, BRIQ_DUMP_SUPERBLOCK, "state=damaged"), 1);
    assert_int_equal(dumped(f, BRIQ_DUMP_SUPERBLOCK, "state=ok"), 1);
    assert_int_equal(dumped(f, BRIQ_DUMP_MAP, "map_page 0 state=damaged blocks=0-511"), 1);
    assert_int_equal(dumped(f, BRIQ_DUMP_MAP, "block "), TEST_PATIENT_BLOCKS - 512);
    assert_true(dumped(f, BRIQ_DUMP_CHUNKS, "chunk at=0x") > 10);
    test_image_flip(&f->patient.image, f->places.seg_page + 50, 4);
    assert_true(dumped(f, BRIQ_DUMP_SEGMENTS, "state=damaged") > 0);
}

#define SMALL(name) cmocka_unit_test_setup_teardown(name, set_up_small, test_ward_close)
#define LOOSE(name) cmocka_unit_test_setup_teardown(name, set_up_loose, test_ward_close)
#define LARGE(name) cmocka_unit_test_setup_teardown(name, set_up_large, test_ward_close)
#define CUT(name)   cmocka_unit_test_setup_teardown(name, set_up_cut, test_ward_close)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SMALL(a_sound_volume_is_sound),
        LOOSE(a_sound_volume_is_sound),
        LARGE(a_sound_volume_is_sound),
        SMALL(it_stays_sound_through_its_life),
        LOOSE(it_stays_sound_through_its_life),
        LARGE(it_stays_sound_through_its_life),
        SMALL(a_new_volume_is_sound),
        CUT(a_volume_that_was_not_closed_is_no_error),
        SMALL(a_volume_whose_server_died_is_no_error),
        SMALL(a_volume_in_use_is_refused),
        cmocka_unit_test(a_volume_in_memory_is_refused),
        SMALL(damage_to_a_superblock_is_named),
        SMALL(a_superblock_that_is_out_of_date_is_named),
        SMALL(damage_to_the_map_is_named),
        SMALL(damage_to_the_segment_table_is_named),
        SMALL(damage_to_a_chunk_header_is_named),
        SMALL(damage_to_a_payload_is_named_by_its_block),
        LOOSE(a_word_that_cannot_be_is_named),
        LOOSE(a_block_behind_the_end_is_named),
        LOOSE(two_blocks_at_one_place_are_named),
        SMALL(wrong_counts_are_named),
        SMALL(wrong_figures_of_the_volume_are_named),
        SMALL(a_bad_segment_is_named),
        LOOSE(nonsense_with_sound_checksums_ends_nothing),
        LARGE(the_dump_shows_every_structure),
        SMALL(the_dump_can_be_limited),
        SMALL(the_dump_goes_on_behind_damage),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
