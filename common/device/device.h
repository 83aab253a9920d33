/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device.h - THE SEAM between the store and whatever keeps its bytes.
 *
 * Two devices live here: a regular file or block device (file.c) and plain memory (memory.c).
 * Tests put simulated and failing ones behind the same table. The store reaches a device only
 * through briq_device_*() or, in an event loop, by submitting a `struct briq_io` of its own to the
 * device's file descriptor.
 *
 * Contract for every implementation:
 *  - Offsets and lengths are bytes. Where align_bytes is above 1, the store passes only offsets,
 *    lengths and buffers that are multiples of it.
 *  - read/write transfer everything or fail: short transfers are continued inside. Reading past
 *    the end of a file returns zeros there (a sparse volume grows on demand).
 *  - All return 0 or a negative errno. Any thread may call, also at the same time. A place that
 *    cannot be read is -EIO, whatever the medium calls it.
 *  - write is volatile until a later flush returns 0. A failed flush leaves everything written
 *    since the last good one in doubt, for good: the caller never retries it into success.
 */
#ifndef BRIQ_DEVICE_DEVICE_H
#define BRIQ_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/error.h"

struct briq_device;

/* What an implementation provides. Every member but flush_apart is required. */
struct briq_device_ops {
    int (*read)(struct briq_device *dev, void *buf, size_t len, uint64_t off);
    int (*write)(struct briq_device *dev, const void *buf, size_t len, uint64_t off);
    /* Everything whose write returned before this call is on stable storage when it returns 0. */
    int (*flush)(struct briq_device *dev);
    /* The same, for who flushes beside others: Linux tells a failed write to one flush of an open
     * file only, and each of the two must hear of it. NULL: flush tells everybody. */
    int (*flush_apart)(struct briq_device *dev);
    /* [off, off+len) is not needed any more; it reads as anything afterwards. A hint: no error. */
    int (*discard)(struct briq_device *dev, uint64_t off, uint64_t len);
    /* Takes space for [off, off+len), growing the file, so that a later write there cannot run out
     * of it. -ENOSPC when there is none. Content that exists is kept. Memory is touched, no more. */
    int (*reserve)(struct briq_device *dev, uint64_t off, uint64_t len);
    /* A hint that [off, off+len) will be read soon. Does not wait for the medium. */
    void (*prefetch)(struct briq_device *dev, uint64_t off, uint64_t len);
    /* Bytes the device really takes on its host now (sparse files: allocated blocks). */
    int (*allocated)(struct briq_device *dev, uint64_t *ret_bytes);
    /* Frees dev and all it holds. Does not flush. */
    void (*close)(struct briq_device *dev);
};

/* Owned by whoever opened it; read-only to everybody else after the open. */
struct briq_device {
    const struct briq_device_ops *ops;
    uint64_t size_bytes;  /* fixed-size device: its size; growing file: size at open */
    uint32_t align_bytes; /* 1, or what direct I/O needs (a power of two up to 4096) */
    int fd;               /* for event loops; -1 when there is none */
    void *memory;         /* base of a memory device, else NULL */
    bool fixed_size;      /* a block device or preallocated space: reserve has nothing to do */
    bool read_only;
    uint64_t host_dev, host_ino; /* identity of the backing file; 0, 0 when it has none */
};

enum briq_file_flags {
    BRIQ_FILE_READ_ONLY = 1,
    BRIQ_FILE_DIRECT = 2,    /* O_DIRECT; align_bytes becomes what the file needs */
    BRIQ_FILE_CREATE = 4,    /* must not exist yet, unless it is a block device or FORCE is set */
    BRIQ_FILE_FORCE = 8,     /* with CREATE: an existing regular file is replaced (truncated) */
    BRIQ_FILE_UNLOCKED = 16, /* take no lock: only for looking at a superblock */
};

/*
 * Opens the regular file or block device `path` and locks it: exclusively, or shared when
 * read-only. On failure *err says in one line what is wrong with which file; a lock held by another
 * process names that process. Returns 0 and sets *ret, or: -ENOENT, -EACCES, -EROFS, -EBUSY
 * (locked), -EEXIST, -EINVAL (a directory, socket ...; O_DIRECT not supported), or what open(2)
 * returned. *ret is the caller's, to be given to briq_device_close(). Blocks; allocates.
 */
int briq_file_open(const char *path, unsigned flags, struct briq_error *err,
                   struct briq_device **ret) BRIQ_MUST;

/*
 * `size_bytes` of zeroed anonymous memory as a device: mapped without reserving swap, touched pages
 * are taken on demand, discard gives them back. Nothing survives close. Aligned to 2 MiB.
 * Returns 0 and sets *ret, or -ENOMEM (explained in err).
 */
int briq_memory_open(uint64_t size_bytes, struct briq_error *err,
                     struct briq_device **ret) BRIQ_MUST;

static inline int BRIQ_MUST briq_device_read(struct briq_device *dev, void *buf, size_t len,
                                             uint64_t off)
{
    return dev->ops->read(dev, buf, len, off);
}

static inline int BRIQ_MUST briq_device_write(struct briq_device *dev, const void *buf, size_t len,
                                              uint64_t off)
{
    return dev->ops->write(dev, buf, len, off);
}

static inline int BRIQ_MUST briq_device_flush(struct briq_device *dev)
{
    return dev->ops->flush(dev);
}

static inline int BRIQ_MUST briq_device_flush_apart(struct briq_device *dev)
{
    return dev->ops->flush_apart != NULL ? dev->ops->flush_apart(dev) : dev->ops->flush(dev);
}

static inline int briq_device_discard(struct briq_device *dev, uint64_t off, uint64_t len)
{
    return dev->ops->discard(dev, off, len);
}

static inline int BRIQ_MUST briq_device_reserve(struct briq_device *dev, uint64_t off, uint64_t len)
{
    return dev->ops->reserve(dev, off, len);
}

static inline void briq_device_prefetch(struct briq_device *dev, uint64_t off, uint64_t len)
{
    dev->ops->prefetch(dev, off, len);
}

static inline int BRIQ_MUST briq_device_allocated(struct briq_device *dev, uint64_t *ret_bytes)
{
    return dev->ops->allocated(dev, ret_bytes);
}

/* NULL is accepted. */
static inline void briq_device_close(struct briq_device *dev)
{
    if (dev != NULL)
        dev->ops->close(dev);
}

#endif
