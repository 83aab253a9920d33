/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * walk.h - from chunk to chunk through the bytes of one segment.
 *
 * Chunks follow each other at 4 KiB boundaries. Where none is found, the walk looks at each of
 * those that follow: a writer leaves the end of a window unused, and a process that dies without a
 * windows file leaves gaps where writes were under way.
 *
 * Pure: reads only the bytes it is given. Any bytes are safe.
 */
#ifndef BRIQ_STORE_WALK_H
#define BRIQ_STORE_WALK_H

#include "common/store/encode.h"

struct briq_walk {
    const uint8_t *bytes; /* the segment */
    uint32_t seg, seg_bytes, window_bytes;
    uint64_t uuid_lo;
    uint64_t segseq; /* chunks of another use are passed over; 0: any use */
    uint32_t off;    /* where to look next */
    uint32_t gaps;   /* places where no chunk was found */
    struct briq_chunk chunk;
    const uint8_t *at; /* the chunk's bytes */
};

/* The next chunk into walk->chunk and walk->at; false at the end of the segment. */
bool briq_walk_next(struct briq_walk *walk);

/* Is this chunk what should stand at `off` of the walk's segment? */
bool briq_walk_belongs(const struct briq_walk *walk, const struct briq_chunk *chunk, uint32_t off);

#endif
