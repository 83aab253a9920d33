/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_disk.h - a disk with a volatile cache that can lose its power at any request.
 *
 * Fault model: a write is volatile until a later flush returned. At a power cut every write since
 * the last flush is, by lot, kept, lost, or torn: of its 512-byte sectors some are kept; and so,
 * independent of each other and of their order. A discard since then has happened or not; what was
 * discarded reads as garbage. What a flush covered is kept. Nothing decays by itself, and no
 * request is misdirected.
 *
 * The disk belongs to the test and outlives the stores that use it: each gets a handle of its own.
 * After a power cut the old handle fails every request with -EIO and changes nothing any more, so
 * that the store behind it can still be closed. Thread: any, but for the cut itself.
 */
#ifndef BRIQ_TESTS_LIB_SIM_DISK_H
#define BRIQ_TESTS_LIB_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/prng.h"
#include "common/device/device.h"

struct test_disk;

/* How many requests of each fate the cuts so far had: a run in which nothing was lost shows
 * nothing. */
struct test_disk_fates {
    uint64_t kept, lost, torn, cuts;
};

/* All zeros. Ends the program when memory runs out. */
struct test_disk *test_disk_open(uint64_t size_bytes);
void test_disk_close(struct test_disk *disk);

/* Makes the content of a file the durable content of the disk, zeros behind it. */
void test_disk_load(struct test_disk *disk, const char *path);

/* A handle for one store, which owns it. */
struct briq_device *test_disk_handle(struct test_disk *disk);

/* The power goes at the `requests`-th write, flush or discard from now; 0: not by itself. */
void test_disk_cut_after(struct test_disk *disk, uint64_t requests);

/* From now on flushes are acknowledged and do nothing: a test of the tests. */
void test_disk_lie(struct test_disk *disk);

/* Whether the power is gone. */
bool test_disk_is_cut(const struct test_disk *disk);

/* Cuts the power, if it is not cut yet, decides what is left, and switches it on for new handles.
 */
void test_disk_cut(struct test_disk *disk, struct briq_prng *prng);

struct test_disk_fates test_disk_fates(const struct test_disk *disk);

#endif
