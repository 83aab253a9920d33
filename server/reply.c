/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/reply.h"

#include <stdio.h>
#include <string.h>

#include "server/nbd.h"

static uint8_t *put_chunk(const struct briq_nbd_session *session,
                          const struct briq_nbd_request *request, uint16_t flags, uint16_t type,
                          uint32_t len, uint8_t *p)
{
    p = nbd_put32(p, session->extended ? NBD_EXTENDED_REPLY : NBD_STRUCTURED_REPLY);
    p = nbd_put16(p, flags);
    p = nbd_put16(p, type);
    p = nbd_put64(p, request->cookie);
    if (!session->extended)
        return nbd_put32(p, len);
    p = nbd_put64(p, request->off);
    return nbd_put64(p, len);
}

static uint8_t *put_simple(const struct briq_nbd_request *request, uint32_t error, uint8_t *p)
{
    p = nbd_put32(p, NBD_SIMPLE_REPLY);
    p = nbd_put32(p, error);
    return nbd_put64(p, request->cookie);
}

size_t briq_nbd_reply_done(const struct briq_nbd_session *session,
                           const struct briq_nbd_request *request, bool chunk, uint8_t *p)
{
    uint8_t *end = chunk || session->extended
                       ? put_chunk(session, request, NBD_REPLY_FLAG_DONE, NBD_REPLY_NONE, 0, p)
                       : put_simple(request, 0, p);
    return (size_t)(end - p);
}

size_t briq_nbd_reply_error(const struct briq_nbd_session *session,
                            const struct briq_nbd_request *request, int error, const char *text,
                            uint8_t *p)
{
    uint32_t wire = briq_nbd_wire_error(error);
    if (!session->structured)
        return (size_t)(put_simple(request, wire, p) - p);

    size_t len = text == NULL ? 0 : strnlen(text, NBD_REPLY_TEXT_MAX);
    uint8_t *end =
        put_chunk(session, request, NBD_REPLY_FLAG_DONE, NBD_REPLY_ERROR, (uint32_t)(6 + len), p);
    end = nbd_put32(end, wire);
    end = nbd_put16(end, (uint16_t)len);
    if (len > 0)
        memcpy(end, text, len);
    return (size_t)(end - p) + len;
}

size_t briq_nbd_reply_data_head(const struct briq_nbd_session *session)
{
    if (!session->structured)
        return NBD_SIMPLE_REPLY_BYTES;
    return (session->extended ? NBD_EXTENDED_BYTES : NBD_CHUNK_BYTES) + 8;
}

size_t briq_nbd_reply_data(const struct briq_nbd_session *session,
                           const struct briq_nbd_request *request, uint64_t off, uint32_t len,
                           bool last, uint8_t *p)
{
    if (!session->structured)
        return (size_t)(put_simple(request, 0, p) - p);
    uint16_t flags = last ? NBD_REPLY_FLAG_DONE : 0;
    uint8_t *end = put_chunk(session, request, flags, NBD_REPLY_OFFSET_DATA, 8 + len, p);
    return (size_t)(nbd_put64(end, off) - p);
}

size_t briq_nbd_reply_hole(const struct briq_nbd_session *session,
                           const struct briq_nbd_request *request, uint64_t off, uint32_t len,
                           bool last, uint8_t *p)
{
    uint16_t flags = last ? NBD_REPLY_FLAG_DONE : 0;
    uint8_t *end = put_chunk(session, request, flags, NBD_REPLY_OFFSET_HOLE, 12, p);
    end = nbd_put64(end, off);
    return (size_t)(nbd_put32(end, len) - p);
}

static uint32_t state_of(enum briq_extent_type type)
{
    switch (type) {
    case BRIQ_EXTENT_DATA:
        return 0;
    case BRIQ_EXTENT_ZERO:
        return NBD_STATE_ZERO;
    case BRIQ_EXTENT_HOLE:
        return NBD_STATE_HOLE | NBD_STATE_ZERO;
    }
    BRIQ_ASSERT(false);
}

static uint8_t *put_extents(const struct briq_extent *extents, unsigned count, uint8_t *p)
{
    for (unsigned i = 0; i < count; i++) {
        struct briq_extent extent = extents[i]; /* read before it is written over */
        p = nbd_put32(p, (uint32_t)extent.len_bytes);
        p = nbd_put32(p, state_of(extent.type));
    }
    return p;
}

static uint8_t *put_extents_extended(const struct briq_extent *extents, unsigned count, uint8_t *p)
{
    for (unsigned i = 0; i < count; i++) {
        struct briq_extent extent = extents[i];
        p = nbd_put64(p, extent.len_bytes);
        p = nbd_put64(p, state_of(extent.type));
    }
    return p;
}

_Static_assert(NBD_STATUS_HEAD >= 32 + 8, "the head of an extended status must fit");
_Static_assert(sizeof(struct briq_extent) >= 16, "extents are not shorter than what they become");

size_t briq_nbd_reply_status(const struct briq_nbd_session *session,
                             const struct briq_nbd_request *request,
                             const struct briq_extent *extents, unsigned count, uint8_t *p)
{
    uint8_t *end;
    if (session->extended) {
        end = put_chunk(session, request, NBD_REPLY_FLAG_DONE, NBD_REPLY_BLOCK_STATUS_EXT,
                        8 + 16 * count, p);
        end = nbd_put32(end, NBD_CONTEXT_ID);
        end = put_extents_extended(extents, count, nbd_put32(end, count));
    } else {
        end = put_chunk(session, request, NBD_REPLY_FLAG_DONE, NBD_REPLY_BLOCK_STATUS,
                        4 + 8 * count, p);
        end = put_extents(extents, count, nbd_put32(end, NBD_CONTEXT_ID));
    }
    return (size_t)(end - p);
}
