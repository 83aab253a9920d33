/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * contest.h - which blocks have operations in flight, and what overlapped on them.
 *
 * A block that one operation at a time touches is compared at once. Where operations overlap, what
 * each did or saw is kept until the block is quiet; then one more read is made of it, and all of
 * them together must have an order that explains what was read (see tests/lib/linear.h). Blocks are
 * counted from the start of the worker's window. Thread: one owner.
 */
#ifndef BRIQ_TESTS_MODEL_CONTEST_H
#define BRIQ_TESTS_MODEL_CONTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/linear.h"
#include "tests/model/request.h"

struct worker;
struct history;

struct contest {
    struct worker *worker;
    uint64_t blocks;
    uint8_t *in_flight;         /* operations on each block */
    uint64_t *left;             /* when the latest operation on it returned */
    struct history **histories; /* NULL: nothing overlapped */
    uint64_t *quiet;            /* blocks that wait for their last read: a ring of `blocks` */
    uint64_t quiet_first, quiet_count;
};

void contest_init(struct contest *contest, struct worker *worker);
void contest_fini(struct contest *contest);

/* Whether one more operation on the range would overlap with no more than can be sorted out. */
bool contest_admits(const struct contest *contest, const struct request *request);

/* The operation is about to begin, or the last read of a block. */
void contest_enter(struct contest *contest, const struct request *request);

/* The operation, called at `begin`, has returned at `end`: compares, applies, or remembers. */
void contest_leave(struct contest *contest, const struct request *request, const uint8_t *data,
                   bool failed, uint64_t begin, uint64_t end);

/* Takes a block that waits for its last read. Returns false when there is none. */
bool contest_take_quiet(struct contest *contest, uint64_t *ret_block);

/* `data` is what the last read of the block returned. */
void contest_settle(struct contest *contest, const struct request *read, uint64_t block,
                    const uint8_t *data, uint64_t begin, uint64_t end);

/* Whether a block may have changed while a status called at `begin` looked at it. `opaque` is a
 * struct contest_since. */
struct contest_since {
    const struct contest *contest;
    uint64_t begin;
};
bool contest_unsure(void *opaque, uint64_t block);

#endif
