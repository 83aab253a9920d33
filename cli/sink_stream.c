/* SPDX-License-Identifier: BSD-3-Clause */
/* sink_stream.c - standard output or a pipe as a sink: front to back, zeros as plain zeros. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/sink.h"
#include "common/base/align.h"

#define ZEROS_BYTES (1u << 20)

struct stream_sink {
    struct briq_sink base;
    int fd;
    void *zeros; /* ZEROS_BYTES of them */
};

static struct stream_sink *stream_of(struct briq_sink *sink)
{
    return BRIQ_CONTAINER_OF(sink, struct stream_sink, base);
}

static int stream_write(struct briq_sink *sink, unsigned worker, const void *buf, size_t len,
                        uint64_t off, struct briq_error *err)
{
    struct stream_sink *s = stream_of(sink);
    (void)worker;
    (void)off;
    for (size_t done = 0; done < len;) {
        ssize_t n = write(s->fd, (const char *)buf + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return briq_error_set(err, -errno, "%s: write: %s", sink->name, strerror(errno));
        done += (size_t)n;
    }
    return 0;
}

static int stream_zero(struct briq_sink *sink, unsigned worker, uint64_t len, uint64_t off,
                       struct briq_error *err)
{
    struct stream_sink *s = stream_of(sink);
    for (uint64_t done = 0; done < len;) {
        size_t n = (size_t)briq_min_u64(len - done, ZEROS_BYTES);
        int r = stream_write(sink, worker, s->zeros, n, off + done, err);
        if (r < 0)
            return r;
        done += n;
    }
    return 0;
}

static int stream_finish(struct briq_sink *sink, struct briq_error *err)
{
    struct stream_sink *s = stream_of(sink);
    /* It may well be a file; a pipe or terminal has nothing to sync and says so. */
    if (fsync(s->fd) < 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP)
        return briq_error_set(err, -errno, "%s: fsync: %s", sink->name, strerror(errno));
    return 0;
}

static void stream_close(struct briq_sink *sink)
{
    struct stream_sink *s = stream_of(sink);
    if (s->fd != STDOUT_FILENO)
        close(s->fd);
    free(s->zeros);
    free(s);
}

static const struct briq_sink_ops stream_ops = {
    .write = stream_write,
    .zero = stream_zero,
    .finish = stream_finish,
    .close = stream_close,
};

int briq_sink_stream_open(const char *name, int fd, struct briq_error *err, struct briq_sink **ret)
{
    struct stream_sink *s = calloc(1, sizeof *s);
    void *zeros = calloc(1, ZEROS_BYTES);
    if (s == NULL || zeros == NULL) {
        free(s);
        free(zeros);
        return briq_error_set(err, -ENOMEM, "%s: out of memory", name);
    }
    s->base = (struct briq_sink){.ops = &stream_ops, .name = name, .ordered = true};
    s->fd = fd;
    s->zeros = zeros;
    *ret = &s->base;
    return 0;
}
