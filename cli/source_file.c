/* SPDX-License-Identifier: BSD-3-Clause */
/* source_file.c - a raw file or block device as a source; its holes are found with lseek(2). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/source.h"
#include "common/base/align.h"

struct file_source {
    struct briq_source base;
    int fd;
};

static struct file_source *file_of(struct briq_source *source)
{
    return BRIQ_CONTAINER_OF(source, struct file_source, base);
}

static int file_read(struct briq_source *source, unsigned worker, void *buf, size_t len,
                     uint64_t off, struct briq_error *err)
{
    struct file_source *f = file_of(source);
    (void)worker;
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(f->fd, (char *)buf + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return briq_error_set(err, -errno, "%s: read at byte %llu: %s", source->name,
                                  (unsigned long long)(off + done), strerror(errno));
        if (n == 0)
            return briq_error_set(err, -EIO, "%s: it became shorter while it was read",
                                  source->name);
        done += (size_t)n;
    }
    return 0;
}

static int file_extent(struct briq_source *source, unsigned worker, uint64_t off, uint64_t len,
                       uint64_t *ret_len, bool *ret_zero, struct briq_error *err)
{
    struct file_source *f = file_of(source);
    (void)worker;
    (void)err;
    off_t data = lseek(f->fd, (off_t)off, SEEK_DATA), end = -1;
    bool zero = data < 0 ? errno == ENXIO : (uint64_t)data > off;
    if (zero)
        end = data < 0 ? (off_t)(off + len) : data;
    else if (data >= 0)
        end = lseek(f->fd, (off_t)off, SEEK_HOLE);
    /* A file system that cannot tell: all of it is data, and zeros are found by looking. */
    *ret_len = end < 0 ? len : briq_min_u64((uint64_t)end - off, len);
    *ret_zero = zero;
    return 0;
}

static void file_close(struct briq_source *source)
{
    struct file_source *f = file_of(source);
    close(f->fd);
    free(f);
}

static const struct briq_source_ops file_ops = {
    .read = file_read,
    .extent = file_extent,
    .close = file_close,
};

static int seekable_open(const char *name, int fd, struct briq_error *err, struct briq_source **ret)
{
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0)
        return briq_error_set(err, -errno, "%s: cannot find its size: %s", name, strerror(errno));
    struct file_source *f = calloc(1, sizeof *f);
    if (f == NULL)
        return briq_error_set(err, -ENOMEM, "%s: out of memory", name);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint */
    f->base = (struct briq_source){.ops = &file_ops, .name = name, .size_bytes = (uint64_t)size};
    f->fd = fd;
    *ret = &f->base;
    return 0;
}

int briq_source_file_open(const char *name, struct briq_error *err, struct briq_source **ret)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return briq_error_set(err, -errno, "%s: %s", name, strerror(errno));
    struct stat st;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r < 0)
        r = briq_error_set(err, r, "%s: %s", name, strerror(-r));
    else if (S_ISDIR(st.st_mode))
        r = briq_error_set(err, -EISDIR, "%s: it is a directory, not an image", name);
    else
        r = seekable_open(name, fd, err, ret);
    if (r < 0)
        close(fd);
    return r;
}
