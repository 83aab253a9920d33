/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * open.h - opening in steps, for the check, which goes on where an opening would have to stop.
 */
#ifndef BRIQ_STORE_OPEN_H
#define BRIQ_STORE_OPEN_H

#include "common/store/engine.h"

/*
 * Opens the device, reads the superblock and makes all parts of the store; map and segment table
 * are still empty (briq_tree_load(), briq_recover()). No request may run. To be ended by
 * briq_store_close(), which writes only if the store is not opened_read_only.
 */
int briq_open_parts(const char *name, const struct briq_open_options *options,
                    struct briq_error *err, struct briq_store **ret) BRIQ_MUST;

/* The boot of the machine that this opening takes place in. Errors as briq_boot_id(). */
int briq_open_boot_id(const struct briq_store *store, uint8_t ret[16]) BRIQ_MUST;

/*
 * A process that died may have written the superblock we go by, and not flushed it. Before anything
 * that the one before refers to is written over, its other copy included, ours is made durable by
 * this. Then the other copy is mended if it is damaged. Nothing when opened read-only. Blocks. 0, or
 * what the device answered, explained.
 */
int briq_open_confirm_superblock(struct briq_store *store, struct briq_error *err) BRIQ_MUST;

/* Does every segment that holds something lie inside the device? 0, or -EUCLEAN, explained. */
int briq_open_check_length(struct briq_store *store, struct briq_error *err) BRIQ_MUST;

/*
 * Makes what map and segment table hold in memory the volume, up to operation `seq`, as of a volume
 * that was closed cleanly: it is written to free segments, and then the superblock names it.
 */
int briq_open_write_state(struct briq_store *store, uint64_t seq, struct briq_error *err) BRIQ_MUST;

/* Afterwards requests may run. -ENOSPC: there are not enough free segments for the streams. */
int briq_open_for_requests(struct briq_store *store, struct briq_error *err) BRIQ_MUST;

#endif
