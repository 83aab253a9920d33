/* SPDX-License-Identifier: BSD-3-Clause */
/* source_nbd.c - an NBD export as a source; also an image file that qemu-nbd serves to us. */
#include <errno.h>
#include <stdlib.h>

#include "cli/qemu.h"
#include "cli/remote.h"
#include "cli/source.h"

struct nbd_source {
    struct briq_source base;
    struct briq_remote *remote;
    struct briq_qemu *qemu; /* the server that is ours, or NULL */
};

static struct nbd_source *nbd_of(struct briq_source *source)
{
    return BRIQ_CONTAINER_OF(source, struct nbd_source, base);
}

static int nbd_source_read(struct briq_source *source, unsigned worker, void *buf, size_t len,
                           uint64_t off, struct briq_error *err)
{
    return briq_remote_read(nbd_of(source)->remote, worker, buf, len, off, err);
}

static int nbd_source_extent(struct briq_source *source, unsigned worker, uint64_t off,
                             uint64_t len, uint64_t *ret_len, bool *ret_zero,
                             struct briq_error *err)
{
    return briq_remote_extent(nbd_of(source)->remote, worker, off, len, ret_len, ret_zero, err);
}

static void nbd_source_interrupt(struct briq_source *source)
{
    briq_remote_interrupt(nbd_of(source)->remote);
}

static void nbd_source_close(struct briq_source *source)
{
    struct nbd_source *n = nbd_of(source);
    briq_remote_close(n->remote);
    (void)briq_qemu_stop(n->qemu);
    free(n);
}

static const struct briq_source_ops nbd_source_ops = {
    .read = nbd_source_read,
    .extent = nbd_source_extent,
    .interrupt = nbd_source_interrupt,
    .close = nbd_source_close,
};

/* Takes over qemu, also on failure. */
static int open_remote(const struct briq_remote_options *options, struct briq_qemu *qemu,
                       const struct briq_cancel *cancel, struct briq_error *err,
                       struct briq_source **ret)
{
    struct nbd_source *n = calloc(1, sizeof *n);
    int r = n != NULL ? briq_remote_open(options, cancel, err, &n->remote)
                      : briq_error_set(err, -ENOMEM, "%s: out of memory", options->name);
    if (r < 0) {
        (void)briq_qemu_stop(qemu);
        free(n);
        return r;
    }
    n->base = (struct briq_source){.ops = &nbd_source_ops,
                                   .name = options->name,
                                   .size_bytes = briq_remote_size(n->remote),
                                   .waits = true};
    n->qemu = qemu;
    *ret = &n->base;
    return 0;
}

int briq_source_nbd_open(const char *name, unsigned workers, const struct briq_cancel *cancel,
                         struct briq_error *err, struct briq_source **ret)
{
    struct briq_remote_options options = {.name = name, .uri = name, .connections = workers};
    return open_remote(&options, NULL, cancel, err, ret);
}

int briq_source_image_open(const char *name, const char *format, unsigned workers,
                           const struct briq_cancel *cancel, struct briq_error *err,
                           struct briq_source **ret)
{
    struct briq_qemu *qemu = NULL;
    int r = briq_qemu_serve(name, format, true, workers, err, &qemu);
    if (r < 0)
        return r;
    struct briq_remote_options options = {
        .name = name, .socket_path = briq_qemu_socket(qemu), .connections = workers};
    return open_remote(&options, qemu, cancel, err, ret);
}
