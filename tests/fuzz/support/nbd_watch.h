/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd_watch.h - follows an NBD connection from outside, both ways, and aborts when the server breaks
 * the protocol or a promise: a reply that nobody asked for, or before its request had come as a whole;
 * chunks that are malformed or outside the range; data that is not the export's; a request that is
 * never answered.
 *
 * It reads the protocol by itself and shares only constants with the server. Thread: one.
 */
#ifndef BRIQ_TESTS_FUZZ_NBD_WATCH_H
#define BRIQ_TESTS_FUZZ_NBD_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FUZZ_NBD_REQUESTS_MAX 512u
#define FUZZ_NBD_REPLIES_MAX  ((size_t)8 << 20) /* bytes of a reply that has not come whole */

struct fuzz_nbd_request {
    uint64_t cookie, off, len;
    uint64_t payload; /* bytes behind the header */
    uint16_t flags, type;
    size_t end;        /* where in the stream it was whole */
    uint64_t told;     /* bytes of it that were answered */
    unsigned contents; /* chunks with something in them */
    bool failed, answered;
};

struct fuzz_nbd_watch {
    const uint8_t *stream; /* all that the client will have sent */
    size_t size, given;    /* given: what the server has got of it */
    /* What is behind an export of a size; NULL: not known. */
    const uint8_t *(*content)(uint64_t size_bytes);

    size_t at;      /* the first byte that no reply was made to yet */
    bool greeted;   /* has said its greeting */
    bool closing;   /* a client's option ended it; nothing more is said */
    bool lost;      /* what the client sends makes no sense: the server may end it at any time */
    bool ambiguous; /* two requests with one cookie: replies cannot be told apart */
    bool secured;   /* STARTTLS was granted: what was negotiated before is nothing */
    bool shaking;   /* and the handshake of TLS has not been answered */
    bool transmission, structured, extended;
    bool changes; /* a request may change the export */
    uint64_t size_bytes;
    const uint8_t *bytes; /* content of the export, or NULL */
    unsigned request_count;
    struct fuzz_nbd_request requests[FUZZ_NBD_REQUESTS_MAX];
    size_t replies_len; /* not understood yet */
    uint8_t replies[FUZZ_NBD_REPLIES_MAX];
};

/* Begins with a connection that will get stream[0..size). */
void fuzz_nbd_watch_begin(struct fuzz_nbd_watch *w, const uint8_t *stream, size_t size,
                          const uint8_t *(*content)(uint64_t size_bytes));

/* The server has said this. */
void fuzz_nbd_watch_replies(struct fuzz_nbd_watch *w, const uint8_t *bytes, size_t len);

/*
 * How much of the stream a client may have sent by now that waits for the answer to STARTTLS, as it
 * must: whatever it sends behind that comes from somebody else.
 */
size_t fuzz_nbd_watch_may_give(const struct fuzz_nbd_watch *w);

/* It is over. dead: the server ended it by itself; cut: the client or its driver did, in the middle. */
void fuzz_nbd_watch_end(struct fuzz_nbd_watch *w, bool dead, bool cut);

/* Reads a request's header of 28 or 32 bytes. False: it is none. */
bool fuzz_nbd_request_read(const uint8_t *header, bool extended, struct fuzz_nbd_request *ret);

#endif
