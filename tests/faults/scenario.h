/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scenario.h - pieces of a volume's life in which faults are planted.
 *
 * Each begins with a volume in a known state, is the same on every run but for what the fault
 * changes, and goes on after a failure as far as a careless program would.
 */
#ifndef BRIQ_TESTS_FAULTS_SCENARIO_H
#define BRIQ_TESTS_FAULTS_SCENARIO_H

#include "tests/faults/stage.h"

struct scenario {
    const char *name;
    /* Makes the volume as it is before, and keeps it. NULL: there is none. */
    void (*prepare)(struct stage *s, struct snapshot *snapshot);
    void (*act)(struct stage *s);
    /* What must hold afterwards, on a healthy machine. */
    void (*judge)(struct stage *s);
    unsigned kinds; /* 1 << seam_kind of the calls it makes: each of them must be reached */
    bool lies;      /* it is also a test for a medium that lies */
};

extern const struct scenario scenarios[];
extern const unsigned scenarios_count;

#endif
