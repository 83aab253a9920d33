/* SPDX-License-Identifier: BSD-3-Clause */
/* sink_volume.c - a new volume as a sink: it reads as zeros, so only data is written. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/sink.h"
#include "common/base/align.h"
#include "common/store/store.h"

struct volume_sink {
    struct briq_sink base;
    struct briq_store *store; /* not owned */
};

static struct briq_store *store_of(struct briq_sink *sink)
{
    return BRIQ_CONTAINER_OF(sink, struct volume_sink, base)->store;
}

static int explain_write(const struct briq_sink *sink, int r, uint64_t off, struct briq_error *err)
{
    if (r == -ENOSPC)
        return briq_error_set(err, r,
                              "%s: no space left on the medium, or the volume's --limit is reached",
                              sink->name);
    return briq_error_set(err, r, "%s: write at byte %" PRIu64 ": %s", sink->name, off,
                          strerror(-r));
}

static int volume_write(struct briq_sink *sink, unsigned worker, const void *buf, size_t len,
                        uint64_t off, struct briq_error *err)
{
    (void)worker;
    int r = briq_write(store_of(sink), buf, len, off, 0);
    return r < 0 ? explain_write(sink, r, off, err) : 0;
}

static int volume_grow(struct briq_sink *sink, uint64_t size, struct briq_error *err)
{
    uint64_t rounded = briq_align_up(size, BRIQ_SECTOR_BYTES);
    if (rounded <= briq_store_size(store_of(sink)))
        return 0;
    return briq_store_resize(store_of(sink), rounded, err);
}

static int volume_finish(struct briq_sink *sink, struct briq_error *err)
{
    int r = briq_flush(store_of(sink));
    if (r < 0)
        return briq_error_set(err, r, "%s: flush: %s", sink->name, strerror(-r));
    return 0;
}

static void volume_close(struct briq_sink *sink)
{
    free(BRIQ_CONTAINER_OF(sink, struct volume_sink, base));
}

static const struct briq_sink_ops volume_ops = {
    .write = volume_write,
    .grow = volume_grow,
    .finish = volume_finish,
    .close = volume_close,
};

int briq_sink_volume_open(const char *name, struct briq_store *store, struct briq_error *err,
                          struct briq_sink **ret)
{
    struct volume_sink *v = calloc(1, sizeof *v);
    if (v == NULL)
        return briq_error_set(err, -ENOMEM, "%s: out of memory", name);
    v->base = (struct briq_sink){.ops = &volume_ops, .name = name, .zero_bytes = BRIQ_BLOCK_BYTES};
    v->store = store;
    *ret = &v->base;
    return 0;
}
