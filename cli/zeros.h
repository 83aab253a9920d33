/* SPDX-License-Identifier: BSD-3-Clause */
/* zeros.h - finds zeros in a buffer. */
#ifndef BRIQ_CLI_ZEROS_H
#define BRIQ_CLI_ZEROS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Whether all of buf[0 .. len) is zero; len above 0. */
static inline bool briq_zeros(const void *buf, size_t len)
{
    const unsigned char *b = buf;
    /* Every byte equals the one before it, and the first is zero: memcmp is the fast loop. */
    return b[0] == 0 && memcmp(b, b + 1, len - 1) == 0;
}

/*
 * The length of the run at the start of buf[0 .. len) that is all zeros, or free of whole zero
 * units, by units of `unit` bytes (the last one may be shorter). *ret_zero says which.
 */
static inline size_t briq_zeros_run(const void *buf, size_t len, size_t unit, bool *ret_zero)
{
    const unsigned char *b = buf;
    size_t pos = 0;
    while (pos < len) {
        size_t n = len - pos < unit ? len - pos : unit;
        bool zero = briq_zeros(b + pos, n);
        if (pos == 0)
            *ret_zero = zero;
        else if (zero != *ret_zero)
            break;
        pos += n;
    }
    return pos;
}

#endif
