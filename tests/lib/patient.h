/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * patient.h - a volume with a history, to be hurt, examined and mended.
 *
 * It has seen writes of all kinds, trims, zeroes, flushes, checkpoints, garbage collection and
 * reopenings, and what it must hold is known. Damage goes through `image` and is undone by
 * test_patient_restore(). Every failure of what should go well ends the program.
 * Thread: one owner.
 */
#ifndef BRIQ_TESTS_LIB_PATIENT_H
#define BRIQ_TESTS_LIB_PATIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/prng.h"
#include "common/store/store.h"
#include "common/store/word.h"
#include "tests/lib/corpus.h"
#include "tests/lib/image.h"
#include "tests/lib/temp_dir.h"

#define TEST_PATIENT_BLOCKS 1300u /* two whole map pages and a part of one */
#define TEST_PATIENT_BYTES  (TEST_PATIENT_BLOCKS * (uint64_t)BRIQ_BLOCK_BYTES - 512)
#define TEST_PATIENT_PAGES  3u

struct test_patient {
    struct test_dir dir, windows;
    struct test_path path;
    struct test_image image; /* as it is when nothing was done to it */
    struct test_corpus *corpus;
    struct briq_prng prng;
    uint64_t stamp;
    uint8_t *content; /* TEST_PATIENT_BLOCKS blocks */
};

enum test_patient_state {
    TEST_PATIENT_CLEAN, /* closed */
    TEST_PATIENT_CUT,   /* its file while it was open and flushed, as after a power cut */
};

/* `seed` decides its whole history; segment_shift as in briq_create_options. */
void test_patient_open(struct test_patient *p, uint64_t seed, unsigned segment_shift,
                       enum test_patient_state state);
void test_patient_close(struct test_patient *p);

/* `count` more random operations on an open store, and what they do to the content. */
void test_patient_live(struct test_patient *p, struct briq_store *store, unsigned count);

/* Opens the volume for more life: one stream, windows where they belong. */
struct briq_store *test_patient_store(const struct test_patient *p);

/* Takes the file as it is now for the sound one. */
void test_patient_renew(struct test_patient *p);

/* Stores its map pages raw from now on: words can be changed in them then. */
void test_patient_loosen(struct test_patient *p);

/* Undoes all damage, and removes what openings left beside the file. */
void test_patient_restore(struct test_patient *p);

/* ---- what can be read ------------------------------------------------------------------------ */

struct test_reading {
    bool opened;
    bool readable[TEST_PATIENT_BLOCKS];
    uint8_t *content; /* of the readable ones */
};

/* Reads every block of the volume, opened read-only. `device` may be NULL: the file. */
void test_patient_read(const struct test_patient *p, struct briq_device *device,
                       struct test_reading *ret);
void test_reading_free(struct test_reading *reading);

/* Whether block is readable and holds what the patient's history says. */
bool test_reading_is_right(const struct test_patient *p, const struct test_reading *reading,
                           uint32_t block);

/* ---- examination ----------------------------------------------------------------------------- */

struct test_findings {
    int error; /* what briq_check() returned */
    struct briq_check_result result;
    unsigned lines;
    char text[1 << 16]; /* all of them; cut if too long */
    struct briq_error err;
};

/* Runs a check; `device` may be NULL: the file. */
void test_patient_check(const struct test_patient *p, struct briq_device *device, bool deep,
                        bool repair, struct test_findings *ret);

/* Sum of everything that counts as an error. */
uint64_t test_findings_errors(const struct test_findings *findings);

/* ---- where things are ------------------------------------------------------------------------ */

/* Byte offsets of the extents of the metadata that counts; 0 = none. */
struct test_places {
    uint64_t map_root, map_node, map_page[TEST_PATIENT_PAGES];
    uint64_t seg_root, seg_page;
    uint32_t seg_first, seg_end, seg_shift;
    uint64_t data[TEST_PATIENT_BLOCKS]; /* of blocks with data */
};

void test_patient_places(const struct test_patient *p, struct test_places *ret);

/* ---- damage with sound checksums: what only a faulty program writes -------------------------- */

/* The line of a segment in the segment table of the sound image. */
struct briq_segment_entry test_patient_entry(const struct test_patient *p,
                                             const struct test_places *places, uint32_t seg);

/* Changes it, and all that stands above it. Other changes of the table and of superblocks are lost.
 */
void test_patient_put_entry(struct test_patient *p, const struct test_places *places, uint32_t seg,
                            const struct briq_segment_entry *entry);

/* Changes one word of the map of a loosened patient. Other changes of its page are lost. */
void test_patient_put_word(struct test_patient *p, const struct test_places *places, uint32_t block,
                           briq_word word);

#endif
