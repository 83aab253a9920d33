/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.h - what a simulation did: a run in which a kind of crash never happened shows nothing. */
#ifndef BRIQ_TESTS_SIM_STATS_H
#define BRIQ_TESTS_SIM_STATS_H

#include <stdint.h>

enum sim_end {
    SIM_POWER_CUT,
    SIM_PROCESS_DEATH,
};
#define SIM_ENDS 2

/* What the store was doing in the device call that met the crash. */
enum sim_place {
    SIM_IN_OPERATION,
    SIM_IN_RECOVERY,
    SIM_IN_CHECKPOINT,
    SIM_IN_GC,
    SIM_IN_CLOSE,
    SIM_BETWEEN_CALLS,
};
#define SIM_PLACES 6

/* Nothing but counters, so that they can be summed. */
struct sim_stats {
    uint64_t seeds;
    uint64_t crashes[SIM_ENDS][SIM_PLACES];
    uint64_t stale_windows; /* power cuts that left the windows' file of the boot before */
    uint64_t reads, writes, partial_writes, trims, zeroes, flushes, fua;
    uint64_t checkpoints, compactions, resizes, clean_closes, maintained;
    uint64_t enospc;
    uint64_t checks, blocks_compared;
    uint64_t kept, lost, torn, garbled, discarded;
    uint64_t gc_segments, store_checkpoints; /* as the store counts them */
    uint64_t recovered, discarded_records, from_windows;
};

#endif
