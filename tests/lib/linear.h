/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * linear.h - what one 4 KiB block may hold after operations that overlapped in time.
 *
 * The store promises that a request is atomic inside each block and that what was acknowledged is
 * seen by every read that starts afterwards: each block on its own is linearizable. Given all
 * operations on one block between two quiet moments, test_linear_solve() looks for an order that
 * respects real time and explains every read. The last read, made when all was quiet, settles which
 * of the possible contents it is from now on.
 */
#ifndef BRIQ_TESTS_LIB_LINEAR_H
#define BRIQ_TESTS_LIB_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"

#define TEST_BLOCK_BYTES 4096u
#define TEST_LINEAR_MAX  8 /* operations in one history; the search is factorial in them */

enum test_effect_kind {
    TEST_EFFECT_READ,  /* [lo, hi) held exactly `data` */
    TEST_EFFECT_WRITE, /* [lo, hi) becomes `data` */
    TEST_EFFECT_TRIM,  /* the whole block becomes a hole; nothing for a part of it */
    TEST_EFFECT_ZERO,  /* [lo, hi) becomes zero */
};

/* What one operation does to one block. */
struct test_effect {
    enum test_effect_kind kind;
    bool may_trim; /* of a zero */
    bool optional; /* it failed half way, or the contract leaves it open: done or not, all or
                      nothing */
    uint16_t lo, hi;
    uint16_t valid;      /* bytes of the block inside the volume: below 4096 in the last one only */
    uint64_t begin, end; /* logical time of call and return */
    const uint8_t *data; /* hi - lo bytes */
};

/* Content of a block, and as which of enum briq_extent_type the store may report it (1 << type). */
struct test_block {
    uint8_t *bytes;
    uint8_t types;
};

/* Carries out an effect other than a read, ignoring `optional`. */
void test_effect_apply(const struct test_effect *effect, struct test_block *block);

/* Whether a read effect agrees with the block. */
bool test_effect_agrees(const struct test_effect *effect, const struct test_block *block);

/*
 * Finds an order of the `count` effects (1 .. TEST_LINEAR_MAX) that starts at *block and in which
 * all reads are right. Returns whether there is one; then *block is what follows from it, with
 * `types` as generous as any order would allow. Allocates; ends the program when memory runs out.
 */
bool test_linear_solve(const struct test_effect *effects, unsigned count,
                       struct test_block *block) BRIQ_MUST;

#endif
