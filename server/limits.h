/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits.h - how much one connection may have of everything. What is beyond waits in the kernel's
 * socket buffers, and so with the client: nothing here grows.
 *
 * Memory of a connection in the transmission phase, at most: NBD_IN_BYTES_MAX of requests, and
 * NBD_OUT_BYTES_MAX of replies or one reply that must not be divided (up to NBD_PAYLOAD_MAX), and
 * the request slots (2 KiB each, made as they are used), and 35 KiB of figures from the start.
 */
#ifndef BRIQ_SERVER_LIMITS_H
#define BRIQ_SERVER_LIMITS_H

#include "common/store/store.h"

/* The largest request that clients should send, and that is taken: larger ones are an error, and a
 * write with a larger payload ends the connection. */
#define NBD_PAYLOAD_ADVERTISED (UINT32_C(32) << 20)
#define NBD_PAYLOAD_MAX        BRIQ_REQUEST_BYTES_MAX

/* Requests of a connection that are under way at a time. */
#define NBD_JOBS_MAX 256u

/* One receive buffer; and received bytes that wait to be taken in before receiving is stopped. */
#define NBD_RECV_BYTES   (128u << 10)
#define NBD_IN_BYTES_MAX (256u << 10)

/* One piece of a reply; and replies that wait to be sent before no more are made. */
#define NBD_PIECE_BYTES   (128u << 10)
#define NBD_OUT_BYTES_MAX (1u << 20)

/* A trim or zero is done in steps of this many bytes, so that others get their turn: 128 pages of
 * the map. A multiple of a page's 2 MiB. */
#define NBD_RANGE_STEP_BYTES (UINT64_C(256) << 20)
/* A hint to read ahead is taken for so much of its range. */
#define NBD_CACHE_BYTES_MAX (UINT64_C(64) << 20)

/* Extents in one reply to block status. */
#define NBD_EXTENTS_MAX 512u

#endif
