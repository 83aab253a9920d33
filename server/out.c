/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/out.h"

#include <errno.h>
#include <stdlib.h>

#include "server/limits.h"

/* A piece of data with its head, and some small replies beside it. */
#define BUF_BYTES (2 * NBD_PIECE_BYTES + 4096)
/* Buffers that an idle thread keeps. */
#define POOL_MAX 16u

static struct briq_out_buf *buf_new(size_t room)
{
    struct briq_out_buf *buf = malloc(sizeof *buf);
    uint8_t *data = malloc(room);
    if (buf == NULL || data == NULL) {
        free(buf);
        free(data);
        return NULL;
    }
    *buf = (struct briq_out_buf){.data = data, .room = room};
    return buf;
}

static void buf_free(struct briq_out_buf *buf)
{
    free(buf->data);
    free(buf);
}

static struct briq_out_buf *pool_get(struct briq_out_pool *pool)
{
    struct briq_out_buf *buf = pool->free;
    if (buf != NULL) {
        pool->free = buf->next;
        pool->count--;
    } else {
        buf = buf_new(BUF_BYTES);
        if (buf == NULL)
            return NULL;
        buf->pool = pool;
    }
    buf->used = 0;
    buf->refs = 1;
    return buf;
}

static void buf_put(struct briq_out *out, struct briq_out_buf *buf)
{
    BRIQ_ASSERT(buf->refs > 0);
    if (--buf->refs > 0)
        return;
    out->held -= buf->room;
    struct briq_out_pool *pool = buf->pool;
    if (pool == NULL || pool->count == POOL_MAX) {
        buf_free(buf);
        return;
    }
    buf->next = pool->free;
    pool->free = buf;
    pool->count++;
}

void briq_out_pool_fini(struct briq_out_pool *pool)
{
    while (pool->free != NULL) {
        struct briq_out_buf *buf = pool->free;
        pool->free = buf->next;
        buf_free(buf);
    }
    pool->count = 0;
}

int briq_out_init(struct briq_out *out, struct briq_out_pool *pool)
{
    *out = (struct briq_out){.pool = pool};
    out->pieces = calloc(BRIQ_OUT_PIECES, sizeof out->pieces[0]);
    return out->pieces == NULL ? -ENOMEM : 0;
}

void briq_out_fini(struct briq_out *out)
{
    if (out->pieces == NULL)
        return;
    out->sending = 0;
    briq_out_drop(out);
    BRIQ_ASSERT(out->bytes == 0);
    if (out->current != NULL)
        buf_put(out, out->current);
    BRIQ_ASSERT(out->held == 0);
    free(out->pieces);
    *out = (struct briq_out){.pool = NULL};
}

static bool take_slot(struct briq_out *out, struct briq_out_buf *buf, size_t len,
                      struct briq_out_slot *ret)
{
    *ret = (struct briq_out_slot){.buf = buf, .data = buf->data + buf->used, .len = len};
    buf->used += len;
    buf->refs++;
    out->bytes += len;
    return true;
}

static bool reserve_large(struct briq_out *out, size_t len, struct briq_out_slot *ret)
{
    struct briq_out_buf *buf = buf_new(len);
    if (buf == NULL)
        return false;
    out->held += buf->room;
    return take_slot(out, buf, len, ret);
}

bool briq_out_reserve(struct briq_out *out, size_t len, struct briq_out_slot *ret)
{
    if (len > BUF_BYTES)
        return reserve_large(out, len, ret);
    if (out->current != NULL && out->current->refs == 1)
        out->current->used = 0; /* all of it has been sent */
    if (out->current == NULL || out->current->room - out->current->used < len) {
        struct briq_out_buf *buf = pool_get(out->pool);
        if (buf == NULL)
            return false;
        if (out->current != NULL)
            buf_put(out, out->current);
        out->held += buf->room;
        out->current = buf;
    }
    return take_slot(out, out->current, len, ret);
}

/* Takes the slot's end back where nothing has been put behind it. */
static void shrink(struct briq_out *out, struct briq_out_slot *slot, size_t used)
{
    if (slot->data + slot->len == slot->buf->data + slot->buf->used)
        slot->buf->used -= slot->len - used;
    out->bytes -= slot->len - used;
    slot->len = used;
}

void briq_out_cancel(struct briq_out *out, struct briq_out_slot *slot)
{
    if (slot->buf == NULL)
        return;
    shrink(out, slot, 0);
    buf_put(out, slot->buf);
    slot->buf = NULL;
}

static struct briq_out_piece *piece(struct briq_out *out, unsigned index)
{
    return &out->pieces[(out->first + index) % BRIQ_OUT_PIECES];
}

/* Lengthens the last piece, if the slot lies right behind it and it is not being sent. */
static bool join_last(struct briq_out *out, const struct briq_out_slot *slot)
{
    if (out->count == out->sending)
        return false;
    struct briq_out_piece *last = piece(out, out->count - 1);
    if (last->buf != slot->buf || last->data + last->len != slot->data)
        return false;
    last->len += slot->len;
    return true;
}

void briq_out_commit(struct briq_out *out, struct briq_out_slot *slot, size_t used)
{
    BRIQ_ASSERT(used <= slot->len); /* more would have been written over the next one */
    shrink(out, slot, used);
    out->committed += used;
    if (join_last(out, slot)) {
        buf_put(out, slot->buf); /* the piece has a reference already */
    } else {
        BRIQ_ASSERT(out->count < BRIQ_OUT_PIECES);
        *piece(out, out->count++) =
            (struct briq_out_piece){.buf = slot->buf, .data = slot->data, .len = slot->len};
    }
    slot->buf = NULL;
}

unsigned briq_out_gather(struct briq_out *out, struct iovec iov[BRIQ_OUT_IOVS])
{
    BRIQ_ASSERT(out->sending == 0);
    while (out->sending < out->count && out->sending < BRIQ_OUT_IOVS) {
        const struct briq_out_piece *p = piece(out, out->sending);
        iov[out->sending++] = (struct iovec){.iov_base = p->data, .iov_len = p->len};
    }
    return out->sending;
}

static void drop_first(struct briq_out *out)
{
    struct briq_out_piece *p = piece(out, 0);
    out->bytes -= p->len;
    out->committed -= p->len;
    buf_put(out, p->buf);
    out->first = (out->first + 1) % BRIQ_OUT_PIECES;
    out->count--;
}

void briq_out_sent(struct briq_out *out)
{
    for (; out->sending > 0; out->sending--)
        drop_first(out);
}

void briq_out_drop(struct briq_out *out)
{
    if (out->sending > 0)
        return; /* what is being sent takes the rest along when it ends */
    while (out->count > 0)
        drop_first(out);
}
