/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sink_nbd.c - an NBD export as a sink; also a new image file in one of qemu's formats, which
 * qemu-nbd writes for us. An export holds something old, a new image reads as zeros.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/qemu.h"
#include "cli/remote.h"
#include "cli/sink.h"

#define ZERO_UNIT_BYTES (64u << 10) /* shorter zeros are cheaper sent than asked for */

struct nbd_sink {
    struct briq_sink base;
    struct briq_remote *remote;
    struct briq_qemu *qemu; /* the server of a new image, or NULL */
    bool remove;            /* the image is ours and not finished */
};

static struct nbd_sink *nbd_of(struct briq_sink *sink)
{
    return BRIQ_CONTAINER_OF(sink, struct nbd_sink, base);
}

static int nbd_sink_write(struct briq_sink *sink, unsigned worker, const void *buf, size_t len,
                          uint64_t off, struct briq_error *err)
{
    return briq_remote_write(nbd_of(sink)->remote, worker, buf, len, off, err);
}

static int nbd_sink_zero(struct briq_sink *sink, unsigned worker, uint64_t len, uint64_t off,
                         struct briq_error *err)
{
    return briq_remote_zero(nbd_of(sink)->remote, worker, len, off, err);
}

static void nbd_sink_interrupt(struct briq_sink *sink)
{
    briq_remote_interrupt(nbd_of(sink)->remote);
}

static int nbd_sink_finish(struct briq_sink *sink, struct briq_error *err)
{
    return briq_remote_flush(nbd_of(sink)->remote, err);
}

static int sync_file(const char *path, struct briq_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r < 0 ? briq_error_set(err, r, "%s: fsync: %s", path, strerror(-r)) : 0;
}

/* An image is whole when its server has written the last of its tables and ended. */
static int image_finish(struct briq_sink *sink, struct briq_error *err)
{
    struct nbd_sink *n = nbd_of(sink);
    int r = briq_remote_flush(n->remote, err);
    if (r < 0)
        return r;
    briq_remote_close(n->remote);
    r = briq_qemu_stop(n->qemu);
    n->remote = NULL;
    n->qemu = NULL;
    if (r < 0)
        return briq_error_set(err, r, "%s: qemu-nbd did not end and was killed", sink->name);
    r = sync_file(sink->name, err);
    n->remove = r < 0;
    return r;
}

static void nbd_sink_close(struct briq_sink *sink)
{
    struct nbd_sink *n = nbd_of(sink);
    briq_remote_close(n->remote);
    (void)briq_qemu_stop(n->qemu);
    if (n->remove)
        unlink(sink->name);
    free(n);
}

static const struct briq_sink_ops nbd_sink_ops = {
    .write = nbd_sink_write,
    .zero = nbd_sink_zero,
    .interrupt = nbd_sink_interrupt,
    .finish = nbd_sink_finish,
    .close = nbd_sink_close,
};

static const struct briq_sink_ops image_ops = {
    .write = nbd_sink_write,
    .interrupt = nbd_sink_interrupt,
    .finish = image_finish,
    .close = nbd_sink_close,
};

static int connect_sink(struct nbd_sink *n, const struct briq_sink_options *options,
                        const struct briq_cancel *cancel, struct briq_error *err)
{
    bool image = n->qemu != NULL;
    struct briq_remote_options remote = {
        .name = n->base.name,
        .uri = image ? NULL : n->base.name,
        .socket_path = image ? briq_qemu_socket(n->qemu) : NULL,
        .connections = options->workers,
        .writable = true,
    };
    int r = briq_remote_open(&remote, cancel, err, &n->remote);
    if (r < 0)
        return r;
    uint64_t size = briq_remote_size(n->remote);
    if (size < options->size_bytes)
        return briq_error_set(err, -ENOSPC,
                              "%s: the export has %" PRIu64 " bytes, the volume has %" PRIu64,
                              n->base.name, size, options->size_bytes);
    return 0;
}

static struct nbd_sink *new_sink(const char *name, const struct briq_sink_ops *ops,
                                 struct briq_error *err)
{
    struct nbd_sink *n = calloc(1, sizeof *n);
    if (n == NULL) {
        (void)briq_error_set(err, -ENOMEM, "%s: out of memory", name);
        return NULL;
    }
    n->base =
        (struct briq_sink){.ops = ops, .name = name, .zero_bytes = ZERO_UNIT_BYTES, .waits = true};
    return n;
}

int briq_sink_nbd_open(const char *name, const struct briq_sink_options *options,
                       const struct briq_cancel *cancel, struct briq_error *err,
                       struct briq_sink **ret)
{
    struct nbd_sink *n = new_sink(name, &nbd_sink_ops, err);
    if (n == NULL)
        return -ENOMEM;
    int r = connect_sink(n, options, cancel, err);
    if (r < 0) {
        nbd_sink_close(&n->base);
        return r;
    }
    *ret = &n->base;
    return 0;
}

int briq_sink_image_open(const char *name, const struct briq_sink_options *options,
                         const struct briq_cancel *cancel, struct briq_error *err,
                         struct briq_sink **ret)
{
    if (!options->force && access(name, F_OK) == 0)
        return briq_error_set(err, -EEXIST, "%s: it exists; --force replaces it", name);
    struct nbd_sink *n = new_sink(name, &image_ops, err);
    if (n == NULL)
        return -ENOMEM;
    int r = briq_qemu_create(name, options->format, options->size_bytes, err);
    n->remove = r == 0;
    if (r == 0)
        r = briq_qemu_serve(name, options->format, false, options->workers, err, &n->qemu);
    if (r == 0)
        r = connect_sink(n, options, cancel, err);
    if (r < 0) {
        nbd_sink_close(&n->base);
        return r;
    }
    *ret = &n->base;
    return 0;
}
