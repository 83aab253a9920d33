/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wrap_device.h - a device that watches, counts and fails on demand, around any other device.
 *
 * The store owns the device and frees it; what the test knows about it lies in a `struct
 * test_watch`, which belongs to the test and outlives the device, and can watch several devices in
 * turn. Thread: any.
 */
#ifndef BRIQ_TESTS_LIB_WRAP_DEVICE_H
#define BRIQ_TESTS_LIB_WRAP_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/device/device.h"

enum test_io {
    TEST_IO_READ,
    TEST_IO_WRITE,
    TEST_IO_FLUSH,
    TEST_IO_DISCARD,
    TEST_IO_RESERVE,
};
#define TEST_IO_COUNT 5

struct test_io_event {
    enum test_io kind;
    uint64_t off, len;
    int result; /* what the caller got */
};

/* After `skip` more calls of a kind, the next `times` of them fail with `error`. */
struct test_fault {
    uint64_t skip, times;
    int error;    /* -errno */
    bool partial; /* a write puts its first half (in sectors of 512) down before it fails */
};

struct test_watch {
    pthread_mutex_t mutex;
    uint64_t calls[TEST_IO_COUNT], bytes[TEST_IO_COUNT], failed[TEST_IO_COUNT];
    struct test_fault fault[TEST_IO_COUNT];
    struct test_io_event *events; /* in the order in which the calls ended */
    size_t events_count, events_max;
    /* Optional: called, without the mutex, before each request goes on; not 0 fails the request. */
    int (*before)(void *opaque, enum test_io kind, uint64_t off, uint64_t len);
    void *opaque;
};

/* Remembers up to `events_max` requests after the last reset; further ones are only counted. */
void test_watch_init(struct test_watch *watch, size_t events_max);
void test_watch_fini(struct test_watch *watch);

/* Forgets counts and events, keeps faults. */
void test_watch_reset(struct test_watch *watch);

/* Plants a fault for the coming requests of a kind, in place of the one before. */
void test_watch_fail(struct test_watch *watch, enum test_io kind, struct test_fault fault);

/* Prints the remembered requests to stderr, for a test that is about to fail. */
void test_watch_print(const struct test_watch *watch);

/* Takes over `inner`. Ends the program when memory runs out. */
struct briq_device *test_wrap_device(struct briq_device *inner, struct test_watch *watch);

/* briq_file_open() and test_wrap_device() in one. */
int test_wrap_file(const char *path, unsigned flags, struct test_watch *watch,
                   struct briq_error *err, struct briq_device **ret) BRIQ_MUST;

#endif
