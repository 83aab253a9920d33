/* SPDX-License-Identifier: BSD-3-Clause */
/* sink.c - finds out what kind of sink a name stands for, and opens it. */
#include "cli/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/remote.h"

static int open_pipe(const char *name, struct briq_error *err, struct briq_sink **ret)
{
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return briq_error_set(err, -errno, "%s: %s", name, strerror(errno));
    int r = briq_sink_stream_open(name, fd, err, ret);
    if (r < 0)
        close(fd);
    return r;
}

bool briq_sink_is_stream(const char *name)
{
    struct stat st;
    if (strcmp(name, "-") == 0)
        return true;
    return stat(name, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode));
}

int briq_sink_open(const char *name, const struct briq_sink_options *options,
                   const struct briq_cancel *cancel, struct briq_error *err, struct briq_sink **ret)
{
    bool raw = options->format == NULL || strcmp(options->format, "raw") == 0;
    bool uri = briq_remote_is_uri(name);
    if (!raw && (uri || briq_sink_is_stream(name)))
        return briq_error_set(err, -EINVAL, "%s: only a file can be written as %s", name,
                              options->format);
    if (strcmp(name, "-") == 0)
        return briq_sink_stream_open("standard output", STDOUT_FILENO, err, ret);
    if (uri)
        return briq_sink_nbd_open(name, options, cancel, err, ret);
    if (!raw)
        return briq_sink_image_open(name, options, cancel, err, ret);
    if (briq_sink_is_stream(name))
        return open_pipe(name, err, ret);
    return briq_sink_file_open(name, options, err, ret);
}

void briq_sink_close(struct briq_sink *sink)
{
    if (sink != NULL)
        sink->ops->close(sink);
}
