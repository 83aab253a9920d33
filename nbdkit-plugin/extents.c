/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/extents.h"

#include <errno.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

/* One reply's worth: 4 KiB of it on the wire, 8 KiB on the stack here, and a scattered volume still
 * needs only one round trip for every 2 MiB of single-block extents. */
#define EXTENTS_PER_REPLY 512

static uint32_t nbd_type(enum briq_extent_type type)
{
    switch (type) {
    case BRIQ_EXTENT_DATA:
        return 0;
    case BRIQ_EXTENT_ZERO:
        return NBDKIT_EXTENT_ZERO;
    case BRIQ_EXTENT_HOLE:
        return NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO;
    }
    BRIQ_ASSERT(false);
}

int briq_extents_add(struct briq_store *store, uint32_t count, uint64_t off, bool one,
                     struct nbdkit_extents *extents)
{
    struct briq_extent found[EXTENTS_PER_REPLY];
    unsigned found_count = 0;
    int r = briq_status(store, count, off, one ? BRIQ_OP_ONE : 0, found, EXTENTS_PER_REPLY,
                        &found_count);
    if (r < 0)
        return r;

    for (unsigned i = 0; i < found_count; i++) {
        if (nbdkit_add_extent(extents, off, found[i].len_bytes, nbd_type(found[i].type)) == -1)
            return -errno;
        off += found[i].len_bytes;
    }
    return 0;
}
