/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * word.h - the map word: one 64-bit value says all about one 4 KiB block.
 *
 *   63..62 type  0 unmapped (reads zero; later: falls through to a base image)
 *                1 data   61..50 granules - 1, 49..48 unit (0 = 4 KiB), 47..44 block in unit,
 *                         43..0 first granule of the extent
 *                2 fill   31..0 the repeated 32-bit pattern
 *                3 special: 0 = explicit zero; others reserved
 *
 * The same values stand in memory (one atomic each) and in map pages on the medium.
 */
#ifndef BRIQ_STORE_WORD_H
#define BRIQ_STORE_WORD_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t briq_word;

#define BRIQ_WORD_HOLE         ((briq_word)0)
#define BRIQ_WORD_ZERO         ((briq_word)3 << 62)
#define BRIQ_WORD_GRANULE_MASK ((UINT64_C(1) << 44) - 1)

enum briq_word_type {
    BRIQ_WORD_TYPE_HOLE = 0,
    BRIQ_WORD_TYPE_DATA = 1,
    BRIQ_WORD_TYPE_FILL = 2,
    BRIQ_WORD_TYPE_SPECIAL = 3,
};

static inline enum briq_word_type briq_word_type(briq_word w)
{
    return (enum briq_word_type)(w >> 62);
}

static inline bool briq_word_is_data(briq_word w)
{
    return w >> 62 == BRIQ_WORD_TYPE_DATA;
}

/* granules 1 .. 4096 */
static inline briq_word briq_word_data(uint64_t granule, uint32_t granules)
{
    return (briq_word)BRIQ_WORD_TYPE_DATA << 62 | (briq_word)(granules - 1) << 50 | granule;
}

static inline briq_word briq_word_fill(uint32_t pattern)
{
    return (briq_word)BRIQ_WORD_TYPE_FILL << 62 | pattern;
}

static inline uint64_t briq_word_granule(briq_word w)
{
    return w & BRIQ_WORD_GRANULE_MASK;
}

static inline uint32_t briq_word_granules(briq_word w)
{
    return (uint32_t)(w >> 50 & 0xfff) + 1;
}

static inline uint32_t briq_word_pattern(briq_word w)
{
    return (uint32_t)w;
}

/* True for words this version writes; anything else on the medium is damage. */
static inline bool briq_word_is_valid(briq_word w)
{
    switch (briq_word_type(w)) {
    case BRIQ_WORD_TYPE_HOLE:
        return w == BRIQ_WORD_HOLE;
    case BRIQ_WORD_TYPE_DATA:
        return (w >> 44 & 0x3f) == 0;
    case BRIQ_WORD_TYPE_FILL:
        return (w << 2 >> 34) == 0;
    default:
        return w == BRIQ_WORD_ZERO;
    }
}

#endif
