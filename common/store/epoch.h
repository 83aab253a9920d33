/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * epoch.h - when is nobody looking at it any more?
 *
 * Readers take no lock. They enter an epoch before they follow a map word and leave it when they
 * are done with the bytes; what they may be looking at (an append window, a segment) is reused only
 * two epochs after it was retired. Time is counted by a global number that moves on when nobody is
 * left in the epoch before the present one.
 *
 * An operation that has to wait for others must leave first, or it would wait for itself.
 *
 * Thread: enter and leave from any; advance from any.
 */
#ifndef BRIQ_STORE_EPOCH_H
#define BRIQ_STORE_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"

#define BRIQ_EPOCH_SLOTS 16 /* counters are spread so that threads do not share a cache line */

struct briq_epoch_slot {
    _Atomic uint32_t readers[2]; /* inside an even, an odd epoch */
} BRIQ_ALIGNED(BRIQ_CACHELINE_BYTES);

struct briq_epoch {
    _Atomic uint64_t now BRIQ_ALIGNED(BRIQ_CACHELINE_BYTES);
    struct briq_epoch_slot slots[BRIQ_EPOCH_SLOTS];
};

/* What a reader holds between enter and leave. Zero: outside. */
struct briq_epoch_guard {
    uint8_t inside;
    uint8_t slot;
    uint8_t parity;
};

void briq_epoch_init(struct briq_epoch *epoch);

/* `hint` spreads readers over the slots: a thread's or context's number. Entering twice is an
 * error. */
void briq_epoch_enter(struct briq_epoch *epoch, struct briq_epoch_guard *guard, unsigned hint);

/* Leaving when outside does nothing. */
void briq_epoch_leave(struct briq_epoch *epoch, struct briq_epoch_guard *guard);

/* The tag for something that no new reader can find from now on. */
static inline uint64_t briq_epoch_tag(struct briq_epoch *epoch)
{
    return atomic_load(&epoch->now);
}

/* Moves time on as far as readers allow; true if what carries `tag` may be reused now. */
bool briq_epoch_passed(struct briq_epoch *epoch, uint64_t tag);

#endif
