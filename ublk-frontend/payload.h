/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * payload.h - where the bytes of requests are, in the two ways the kernel has for them.
 *
 *  - User copy: they stay in the client's pages, and are fetched and supplied with pread() and
 *    pwrite() on /dev/ublkcN, into and out of a few buffers that the thread's requests share. The
 *    buffer used last is used next, so small requests stay in the processor's cache.
 *  - Plain: each tag has a buffer of the largest request's size; the kernel has copied what a write
 *    brings before we see it, and copies what a read wants when it is answered.
 *
 * The caller sees a buffer for a piece of a request, and two functions. Thread: the one that opened
 * it, whose memory node the buffers are on. All memory is touched at once and none is taken later.
 */
#ifndef BRIQ_UBLK_PAYLOAD_H
#define BRIQ_UBLK_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"

struct briq_ublk_payload {
    bool user_copy;
    int fd; /* /dev/ublkcN; not owned */
    unsigned queue;
    uint8_t *memory;
    size_t memory_bytes, buffer_bytes;
    unsigned count, free_count;
    uint8_t **free; /* user copy: a stack */
};

/*
 * buffer_bytes: of a piece with user copy, of the largest request without. One buffer for each of
 * `count` slots, so that there always is one. 0 or -ENOMEM.
 */
int briq_ublk_payload_open(struct briq_ublk_payload *payload, bool user_copy, int fd,
                           unsigned queue, unsigned count, size_t buffer_bytes) BRIQ_MUST;
/* A zeroed one is accepted. */
void briq_ublk_payload_close(struct briq_ublk_payload *payload);

/* The buffer of a slot's request, from its arrival to its answer. */
uint8_t *briq_ublk_payload_get(struct briq_ublk_payload *payload, unsigned slot);
void briq_ublk_payload_put(struct briq_ublk_payload *payload, uint8_t *buffer);

/* What the kernel is told of a slot's buffer with each fetch. */
uint64_t briq_ublk_payload_address(const struct briq_ublk_payload *payload, unsigned slot);

/* Where in the buffer bytes [position, ...) of the request belong. */
static inline uint8_t *briq_ublk_payload_at(const struct briq_ublk_payload *payload,
                                            uint8_t *buffer, uint64_t position)
{
    return payload->user_copy ? buffer : buffer + position;
}

/*
 * Brings bytes [position, position+len) of the request of `tag`, a write, to `at`; takes those of a
 * read from there. 0 or -errno. Does not block on anything but memory.
 */
int briq_ublk_payload_fetch(const struct briq_ublk_payload *payload, unsigned tag, uint8_t *at,
                            size_t len, uint64_t position) BRIQ_MUST;
int briq_ublk_payload_supply(const struct briq_ublk_payload *payload, unsigned tag,
                             const uint8_t *at, size_t len, uint64_t position) BRIQ_MUST;

#endif
