/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * counter.h - figures that one thread at a time writes and any thread reads.
 *
 * The writer holds whatever lock guards the counter's owner, so a plain load and store is enough;
 * the reader needs no lock. Where writers race, use atomic_fetch_add on the same type instead.
 */
#ifndef BRIQ_BASE_COUNTER_H
#define BRIQ_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t briq_counter;

static inline void briq_counter_add(briq_counter *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* For counters that several threads write. */
static inline void briq_counter_add_shared(briq_counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

static inline uint64_t briq_counter_get(const briq_counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* The sum of shares of which some may be below 0: they are read one after the other, and what moved
 * from one to another meanwhile can be missing in both. */
static inline uint64_t briq_counter_sum(uint64_t sum)
{
    return sum > INT64_MAX ? 0 : sum;
}

static inline void briq_counter_max(briq_counter *c, uint64_t n)
{
    if (n > briq_counter_get(c))
        atomic_store_explicit(c, n, memory_order_relaxed);
}

#endif
