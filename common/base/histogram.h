/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * histogram.h - how often which values came: of fixed size, for latencies in nanoseconds.
 *
 * Values from 1 to 16 have a bucket each, and 0 passes for 1. Above, each power of two is divided into 16 buckets of the
 * same width, and a bucket holds its upper bound: (16, 17], (17, 18] ... (32, 34] ... So powers of
 * two are bounds, and what is told of a value is never below it and at most 1/16 (6.25 %) above.
 * What is above BRIQ_HISTOGRAM_MAX (137 s) is counted in the last bucket; `max` is exact always.
 *
 * Thread: one at a time writes (plain stores, see counter.h), any reads; a reader beside a writer
 * sees each figure as it was at some moment, not all at the same one.
 */
#ifndef BRIQ_BASE_HISTOGRAM_H
#define BRIQ_BASE_HISTOGRAM_H

#include "common/base/counter.h"

#define BRIQ_HISTOGRAM_SUB_BITS 4u
#define BRIQ_HISTOGRAM_MAX_BITS 37u
#define BRIQ_HISTOGRAM_MAX      (UINT64_C(1) << BRIQ_HISTOGRAM_MAX_BITS)
#define BRIQ_HISTOGRAM_BUCKETS                                                                     \
    ((BRIQ_HISTOGRAM_MAX_BITS - BRIQ_HISTOGRAM_SUB_BITS + 1u) << BRIQ_HISTOGRAM_SUB_BITS)

/* Zero-initialised: empty. */
struct briq_histogram {
    briq_counter sum, max; /* of the values */
    briq_counter counts[BRIQ_HISTOGRAM_BUCKETS];
};

/* The bucket of a value. */
static inline unsigned briq_histogram_bucket(uint64_t value)
{
    if (value > BRIQ_HISTOGRAM_MAX)
        return BRIQ_HISTOGRAM_BUCKETS - 1;
    uint64_t v = value > 0 ? value - 1 : 0;
    if (v >> BRIQ_HISTOGRAM_SUB_BITS == 0)
        return (unsigned)v;
    unsigned shift = 63u - (unsigned)__builtin_clzll(v) - BRIQ_HISTOGRAM_SUB_BITS;
    return (shift << BRIQ_HISTOGRAM_SUB_BITS) + (unsigned)(v >> shift);
}

/* The largest value of a bucket. */
static inline uint64_t briq_histogram_bound(unsigned bucket)
{
    const unsigned subs = 1u << BRIQ_HISTOGRAM_SUB_BITS;
    unsigned shift = bucket < 2 * subs ? 0 : (bucket >> BRIQ_HISTOGRAM_SUB_BITS) - 1;
    return ((uint64_t)(bucket - (shift << BRIQ_HISTOGRAM_SUB_BITS)) + 1) << shift;
}

/* The value came `times` times. Thread: the writer. */
static inline void briq_histogram_add(struct briq_histogram *h, uint64_t value, uint64_t times)
{
    briq_counter_add(&h->counts[briq_histogram_bucket(value)], times);
    briq_counter_add(&h->sum, value * times);
    briq_counter_max(&h->max, value);
}

/* Adds what `from` has counted. Thread: the writer of `to`. */
void briq_histogram_merge(struct briq_histogram *to, const struct briq_histogram *from);

/* How many values came; how many of them were at most a bound, which is a power of two. */
uint64_t briq_histogram_count(const struct briq_histogram *h);
uint64_t briq_histogram_at_most(const struct briq_histogram *h, uint64_t bound);

/*
 * The value that the share q (0 to 1) of all does not exceed: as the definition above, but never
 * above max. 0 for an empty one.
 */
uint64_t briq_histogram_quantile(const struct briq_histogram *h, double q);

#endif
