/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/wrap_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES 512u

struct wrap {
    struct briq_device dev; /* what the store sees */
    struct briq_device *inner;
    struct test_watch *watch;
};

static struct wrap *wrap_of(struct briq_device *dev)
{
    return BRIQ_CONTAINER_OF(dev, struct wrap, dev);
}

/* Draws on the planted fault: 0, or the error of this request. */
static int take_fault(struct test_watch *watch, enum test_io kind, bool *ret_partial)
{
    int error = 0;
    pthread_mutex_lock(&watch->mutex);
    struct test_fault *fault = &watch->fault[kind];
    if (fault->skip > 0 && fault->times > 0) {
        fault->skip--;
    } else if (fault->times > 0) {
        fault->times--;
        error = fault->error;
        *ret_partial = fault->partial;
    }
    pthread_mutex_unlock(&watch->mutex);
    return error;
}

static int begin(struct wrap *wrap, enum test_io kind, uint64_t off, uint64_t len,
                 bool *ret_partial)
{
    struct test_watch *watch = wrap->watch;
    *ret_partial = false;
    int error = watch->before != NULL ? watch->before(watch->opaque, kind, off, len) : 0;
    return error != 0 ? error : take_fault(watch, kind, ret_partial);
}

static int end(struct wrap *wrap, enum test_io kind, uint64_t off, uint64_t len, int result)
{
    struct test_watch *watch = wrap->watch;
    pthread_mutex_lock(&watch->mutex);
    watch->calls[kind]++;
    watch->bytes[kind] += len;
    watch->failed[kind] += result != 0;
    if (watch->events_count < watch->events_max)
        watch->events[watch->events_count++] =
            (struct test_io_event){.kind = kind, .off = off, .len = len, .result = result};
    pthread_mutex_unlock(&watch->mutex);
    return result;
}

static int wrap_read(struct briq_device *dev, void *buf, size_t len, uint64_t off)
{
    struct wrap *wrap = wrap_of(dev);
    bool partial;
    int r = begin(wrap, TEST_IO_READ, off, len, &partial);
    if (r == 0)
        r = briq_device_read(wrap->inner, buf, len, off);
    return end(wrap, TEST_IO_READ, off, len, r);
}

/* The half of a write that reaches the medium although the write fails. */
static void write_half(struct wrap *wrap, const void *buf, size_t len, uint64_t off)
{
    size_t half = len / 2 / SECTOR_BYTES * SECTOR_BYTES;
    if (half > 0 && briq_device_write(wrap->inner, buf, half, off) != 0)
        fprintf(stderr, "wrapped device: half a write could not be written\n");
}

static int wrap_write(struct briq_device *dev, const void *buf, size_t len, uint64_t off)
{
    struct wrap *wrap = wrap_of(dev);
    bool partial;
    int r = begin(wrap, TEST_IO_WRITE, off, len, &partial);
    if (r == 0)
        r = briq_device_write(wrap->inner, buf, len, off);
    else if (partial)
        write_half(wrap, buf, len, off);
    return end(wrap, TEST_IO_WRITE, off, len, r);
}

static int wrap_flush(struct briq_device *dev)
{
    struct wrap *wrap = wrap_of(dev);
    bool partial;
    int r = begin(wrap, TEST_IO_FLUSH, 0, 0, &partial);
    if (r == 0)
        r = briq_device_flush(wrap->inner);
    return end(wrap, TEST_IO_FLUSH, 0, 0, r);
}

static int wrap_discard(struct briq_device *dev, uint64_t off, uint64_t len)
{
    struct wrap *wrap = wrap_of(dev);
    bool partial;
    int r = begin(wrap, TEST_IO_DISCARD, off, len, &partial);
    if (r == 0)
        r = briq_device_discard(wrap->inner, off, len);
    return end(wrap, TEST_IO_DISCARD, off, len, r);
}

static int wrap_reserve(struct briq_device *dev, uint64_t off, uint64_t len)
{
    struct wrap *wrap = wrap_of(dev);
    bool partial;
    int r = begin(wrap, TEST_IO_RESERVE, off, len, &partial);
    if (r == 0)
        r = briq_device_reserve(wrap->inner, off, len);
    return end(wrap, TEST_IO_RESERVE, off, len, r);
}

static void wrap_prefetch(struct briq_device *dev, uint64_t off, uint64_t len)
{
    briq_device_prefetch(wrap_of(dev)->inner, off, len);
}

static int wrap_allocated(struct briq_device *dev, uint64_t *ret_bytes)
{
    return briq_device_allocated(wrap_of(dev)->inner, ret_bytes);
}

static void wrap_close(struct briq_device *dev)
{
    struct wrap *wrap = wrap_of(dev);
    briq_device_close(wrap->inner);
    free(wrap);
}

static const struct briq_device_ops wrap_ops = {
    .read = wrap_read,
    .write = wrap_write,
    .flush = wrap_flush,
    .discard = wrap_discard,
    .reserve = wrap_reserve,
    .prefetch = wrap_prefetch,
    .allocated = wrap_allocated,
    .close = wrap_close,
};

void test_watch_init(struct test_watch *watch, size_t events_max)
{
    memset(watch, 0, sizeof *watch);
    pthread_mutex_init(&watch->mutex, NULL);
    watch->events_max = events_max;
    watch->events = events_max > 0 ? calloc(events_max, sizeof *watch->events) : NULL;
    BRIQ_ASSERT(events_max == 0 || watch->events != NULL);
}

void test_watch_fini(struct test_watch *watch)
{
    free(watch->events);
    watch->events = NULL;
    pthread_mutex_destroy(&watch->mutex);
}

void test_watch_reset(struct test_watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    memset(watch->calls, 0, sizeof watch->calls);
    memset(watch->bytes, 0, sizeof watch->bytes);
    memset(watch->failed, 0, sizeof watch->failed);
    watch->events_count = 0;
    pthread_mutex_unlock(&watch->mutex);
}

void test_watch_fail(struct test_watch *watch, enum test_io kind, struct test_fault fault)
{
    pthread_mutex_lock(&watch->mutex);
    watch->fault[kind] = fault;
    pthread_mutex_unlock(&watch->mutex);
}

void test_watch_print(const struct test_watch *watch)
{
    static const char *const names[TEST_IO_COUNT] = {"read", "write", "flush", "discard",
                                                     "reserve"};
    for (size_t i = 0; i < watch->events_count; i++) {
        const struct test_io_event *event = &watch->events[i];
        fprintf(stderr, "  %-7s offset 0x%llx length %llu result %d\n", names[event->kind],
                (unsigned long long)event->off, (unsigned long long)event->len, event->result);
    }
}

struct briq_device *test_wrap_device(struct briq_device *inner, struct test_watch *watch)
{
    struct wrap *wrap = calloc(1, sizeof *wrap);
    BRIQ_ASSERT(wrap != NULL);
    wrap->dev = *inner;
    wrap->dev.ops = &wrap_ops;
    wrap->dev.fd = -1; /* every request has to come through here */
    wrap->dev.memory = NULL;
    wrap->inner = inner;
    wrap->watch = watch;
    return &wrap->dev;
}

int test_wrap_file(const char *path, unsigned flags, struct test_watch *watch,
                   struct briq_error *err, struct briq_device **ret)
{
    struct briq_device *inner = NULL;
    int r = briq_file_open(path, flags, err, &inner);
    if (r != 0)
        return r;
    *ret = test_wrap_device(inner, watch);
    return 0;
}
