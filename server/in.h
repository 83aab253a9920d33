/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * in.h - bytes that a connection has received and not taken in: a queue of receive buffers.
 * Thread: the connection's.
 */
#ifndef BRIQ_SERVER_IN_H
#define BRIQ_SERVER_IN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/align.h"
#include "common/ring/recv.h"

/* Zero-initialised: empty. */
struct briq_in {
    struct briq_recv_buf *first, *last;
    size_t bytes;
    unsigned count; /* buffers */
};

/* Takes over the caller's reference. */
static inline void briq_in_push(struct briq_in *in, struct briq_recv_buf *buf)
{
    buf->next = NULL;
    if (in->first == NULL)
        in->first = buf;
    else
        in->last->next = buf;
    in->last = buf;
    in->bytes += buf->end - buf->start;
    in->count++;
}

/* The bytes that lie together at the front. */
static inline const uint8_t *briq_in_front(const struct briq_in *in, size_t *ret_len)
{
    *ret_len = in->first == NULL ? 0 : in->first->end - in->first->start;
    return in->first == NULL ? NULL : in->first->data + in->first->start;
}

/* Takes n bytes off, not more than lie together at the front. */
static inline void briq_in_take(struct briq_in *in, size_t n)
{
    struct briq_recv_buf *buf = in->first;
    if (n == 0)
        return;
    buf->start += (uint32_t)n;
    in->bytes -= n;
    if (buf->start < buf->end)
        return;
    in->first = buf->next;
    in->count--;
    briq_recv_buf_put(buf);
}

/* Moves up to n bytes to dst (NULL: away). Returns how many. */
static inline size_t briq_in_move(struct briq_in *in, uint8_t *dst, size_t n)
{
    size_t done = 0, len;
    const uint8_t *front;
    while (done < n && (front = briq_in_front(in, &len)) != NULL) {
        size_t part = briq_min_u64(len, n - done);
        if (dst != NULL)
            memcpy(dst + done, front, part);
        briq_in_take(in, part);
        done += part;
    }
    return done;
}

#endif
