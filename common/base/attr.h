/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attr.h - compiler attributes and the assertion every room uses.
 *
 * BRIQ_ASSERT stays on in release builds and aborts: a dead server loses less than a wrong block.
 * It is for programmer errors only, never for bytes that came from disk, wire or argv.
 */
#ifndef BRIQ_BASE_ATTR_H
#define BRIQ_BASE_ATTR_H

#include <stddef.h>

/* The result must be looked at: an error is never swallowed. */
#define BRIQ_MUST              __attribute__((warn_unused_result))
#define BRIQ_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define BRIQ_ALIGNED(n)        __attribute__((aligned(n)))

#define BRIQ_LIKELY(x)   __builtin_expect(!!(x), 1)
#define BRIQ_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define BRIQ_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define BRIQ_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define BRIQ_CACHELINE_BYTES 64

/* Prints where and what, then aborts. Thread: any. Does not return. */
void briq_assert_fail(const char *file, int line, const char *what) __attribute__((noreturn, cold));

#define BRIQ_ASSERT(x)                                                                             \
    do {                                                                                           \
        if (BRIQ_UNLIKELY(!(x)))                                                                   \
            briq_assert_fail(__FILE__, __LINE__, #x);                                              \
    } while (0)

#endif
