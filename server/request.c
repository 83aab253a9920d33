/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/request.h"

#include <errno.h>

#include "server/limits.h"
#include "server/nbd.h"

int briq_nbd_request_decode(const struct briq_nbd_session *session, const uint8_t *bytes,
                            struct briq_nbd_request *ret)
{
    uint32_t magic = session->extended ? NBD_EXTENDED_REQUEST : NBD_REQUEST_MAGIC;
    if (nbd_get32(bytes) != magic)
        return -EBADMSG;
    *ret = (struct briq_nbd_request){
        .flags = nbd_get16(bytes + 4),
        .type = nbd_get16(bytes + 6),
        .cookie = nbd_get64(bytes + 8),
        .off = nbd_get64(bytes + 16),
        .len = session->extended ? nbd_get64(bytes + 24) : nbd_get32(bytes + 24),
    };
    /* A write has its payload, whether or not an extended header says so. */
    bool told = session->extended && (ret->flags & NBD_CMD_FLAG_PAYLOAD_LEN) != 0;
    if (ret->type == NBD_CMD_WRITE || told)
        ret->payload = ret->len;
    return 0;
}

/* What a command may be, by its type. */
static const struct {
    uint16_t flags;  /* allowed */
    bool changes;    /* the volume */
    bool moves_data; /* over the wire: its length is limited */
    int beyond;      /* the error for a range behind the end */
} commands[] = {
    [NBD_CMD_READ] = {NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF, false, true, -EINVAL},
    [NBD_CMD_WRITE] = {NBD_CMD_FLAG_FUA, true, true, -ENOSPC},
    [NBD_CMD_FLUSH] = {NBD_CMD_FLAG_FUA, false, false, -EINVAL},
    [NBD_CMD_TRIM] = {NBD_CMD_FLAG_FUA, true, false, -EINVAL},
    [NBD_CMD_CACHE] = {NBD_CMD_FLAG_FUA, false, false, -EINVAL},
    [NBD_CMD_WRITE_ZEROES] = {NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
                              true, false, -ENOSPC},
    [NBD_CMD_BLOCK_STATUS] = {NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE, false, false, -EINVAL},
};

static int refuse(const char **ret_why, const char *why, int error)
{
    *ret_why = why;
    return error;
}

static uint16_t allowed_flags(const struct briq_nbd_session *session, uint16_t type)
{
    uint16_t flags = commands[type].flags;
    if (!session->structured)
        flags &= (uint16_t)~NBD_CMD_FLAG_DF;
    if (session->extended && (type == NBD_CMD_WRITE || type == NBD_CMD_BLOCK_STATUS))
        flags |= NBD_CMD_FLAG_PAYLOAD_LEN;
    return flags;
}

static int check_status(const struct briq_nbd_session *session,
                        const struct briq_nbd_request *request, const char **ret_why)
{
    if (!session->allocation)
        return refuse(ret_why, "no meta context was negotiated for this export", -EINVAL);
    if ((request->flags & NBD_CMD_FLAG_PAYLOAD_LEN) != 0 &&
        (request->payload < 8 || request->payload > NBD_STATUS_PAYLOAD_MAX ||
         request->payload % 4 != 0))
        return refuse(ret_why, "a payload that is no list of contexts", -EINVAL);
    return 0;
}

/* What goes over the wire in one piece is no larger than what clients were told. */
static int check_payload(const struct briq_nbd_request *request, const char **ret_why)
{
    bool whole = request->type == NBD_CMD_READ && (request->flags & NBD_CMD_FLAG_DF) != 0;
    if (whole && request->len > NBD_PAYLOAD_ADVERTISED)
        return refuse(ret_why, "too large for a reply in one piece", -EOVERFLOW);
    if (commands[request->type].moves_data && request->len > NBD_PAYLOAD_MAX)
        return refuse(ret_why, "larger than a request may be", -EINVAL);
    return 0;
}

static int check_range(const struct briq_nbd_request *request, uint64_t size_bytes,
                       const char **ret_why)
{
    bool told_later = request->type == NBD_CMD_BLOCK_STATUS && request->payload > 0;
    uint64_t len = told_later ? 0 : request->len;
    if (request->off > size_bytes || len > size_bytes - request->off)
        return refuse(ret_why, "the range ends behind the export", commands[request->type].beyond);
    return 0;
}

int briq_nbd_request_check(const struct briq_nbd_session *session,
                           const struct briq_nbd_request *request, uint64_t size_bytes,
                           const char **ret_why)
{
    uint16_t type = request->type;
    if (type >= BRIQ_COUNT_OF(commands) || type == NBD_CMD_DISC)
        return refuse(ret_why, "unknown command", -EINVAL);
    if ((request->flags & ~allowed_flags(session, type)) != 0)
        return refuse(ret_why, "a flag that this command does not have", -EINVAL);
    if (commands[type].changes && (session->flags & NBD_FLAG_READ_ONLY) != 0)
        return refuse(ret_why, "the export is read-only", -EROFS);
    if (type == NBD_CMD_FLUSH)
        return request->off == 0 && request->len == 0
                   ? 0
                   : refuse(ret_why, "a flush has no range", -EINVAL);
    int r = check_payload(request, ret_why);
    if (r == 0 && type == NBD_CMD_BLOCK_STATUS)
        r = check_status(session, request, ret_why);
    return r < 0 ? r : check_range(request, size_bytes, ret_why);
}

int briq_nbd_request_status_payload(struct briq_nbd_request *request, const uint8_t *bytes,
                                    bool *ret_wanted)
{
    BRIQ_ASSERT(request->payload >= 8 && request->payload <= NBD_STATUS_PAYLOAD_MAX);
    bool wanted = false;
    for (uint64_t at = 8; at < request->payload; at += 4) {
        if (nbd_get32(bytes + at) != NBD_CONTEXT_ID || wanted)
            return -EINVAL;
        wanted = true;
    }
    request->len = nbd_get64(bytes);
    *ret_wanted = wanted;
    return 0;
}

uint32_t briq_nbd_wire_error(int error)
{
    switch (-error) {
    case EPERM:
    case EACCES:
    case EROFS:
        return NBD_EPERM;
    case EINVAL:
        return NBD_EINVAL;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return NBD_ENOSPC;
    case ENOMEM:
        return NBD_ENOMEM;
    case EOVERFLOW:
        return NBD_EOVERFLOW;
    case EOPNOTSUPP:
        return NBD_ENOTSUP;
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}
