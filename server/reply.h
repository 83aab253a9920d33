/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reply.h - replies of the transmission phase, written as bytes. Pure functions.
 *
 * Each writes to p and returns what it wrote in bytes. A read is answered with chunks when
 * structured replies were agreed on, even when it failed; everything else gets the short simple
 * reply where that is allowed. With extended headers every reply is a chunk.
 */
#ifndef BRIQ_SERVER_REPLY_H
#define BRIQ_SERVER_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/store/store.h"
#include "server/request.h"

#define NBD_REPLY_TEXT_MAX 160u
/* Header of a chunk with the fields before its data. */
#define NBD_CHUNK_HEAD_MAX (32u + 8u)
/* The largest reply without data: an error with its text. */
#define NBD_REPLY_SMALL_MAX (32u + 6u + NBD_REPLY_TEXT_MAX + 8u)

/* Success without data. `chunk`: as the end of chunks (a read). */
size_t briq_nbd_reply_done(const struct briq_nbd_session *session,
                           const struct briq_nbd_request *request, bool chunk, uint8_t *p);

/* Failure; text may be NULL. NBD_REPLY_SMALL_MAX bytes are enough. */
size_t briq_nbd_reply_error(const struct briq_nbd_session *session,
                            const struct briq_nbd_request *request, int error, const char *text,
                            uint8_t *p);

/* What precedes `len` bytes of data that stand at `off` in the export. */
size_t briq_nbd_reply_data(const struct briq_nbd_session *session,
                           const struct briq_nbd_request *request, uint64_t off, uint32_t len,
                           bool last, uint8_t *p);
/* How long that is. */
size_t briq_nbd_reply_data_head(const struct briq_nbd_session *session);

/* A range of zeros, as a whole chunk. Structured or extended only. */
size_t briq_nbd_reply_hole(const struct briq_nbd_session *session,
                           const struct briq_nbd_request *request, uint64_t off, uint32_t len,
                           bool last, uint8_t *p);

/*
 * Block status: the whole reply of `count` extents. p may lie before extents in the same memory, by
 * NBD_STATUS_HEAD bytes at least, so that they are turned into the reply in place.
 */
#define NBD_STATUS_HEAD 48u
size_t briq_nbd_reply_status(const struct briq_nbd_session *session,
                             const struct briq_nbd_request *request,
                             const struct briq_extent *extents, unsigned count, uint8_t *p);

#endif
