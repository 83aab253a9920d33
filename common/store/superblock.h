/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * superblock.h - finding and writing the one sector that says which map is the volume's.
 *
 * There are two copies, at 0 and 1 MiB. A new generation goes first to the one whose loss would not
 * matter, is flushed, and then to the other: so at any moment a durable copy exists, and at rest
 * both are the same, and one bad sector loses nothing.
 */
#ifndef BRIQ_STORE_SUPERBLOCK_H
#define BRIQ_STORE_SUPERBLOCK_H

#include "common/store/encode.h"

struct briq_device;

struct briq_superblock_found {
    struct briq_superblock sb;
    unsigned next_slot; /* 0 or 1: which copy the next generation is written to first */
    bool damaged;       /* the copy at next_slot is unreadable */
};

/* Reads both copies and picks the newer sound one. -EUCLEAN, -ENOTSUP, or I/O; explained. */
int briq_superblock_read(struct briq_device *dev, const char *name,
                         struct briq_superblock_found *ret, struct briq_error *err) BRIQ_MUST;

/* Reads both copies as they are; one that cannot be read counts as damaged. Or I/O. */
int briq_superblock_look(struct briq_device *dev, struct briq_superblock sb[2],
                         enum briq_sb_state state[2]) BRIQ_MUST;

/* Byte offset of copy 0 or 1. */
static inline uint64_t briq_superblock_offset(unsigned slot)
{
    return slot == 0 ? BRIQ_SB_A_OFFSET : BRIQ_SB_B_OFFSET;
}

/*
 * Puts the sound copy over the one at `slot`, which is damaged, and makes that durable. Whoever is to
 * write to the volume does this before anything else: a copy that a crash tore may be whole again
 * when the next write to it is torn as well, and would then be believed, though space that it refers
 * to may have been used again meanwhile. The sound one must have been flushed. 0 or -errno.
 */
int briq_superblock_mend(struct briq_device *dev, unsigned slot) BRIQ_MUST;

/* Writes sb to both copies in the safe order, *slot first; moves *slot on. Everything it refers to
 * must have been flushed before. Durable when it returns 0. */
int briq_superblock_write(struct briq_device *dev, const struct briq_superblock *sb,
                          unsigned *slot) BRIQ_MUST;

#endif
