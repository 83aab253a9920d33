/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/superblock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/device/device.h"

static int read_slot(struct briq_device *dev, unsigned slot, void *page,
                     struct briq_superblock *ret_sb, enum briq_sb_state *ret_state)
{
    int r = briq_device_read(dev, page, BRIQ_SB_BYTES, briq_superblock_offset(slot));
    if (r == -EIO) {
        *ret_state = BRIQ_SB_DAMAGED; /* the other copy may do */
        return 0;
    }
    if (r == 0)
        *ret_state = briq_superblock_decode(page, ret_sb);
    return r;
}

static int explain(const char *name, const enum briq_sb_state state[2],
                   const struct briq_superblock sb[2], struct briq_error *err)
{
    for (unsigned i = 0; i < 2; i++)
        if (state[i] == BRIQ_SB_TOO_NEW && sb[i].version != BRIQ_FMT_VERSION)
            return briq_error_set(err, -ENOTSUP,
                                  "%s: is a Briq volume of format version %u, and this briq knows "
                                  "version %u only: use %s one",
                                  name, sb[i].version, BRIQ_FMT_VERSION,
                                  sb[i].version > BRIQ_FMT_VERSION ? "a newer" : "an older");
    for (unsigned i = 0; i < 2; i++)
        if (state[i] == BRIQ_SB_TOO_NEW)
            return briq_error_set(
                err, -ENOTSUP,
                "%s: uses features this briq does not know (incompatible 0x%llx): "
                "use a newer one",
                name, (unsigned long long)sb[i].features_incompat);
    if (state[0] == BRIQ_SB_DAMAGED || state[1] == BRIQ_SB_DAMAGED)
        return briq_error_set(err, -EUCLEAN,
                              "%s: both copies of the superblock are damaged: restore the volume "
                              "from a backup",
                              name);
    return briq_error_set(err, -EUCLEAN, "%s: is not a Briq volume (make one with briq create)",
                          name);
}

/* The sound copy with the higher generation; 2 when there is none. */
static unsigned newest(const enum briq_sb_state state[2], const struct briq_superblock sb[2])
{
    if (state[0] != BRIQ_SB_OK)
        return state[1] == BRIQ_SB_OK ? 1 : 2;
    return state[1] == BRIQ_SB_OK && sb[1].generation > sb[0].generation ? 1 : 0;
}

int briq_superblock_look(struct briq_device *dev, struct briq_superblock sb[2],
                         enum briq_sb_state state[2])
{
    void *page = aligned_alloc(4096, BRIQ_SB_BYTES);
    if (page == NULL)
        return -ENOMEM;
    int r = 0;
    memset(sb, 0, 2 * sizeof *sb);
    for (unsigned slot = 0; slot < 2 && r == 0; slot++)
        r = read_slot(dev, slot, page, &sb[slot], &state[slot]);
    free(page);
    return r;
}

int briq_superblock_read(struct briq_device *dev, const char *name,
                         struct briq_superblock_found *ret, struct briq_error *err)
{
    struct briq_superblock sb[2];
    enum briq_sb_state state[2];
    int r = briq_superblock_look(dev, sb, state);
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot read the superblock: %s", name, strerror(-r));

    unsigned pick = newest(state, sb);
    /* A newer build may have written one copy and died: never fall back behind it. */
    if (pick == 2 || state[1 - pick] == BRIQ_SB_TOO_NEW)
        return explain(name, state, sb, err);
    bool same =
        state[0] == BRIQ_SB_OK && state[1] == BRIQ_SB_OK && sb[0].generation == sb[1].generation;
    ret->sb = sb[pick];
    ret->damaged = state[1 - pick] != BRIQ_SB_OK;
    ret->next_slot = same ? 0 : 1 - pick;
    return 0;
}

int briq_superblock_mend(struct briq_device *dev, unsigned slot)
{
    void *page = aligned_alloc(4096, BRIQ_SB_BYTES);
    if (page == NULL)
        return -ENOMEM;
    int r = briq_device_read(dev, page, BRIQ_SB_BYTES, briq_superblock_offset(1 - slot));
    if (r == 0)
        r = briq_device_write(dev, page, BRIQ_SB_BYTES, briq_superblock_offset(slot));
    if (r == 0)
        r = briq_device_flush(dev);
    free(page);
    return r;
}

int briq_superblock_write(struct briq_device *dev, const struct briq_superblock *sb, unsigned *slot)
{
    void *page = aligned_alloc(4096, BRIQ_SB_BYTES);
    if (page == NULL)
        return -ENOMEM;
    briq_superblock_encode(sb, page);
    int r = briq_device_write(dev, page, BRIQ_SB_BYTES, briq_superblock_offset(*slot));
    if (r == 0)
        r = briq_device_flush_apart(dev); /* beside a round of flushes of requests */
    if (r == 0)
        r = briq_device_write(dev, page, BRIQ_SB_BYTES, briq_superblock_offset(1 - *slot));
    free(page);
    *slot = 1 - *slot;
    return r;
}
