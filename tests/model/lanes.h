/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lanes.h - blocks that all threads of a run write to at the same time, each its own bytes.
 *
 * The shared part of the volume is cut into lanes of some power of two of bytes up to 512; lane i
 * belongs to thread i modulo the number of threads. Every write is thus a read-modify-write that
 * races with those of the neighbours, and a thread knows exactly what its own lanes must hold.
 */
#ifndef BRIQ_TESTS_MODEL_LANES_H
#define BRIQ_TESTS_MODEL_LANES_H

#include <stdint.h>

struct worker;

struct lanes {
    uint64_t base, size; /* of the shared part: whole blocks */
    uint32_t lane_bytes;
    unsigned owners;
};

/* One thread's view of the shared part. */
struct lane_walk {
    struct worker *worker;
    uint8_t *bytes; /* of the shared part, true only where the thread owns it; NULL without lanes */
    uint8_t *read;
};

/* Nothing is done where the worker has no lanes. */
void lane_walk_init(struct lane_walk *walk, struct worker *worker);

/* Reads all of the shared part once more, compares, and frees. */
void lane_walk_fini(struct lane_walk *walk);

/* One write, zero, trim or read there. `number` is that of the operation. */
void lane_walk_step(struct lane_walk *walk, uint64_t number);

#endif
