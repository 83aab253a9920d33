/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz.h - what every fuzz target is made of.
 *
 * A target is one function that takes any bytes and must come back: it aborts when something is
 * wrong (BRIQ_ASSERT, or a sanitizer). libFuzzer calls it, and so does replay.c with the files of a
 * corpus. The same bytes do the same on every machine: nothing is drawn, and support/host.c gives
 * the store a host that is always the same.
 */
#ifndef BRIQ_TESTS_FUZZ_FUZZ_H
#define BRIQ_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/attr.h"

/* The target. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as a row of numbers; behind its end they are all 0. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* The next `max` bytes, or what is left of them; *ret_len says how many. */
static inline const uint8_t *fuzz_take(struct fuzz_input *in, size_t max, size_t *ret_len)
{
    const uint8_t *bytes = in->at;
    *ret_len = in->left < max ? in->left : max;
    in->left -= *ret_len;
    if (*ret_len > 0)
        in->at += *ret_len;
    return bytes;
}

/* Little endian, of 1 to 8 bytes. */
static inline uint64_t fuzz_number(struct fuzz_input *in, unsigned bytes)
{
    size_t len;
    const uint8_t *from = fuzz_take(in, bytes, &len);
    uint64_t number = 0;
    for (size_t i = 0; i < len; i++)
        number |= (uint64_t)from[i] << 8 * i;
    return number;
}

/*
 * Changes parts of buf as the input says, until it ends: where (2 bytes), how many (1 byte), then
 * those bytes. So a few bytes of input turn a sound structure into a nearly sound one.
 */
static inline void fuzz_patch(struct fuzz_input *in, void *buf, size_t size)
{
    while (in->left > 0) {
        size_t at = fuzz_number(in, 2) % size, len;
        size_t want = 1 + fuzz_number(in, 1) % 16;
        const uint8_t *from = fuzz_take(in, want < size - at ? want : size - at, &len);
        if (len > 0)
            memcpy((uint8_t *)buf + at, from, len);
    }
}

#endif
