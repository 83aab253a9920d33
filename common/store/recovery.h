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
    bool process_death;   /* all that was acknowledged is there: apply every record */
    uint64_t durable_seq; /* highest sequence number known to have been flushed */
    uint64_t last_seq;    /* of the last record applied */
    uint64_t applied, discarded, from_windows, lost_flushed;
    uint64_t torn; /* of the discarded: after a process death, with a payload that is not whole */
};

#endif
