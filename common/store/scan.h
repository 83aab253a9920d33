/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scan.h - from chunk to chunk through a segment on the medium, reading headers and records only.
 *
 * The same order as walk.h, which has the whole segment in memory: behind a place where no chunk is
 * found it looks at every place where one may begin, and so finds what stands behind a damaged
 * header.
 *
 * Thread: the owner. Any bytes on the medium are safe.
 */
#ifndef BRIQ_STORE_SCAN_H
#define BRIQ_STORE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/store/encode.h"

/* Reads [off, off+len) of the volume; off and len are multiples of BRIQ_CHUNK_ALIGN. 0 or -errno.
 */
typedef int (*briq_scan_read)(void *opaque, void *buf, size_t len, uint64_t off);

struct briq_scan {
    briq_scan_read read;
    void *opaque;
    uint32_t seg, seg_shift, window_bytes;
    uint64_t uuid_lo;
    uint64_t segseq;     /* chunks of another use are passed over; 0: any use */
    uint32_t off;        /* where to look next */
    uint32_t gaps;       /* times no chunk was found where one could have followed */
    uint32_t unreadable; /* places that the medium failed to read */
    struct briq_chunk chunk;
    uint8_t page[BRIQ_CHUNK_ALIGN] BRIQ_ALIGNED(4096); /* header and records of chunk */
};

/* The next chunk into scan->chunk and scan->page. 1; 0 at the end of the segment; or the error of
 * the medium, but for -EIO, which is counted and passed over. Blocks. */
int briq_scan_next(struct briq_scan *scan) BRIQ_MUST;

/* Byte offset on the device of the chunk found last. */
static inline uint64_t briq_scan_where(const struct briq_scan *scan)
{
    return ((uint64_t)scan->seg << scan->seg_shift) + scan->chunk.off;
}

/* The granule at which the payload of a record of that chunk begins. */
static inline uint64_t briq_scan_granule(const struct briq_scan *scan,
                                         const struct briq_record *record)
{
    return (briq_scan_where(scan) >> BRIQ_GRANULE_SHIFT) + record->off_granules;
}

#endif
