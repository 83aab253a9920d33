/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_round.h - runs a loop of operations in some threads that start together, and measures it;
 * and the medians over several such rounds.
 */
#ifndef BRIQ_CLI_BENCH_ROUND_H
#define BRIQ_CLI_BENCH_ROUND_H

#include <stdint.h>

#include "common/base/error.h"

#define BRIQ_ROUND_THREADS_MAX 64
#define BRIQ_ROUNDS_MAX        32

struct briq_round {
    /* Does `count` operations chosen by the seed, and returns 0 or -errno. Any thread. */
    int (*loop)(void *opaque, uint64_t seed, uint64_t count);
    void *opaque;
    uint64_t seed;    /* of the first batch of operations; the others count on from it */
    uint64_t count;   /* operations for each thread; who is faster does more of them */
    unsigned threads; /* 1 .. BRIQ_ROUND_THREADS_MAX */
};

struct briq_round_result {
    double ops_per_s;  /* of all threads together, by the clock */
    double wall_ns;    /* an operation takes that long in a thread */
    double cpu_ns;     /* processor time of the thread, an operation */
    double process_ns; /* processor time of the whole process, its other threads included */
};

/* Runs it. Returns 0, or the first error of a thread. Blocks; makes threads. */
int briq_round_run(const struct briq_round *round, struct briq_round_result *ret) BRIQ_MUST;

/* The median of values[0 .. count), which are sorted by this; count above 0. */
double briq_round_median(double *values, unsigned count);

#endif
