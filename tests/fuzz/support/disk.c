/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/support/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/align.h"
#include "tests/lib/idle_device.h"

#define PAGE    4096u
#define GARBAGE 0xdb

struct fuzz_disk {
    uint64_t size;
    uint8_t *now, *kept;
    bool *changed;     /* one a page */
    uint32_t *changes; /* the pages that are, in the order in which they were touched */
    uint32_t change_count;
};

struct handle {
    struct briq_device dev;
    struct fuzz_disk *disk;
};

static struct fuzz_disk *disk_of(struct briq_device *dev)
{
    return BRIQ_CONTAINER_OF(dev, struct handle, dev)->disk;
}

struct fuzz_disk *fuzz_disk_open(uint64_t size_bytes)
{
    struct fuzz_disk *disk = calloc(1, sizeof *disk);
    BRIQ_ASSERT(disk != NULL);
    uint64_t pages = briq_div_up(size_bytes, PAGE);
    disk->size = size_bytes;
    disk->now = test_idle_memory(size_bytes);
    disk->kept = test_idle_memory(size_bytes);
    disk->changed = calloc(pages, sizeof *disk->changed);
    disk->changes = calloc(pages, sizeof *disk->changes);
    BRIQ_ASSERT(disk->changed != NULL && disk->changes != NULL);
    return disk;
}

void fuzz_disk_close(struct fuzz_disk *disk)
{
    munmap(disk->now, disk->size);
    munmap(disk->kept, disk->size);
    free(disk->changed);
    free(disk->changes);
    free(disk);
}

struct fuzz_disk *fuzz_disk_copy(const struct fuzz_disk *disk)
{
    struct fuzz_disk *copy = fuzz_disk_open(disk->size);
    memcpy(copy->now, disk->now, disk->size);
    memcpy(copy->kept, disk->now, disk->size);
    return copy;
}

const uint8_t *fuzz_disk_bytes(const struct fuzz_disk *disk)
{
    return disk->now;
}

uint64_t fuzz_disk_size(const struct fuzz_disk *disk)
{
    return disk->size;
}

uint8_t *fuzz_disk_change(struct fuzz_disk *disk, uint64_t off, uint64_t len)
{
    BRIQ_ASSERT(off <= disk->size && len <= disk->size - off);
    for (uint64_t page = off / PAGE; page < briq_div_up(off + len, PAGE); page++) {
        if (disk->changed[page])
            continue;
        disk->changed[page] = true;
        disk->changes[disk->change_count++] = (uint32_t)page;
    }
    return disk->now + off;
}

static void copy_changes(struct fuzz_disk *disk, uint8_t *to, const uint8_t *from)
{
    for (uint32_t i = 0; i < disk->change_count; i++) {
        uint64_t off = (uint64_t)disk->changes[i] * PAGE;
        memcpy(to + off, from + off, briq_min_u64(PAGE, disk->size - off));
        disk->changed[disk->changes[i]] = false;
    }
    disk->change_count = 0;
}

void fuzz_disk_keep(struct fuzz_disk *disk)
{
    copy_changes(disk, disk->kept, disk->now);
}

void fuzz_disk_reset(struct fuzz_disk *disk)
{
    copy_changes(disk, disk->now, disk->kept);
}

/* ---- the device ------------------------------------------------------------------------------ */

static bool is_inside(const struct fuzz_disk *disk, uint64_t off, uint64_t len)
{
    return off <= disk->size && len <= disk->size - off;
}

static int disk_read(struct briq_device *dev, void *buf, size_t len, uint64_t off)
{
    const struct fuzz_disk *disk = disk_of(dev);
    size_t part = off >= disk->size ? 0 : briq_min_u64(len, disk->size - off);
    if (part > 0)
        memcpy(buf, disk->now + off, part);
    memset((uint8_t *)buf + part, 0, len - part);
    return 0;
}

static int disk_write(struct briq_device *dev, const void *buf, size_t len, uint64_t off)
{
    struct fuzz_disk *disk = disk_of(dev);
    if (!is_inside(disk, off, len))
        return -ENOSPC;
    memcpy(fuzz_disk_change(disk, off, len), buf, len);
    return 0;
}

static int disk_flush(struct briq_device *dev)
{
    (void)dev;
    return 0;
}

static int disk_discard(struct briq_device *dev, uint64_t off, uint64_t len)
{
    struct fuzz_disk *disk = disk_of(dev);
    if (is_inside(disk, off, len))
        memset(fuzz_disk_change(disk, off, len), GARBAGE, len);
    return 0;
}

static int disk_reserve(struct briq_device *dev, uint64_t off, uint64_t len)
{
    return is_inside(disk_of(dev), off, len) ? 0 : -ENOSPC;
}

static void disk_close(struct briq_device *dev)
{
    free(BRIQ_CONTAINER_OF(dev, struct handle, dev));
}

static const struct briq_device_ops disk_ops = {
    .read = disk_read,
    .write = disk_write,
    .flush = disk_flush,
    .discard = disk_discard,
    .reserve = disk_reserve,
    .prefetch = test_idle_prefetch,
    .allocated = test_idle_allocated,
    .close = disk_close,
};

struct briq_device *fuzz_disk_device(struct fuzz_disk *disk)
{
    struct handle *handle = calloc(1, sizeof *handle);
    BRIQ_ASSERT(handle != NULL);
    handle->disk = disk;
    handle->dev = (struct briq_device){
        .ops = &disk_ops, .size_bytes = disk->size, .align_bytes = 1, .fd = -1};
    return &handle->dev;
}
