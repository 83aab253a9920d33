/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/walk.h"

bool briq_walk_belongs(const struct briq_walk *walk, const struct briq_chunk *chunk, uint32_t off)
{
    uint32_t window_left = walk->window_bytes - off % walk->window_bytes;
    return chunk->uuid_lo == walk->uuid_lo && chunk->seg == walk->seg && chunk->off == off &&
           chunk->len <= window_left && (walk->segseq == 0 || chunk->segseq == walk->segseq);
}

bool briq_walk_next(struct briq_walk *walk)
{
    while (walk->off < walk->seg_bytes) {
        uint32_t off = walk->off;
        size_t need;
        walk->at = walk->bytes + off;
        if (briq_chunk_decode(walk->at, walk->seg_bytes - off, &walk->chunk, &need) &&
            briq_walk_belongs(walk, &walk->chunk, off)) {
            walk->off += walk->chunk.len;
            return true;
        }
        walk->gaps++;
        walk->off = off + BRIQ_CHUNK_ALIGN;
    }
    return false;
}
