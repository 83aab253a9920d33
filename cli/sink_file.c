/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sink_file.c - a raw file or a block device as a sink. A new file starts as one hole, so that only
 * data needs to be written; a block device holds something old, which zeros must replace.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/sink.h"
#include "common/base/align.h"

#define ZERO_UNIT_BYTES   4096
#define ZEROS_WRITE_BYTES (1u << 20)

struct file_sink {
    struct briq_sink base;
    int fd;
    bool remove; /* a regular file that is ours and not finished */
    void *zeros; /* ZEROS_WRITE_BYTES of them, for a block device */
};

static struct file_sink *file_of(struct briq_sink *sink)
{
    return BRIQ_CONTAINER_OF(sink, struct file_sink, base);
}

static int file_write(struct briq_sink *sink, unsigned worker, const void *buf, size_t len,
                      uint64_t off, struct briq_error *err)
{
    struct file_sink *f = file_of(sink);
    (void)worker;
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(f->fd, (const char *)buf + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return briq_error_set(err, -errno, "%s: write at byte %" PRIu64 ": %s", sink->name,
                                  off + done, strerror(errno));
        done += (size_t)n;
    }
    return 0;
}

static int device_zero(struct briq_sink *sink, unsigned worker, uint64_t len, uint64_t off,
                       struct briq_error *err)
{
    struct file_sink *f = file_of(sink);
    if (fallocate(f->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) == 0)
        return 0;
    /* Not every device can: then zeros are written like anything else, and errors show there. */
    for (uint64_t done = 0; done < len;) {
        size_t n = (size_t)briq_min_u64(len - done, ZEROS_WRITE_BYTES);
        int r = file_write(sink, worker, f->zeros, n, off + done, err);
        if (r < 0)
            return r;
        done += n;
    }
    return 0;
}

static int file_finish(struct briq_sink *sink, struct briq_error *err)
{
    struct file_sink *f = file_of(sink);
    if (fsync(f->fd) < 0)
        return briq_error_set(err, -errno, "%s: fsync: %s", sink->name, strerror(errno));
    f->remove = false;
    return 0;
}

static void file_close(struct briq_sink *sink)
{
    struct file_sink *f = file_of(sink);
    if (f->remove)
        unlink(sink->name);
    close(f->fd);
    free(f->zeros);
    free(f);
}

static const struct briq_sink_ops file_ops = {
    .write = file_write,
    .finish = file_finish,
    .close = file_close,
};

static const struct briq_sink_ops device_ops = {
    .write = file_write,
    .zero = device_zero,
    .finish = file_finish,
    .close = file_close,
};

static int prepare_device(struct file_sink *f, uint64_t size, struct briq_error *err)
{
    off_t capacity = lseek(f->fd, 0, SEEK_END);
    if (capacity < 0 || (uint64_t)capacity < size)
        return briq_error_set(err, -ENOSPC,
                              "%s: the device has %lld bytes, the volume has %" PRIu64,
                              f->base.name, (long long)capacity, size);
    f->zeros = calloc(1, ZEROS_WRITE_BYTES);
    if (f->zeros == NULL)
        return briq_error_set(err, -ENOMEM, "%s: out of memory", f->base.name);
    f->base.ops = &device_ops;
    return 0;
}

static int prepare_file(struct file_sink *f, uint64_t size, struct briq_error *err)
{
    f->remove = true;
    if (ftruncate(f->fd, 0) < 0 || ftruncate(f->fd, (off_t)size) < 0)
        return briq_error_set(err, -errno, "%s: cannot make it %" PRIu64 " bytes long: %s",
                              f->base.name, size, strerror(errno));
    return 0;
}

static int open_target(const char *name, bool force, struct briq_error *err)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC | (force ? 0 : O_EXCL), 0666);
    if (fd >= 0)
        return fd;
    int r = -errno;
    if (r == -EEXIST)
        return briq_error_set(err, r, "%s: it exists; --force replaces it", name);
    return briq_error_set(err, r, "%s: %s", name, strerror(-r));
}

int briq_sink_file_open(const char *name, const struct briq_sink_options *options,
                        struct briq_error *err, struct briq_sink **ret)
{
    struct file_sink *f = calloc(1, sizeof *f);
    if (f == NULL)
        return briq_error_set(err, -ENOMEM, "%s: out of memory", name);
    f->base = (struct briq_sink){.ops = &file_ops, .name = name, .zero_bytes = ZERO_UNIT_BYTES};
    f->fd = open_target(name, options->force, err);
    if (f->fd < 0) {
        int r = f->fd;
        free(f);
        return r;
    }
    struct stat st;
    int r = fstat(f->fd, &st) < 0 ? -errno : 0;
    if (r == 0)
        r = S_ISBLK(st.st_mode) ? prepare_device(f, options->size_bytes, err)
                                : prepare_file(f, options->size_bytes, err);
    if (r < 0) {
        file_close(&f->base);
        return r;
    }
    *ret = &f->base;
    return 0;
}
