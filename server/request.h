/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * request.h - a request of the transmission phase: from bytes to a struct, and whether it may be
 * carried out. Pure functions: no socket, no store, no memory.
 */
#ifndef BRIQ_SERVER_REQUEST_H
#define BRIQ_SERVER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "server/handshake.h"

struct briq_nbd_request {
    uint16_t flags, type; /* as sent; the type may be unknown */
    uint64_t cookie;
    uint64_t off, len; /* len: of the range; after a payload, as that says */
    uint64_t payload;  /* bytes that follow the header */
};

/* Bytes of a request's header. */
static inline size_t briq_nbd_request_bytes(const struct briq_nbd_session *session)
{
    return session->extended ? 32 : 28;
}

/* Reads a header of that many bytes. 0, or -EBADMSG: this is no request, and the stream is lost. */
int briq_nbd_request_decode(const struct briq_nbd_session *session, const uint8_t *bytes,
                            struct briq_nbd_request *ret) BRIQ_MUST;

/*
 * Whether the request may be carried out on an export of size_bytes. Returns 0, or the -errno to
 * answer with; *ret_why is then a reason for people. The payload is to be taken off the stream in
 * either case. Not for NBD_CMD_DISC, which has no answer.
 */
int briq_nbd_request_check(const struct briq_nbd_session *session,
                           const struct briq_nbd_request *request, uint64_t size_bytes,
                           const char **ret_why) BRIQ_MUST;

/* Payload of a block status request: the range's real length, and contexts that are wanted. */
#define NBD_STATUS_PAYLOAD_MAX (8u + 4u * 32u)

/*
 * Takes the payload (request->payload bytes) of a block status request that passed the check: sets
 * request->len and *ret_wanted, whether base:allocation is among the contexts. 0; or -EINVAL: there is
 * one that was not agreed on, or one twice.
 */
int briq_nbd_request_status_payload(struct briq_nbd_request *request, const uint8_t *bytes,
                                    bool *ret_wanted) BRIQ_MUST;

/* The error that goes over the wire for an -errno of ours. */
uint32_t briq_nbd_wire_error(int error);

#endif
