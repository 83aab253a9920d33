/* SPDX-License-Identifier: BSD-3-Clause */
/* geometry.h - how large segments are and how many a volume gets. Pure. */
#ifndef BRIQ_STORE_GEOMETRY_H
#define BRIQ_STORE_GEOMETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/error.h"

/* A volume has no more streams than one for so many segments. */
#define BRIQ_SEGMENTS_A_STREAM 12u

struct briq_geometry {
    uint32_t seg_shift, window_shift;
    uint32_t seg_first, seg_end;
    uint32_t seg_max; /* seg_end of the largest volume these segments can hold */
};

/* Is `bytes` a size that a volume may have? 0, or -EINVAL explained in err (name may be NULL). */
int briq_geometry_check_size(const char *name, uint64_t bytes, struct briq_error *err) BRIQ_MUST;

/*
 * For a volume of logical_bytes. seg_shift 0: chosen by size. limit_bytes: space on the medium at
 * most; 0: enough for a volume full of incompressible data. device_bytes: 0, or the size of a
 * device that cannot grow. in_memory: no superblock, no checkpoints. -EINVAL explained.
 */
int briq_geometry_choose(const char *name, uint64_t logical_bytes, uint64_t limit_bytes,
                         uint64_t device_bytes, uint32_t seg_shift, bool in_memory,
                         struct briq_geometry *ret, struct briq_error *err) BRIQ_MUST;

/* seg_end that a volume of logical_bytes without a limit has. */
uint64_t briq_geometry_seg_end(uint64_t logical_bytes, const struct briq_geometry *geometry);

#endif
