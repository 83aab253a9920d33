/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/geometry.h"

#include <errno.h>

#include "common/base/align.h"
#include "common/base/size.h"
#include "common/store/format.h"
#include "common/store/store.h"

/* Streams, their next segments, garbage collection and two checkpoints need this much even in the
 * smallest volume; in memory there are no checkpoints and no next segments. */
#define SEGMENTS_MIN        20u
#define SEGMENTS_MIN_MEMORY 8u
/* Small volumes are divided into about this many segments at least. */
#define SEGMENTS_AIM 64u
/* What a volume without a limit gets on top. */
#define SEGMENTS_SPARE 40u

/* So many segments can be named by the superblock's roots. */
#define SEGMENTS_MAX (BRIQ_SEG_ROOTS * BRIQ_PAGE_WORDS * BRIQ_SEGS_PER_PAGE)

int briq_geometry_check_size(const char *name, uint64_t bytes, struct briq_error *err)
{
    char text[BRIQ_SIZE_TEXT_MAX];
    if (bytes == 0)
        return briq_error_set(err, -EINVAL, "%s: a volume of size 0 cannot hold anything", name);
    if (bytes % BRIQ_SECTOR_BYTES != 0)
        return briq_error_set(err, -EINVAL, "%s: size %llu is not a multiple of %u", name,
                              (unsigned long long)bytes, BRIQ_SECTOR_BYTES);
    if (bytes > BRIQ_VOLUME_BYTES_MAX)
        return briq_error_set(err, -EINVAL, "%s: size %s is over the limit of %llu TiB", name,
                              briq_size_format(bytes, text),
                              (unsigned long long)(BRIQ_VOLUME_BYTES_MAX >> 40));
    return 0;
}

static uint32_t choose_shift(uint64_t logical_bytes, uint64_t limit_bytes, bool in_memory)
{
    uint32_t shift = 18;
    if (in_memory && logical_bytes >= UINT64_C(1) << 30)
        shift = 21; /* a huge page */
    /* What is kept free is counted in segments: the smaller, the less is lost to collection. But the
     * emptiest is looked for among all of them. */
    if (!in_memory && logical_bytes >= UINT64_C(4) << 30)
        shift = logical_bytes < UINT64_C(256) << 30 ? 20 : 22;
    while (limit_bytes != 0 && shift > BRIQ_SEG_SHIFT_MIN && limit_bytes >> shift < SEGMENTS_AIM)
        shift--;
    return shift;
}

uint64_t briq_geometry_seg_end(uint64_t logical_bytes, const struct briq_geometry *geometry)
{
    uint64_t blocks = briq_div_up(logical_bytes, BRIQ_BLOCK_BYTES);
    /* Every block raw, map pages three times over, and a sixth more: chunk headers, garbage to
     * collect, and the share that stays free. */
    uint64_t bytes = blocks * (BRIQ_BLOCK_BYTES + 16) + blocks / BRIQ_PAGE_WORDS * 3 * 4128;
    uint64_t segments = briq_div_up(bytes + bytes / 6, UINT64_C(1) << geometry->seg_shift);
    return geometry->seg_first + segments + SEGMENTS_SPARE;
}

static uint64_t wanted_end(uint64_t logical_bytes, uint64_t limit_bytes, uint64_t device_bytes,
                           const struct briq_geometry *g)
{
    if (device_bytes != 0)
        limit_bytes = limit_bytes == 0 ? device_bytes : briq_min_u64(limit_bytes, device_bytes);
    uint64_t full = briq_geometry_seg_end(logical_bytes, g);
    return limit_bytes == 0 ? full : briq_min_u64(full, limit_bytes >> g->seg_shift);
}

int briq_geometry_choose(const char *name, uint64_t logical_bytes, uint64_t limit_bytes,
                         uint64_t device_bytes, uint32_t seg_shift, bool in_memory,
                         struct briq_geometry *ret, struct briq_error *err)
{
    int r = briq_geometry_check_size(name, logical_bytes, err);
    if (r < 0)
        return r;
    if (seg_shift != 0 && (seg_shift < BRIQ_SEG_SHIFT_MIN || seg_shift > BRIQ_SEG_SHIFT_MAX))
        return briq_error_set(err, -EINVAL, "%s: segment shift %u is not in %u to %u", name,
                              seg_shift, BRIQ_SEG_SHIFT_MIN, BRIQ_SEG_SHIFT_MAX);
    struct briq_geometry g = {
        .seg_shift =
            seg_shift != 0 ? seg_shift : choose_shift(logical_bytes, limit_bytes, in_memory),
    };
    g.window_shift = (uint32_t)briq_min_u64(g.seg_shift, BRIQ_WINDOW_SHIFT_MAX);
    g.seg_first = in_memory ? 0 : (uint32_t)(BRIQ_DATA_OFFSET >> g.seg_shift);
    g.seg_first += g.seg_first == 0 && !in_memory;
    uint64_t end = wanted_end(logical_bytes, limit_bytes, device_bytes, &g);
    uint32_t least = g.seg_first + (in_memory ? SEGMENTS_MIN_MEMORY : SEGMENTS_MIN);
    if (end < least) {
        char have[BRIQ_SIZE_TEXT_MAX], need[BRIQ_SIZE_TEXT_MAX];
        return briq_error_set(err, -EINVAL, "%s: %s of space is too little: it takes at least %s",
                              name,
                              briq_size_format(limit_bytes != 0 ? limit_bytes : device_bytes, have),
                              briq_size_format((uint64_t)least << g.seg_shift, need));
    }
    g.seg_max = (uint32_t)briq_min_u64(
        briq_max_u64(briq_geometry_seg_end(BRIQ_VOLUME_BYTES_MAX, &g), end), SEGMENTS_MAX);
    g.seg_end = (uint32_t)briq_min_u64(end, g.seg_max);
    *ret = g;
    return 0;
}
