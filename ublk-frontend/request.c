/* SPDX-License-Identifier: BSD-3-Clause */
#include "ublk-frontend/request.h"

#include <errno.h>

#include "common/base/align.h"

enum briq_ublk_tag_state briq_ublk_tag_arrived(int res, int *ret_error)
{
    *ret_error = res >= 0 || res == UBLK_RES_ABORT ? 0 : res;
    if (res == UBLK_RES_REQUEST)
        return BRIQ_UBLK_TAG_OWNED;
    /* Positive ones belong to features that were not asked for. */
    if (res > 0)
        *ret_error = -EPROTO;
    return BRIQ_UBLK_TAG_OVER;
}

static int read_kind(unsigned op_flags, struct briq_ublk_request *ret)
{
    switch (op_flags & UBLK_OP_MASK) {
    case UBLK_OP_READ:
        ret->kind = BRIQ_OP_READ;
        ret->wants_data = true;
        return 0;
    case UBLK_OP_WRITE:
        ret->kind = BRIQ_OP_WRITE;
        ret->brings_data = true;
        return 0;
    case UBLK_OP_FLUSH:
        ret->kind = BRIQ_OP_FLUSH;
        return 0;
    case UBLK_OP_DISCARD:
        ret->kind = BRIQ_OP_TRIM;
        return 0;
    case UBLK_OP_WRITE_ZEROES:
        ret->kind = BRIQ_OP_ZERO;
        ret->flags = (op_flags & UBLK_OP_F_NOUNMAP) != 0 ? 0 : BRIQ_OP_MAY_TRIM;
        return 0;
    default:
        return -EOPNOTSUPP;
    }
}

/* Whether [start, start+count) lies in the device, and data in its largest request. */
static bool in_range(const struct ublk_io_desc *desc, const struct briq_ublk_limits *limits,
                     bool has_data)
{
    if (has_data && desc->sectors > limits->max_io_bytes / UBLK_SECTOR_BYTES)
        return false;
    return desc->start_sector <= limits->sectors &&
           desc->sectors <= limits->sectors - desc->start_sector;
}

int briq_ublk_request_read(const struct ublk_io_desc *desc, const struct briq_ublk_limits *limits,
                           struct briq_ublk_request *ret)
{
    struct briq_ublk_request request = {.flags = 0};
    int r = read_kind(desc->op_flags, &request);
    if (r < 0)
        return r;
    if (request.kind != BRIQ_OP_FLUSH) {
        if (!in_range(desc, limits, request.brings_data || request.wants_data))
            return -EINVAL;
        request.off = desc->start_sector << UBLK_SECTOR_SHIFT;
        request.len = (uint64_t)desc->sectors << UBLK_SECTOR_SHIFT;
    }
    if ((desc->op_flags & UBLK_OP_F_FUA) != 0 && !request.wants_data &&
        request.kind != BRIQ_OP_FLUSH)
        request.flags |= BRIQ_OP_FUA;
    *ret = request;
    return 0;
}

static struct briq_ublk_piece next_piece(const struct briq_ublk_request *request,
                                         const struct briq_ublk_limits *limits)
{
    bool data = request->brings_data || request->wants_data;
    struct briq_ublk_piece piece = {
        .off = request->off + request->begun,
        .len = request->len - request->begun,
        .position = request->begun,
        .flags = request->flags,
    };
    if (data && piece.len > limits->piece_bytes) {
        /* To the next boundary of a block: no block is put together twice. */
        piece.len = briq_align_down(piece.off + limits->piece_bytes, BRIQ_BLOCK_BYTES) - piece.off;
        piece.flags &= ~(unsigned)BRIQ_OP_FUA; /* that of the last one covers all before it */
    }
    return piece;
}

struct briq_ublk_piece briq_ublk_request_take(struct briq_ublk_request *request,
                                              const struct briq_ublk_limits *limits)
{
    struct briq_ublk_piece piece = next_piece(request, limits);
    request->begun += piece.len;
    request->under_way++;
    return piece;
}

bool briq_ublk_request_has_piece(const struct briq_ublk_request *request,
                                 const struct briq_ublk_limits *limits)
{
    if (request->error < 0 || request->begun == request->len)
        return false;
    return request->under_way == 0 || (next_piece(request, limits).flags & BRIQ_OP_FUA) == 0;
}

int briq_ublk_answer_of(int result)
{
    switch (result) {
    case -ENOSPC:
    case -EOPNOTSUPP:
    case -ENOMEM:
        return result;
    default:
        return result < 0 ? -EIO : result;
    }
}

bool briq_ublk_request_advance(struct briq_ublk_request *request,
                               const struct briq_ublk_piece *piece, int result, int *ret_answer)
{
    request->under_way--;
    if (result == 0)
        request->done += piece->len;
    else if (request->error == 0)
        request->error = result;
    if (request->under_way > 0 || (request->error == 0 && request->done < request->len))
        return false;
    /* The number of bytes for data; for the rest anything from 0 on is success. */
    bool data = request->brings_data || request->wants_data;
    *ret_answer = request->error < 0 ? briq_ublk_answer_of(request->error)
                  : data             ? (int)request->len
                                     : 0;
    return true;
}
