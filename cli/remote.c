/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * remote.c - an NBD export through libnbd. Requests are blocking calls, one connection a worker:
 * what hides the waiting is the number of workers. Connecting is done step by step, so that a
 * server that does not answer can be given up.
 */
#include "cli/remote.h"

#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/align.h"

#define CONNECTIONS_MAX    16
#define EXTENTS_MAX        4096
#define STATUS_BYTES_MAX   (UINT64_C(1) << 30)  /* asked about at once */
#define REQUEST_BYTES_MAX  (UINT64_C(32) << 20) /* when the server does not say */
#define WRITTEN_ZERO_BYTES (UINT64_C(1) << 20)

struct remote_extent {
    uint64_t end;
    bool zero;
};

struct briq_remote {
    const char *name;
    struct nbd_handle *handles[CONNECTIONS_MAX];
    int fds[CONNECTIONS_MAX]; /* of the sockets, for interrupt: libnbd locks a handle in a call */
    unsigned count;
    uint64_t size, request_max;
    bool can_zero, can_flush, can_status;
    void *zeros; /* WRITTEN_ZERO_BYTES of them, for a server that cannot zero */
    /* What the server last said of [.., extents[extent_count - 1].end); owned by the one caller of
     * briq_remote_extent(). */
    struct remote_extent extents[EXTENTS_MAX];
    unsigned extent_count, extent_index;
    uint64_t extent_end; /* while the answer is taken in */
};

bool briq_remote_is_uri(const char *text)
{
    static const char *const schemes[] = {"nbd://",       "nbds://",      "nbd+unix://",
                                          "nbds+unix://", "nbd+vsock://", "nbds+vsock://"};
    for (size_t i = 0; i < BRIQ_COUNT_OF(schemes); i++)
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return false;
}

/* libnbd keeps the last error of the calling thread, starting with the name of its function. */
static int explain(const struct briq_remote *remote, struct briq_error *err)
{
    const char *why = nbd_get_error();
    int code = nbd_get_errno();
    const char *behind = why != NULL ? strstr(why, ": ") : NULL;
    return briq_error_set(err, code > 0 ? -code : -EIO, "%s: %s", remote->name,
                          behind != NULL ? behind + 2 : "the NBD connection failed");
}

static struct nbd_handle *handle_of(const struct briq_remote *remote, unsigned worker)
{
    return remote->handles[worker % remote->count];
}

/* ---- connecting ------------------------------------------------------------------------------ */

static int start_connecting(struct nbd_handle *nbd, const struct briq_remote_options *options)
{
    if (nbd_add_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0)
        return -1;
    if (options->socket_path != NULL)
        return nbd_aio_connect_unix(nbd, options->socket_path);
    return nbd_aio_connect_uri(nbd, options->uri);
}

static int wait_connected(struct briq_remote *remote, struct nbd_handle *nbd,
                          const struct briq_cancel *cancel, struct briq_error *err)
{
    while (nbd_aio_is_connecting(nbd) == 1) {
        unsigned direction = nbd_aio_get_direction(nbd);
        short events = (short)(((direction & LIBNBD_AIO_DIRECTION_READ) != 0 ? POLLIN : 0) |
                               ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0 ? POLLOUT : 0));
        int r = briq_cancel_wait_fd(cancel, nbd_aio_get_fd(nbd), events);
        if (r == -EINTR)
            return briq_cancel_explain(err);
        if (r < 0)
            return briq_error_set(err, r, "%s: connect: %s", remote->name, strerror(-r));
        r = (direction & LIBNBD_AIO_DIRECTION_READ) != 0 ? nbd_aio_notify_read(nbd)
                                                         : nbd_aio_notify_write(nbd);
        if (r < 0)
            return explain(remote, err);
    }
    return nbd_aio_is_ready(nbd) == 1 ? 0 : explain(remote, err);
}

static int add_connection(struct briq_remote *remote, const struct briq_remote_options *options,
                          const struct briq_cancel *cancel, struct briq_error *err)
{
    struct nbd_handle *nbd = nbd_create();
    if (nbd == NULL)
        return explain(remote, err);
    int r = start_connecting(nbd, options) < 0 ? explain(remote, err)
                                               : wait_connected(remote, nbd, cancel, err);
    if (r < 0) {
        nbd_close(nbd);
        return r;
    }
    remote->fds[remote->count] = nbd_aio_get_fd(nbd);
    remote->handles[remote->count++] = nbd;
    return 0;
}

static int learn_export(struct briq_remote *remote, bool writable, struct briq_error *err)
{
    struct nbd_handle *nbd = remote->handles[0];
    int64_t size = nbd_get_size(nbd), request_max = nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM);
    if (size < 0)
        return explain(remote, err);
    if (writable && nbd_is_read_only(nbd) != 0)
        return briq_error_set(err, -EROFS, "%s: the server offers it read-only", remote->name);
    remote->size = (uint64_t)size;
    remote->request_max = request_max > 0 ? (uint64_t)request_max : REQUEST_BYTES_MAX;
    remote->can_zero = nbd_can_zero(nbd) == 1;
    remote->can_flush = nbd_can_flush(nbd) == 1;
    remote->can_status = nbd_can_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
    return 0;
}

static int prepare_zeros(struct briq_remote *remote, bool writable, struct briq_error *err)
{
    if (!writable || remote->can_zero)
        return 0;
    remote->zeros = calloc(1, WRITTEN_ZERO_BYTES);
    return remote->zeros != NULL ? 0 : briq_error_set(err, -ENOMEM, "out of memory");
}

int briq_remote_open(const struct briq_remote_options *options, const struct briq_cancel *cancel,
                     struct briq_error *err, struct briq_remote **ret)
{
    struct briq_remote *remote = calloc(1, sizeof *remote);
    if (remote == NULL)
        return briq_error_set(err, -ENOMEM, "%s: out of memory", options->name);
    remote->name = options->name;

    int r = add_connection(remote, options, cancel, err);
    if (r == 0)
        r = learn_export(remote, options->writable, err);
    if (r == 0)
        r = prepare_zeros(remote, options->writable, err);
    unsigned count = 1;
    if (r == 0 && nbd_can_multi_conn(remote->handles[0]) == 1)
        count = (unsigned)briq_min_u64(options->connections, CONNECTIONS_MAX);
    while (r == 0 && remote->count < count)
        r = add_connection(remote, options, cancel, err);
    if (r < 0) {
        briq_remote_interrupt(remote);
        briq_remote_close(remote);
        return r;
    }
    *ret = remote;
    return 0;
}

void briq_remote_close(struct briq_remote *remote)
{
    if (remote == NULL)
        return;
    for (unsigned i = 0; i < remote->count; i++) {
        (void)nbd_shutdown(remote->handles[i], 0); /* what had to be durable was flushed */
        nbd_close(remote->handles[i]);
    }
    free(remote->zeros);
    free(remote);
}

void briq_remote_interrupt(struct briq_remote *remote)
{
    for (unsigned i = 0; i < remote->count; i++)
        (void)shutdown(remote->fds[i], SHUT_RDWR);
}

uint64_t briq_remote_size(const struct briq_remote *remote)
{
    return remote->size;
}

/* ---- requests -------------------------------------------------------------------------------- */

int briq_remote_read(struct briq_remote *remote, unsigned worker, void *buf, size_t len,
                     uint64_t off, struct briq_error *err)
{
    for (size_t done = 0; done < len;) {
        size_t n = (size_t)briq_min_u64(len - done, remote->request_max);
        if (nbd_pread(handle_of(remote, worker), (char *)buf + done, n, off + done, 0) < 0)
            return explain(remote, err);
        done += n;
    }
    return 0;
}

int briq_remote_write(struct briq_remote *remote, unsigned worker, const void *buf, size_t len,
                      uint64_t off, struct briq_error *err)
{
    for (size_t done = 0; done < len;) {
        size_t n = (size_t)briq_min_u64(len - done, remote->request_max);
        const char *from = (const char *)buf + done;
        if (nbd_pwrite(handle_of(remote, worker), from, n, off + done, 0) < 0)
            return explain(remote, err);
        done += n;
    }
    return 0;
}

static int write_zeros(struct briq_remote *remote, unsigned worker, uint64_t len, uint64_t off,
                       struct briq_error *err)
{
    for (uint64_t done = 0; done < len;) {
        size_t n = (size_t)briq_min_u64(len - done, WRITTEN_ZERO_BYTES);
        int r = briq_remote_write(remote, worker, remote->zeros, n, off + done, err);
        if (r < 0)
            return r;
        done += n;
    }
    return 0;
}

int briq_remote_zero(struct briq_remote *remote, unsigned worker, uint64_t len, uint64_t off,
                     struct briq_error *err)
{
    if (!remote->can_zero)
        return write_zeros(remote, worker, len, off, err);
    if (nbd_zero(handle_of(remote, worker), len, off, 0) < 0)
        return explain(remote, err);
    return 0;
}

int briq_remote_flush(struct briq_remote *remote, struct briq_error *err)
{
    /* With several connections the server promised multi-conn: one flush covers all of them. */
    if (remote->can_flush && nbd_flush(remote->handles[0], 0) < 0)
        return explain(remote, err);
    return 0;
}

/* ---- block status ---------------------------------------------------------------------------- */

/* Called by libnbd with the answer: pairs of length and flags. Any further ones are left out. */
static int take_extents(void *user, const char *context, uint64_t off, uint32_t *entries,
                        size_t count, int *error)
{
    struct briq_remote *remote = user;
    (void)error;
    if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0)
        return 0;
    remote->extent_end = off;
    for (size_t i = 0; i + 1 < count && remote->extent_count < EXTENTS_MAX; i += 2) {
        bool zero = (entries[i + 1] & LIBNBD_STATE_ZERO) != 0;
        remote->extent_end += entries[i];
        remote->extents[remote->extent_count++] =
            (struct remote_extent){.end = remote->extent_end, .zero = zero};
    }
    return 0;
}

static int ask_extents(struct briq_remote *remote, unsigned worker, uint64_t off, uint64_t len,
                       struct briq_error *err)
{
    remote->extent_count = remote->extent_index = 0;
    uint64_t asked = briq_min_u64(len, STATUS_BYTES_MAX);
    if (nbd_block_status(handle_of(remote, worker), asked, off,
                         (nbd_extent_callback){.callback = take_extents, .user_data = remote},
                         0) < 0)
        return explain(remote, err);
    if (remote->extent_count == 0 || remote->extents[0].end <= off)
        return briq_error_set(err, -EPROTO, "%s: the server describes no extent at byte %llu",
                              remote->name, (unsigned long long)off);
    return 0;
}

int briq_remote_extent(struct briq_remote *remote, unsigned worker, uint64_t off, uint64_t len,
                       uint64_t *ret_len, bool *ret_zero, struct briq_error *err)
{
    *ret_len = len;
    *ret_zero = false;
    if (!remote->can_status)
        return 0;
    while (remote->extent_index < remote->extent_count &&
           remote->extents[remote->extent_index].end <= off)
        remote->extent_index++;
    if (remote->extent_index == remote->extent_count) {
        int r = ask_extents(remote, worker, off, len, err);
        if (r < 0)
            return r;
    }
    const struct remote_extent *extent = &remote->extents[remote->extent_index];
    *ret_len = briq_min_u64(len, extent->end - off);
    *ret_zero = extent->zero;
    return 0;
}
