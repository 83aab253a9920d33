/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * history.h - the plain array that a simulated volume must agree with, and what led to it.
 *
 * Every change of a block is written down in the order in which the store made it, together with
 * the store's operation numbers before and after the step that made it. So the content after any
 * number of operations can be told, and with it
 *   - what a read may have seen that other requests overtook,
 *   - whether the volume after a crash is what its first N operations left.
 *
 * Thread: the owner. Memory is taken once; a history that is full wants to be settled.
 */
#ifndef BRIQ_TESTS_SIM_HISTORY_H
#define BRIQ_TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/store/store.h"

/* One block, or a run of whole blocks of zeros, became this. */
struct sim_change {
    uint64_t after, upto; /* its operation number is in (after, upto]; equal: it needed none */
    uint64_t off, len;    /* bytes of the volume */
    const uint8_t *bytes; /* NULL: zeros */
};

struct sim_history {
    uint64_t size_max;
    uint8_t *base;    /* the volume before the first change */
    uint8_t *now;     /* after the last */
    uint8_t *touched; /* one a block: it has ever been changed */
    struct sim_change *changes;
    size_t count, max;
    uint8_t *arena; /* what `bytes` point into */
    size_t arena_used, arena_max;
};

/* For volumes of up to size_max bytes. Ends the program when memory runs out. */
void sim_history_open(struct sim_history *h, uint64_t size_max);
void sim_history_close(struct sim_history *h);

/* A volume of zeros that nothing has happened to. */
void sim_history_reset(struct sim_history *h);

/* Whether there may be no room for `blocks` more changes. */
bool sim_history_is_full(const struct sim_history *h, size_t blocks);

/* Whether [off, off+len) already holds these bytes (NULL: zeros). */
bool sim_history_holds(const struct sim_history *h, uint64_t off, uint64_t len,
                       const uint8_t *bytes);

/* One more change; the bytes are copied. */
void sim_history_add(struct sim_history *h, const struct sim_change *change);

/* Whether a read of [off, off+len) that began after `began` changes and ended now may have returned
 * these bytes: each block is as it was at one of the moments in between. *ret_off: the first
 * block that is not. */
bool sim_history_allows_read(const struct sim_history *h, size_t began, uint64_t off, uint64_t len,
                             const uint8_t *bytes, uint64_t *ret_off);

/* How many changes the first n operations were at least, and at the most. */
void sim_history_find(const struct sim_history *h, uint64_t n, size_t *ret_least, size_t *ret_most);

/*
 * Looks for a count in [least, most] so that the first `count` changes left exactly these blocks,
 * as far as they were ever touched. SIZE_MAX: there is none; *ret_block is where the last differs.
 * Moves `base` on: only right before a settle.
 */
size_t sim_history_match(struct sim_history *h, size_t least, size_t most, const uint8_t *bytes,
                         uint64_t blocks, uint64_t *ret_block);

/* The first `count` changes are all that happened: both arrays become what they left. */
void sim_history_settle(struct sim_history *h, size_t count);

#endif
