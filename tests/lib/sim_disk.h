/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_disk.h - a disk with a volatile cache, under a machine whose power fails and a process that
 * dies, at any request.
 *
 * Fault model
 *  - A write is volatile until a flush that was asked for after the write's answer has returned.
 *  - Power cut: every write that no flush covers is, by lot and independent of all others, kept,
 *    lost, torn (of its 512-byte sectors some are kept, some are as before) or garbled (some of its
 *    sectors hold random bytes). So is a write that had not been answered yet. A flush in hand may
 *    have been carried out. What a finished flush covered is kept.
 *  - Process death: every answered write is there, flushed or not, and still volatile: a power cut
 *    later on may take it. A write that had not been answered has happened, has not, or has in some
 *    of its sectors; never garbled.
 *  - What was discarded reads as before, as zeros or as garbage. At a power cut a discard that no
 *    flush covers has happened, in all or in some of its sectors, or has not.
 *  - Writes handed out at the same time may be carried out in any order: that is for the test to
 *    do, see test_disk_flush_covers() and test_disk_in_flight().
 *  - Nothing decays by itself, no request is misdirected, no sector outside of a write changes.
 *
 * The disk belongs to the test and outlives the stores that use it: each gets a handle of its own.
 * After a stop the handle fails every request with -EIO and changes nothing any more, so that the
 * store behind it can still be closed. All that is random comes from the generators handed in.
 * Thread: any, but for the stop and what follows.
 */
#ifndef BRIQ_TESTS_LIB_SIM_DISK_H
#define BRIQ_TESTS_LIB_SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/prng.h"
#include "common/device/device.h"
#include "tests/lib/wrap_device.h"

struct test_disk;

/* How many requests of each fate there were, and how many stops: a run in which nothing was lost
 * shows nothing. */
struct test_disk_fates {
    uint64_t kept, lost, torn, garbled, discarded, cuts, deaths;
};

/* All zeros. Ends the program when memory runs out. */
struct test_disk *test_disk_open(uint64_t size_bytes);
void test_disk_close(struct test_disk *disk);

/* All zeros again, as after the open; old handles are dead. */
void test_disk_reset(struct test_disk *disk);

/* test_disk_reset(), and the content of a file is the durable content of the disk. */
void test_disk_load(struct test_disk *disk, const char *path);

/* A handle for one store, which owns it. The test may change what it says of the disk (alignment,
 * fixed size) before it hands it on. */
struct briq_device *test_disk_handle(struct test_disk *disk);

/* The disk as it is now, as another device that can only be read; a stop does not concern it. */
struct briq_device *test_disk_view(struct test_disk *disk);

/* ---- stops ----------------------------------------------------------------------------------- */

/* The disk stops at the `requests`-th write, flush or discard from now; 0: not by itself. */
void test_disk_cut_after(struct test_disk *disk, uint64_t requests);

/* The same, where reads count too. */
void test_disk_cut_after_any(struct test_disk *disk, uint64_t requests);

/* Called at the moment of such a stop, before the request that met it is answered (with -EIO).
 * What was handed out and not answered can be named here with test_disk_in_flight(). */
struct test_disk_stop {
    enum test_io kind; /* of the request that met it */
    uint64_t off, len;
    const void *data; /* of a write */
};
void test_disk_on_stop(struct test_disk *disk,
                       void (*stopped)(void *opaque, const struct test_disk_stop *stop),
                       void *opaque);

/* A write that some store had handed out and that was never carried out: its fate is decided with
 * that of the others. */
void test_disk_in_flight(struct test_disk *disk, const void *data, uint64_t len, uint64_t off);

/* Whether the disk has stopped. */
bool test_disk_is_cut(const struct test_disk *disk);

/* Cuts the power, if the disk has not stopped yet, decides what is left, and switches it on for new
 * handles. */
void test_disk_cut(struct test_disk *disk, struct briq_prng *prng);

/* The process died instead: old handles are dead, the cache is as it was. */
void test_disk_die(struct test_disk *disk, struct briq_prng *prng);

/* ---- flushes --------------------------------------------------------------------------------- */

/* Counts the writes and discards carried out so far. */
uint64_t test_disk_clock(const struct test_disk *disk);

/* The next flush was asked for when the clock stood at `clock`, and covers nothing later. */
void test_disk_flush_covers(struct test_disk *disk, uint64_t clock);

/* From now on flushes are acknowledged and do nothing: a test of the tests. */
void test_disk_lie(struct test_disk *disk);

struct test_disk_fates test_disk_fates(const struct test_disk *disk);

#endif
