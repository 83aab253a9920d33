/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/faults/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "common/base/prng.h"

/* Text that packs well, one pattern all over, or noise. */
void history_bytes(uint64_t number, uint64_t off, uint8_t *bytes, uint32_t len)
{
    struct briq_prng prng = {.state = number * 1000003 + off};
    if (number % 8 == 0) {
        memset(bytes, (int)(1 + number / 8 % 255), len);
        return;
    }
    for (uint32_t at = 0; at < len; at += 8) {
        uint64_t word = briq_prng_next(&prng);
        if (number % 8 < 5 && at % 32 >= 8)
            memcpy(&word, "briqued ", 8);
        memcpy(bytes + at, &word, briq_min_u64(8, len - at));
    }
}

static void apply(const struct deed *deed, uint8_t *state)
{
    if (deed->clears)
        memset(state + deed->off, 0, deed->len);
    else
        history_bytes(deed->number, deed->off, state + deed->off, deed->len);
}

void history_begin(struct history *h, const struct deed *deed)
{
    BRIQ_ASSERT(h->count < HISTORY_DEEDS_MAX);
    h->deeds[h->count++] = *deed;
}

void history_done(struct history *h)
{
    for (; h->done < h->count; h->done++)
        apply(&h->deeds[h->done], h->now);
}

void history_forget(struct history *h, unsigned count)
{
    BRIQ_ASSERT(h->count - h->done >= count);
    h->count -= count;
}

void history_doubt(struct history *h)
{
    memcpy(h->now, h->base, sizeof h->now);
    for (h->done = 0; h->done < h->flushed; h->done++)
        apply(&h->deeds[h->done], h->now);
}

void history_settle(struct history *h)
{
    history_done(h);
    memcpy(h->base, h->now, sizeof h->base);
    h->count = h->done = h->flushed = 0;
}

/* ---- judging ----------------------------------------------------------------------------------
 */

static bool block_differs(const struct finding *found, const uint8_t *state, uint64_t size,
                          uint32_t block)
{
    uint64_t off = block * (uint64_t)BRIQ_BLOCK_BYTES;
    size_t len = briq_min_u64(BRIQ_BLOCK_BYTES, size - off);
    return !found->unreadable[block] && memcmp(found->bytes + off, state + off, len) != 0;
}

static uint32_t blocks_of(uint64_t size)
{
    return (uint32_t)briq_div_up(size, BRIQ_BLOCK_BYTES);
}

/* The blocks of one deed that differ. */
static uint32_t differing(const struct finding *found, const uint8_t *state, uint64_t size,
                          const struct deed *deed)
{
    uint32_t count = 0;
    uint64_t end = briq_min_u64((uint64_t)deed->off + deed->len, size);
    for (uint32_t block = deed->off / BRIQ_BLOCK_BYTES; block < blocks_of(end); block++)
        count += block_differs(found, state, size, block);
    return count;
}

bool history_explains(const struct history *h, const struct finding *found, uint64_t size,
                      unsigned least, unsigned *ret_n)
{
    uint8_t *state = malloc(sizeof h->base);
    BRIQ_ASSERT(state != NULL);
    memcpy(state, h->base, sizeof h->base);
    uint32_t differ = 0;
    bool any = false;
    for (uint32_t block = 0; block < blocks_of(size); block++)
        differ += block_differs(found, state, size, block);
    for (unsigned n = 0;; n++) {
        if (differ == 0 && n >= least) {
            any = true;
            *ret_n = n;
        }
        if (n == h->count)
            break;
        differ -= differing(found, state, size, &h->deeds[n]);
        apply(&h->deeds[n], state);
        differ += differing(found, state, size, &h->deeds[n]);
    }
    free(state);
    return any;
}

bool history_knows(const struct history *h, const struct finding *found, uint64_t size)
{
    static const uint8_t zeros[BRIQ_BLOCK_BYTES];
    uint8_t *state = malloc(sizeof h->base);
    bool known[HISTORY_BLOCKS_UP] = {false}, all = true;
    BRIQ_ASSERT(state != NULL);
    memcpy(state, h->base, sizeof h->base);
    for (unsigned n = 0; n <= h->count; n++) {
        for (uint32_t block = 0; block < blocks_of(size); block++)
            known[block] = known[block] || !block_differs(found, state, size, block);
        if (n < h->count)
            apply(&h->deeds[n], state);
    }
    for (uint32_t block = 0; block < blocks_of(size); block++) {
        size_t off = block * (size_t)BRIQ_BLOCK_BYTES;
        size_t len = briq_min_u64(BRIQ_BLOCK_BYTES, size - off);
        all = all && (known[block] || memcmp(found->bytes + off, zeros, len) == 0);
    }
    free(state);
    return all;
}

void history_print(const struct history *h, const struct finding *found, uint64_t size)
{
    fprintf(stderr, "  %u deeds, %u acknowledged, %u flushed; %u blocks unreadable\n", h->count,
            h->done, h->flushed, found->unreadable_count);
    for (uint32_t block = 0, shown = 0; block < blocks_of(size) && shown < 10; block++) {
        if (!block_differs(found, h->now, size, block))
            continue;
        shown++;
        fprintf(stderr, "  block %u is not as the acknowledged deeds leave it; changed by", block);
        for (unsigned n = 0; n < h->count; n++)
            if (h->deeds[n].off / BRIQ_BLOCK_BYTES <= block &&
                (h->deeds[n].off + h->deeds[n].len - 1) / BRIQ_BLOCK_BYTES >= block)
                fprintf(stderr, " %u%s", n + 1, h->deeds[n].clears ? "z" : "");
        fprintf(stderr, "\n");
    }
}
