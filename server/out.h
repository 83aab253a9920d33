/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * out.h - replies of one connection on their way out: bytes are written once, where they will be
 * sent from.
 *
 * A reply reserves a slot, is written into it (a read is decompressed there), and is committed when
 * it is complete. What is committed is sent in that order; a slot that waits for the device holds
 * nobody up. Slots lie one behind the other in large buffers, so that replies that are made one
 * after the other go out as one piece.
 *
 * Thread: the connection's. Buffers come from a pool of that thread.
 */
#ifndef BRIQ_SERVER_OUT_H
#define BRIQ_SERVER_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/base/attr.h"

struct briq_out_buf {
    uint8_t *data;
    size_t room, used;
    uint32_t refs; /* slots, committed pieces, and one while it is the current one */
    struct briq_out_buf *next;
    struct briq_out_pool *pool; /* NULL: made for one large slot */
};

/* Zero-initialised: empty. The last one given back is the next one taken. */
struct briq_out_pool {
    struct briq_out_buf *free;
    unsigned count;
};

struct briq_out_slot {
    struct briq_out_buf *buf; /* NULL: no slot */
    uint8_t *data;
    size_t len;
};

struct briq_out_piece {
    struct briq_out_buf *buf;
    uint8_t *data;
    size_t len;
};

#define BRIQ_OUT_PIECES 1024u
#define BRIQ_OUT_IOVS   64u

struct briq_out {
    struct briq_out_pool *pool;
    struct briq_out_buf *current;
    size_t bytes;                   /* reserved and committed, not sent yet */
    size_t held;                    /* of the buffers in which these lie, and of the current one */
    size_t committed;               /* of those */
    unsigned first, count, sending; /* pieces: a ring; the first `sending` are being sent */
    struct briq_out_piece *pieces;
};

/* 0 or -ENOMEM. The pool must outlive it. */
int briq_out_init(struct briq_out *out, struct briq_out_pool *pool) BRIQ_MUST;
/* Gives everything back that was committed; slots must have been cancelled. */
void briq_out_fini(struct briq_out *out);
void briq_out_pool_fini(struct briq_out_pool *pool);

/* A slot of len bytes; false: out of memory. Allocates if the pool is empty or len is large. */
bool briq_out_reserve(struct briq_out *out, size_t len, struct briq_out_slot *ret) BRIQ_MUST;
/* The first `used` bytes of the slot are to be sent; the rest is given back. */
void briq_out_commit(struct briq_out *out, struct briq_out_slot *slot, size_t used);
/* Nothing of it is to be sent. No slot: nothing. */
void briq_out_cancel(struct briq_out *out, struct briq_out_slot *slot);

/* Whether this many more pieces can be committed for sure. */
static inline bool briq_out_has_pieces(const struct briq_out *out, unsigned more)
{
    return out->count + more < BRIQ_OUT_PIECES;
}

/* What is to be sent next, up to BRIQ_OUT_IOVS pieces; they stay until briq_out_sent(). 0: none. */
unsigned briq_out_gather(struct briq_out *out, struct iovec iov[BRIQ_OUT_IOVS]);
/* What was gathered has been sent, or never will be. */
void briq_out_sent(struct briq_out *out);
/* Drops what is committed and not being sent. */
void briq_out_drop(struct briq_out *out);

#endif
