/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A depth-first search over the orders, kept in an explicit stack: level d holds the block after d
 * effects were placed. An effect may come next when no effect that is still to be placed had
 * returned before it was called. An optional effect is tried as done, then as not done.
 */
#include "tests/lib/linear.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/store.h"

#define TYPE(t)   (uint8_t)(1u << (t))
#define TYPES_ALL (TYPE(BRIQ_EXTENT_DATA) | TYPE(BRIQ_EXTENT_ZERO) | TYPE(BRIQ_EXTENT_HOLE))

static bool all_zero(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* A block that data was put into, or a part zeroed of: how may it be reported? */
static uint8_t types_of_content(const struct test_block *block, uint8_t zero_types)
{
    return all_zero(block->bytes, TEST_BLOCK_BYTES) ? zero_types : TYPE(BRIQ_EXTENT_DATA);
}

static void apply_zero(const struct test_effect *effect, struct test_block *block)
{
    uint8_t was_hole = block->types & TYPE(BRIQ_EXTENT_HOLE);
    uint8_t zero_types = TYPE(BRIQ_EXTENT_ZERO) | was_hole;
    memset(block->bytes + effect->lo, 0, effect->hi - effect->lo);
    if (effect->lo == 0 && effect->hi == effect->valid) {
        /* Zeroing a hole may leave it one; a zero that may trim need not. */
        block->types = zero_types | (effect->may_trim ? TYPE(BRIQ_EXTENT_HOLE) : 0);
        return;
    }
    /* The bytes of an edge go through read-modify-write: data that happens to be all zero. */
    if (effect->may_trim)
        zero_types |= TYPE(BRIQ_EXTENT_HOLE);
    block->types = types_of_content(block, zero_types | TYPE(BRIQ_EXTENT_DATA));
}

void test_effect_apply(const struct test_effect *effect, struct test_block *block)
{
    uint8_t zero_types = TYPE(BRIQ_EXTENT_ZERO) | TYPE(BRIQ_EXTENT_DATA);
    if (effect->lo == effect->hi)
        return;
    switch (effect->kind) {
    case TEST_EFFECT_READ:
        break;
    case TEST_EFFECT_WRITE:
        /* Zeros written to a hole may leave it one: no reader can tell. */
        zero_types |= block->types & TYPE(BRIQ_EXTENT_HOLE);
        memcpy(block->bytes + effect->lo, effect->data, effect->hi - effect->lo);
        block->types = types_of_content(block, zero_types);
        break;
    case TEST_EFFECT_TRIM:
        if (effect->lo != 0 || effect->hi != TEST_BLOCK_BYTES)
            break;
        memset(block->bytes, 0, TEST_BLOCK_BYTES);
        block->types = TYPE(BRIQ_EXTENT_HOLE);
        break;
    case TEST_EFFECT_ZERO:
        apply_zero(effect, block);
        break;
    }
}

bool test_effect_agrees(const struct test_effect *effect, const struct test_block *block)
{
    return memcmp(block->bytes + effect->lo, effect->data, effect->hi - effect->lo) == 0;
}

/* One level of the search: which effect was placed last here, and which way. */
struct level {
    unsigned placed; /* bits of the effects placed before this level */
    unsigned next;   /* choices tried so far: 2 * effect + (1 for "not done") */
    struct test_block block;
    uint8_t bytes[TEST_BLOCK_BYTES];
};

static bool may_come_next(const struct test_effect *effects, unsigned count, unsigned placed,
                          unsigned index)
{
    if (placed & (1u << index))
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!(placed & (1u << i)) && i != index && effects[i].end < effects[index].begin)
            return false;
    return true;
}

/* Whether `choice` is possible at `from`; then *to is the state after it. */
static bool take_choice(const struct test_effect *effects, unsigned count, const struct level *from,
                        unsigned choice, struct level *to)
{
    unsigned index = choice / 2;
    const struct test_effect *effect = &effects[index];
    bool skipped = choice % 2 != 0;
    if (!may_come_next(effects, count, from->placed, index) || (skipped && !effect->optional))
        return false;
    if (effect->kind == TEST_EFFECT_READ && !test_effect_agrees(effect, &from->block))
        return false;

    to->placed = from->placed | 1u << index;
    to->next = 0;
    to->block = (struct test_block){.bytes = to->bytes, .types = from->block.types};
    memcpy(to->bytes, from->bytes, TEST_BLOCK_BYTES);
    if (!skipped)
        test_effect_apply(effect, &to->block);
    return true;
}

static bool search(const struct test_effect *effects, unsigned count, struct level *levels)
{
    unsigned depth = 0;
    for (;;) {
        struct level *level = &levels[depth];
        if (depth == count)
            return true;
        if (level->next == 2 * count) {
            if (depth == 0)
                return false;
            depth--;
        } else if (take_choice(effects, count, level, level->next++, &levels[depth + 1])) {
            depth++;
        }
    }
}

bool test_linear_solve(const struct test_effect *effects, unsigned count, struct test_block *block)
{
    BRIQ_ASSERT(count >= 1 && count <= TEST_LINEAR_MAX);
    struct level *levels = calloc(count + 1, sizeof *levels);
    BRIQ_ASSERT(levels != NULL);
    levels[0].block = (struct test_block){.bytes = levels[0].bytes, .types = block->types};
    memcpy(levels[0].bytes, block->bytes, TEST_BLOCK_BYTES);

    bool found = search(effects, count, levels);
    if (found) {
        memcpy(block->bytes, levels[count].bytes, TEST_BLOCK_BYTES);
        block->types = count == 1 ? levels[1].block.types : types_of_content(block, TYPES_ALL);
    }
    free(levels);
    return found;
}
