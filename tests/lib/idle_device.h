/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * idle_device.h - what every device in memory is made of that does nothing else: zeroed memory, and
 * the operations of a device table that have nothing to do. Thread: any.
 */
#ifndef BRIQ_TESTS_IDLE_DEVICE_H
#define BRIQ_TESTS_IDLE_DEVICE_H

#include <stdint.h>

#include "common/device/device.h"

/* Zeros, for munmap(); only touched pages cost memory. Ends the program when it cannot be had. */
void *test_idle_memory(uint64_t bytes);

/* The operation `prefetch`: does nothing. */
void test_idle_prefetch(struct briq_device *dev, uint64_t off, uint64_t len);

/* The operation `allocated`: all of it. */
int test_idle_allocated(struct briq_device *dev, uint64_t *ret_bytes);

#endif
