/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * put.h - the one place where the volume changes.
 *
 * Under the lock of a stream: room for the record, payload into the window; then, under the stripe
 * lock of the map page, all at once: is it still allowed, the next sequence number, the record
 * counts, the map word is published. So the order of sequence numbers is the order in which readers
 * see the changes, and what wins at run time wins at recovery.
 *
 * The pages concerned must be ready (map.h). None of these blocks or allocates.
 */
#ifndef BRIQ_STORE_PUT_H
#define BRIQ_STORE_PUT_H

#include "common/store/engine.h"

/* What a put that could not be done waits for. */
enum briq_put_need {
    BRIQ_PUT_NEEDS_NOTHING,
    BRIQ_PUT_NEEDS_WINDOW,
    BRIQ_PUT_NEEDS_SEGMENT,
    BRIQ_PUT_NEEDS_CHECKPOINT, /* copies of frozen pages */
};

struct briq_put_result {
    enum briq_put_need need; /* with -EAGAIN */
    bool has_claim;          /* a window was filled: write it soon, whatever the outcome */
    struct briq_claim claim;
};

/*
 * Block `block` becomes what payload says. With expect non-NULL only if its word still is *expect.
 * 0; -EAGAIN (see need); -ESTALE (another word); -ENOSPC (live data is at its limit, and this would
 * grow it); -EIO (the accounts are damaged: the store is latched).
 */
int briq_put_block(struct briq_ctx *ctx, uint64_t block, const struct briq_payload *payload,
                   const briq_word *expect, struct briq_put_result *ret) BRIQ_MUST;

/* Blocks [block, block+count), all in one map page, become `word`: BRIQ_WORD_HOLE or _ZERO. 0,
 * -EAGAIN or -EIO. */
int briq_put_range(struct briq_ctx *ctx, uint64_t block, uint32_t count, briq_word word,
                   struct briq_put_result *ret) BRIQ_MUST;

/*
 * Moves the extent of `block`, whose word was `old`, to the GC stream; `seq` is that of the
 * original record. As briq_put_block(), -ESTALE when it was overwritten. Thread: maintenance.
 */
int briq_put_moved(struct briq_store *store, uint64_t block, briq_word old, uint64_t seq,
                   const struct briq_payload *payload, struct briq_put_result *ret) BRIQ_MUST;

/* Blocks [block, block+count) of one ready map page become `word`, whose place, if it has one, is
 * written already. 0, -EAGAIN (no page copies: cannot happen) or -EUCLEAN (the segment table counts
 * less than is live). Thread: recovery, repair. */
int briq_put_replay(struct briq_store *store, uint64_t block, uint32_t count,
                    briq_word word) BRIQ_MUST;

/* Counts a change from old to new in the stream's figures; under its lock. Also for replay. */
void briq_put_account(struct briq_stream *stream, briq_word old, briq_word new);

#endif
