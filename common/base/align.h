/* SPDX-License-Identifier: BSD-3-Clause */
/* align.h - rounding and small comparisons on unsigned sizes; powers of two only where it says so.
 */
#ifndef BRIQ_BASE_ALIGN_H
#define BRIQ_BASE_ALIGN_H

#include <stdbool.h>
#include <stdint.h>

static inline bool briq_is_pow2(uint64_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

/* x rounded down / up to a multiple of the power of two `unit`. The caller rules out overflow. */
static inline uint64_t briq_align_down(uint64_t x, uint64_t unit)
{
    return x & ~(unit - 1);
}

static inline uint64_t briq_align_up(uint64_t x, uint64_t unit)
{
    return (x + unit - 1) & ~(unit - 1);
}

/* x / unit rounded up, any unit above 0. */
static inline uint64_t briq_div_up(uint64_t x, uint64_t unit)
{
    return x / unit + (x % unit != 0);
}

static inline uint64_t briq_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t briq_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
