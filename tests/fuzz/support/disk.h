/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk.h - a device in memory that forgets what was done to it, at the cost of what was done.
 *
 * The content at the last keep() comes back with reset(); only pages that were written are copied.
 * What is discarded becomes garbage at once. Nothing ever fails, but for space behind the end.
 * Thread: one. A disk outlives the devices that are handed out of it.
 */
#ifndef BRIQ_TESTS_FUZZ_DISK_H
#define BRIQ_TESTS_FUZZ_DISK_H

#include <stdint.h>

#include "common/device/device.h"

struct fuzz_disk;

/* All zeros. Ends the program when memory runs out. */
struct fuzz_disk *fuzz_disk_open(uint64_t size_bytes);
void fuzz_disk_close(struct fuzz_disk *disk);

/* A disk of the same content, now and kept. */
struct fuzz_disk *fuzz_disk_copy(const struct fuzz_disk *disk);

/* A device for one store, which owns it. */
struct briq_device *fuzz_disk_device(struct fuzz_disk *disk);

void fuzz_disk_keep(struct fuzz_disk *disk);
void fuzz_disk_reset(struct fuzz_disk *disk);

/* The content, to be looked at; and [off, off+len) of it, to be changed. */
const uint8_t *fuzz_disk_bytes(const struct fuzz_disk *disk);
uint8_t *fuzz_disk_change(struct fuzz_disk *disk, uint64_t off, uint64_t len);

uint64_t fuzz_disk_size(const struct fuzz_disk *disk);

#endif
