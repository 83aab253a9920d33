/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * request.h - what happens to a request between its arrival and its answer, without the means: no
 * ring, no store, no copying. Pure; thread: the owner of the request.
 *
 * A tag's life:  armed --(request)--> owned --(piece)*--> answered, armed again
 *                armed --(abort)--> over
 * A request is worked on in pieces, so that a large one neither needs a large buffer nor keeps a
 * queue from its other requests; several may be under way at a time, and end in any order.
 */
#ifndef BRIQ_UBLK_REQUEST_H
#define BRIQ_UBLK_REQUEST_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/store/store.h"
#include "ublk-frontend/uapi.h"

enum briq_ublk_tag_state {
    BRIQ_UBLK_TAG_ARMED, /* the kernel has it, and may bring a request */
    BRIQ_UBLK_TAG_OWNED, /* a request is being worked on */
    BRIQ_UBLK_TAG_OVER,  /* the kernel will not bring any more */
};

/*
 * What an answer to a fetch means for an armed tag. Returns the new state; *ret_error is 0, or the
 * -errno with which the kernel has refused the command, which then is over.
 */
enum briq_ublk_tag_state briq_ublk_tag_arrived(int res, int *ret_error);

/* Limits of a device. */
struct briq_ublk_limits {
    uint64_t sectors; /* of the device */
    uint32_t max_io_bytes;
    uint32_t piece_bytes; /* a multiple of 4096 */
};

struct briq_ublk_request {
    enum briq_op_kind kind;
    bool brings_data, wants_data; /* write; read */
    unsigned flags;               /* BRIQ_OP_*, of the last piece */
    uint64_t off, len;            /* bytes */
    uint64_t begun, done;         /* bytes of the pieces that were taken, that are finished */
    unsigned under_way;           /* pieces taken and not finished */
    int error;                    /* of the first piece that failed; 0: none */
};

struct briq_ublk_piece {
    uint64_t off; /* in the volume */
    uint64_t len;
    uint64_t position; /* in the request */
    unsigned flags;    /* BRIQ_OP_* */
};

/*
 * Reads a descriptor. Returns 0; -EOPNOTSUPP for an operation that is not known; -EINVAL for a
 * range that the device does not have, which no kernel asks for.
 */
int briq_ublk_request_read(const struct ublk_io_desc *desc, const struct briq_ublk_limits *limits,
                           struct briq_ublk_request *ret) BRIQ_MUST;

/* Takes the part to do next; the whole request when it has no data. The first one can be taken at
 * once, and then when briq_ublk_request_has_piece(). */
struct briq_ublk_piece briq_ublk_request_take(struct briq_ublk_request *request,
                                              const struct briq_ublk_limits *limits);

/* Whether there is another piece now. After an error there is none; and the last one of a write with
 * BRIQ_OP_FUA comes when the others are finished, since it vouches for them. */
bool briq_ublk_request_has_piece(const struct briq_ublk_request *request,
                                 const struct briq_ublk_limits *limits);

/*
 * The piece was done, with `result` (0 or -errno). True: the request is finished, and *ret_answer
 * is what to tell the kernel. False: there is another piece, or one under way.
 */
bool briq_ublk_request_advance(struct briq_ublk_request *request,
                               const struct briq_ublk_piece *piece, int result, int *ret_answer);

/*
 * The -errno of the store as the kernel may hear it. It turns what it does not know into -EIO, and
 * takes -EAGAIN for something else.
 */
int briq_ublk_answer_of(int result);

#endif
