/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_store.h - the speed of the engine, as ratios inside one run: what it costs on top of LZ4.
 *
 * Each figure of the store stands beside that of a bare loop over the same blocks in the same
 * random order; rounds of the two alternate, so that what else happens on the machine meets both.
 */
#ifndef BRIQ_CLI_BENCH_STORE_H
#define BRIQ_CLI_BENCH_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/bench_round.h"
#include "cli/cancel.h"
#include "common/base/error.h"

#define BRIQ_BENCH_COUNTS_MAX 8 /* different numbers of threads */

struct briq_bench_options {
    const char *image;   /* where the data comes from; NULL: the files below /usr */
    const char *volume;  /* "mem:" or the path of a volume to be made */
    uint64_t size_bytes; /* of the working set, at most */
    unsigned rounds;     /* 1 .. BRIQ_ROUNDS_MAX */
    unsigned threads[BRIQ_BENCH_COUNTS_MAX];
    unsigned thread_counts;
    void (*phase)(void *opaque, const char *what); /* told what is done next; may be NULL */
    void *opaque;
    const struct briq_cancel *cancel; /* ends it early, with -EINTR */
};

/* Medians over the rounds. */
struct briq_bench_pair {
    unsigned threads;
    struct briq_round_result bare, store;
    double ratio;        /* operations of the store, of bare ones */
    double cpu_ratio;    /* the same by processor time of the threads */
    double bare_scaling; /* operations with these threads, of those with threads[0] */
    double store_scaling;
    double store_cpu_scaling; /* the same by CPU time: what sharing costs, on any machine */
};

struct briq_bench_result {
    uint64_t blocks;
    double ratio; /* of the blocks' bytes to what the volume stored */
    struct briq_bench_pair reads[BRIQ_BENCH_COUNTS_MAX], writes[BRIQ_BENCH_COUNTS_MAX];
    /* garbage collection in a volume with a limit, random overwrites */
    uint64_t gc_limit_bytes, gc_appended_bytes, gc_segments;
    double gc_live;   /* stored bytes, of the limit */
    double gc_cost;   /* device bytes per byte appended, since the volume was filled */
    double gc_steady; /* the same over the last third */
};

/* Returns 0 or -errno explained in err. Blocks for a minute or so. Removes what it made. */
int briq_bench_store(const struct briq_bench_options *options, struct briq_bench_result *ret,
                     struct briq_error *err) BRIQ_MUST;

#endif
