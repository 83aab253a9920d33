/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * limits.h - how much one connection may have of everything. What is beyond waits in the kernel's
 * socket buffers, and so with the client: nothing here grows.
 *
 * Memory of a connection is at most NBD_CONN_BYTES_MAX, and one reply that must not be divided: a
 * read without structured replies, which has up to NBD_PAYLOAD_MAX bytes, or with DF. On top come 35
 * KiB of figures, and what the kernel keeps for its socket: see --sndbuf and --rcvbuf. With TLS
 * besides: as much of what was received again, TUNNEL_BUFS buffers of what was decrypted,
 * TUNNEL_OUT_BYTES_MAX to be sent, and what GnuTLS has for a session.
 */
#ifndef BRIQ_SERVER_LIMITS_H
#define BRIQ_SERVER_LIMITS_H

#include "common/store/store.h"

/* The largest request that clients should send, and that is taken: larger ones are an error, and a
 * write with a larger payload ends the connection. No chunk of a reply is larger than the first. */
#define NBD_PAYLOAD_ADVERTISED (UINT32_C(32) << 20)
#define NBD_PAYLOAD_MAX        BRIQ_REQUEST_BYTES_MAX

/* The next seven are smaller, all together, in programs that try a connection with little data. */
#ifndef NBD_JOBS_MAX

/* Requests of a connection that are under way at a time. */
#define NBD_JOBS_MAX 256u

/* One receive buffer; and received bytes that wait to be taken in before receiving is stopped. */
#define NBD_RECV_BYTES   (128u << 10)
#define NBD_IN_BYTES_MAX (256u << 10)

/* One piece of a reply; and replies that wait to be sent before no more are made. */
#define NBD_PIECE_BYTES   (128u << 10)
#define NBD_OUT_BYTES_MAX (1u << 20)
/* Buffers in which those lie: one that waits for the device keeps all of its buffer. */
#define NBD_OUT_HELD_MAX (2u << 20)

/* A trim or zero is done in steps of this many bytes, so that others get their turn: 128 pages of
 * the map. A multiple of a page's 2 MiB. */
#define NBD_RANGE_STEP_BYTES (UINT64_C(256) << 20)

#endif

/* Requests, and parts of payloads, that are taken in together: then what replies there are go out.
 * Few, when the thread has no other connection: the client is to have something to do while the next
 * are worked on. */
#define NBD_BATCH_ALONE        4u
#define NBD_BATCH_AMONG_OTHERS 16u

/* A hint to read ahead is taken for so much of its range. */
#define NBD_CACHE_BYTES_MAX (UINT64_C(64) << 20)

/* All of a connection: received bytes, buffers of replies, 2 KiB for each request, an option. */
#define NBD_CONN_BYTES_MAX (UINT32_C(7) << 19)

/* Extents in one reply to block status. */
#define NBD_EXTENTS_MAX 512u

#endif
