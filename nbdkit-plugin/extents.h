/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * extents.h - NBD block status from the block map.
 */
#ifndef BRIQ_NBDKIT_PLUGIN_EXTENTS_H
#define BRIQ_NBDKIT_PLUGIN_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/store.h"

struct nbdkit_extents;

/*
 * Adds the extents of [off, off+count) to `extents`, in order: a hole as hole and zero, explicit
 * zeros as zero alone, data as neither. With `one` a single extent; else as many as one bounded
 * look at the map gives, which may end before the range does: the client asks again from there.
 * Returns 0, or -errno. Thread: any. Does not read data.
 */
int briq_extents_add(struct briq_store *store, uint32_t count, uint64_t off, bool one,
                     struct nbdkit_extents *extents) BRIQ_MUST;

#endif
