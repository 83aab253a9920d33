/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.h - monotonic time in nanoseconds since an arbitrary start. Never goes back. */
#ifndef BRIQ_BASE_CLOCK_H
#define BRIQ_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t briq_clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
