/* SPDX-License-Identifier: BSD-3-Clause */
/* recovery.h - what replaying a journal found; see recover.h. */
#ifndef BRIQ_STORE_RECOVERY_H
#define BRIQ_STORE_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/window.h"

struct briq_recovery {
    struct briq_windows_left left;
    enum briq_leftover leftover;
    bool process_death;   /* all that was acknowledged is there, if the medium is well */
    uint64_t durable_seq; /* highest sequence number known to have been flushed */
    uint64_t last_seq;    /* of the last record applied */
    uint64_t applied, discarded, from_windows;
    uint64_t lost_flushed;   /* operations that a flush had acknowledged */
    uint64_t lost_acked;     /* after a process death: others that had been acknowledged */
    uint64_t unreadable;     /* places of the journal that may hold more */
    uint64_t broken_windows; /* of a dead process: parts of them, or all, were left out */
    uint64_t behind_end; /* blocks that records tell of and the volume does not have: left out */
};

/* Is the volume as it should be after this crash? If not, nothing may be written. */
static inline bool briq_recovery_is_whole(const struct briq_recovery *recovery)
{
    return recovery->lost_flushed == 0 && recovery->lost_acked == 0 && recovery->unreadable == 0 &&
           recovery->broken_windows == 0;
}

#endif
