/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * scratch.h - what the tests of the file device begin with: a directory of their own with the path
 * of one file in it, and two aligned buffers. Uses plain assert(): good in a child too.
 * Thread: one owner.
 */
#ifndef BRIQ_TESTS_LIB_SCRATCH_H
#define BRIQ_TESTS_LIB_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/prng.h"
#include "common/device/device.h"
#include "tests/lib/temp_dir.h"

struct test_scratch {
    struct test_dir dir;
    struct test_path path;
    unsigned char *out, *in; /* out: bytes none of which is zero */
};

void test_scratch_open(struct test_scratch *scratch, size_t buffer_bytes, struct briq_prng *prng);
void test_scratch_close(struct test_scratch *scratch);

/* Opens a file device; ends the process when that fails. */
struct briq_device *test_device_open(const char *path, unsigned flags);

/* The same with direct I/O on a file that is made if need be; NULL where the file system of the
 * test has none. */
struct briq_device *test_device_open_direct(const char *path);

/* Insists that [off, off+len) of the device reads as `expected`. */
void test_device_expect(struct briq_device *dev, const void *expected, size_t len, uint64_t off);

#endif
