/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.c - anonymous memory as a device.
 *
 * Address space is taken at once and without promise (MAP_NORESERVE); memory itself comes with the
 * first touch of a page and goes with its discard. Huge pages spare the store TLB misses, which
 * cost more than anything else in a random read from memory.
 */
#include "common/device/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/base/size.h"

#define HUGE_BYTES    (UINT64_C(2) << 20)
#define MINCORE_PAGES 16384u /* asked about at a time; a byte each, on the stack */

struct briq_memory {
    struct briq_device dev;
    uint64_t mapped_bytes; /* from dev.memory on: size_bytes rounded up to pages */
    uint64_t page_bytes;
};

static struct briq_memory *memory_of(struct briq_device *dev)
{
    return BRIQ_CONTAINER_OF(dev, struct briq_memory, dev);
}

/* How much of [off, off+len) lies inside the device. */
static size_t inside(const struct briq_device *dev, uint64_t off, size_t len)
{
    return off >= dev->size_bytes ? 0 : (size_t)briq_min_u64(len, dev->size_bytes - off);
}

static int memory_read(struct briq_device *dev, void *buf, size_t len, uint64_t off)
{
    size_t part = inside(dev, off, len);
    if (part > 0)
        memcpy(buf, (char *)dev->memory + off, part);
    memset((char *)buf + part, 0, len - part);
    return 0;
}

static int memory_write(struct briq_device *dev, const void *buf, size_t len, uint64_t off)
{
    if (inside(dev, off, len) != len)
        return -ENOSPC;
    if (len > 0)
        memcpy((char *)dev->memory + off, buf, len);
    return 0;
}

static int memory_flush(struct briq_device *dev)
{
    (void)dev; /* nothing outlives the process, so nothing can be lost before it */
    return 0;
}

static int memory_discard(struct briq_device *dev, uint64_t off, uint64_t len)
{
    const struct briq_memory *memory = memory_of(dev);
    if (off >= dev->size_bytes)
        return 0;

    uint64_t end = off + briq_min_u64(len, dev->size_bytes - off);
    uint64_t from = briq_align_up(off, memory->page_bytes);
    /* The last page may be a part of one: nothing lies behind it. */
    uint64_t to =
        end == dev->size_bytes ? memory->mapped_bytes : briq_align_down(end, memory->page_bytes);
    if (from >= to)
        return 0;
    return madvise((char *)dev->memory + from, to - from, MADV_DONTNEED) < 0 ? -errno : 0;
}

/* The system has no way to promise memory for good. But what is touched here, by the thread that
 * keeps segments in stock, is not touched for the first time by a writer, whom that costs more than
 * its compression does. A wish: where it fails, the write finds out. */
static int memory_reserve(struct briq_device *dev, uint64_t off, uint64_t len)
{
    size_t part = inside(dev, off, (size_t)len);
    uint64_t page = memory_of(dev)->page_bytes;
    uint64_t from = briq_align_down(off, page);
    if (part > 0)
        (void)madvise((char *)dev->memory + from, briq_align_up(off + part, page) - from,
                      MADV_POPULATE_WRITE);
    return 0;
}

static void memory_prefetch(struct briq_device *dev, uint64_t off, uint64_t len)
{
    (void)dev; /* it is there already */
    (void)off;
    (void)len;
}

static int memory_allocated(struct briq_device *dev, uint64_t *ret_bytes)
{
    const struct briq_memory *memory = memory_of(dev);
    unsigned char resident[MINCORE_PAGES];
    uint64_t step = MINCORE_PAGES * memory->page_bytes;
    uint64_t pages = 0;

    for (uint64_t pos = 0; pos < memory->mapped_bytes; pos += step) {
        uint64_t part = briq_min_u64(step, memory->mapped_bytes - pos);
        if (mincore((char *)dev->memory + pos, part, resident) < 0)
            return -errno;
        for (uint64_t i = 0; i < part / memory->page_bytes; i++)
            pages += resident[i] & 1;
    }
    *ret_bytes = pages * memory->page_bytes;
    return 0;
}

static void memory_close(struct briq_device *dev)
{
    struct briq_memory *memory = memory_of(dev);
    munmap(dev->memory, memory->mapped_bytes);
    free(memory);
}

static const struct briq_device_ops memory_ops = {
    .read = memory_read,
    .write = memory_write,
    .flush = memory_flush,
    .discard = memory_discard,
    .reserve = memory_reserve,
    .prefetch = memory_prefetch,
    .allocated = memory_allocated,
    .close = memory_close,
};

/* Maps len bytes (whole pages) at a multiple of 2 MiB. NULL when there is no such space. */
static void *map_aligned(uint64_t len)
{
    char *base = mmap(NULL, len + HUGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;

    uint64_t before = briq_align_up((uintptr_t)base, HUGE_BYTES) - (uintptr_t)base;
    if (before > 0)
        munmap(base, before);
    munmap(base + before + len, HUGE_BYTES - before);
    /* Wishes: a kernel without huge pages, or that cannot leave them out of a core, works too. */
    (void)madvise(base + before, len, MADV_HUGEPAGE);
    (void)madvise(base + before, len, MADV_DONTDUMP);
    return base + before;
}

static int out_of_memory(uint64_t size_bytes, struct briq_error *err)
{
    char text[BRIQ_SIZE_TEXT_MAX];
    return briq_error_set(err, -ENOMEM,
                          "a device of %s in memory: no address space for it; choose "
                          "a smaller size or raise the limit (ulimit -v, vm.overcommit_memory)",
                          briq_size_format(size_bytes, text));
}

int briq_memory_open(uint64_t size_bytes, struct briq_error *err, struct briq_device **ret)
{
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    if (size_bytes == 0)
        return briq_error_set(err, -EINVAL, "a device in memory needs a size above 0");
    if (size_bytes > INT64_MAX - 2 * HUGE_BYTES)
        return out_of_memory(size_bytes, err);

    struct briq_memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return out_of_memory(size_bytes, err);
    memory->page_bytes = page_bytes;
    memory->mapped_bytes = briq_align_up(size_bytes, page_bytes);
    memory->dev = (struct briq_device){
        .ops = &memory_ops,
        .size_bytes = size_bytes,
        .align_bytes = 1,
        .fd = -1,
        .memory = map_aligned(memory->mapped_bytes),
        .fixed_size = true,
    };
    if (memory->dev.memory == NULL) {
        free(memory);
        return out_of_memory(size_bytes, err);
    }
    *ret = &memory->dev;
    return 0;
}
