/* SPDX-License-Identifier: BSD-3-Clause */
/* source_stream.c - standard input or a pipe as a source: no size, no holes, front to back. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/source.h"

struct stream_source {
    struct briq_source base;
    int fd;
    const struct briq_cancel *cancel;
};

static struct stream_source *stream_of(struct briq_source *source)
{
    return BRIQ_CONTAINER_OF(source, struct stream_source, base);
}

/* Waits before it reads, so that a writer that went silent does not keep a cancelled job alive. */
static int read_some(struct stream_source *s, void *buf, size_t max, size_t *ret_len,
                     struct briq_error *err)
{
    for (;;) {
        int r = briq_cancel_wait_fd(s->cancel, s->fd, POLLIN);
        if (r == -EINTR)
            return briq_cancel_explain(err);
        ssize_t n = r == 0 ? read(s->fd, buf, max) : -1;
        if (n >= 0) {
            *ret_len = (size_t)n;
            return 0;
        }
        if (r == 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        r = r < 0 ? r : -errno;
        return briq_error_set(err, r, "%s: read: %s", s->base.name, strerror(-r));
    }
}

static int stream_next(struct briq_source *source, void *buf, size_t max, size_t *ret_len,
                       struct briq_error *err)
{
    struct stream_source *s = stream_of(source);
    size_t done = 0, len = 1;
    while (done < max && len > 0) {
        int r = read_some(s, (char *)buf + done, max - done, &len, err);
        if (r < 0)
            return r;
        done += len;
    }
    *ret_len = done;
    return 0;
}

static void stream_close(struct briq_source *source)
{
    struct stream_source *s = stream_of(source);
    if (s->fd != STDIN_FILENO)
        close(s->fd);
    free(s);
}

static const struct briq_source_ops stream_ops = {
    .next = stream_next,
    .close = stream_close,
};

int briq_source_stream_open(const char *name, int fd, const struct briq_cancel *cancel,
                            struct briq_error *err, struct briq_source **ret)
{
    struct stream_source *s = calloc(1, sizeof *s);
    if (s == NULL)
        return briq_error_set(err, -ENOMEM, "%s: out of memory", name);
    s->base = (struct briq_source){
        .ops = &stream_ops, .name = name, .size_bytes = BRIQ_SOURCE_SIZE_UNKNOWN};
    s->fd = fd;
    s->cancel = cancel;
    *ret = &s->base;
    return 0;
}
