/* SPDX-License-Identifier: BSD-3-Clause */
/* source.c - finds out what kind of source a name stands for, and opens it. */
#include "cli/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/qemu.h"
#include "cli/remote.h"
#include "common/store/store.h"

enum file_kind {
    FILE_RAW,
    FILE_STREAM,
    FILE_VOLUME,
    FILE_IMAGE,
};

struct probe {
    enum file_kind kind;
    const char *format; /* of an image */
};

static int read_head(const char *name, void *head, size_t max, size_t *ret_len,
                     struct briq_error *err)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? pread(fd, head, max, 0) : -1;
    int r = len < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    if (r == -EISDIR)
        return briq_error_set(err, r, "%s: it is a directory, not an image", name);
    if (r < 0)
        return briq_error_set(err, r, "%s: %s", name, strerror(-r));
    *ret_len = (size_t)len;
    return 0;
}

/* A regular file or block device, of which nobody said what it holds. */
static int probe_content(const char *name, struct probe *ret, struct briq_error *err)
{
    char head[BRIQ_QEMU_HEAD_BYTES];
    size_t len = 0;
    int r = read_head(name, head, sizeof head, &len, err);
    if (r < 0)
        return r;
    struct briq_volume_info info;
    ret->format = briq_qemu_format(head, len);
    if (ret->format != NULL)
        ret->kind = FILE_IMAGE;
    else
        ret->kind = briq_volume_info(name, &info, NULL) == 0 ? FILE_VOLUME : FILE_RAW;
    return 0;
}

static int probe_file(const char *name, const char *format, struct probe *ret,
                      struct briq_error *err)
{
    struct stat st;
    if (stat(name, &st) < 0)
        return briq_error_set(err, -errno, "%s: %s", name, strerror(errno));
    *ret = (struct probe){.kind = FILE_IMAGE, .format = format};
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))
        ret->kind = FILE_STREAM;
    else if (format == NULL)
        return probe_content(name, ret, err);
    else if (strcmp(format, "raw") == 0)
        ret->kind = FILE_RAW;
    else if (strcmp(format, "briq") == 0)
        ret->kind = FILE_VOLUME;
    return 0;
}

static int open_pipe(const char *name, const struct briq_cancel *cancel, struct briq_error *err,
                     struct briq_source **ret)
{
    /* Otherwise the open would wait for a writer, and could not be cancelled. */
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return briq_error_set(err, -errno, "%s: %s", name, strerror(errno));
    int r = briq_source_stream_open(name, fd, cancel, err, ret);
    if (r < 0)
        close(fd);
    return r;
}

int briq_source_open(const char *name, const char *format, unsigned workers,
                     const struct briq_cancel *cancel, struct briq_error *err,
                     struct briq_source **ret)
{
    if (strcmp(name, "-") == 0)
        return briq_source_stream_open("standard input", STDIN_FILENO, cancel, err, ret);
    if (briq_remote_is_uri(name))
        return briq_source_nbd_open(name, workers, cancel, err, ret);

    struct probe probe = {0};
    int r = probe_file(name, format, &probe, err);
    if (r < 0)
        return r;
    switch (probe.kind) {
    case FILE_STREAM:
        return open_pipe(name, cancel, err, ret);
    case FILE_VOLUME:
        return briq_source_volume_open(name, err, ret);
    case FILE_IMAGE:
        return briq_source_image_open(name, probe.format, workers, cancel, err, ret);
    case FILE_RAW:
        break;
    }
    return briq_source_file_open(name, err, ret);
}

void briq_source_close(struct briq_source *source)
{
    if (source != NULL)
        source->ops->close(source);
}
