/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/scan.h"

#include <errno.h>

#include "common/store/walk.h"

static bool is_chunk_at(struct briq_scan *scan, uint32_t off)
{
    struct briq_walk place = {
        .seg = scan->seg,
        .window_bytes = scan->window_bytes,
        .uuid_lo = scan->uuid_lo,
        .segseq = scan->segseq,
    };
    size_t need;
    return briq_chunk_decode(scan->page, sizeof scan->page, &scan->chunk, &need) &&
           briq_walk_belongs(&place, &scan->chunk, off);
}

int briq_scan_next(struct briq_scan *scan)
{
    uint64_t base = (uint64_t)scan->seg << scan->seg_shift;
    while (scan->off < 1u << scan->seg_shift) {
        uint32_t off = scan->off;
        int r = scan->read(scan->opaque, scan->page, sizeof scan->page, base + off);
        if (r < 0 && r != -EIO)
            return r;
        if (r == 0 && is_chunk_at(scan, off)) {
            scan->off += scan->chunk.len;
            return 1;
        }
        scan->unreadable += r == -EIO;
        scan->gaps++;
        scan->off = off + BRIQ_CHUNK_ALIGN;
    }
    return 0;
}
