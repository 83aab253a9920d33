/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/history.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"

#define BLOCK       BRIQ_BLOCK_BYTES
#define CHANGES_MAX 8192u
#define ARENA_BYTES (16u << 20)

static void *need(void *memory)
{
    BRIQ_ASSERT(memory != NULL);
    return memory;
}

void sim_history_open(struct sim_history *h, uint64_t size_max)
{
    uint64_t bytes = (size_max + BLOCK - 1) / BLOCK * BLOCK;
    *h = (struct sim_history){.size_max = bytes, .max = CHANGES_MAX, .arena_max = ARENA_BYTES};
    h->base = need(malloc(bytes));
    h->now = need(malloc(bytes));
    h->touched = need(malloc(bytes / BLOCK));
    h->changes = need(calloc(h->max, sizeof *h->changes));
    h->arena = need(malloc(h->arena_max));
    memset(h->touched, 1, bytes / BLOCK);
    sim_history_reset(h);
}

void sim_history_close(struct sim_history *h)
{
    free(h->base);
    free(h->now);
    free(h->touched);
    free(h->changes);
    free(h->arena);
}

void sim_history_reset(struct sim_history *h)
{
    for (uint64_t block = 0; block < h->size_max / BLOCK; block++) {
        if (!h->touched[block])
            continue;
        memset(h->base + block * BLOCK, 0, BLOCK);
        memset(h->now + block * BLOCK, 0, BLOCK);
        h->touched[block] = 0;
    }
    h->count = h->arena_used = 0;
}

bool sim_history_is_full(const struct sim_history *h, size_t blocks)
{
    return h->max - h->count < blocks || h->arena_max - h->arena_used < blocks * BLOCK;
}

static bool all_zero(const uint8_t *bytes, uint64_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

bool sim_history_holds(const struct sim_history *h, uint64_t off, uint64_t len,
                       const uint8_t *bytes)
{
    return bytes == NULL ? all_zero(h->now + off, len) : memcmp(h->now + off, bytes, len) == 0;
}

/* The part of the change that lies in [off, off+len), into that range at `to`. */
static bool apply_to(const struct sim_change *change, uint64_t off, uint64_t len, uint8_t *to)
{
    uint64_t begin = change->off > off ? change->off : off;
    uint64_t end = change->off + change->len;
    end = end < off + len ? end : off + len;
    if (begin >= end)
        return false;
    if (change->bytes == NULL)
        memset(to + (begin - off), 0, end - begin);
    else
        memcpy(to + (begin - off), change->bytes + (begin - change->off), end - begin);
    return true;
}

void sim_history_add(struct sim_history *h, const struct sim_change *change)
{
    BRIQ_ASSERT(h->count < h->max && change->off + change->len <= h->size_max);
    struct sim_change *copy = &h->changes[h->count++];
    *copy = *change;
    if (change->bytes != NULL) {
        BRIQ_ASSERT(h->arena_max - h->arena_used >= change->len);
        copy->bytes = memcpy(h->arena + h->arena_used, change->bytes, change->len);
        h->arena_used += change->len;
    }
    apply_to(copy, 0, h->size_max, h->now);
    memset(h->touched + change->off / BLOCK, 1,
           (change->off + change->len - 1) / BLOCK - change->off / BLOCK + 1);
}

/* One block, or the part of it that was read. */
static bool allows_block(const struct sim_history *h, size_t began, uint64_t off, uint64_t len,
                         const uint8_t *bytes)
{
    uint8_t then[BLOCK];
    if (memcmp(h->now + off, bytes, len) == 0)
        return true;
    memcpy(then, h->base + off, len);
    for (size_t i = 0; i < h->count; i++) {
        if (i == began && memcmp(then, bytes, len) == 0)
            return true;
        bool changed = apply_to(&h->changes[i], off, len, then);
        if (changed && i >= began && memcmp(then, bytes, len) == 0)
            return true;
    }
    return false;
}

bool sim_history_allows_read(const struct sim_history *h, size_t began, uint64_t off, uint64_t len,
                             const uint8_t *bytes, uint64_t *ret_off)
{
    for (uint64_t done = 0, part; done < len; done += part) {
        part = BLOCK - (off + done) % BLOCK;
        part = part < len - done ? part : len - done;
        if (!allows_block(h, began, off + done, part, bytes + done)) {
            *ret_off = off + done;
            return false;
        }
    }
    return true;
}

void sim_history_find(const struct sim_history *h, uint64_t n, size_t *ret_least, size_t *ret_most)
{
    size_t least = 0, most = 0;
    while (least < h->count && h->changes[least].upto <= n)
        least++;
    most = least;
    while (most < h->count && h->changes[most].after < n)
        most++;
    *ret_least = least;
    *ret_most = most;
}

static bool base_is(const struct sim_history *h, const uint8_t *bytes, uint64_t blocks,
                    uint64_t *ret_block)
{
    for (uint64_t block = 0; block < blocks; block++) {
        uint64_t at = block * BLOCK;
        *ret_block = block;
        if (h->touched[block] && memcmp(h->base + at, bytes + at, BLOCK) != 0)
            return false;
    }
    return true;
}

size_t sim_history_match(struct sim_history *h, size_t least, size_t most, const uint8_t *bytes,
                         uint64_t blocks, uint64_t *ret_block)
{
    for (size_t i = 0; i < least; i++)
        apply_to(&h->changes[i], 0, h->size_max, h->base);
    for (size_t count = least;; count++) {
        if (base_is(h, bytes, blocks, ret_block))
            return count;
        if (count == most)
            return SIZE_MAX;
        apply_to(&h->changes[count], 0, h->size_max, h->base);
    }
}

void sim_history_settle(struct sim_history *h, size_t count)
{
    BRIQ_ASSERT(count <= h->count);
    for (size_t i = 0; i < count; i++)
        apply_to(&h->changes[i], 0, h->size_max, h->base);
    for (size_t i = 0; i < h->count; i++) {
        const struct sim_change *change = &h->changes[i];
        memcpy(h->now + change->off, h->base + change->off, change->len);
    }
    h->count = h->arena_used = 0;
}
