/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * edit.h - damage that a fuzzer can aim: the input is a row of edits of 8 bytes, each of which
 * changes a few bytes of a known structure, and may make its checksums right again.
 *
 *   byte 0     which kind of structure, see enum fuzz_kind
 *   byte 1     which one of them
 *   byte 2, 3  where in it
 *   byte 4     bits 0-1: width (1, 2, 4, 8 bytes); 2-3: set, add, xor, copy (from another of its
 *              kind); 4-5: shift of the value (0, 8, 24, 44 bits); 7: seal
 *   byte 5-7   the value, with its sign; for copy: which one
 *
 * Sealing an extent corrects its check, and that of its record and chunk; sealing a page of the
 * tree corrects everything above it up to the superblock, as far as the pointers are still what
 * they were.
 */
#ifndef BRIQ_TESTS_FUZZ_EDIT_H
#define BRIQ_TESTS_FUZZ_EDIT_H

#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/volume.h"

enum fuzz_kind {
    FUZZ_SUPERBLOCK,   /* both copies */
    FUZZ_SUPERBLOCK_A, /* one of them */
    FUZZ_SUPERBLOCK_B,
    FUZZ_PAGE,     /* a page of the tree, anywhere in it */
    FUZZ_MAP_WORD, /* a word of a map page that is in use */
    FUZZ_SEGMENT,  /* a line of the segment table */
    FUZZ_CHUNK,    /* a chunk's header */
    FUZZ_RECORD,
    FUZZ_EXTENT,   /* an extent: its header or payload */
    FUZZ_ANYWHERE, /* 16 bytes of the segments */
};
#define FUZZ_KIND_COUNT 10u

/* Of which kinds edits may be: bits 1 << kind. */
#define FUZZ_METADATA                                                                              \
    (1u << FUZZ_SUPERBLOCK | 1u << FUZZ_SUPERBLOCK_A | 1u << FUZZ_SUPERBLOCK_B | 1u << FUZZ_PAGE | \
     1u << FUZZ_MAP_WORD | 1u << FUZZ_SEGMENT)
#define FUZZ_JOURNAL (1u << FUZZ_CHUNK | 1u << FUZZ_RECORD | 1u << FUZZ_EXTENT)
#define FUZZ_ALL     ((1u << FUZZ_KIND_COUNT) - 1)

/* Applies the edits that are left in the input, 32 at most, to the volume's disk. Returns whether
 * any was sealed: then the volume may lie in a way that only a check finds out. */
bool fuzz_edit(struct fuzz_volume *v, struct fuzz_input *in, unsigned kinds);

#endif
