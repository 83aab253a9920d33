/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recover.h - from the last checkpoint and the journal behind it to the state that was
 * acknowledged.
 */
#ifndef BRIQ_STORE_RECOVER_H
#define BRIQ_STORE_RECOVER_H

#include "common/store/engine.h"

/*
 * Replays the journal behind store->sb into map and space, which hold the checkpoint. Windows of a
 * dead process are written to the device first (read-only: kept in memory). Afterwards
 * recovery->lost_flushed tells whether the medium lost what a flush had acknowledged: then nothing
 * may be written. Blocks; allocates.
 */
int briq_recover(struct briq_store *store, struct briq_recovery *recovery,
                 struct briq_error *err) BRIQ_MUST;

/* After the new checkpoint is durable (or the opening failed): lets go of the old windows. */
void briq_recovery_end(struct briq_recovery *recovery, bool unlink_file);

#endif
