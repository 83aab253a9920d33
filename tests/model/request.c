/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/model/request.h"

#include "common/base/align.h"
#include "common/base/attr.h"
#include "common/store/store.h"

#define KIB       UINT64_C(1024)
#define HOT_SHARE 8 /* half of the requests go to one eighth of the volume */

const char *request_name(enum request_kind kind)
{
    static const char *const names[] = {
        "read",    "write",    "trim",    "zero",     "flush",
        "status",  "prefetch", "outside", "maintain", "checkpoint",
        "compact", "resize",   "stats",   "reopen",   "reopen read-only",
    };
    return names[kind];
}

/* Weights out of 1000, and rare ones out of a million below. */
static enum request_kind draw_kind(struct briq_prng *prng, const struct request_rules *rules)
{
    static const struct {
        enum request_kind kind;
        unsigned weight, tight_weight;
    } table[] = {
        {REQUEST_READ, 350, 330},   {REQUEST_WRITE, 440, 420}, {REQUEST_TRIM, 50, 90},
        {REQUEST_ZERO, 70, 70},     {REQUEST_FLUSH, 10, 10},   {REQUEST_STATUS, 55, 55},
        {REQUEST_PREFETCH, 25, 25},
    };
    uint64_t left = briq_prng_below(prng, 1000);
    for (unsigned i = 0; i < BRIQ_COUNT_OF(table); i++) {
        unsigned weight = rules->tight ? table[i].tight_weight : table[i].weight;
        if (left < weight)
            return table[i].kind;
        left -= weight;
    }
    return REQUEST_READ;
}

static bool permitted(const struct request_rules *rules, enum request_kind kind)
{
    switch (kind) {
    case REQUEST_MAINTAIN:
    case REQUEST_CHECKPOINT:
    case REQUEST_COMPACT:
    case REQUEST_RESIZE:
        return rules->care;
    case REQUEST_REOPEN:
    case REQUEST_REOPEN_READ_ONLY:
        return rules->reopen;
    default:
        return rules->whole_volume;
    }
}

static enum request_kind draw_care(struct briq_prng *prng, const struct request_rules *rules,
                                   enum request_kind otherwise)
{
    static const struct {
        enum request_kind kind;
        unsigned weight; /* of a million */
    } table[] = {
        {REQUEST_OUTSIDE, 8000}, {REQUEST_MAINTAIN, 8000},       {REQUEST_CHECKPOINT, 800},
        {REQUEST_COMPACT, 120},  {REQUEST_RESIZE, 120},          {REQUEST_STATS, 300},
        {REQUEST_REOPEN, 250},   {REQUEST_REOPEN_READ_ONLY, 60},
    };
    uint64_t left = briq_prng_below(prng, 1000000);
    for (unsigned i = 0; i < BRIQ_COUNT_OF(table); i++) {
        if (left < table[i].weight)
            return permitted(rules, table[i].kind) ? table[i].kind : otherwise;
        left -= table[i].weight;
    }
    return otherwise;
}

static uint64_t draw_block(struct briq_prng *prng, const struct request_rules *rules)
{
    uint64_t blocks = briq_div_up(rules->size, BRIQ_BLOCK_BYTES);
    if (briq_prng_below(prng, 2) == 0)
        blocks = briq_max_u64(blocks / HOT_SHARE, 1);
    return briq_prng_below(prng, blocks);
}

/* The start inside the window, and the length, perhaps too long yet. */
static void draw_range(struct briq_prng *prng, const struct request_rules *rules,
                       struct request *request)
{
    uint64_t start = draw_block(prng, rules) * BRIQ_BLOCK_BYTES;
    uint64_t shape = briq_prng_below(prng, 1000);
    if (shape < 350) { /* whole blocks */
        request->len = (1 + briq_prng_below(prng, 4)) * BRIQ_BLOCK_BYTES;
    } else if (shape < 600) { /* a part of one, perhaps of two */
        start += briq_prng_below(prng, BRIQ_BLOCK_BYTES);
        request->len = 1 + briq_prng_below(prng, shape < 500 ? 64 : BRIQ_BLOCK_BYTES);
    } else if (shape < 800) { /* across a border */
        start += BRIQ_BLOCK_BYTES - 1 - briq_prng_below(prng, 600);
        request->len = 600 + briq_prng_below(prng, 2 * BRIQ_BLOCK_BYTES);
    } else if (shape < 930) { /* sectors */
        start += briq_prng_below(prng, 8) * BRIQ_SECTOR_BYTES;
        request->len = (1 + briq_prng_below(prng, 64)) * BRIQ_SECTOR_BYTES;
    } else if (shape < 992) {
        start += briq_prng_below(prng, BRIQ_BLOCK_BYTES);
        request->len = 1 + briq_prng_below(prng, 96 * KIB);
    } else if (shape < 997) {
        start += briq_prng_below(prng, 2) * 123;
        request->len = 1 + briq_prng_below(prng, REQUEST_BYTES_MAX);
    } else {
        request->len = 0;
    }
    request->off = rules->base + briq_min_u64(start, rules->size - 1);
}

/* Trims and zeroes are sometimes as large as the volume. */
static void widen(struct briq_prng *prng, const struct request_rules *rules,
                  struct request *request)
{
    uint64_t shape = briq_prng_below(prng, 400);
    if (shape >= (rules->tight ? 8 : 3))
        return;
    request->off = rules->base + (shape == 0 ? 0 : draw_block(prng, rules) * BRIQ_BLOCK_BYTES);
    request->len = rules->size / (1 + briq_prng_below(prng, 4));
}

static void draw_flags(struct briq_prng *prng, struct request *request)
{
    bool changes = request->kind == REQUEST_WRITE || request->kind == REQUEST_TRIM ||
                   request->kind == REQUEST_ZERO;
    if (changes && briq_prng_below(prng, 40) == 0)
        request->flags |= BRIQ_OP_FUA;
    if (request->kind == REQUEST_ZERO && briq_prng_below(prng, 2) == 0)
        request->flags |= BRIQ_OP_MAY_TRIM;
    if (request->kind == REQUEST_STATUS && briq_prng_below(prng, 3) == 0)
        request->flags |= BRIQ_OP_ONE;
}

/* A range that begins inside or at the end, and ends beyond it; sometimes so far that it wraps. */
static void move_outside(struct briq_prng *prng, const struct request_rules *rules,
                         struct request *request)
{
    uint64_t end = rules->base + rules->size;
    request->flags = 0;
    request->len = 1 + briq_prng_below(prng, REQUEST_BYTES_MAX / 8);
    request->off = end + 1 + briq_prng_below(prng, 3 * BRIQ_BLOCK_BYTES) - request->len;
    if (request->off > end + BRIQ_BLOCK_BYTES * 3 || briq_prng_below(prng, 4) == 0)
        request->off = end + briq_prng_below(prng, UINT64_C(1) << 44);
    if (briq_prng_below(prng, 8) == 0)
        request->off = UINT64_MAX - briq_prng_below(prng, request->len);
}

struct request request_draw(struct briq_prng *prng, const struct request_rules *rules,
                            uint64_t number)
{
    struct request request = {.number = number};
    request.kind = draw_care(prng, rules, draw_kind(prng, rules));
    request.misalign = (unsigned)briq_prng_below(prng, 64);
    request.extents_max = 1 + (unsigned)briq_prng_below(prng, REQUEST_EXTENTS_MAX);
    request.data = test_corpus_draw(prng);
    draw_range(prng, rules, &request);
    if (request.kind == REQUEST_TRIM || request.kind == REQUEST_ZERO ||
        request.kind == REQUEST_STATUS)
        widen(prng, rules, &request);
    request.len = briq_min_u64(request.len, rules->base + rules->size - request.off);
    draw_flags(prng, &request);
    if (request.kind == REQUEST_OUTSIDE)
        move_outside(prng, rules, &request);
    return request;
}
