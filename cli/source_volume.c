/* SPDX-License-Identifier: BSD-3-Clause */
/* source_volume.c - a Briq volume, opened read-only, as a source. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/source.h"
#include "cli/warnings.h"
#include "common/store/store.h"

struct volume_source {
    struct briq_source base;
    struct briq_store *store;
};

static struct volume_source *volume_of(struct briq_source *source)
{
    return BRIQ_CONTAINER_OF(source, struct volume_source, base);
}

static int volume_read(struct briq_source *source, unsigned worker, void *buf, size_t len,
                       uint64_t off, struct briq_error *err)
{
    (void)worker;
    int r = briq_read(volume_of(source)->store, buf, len, off);
    if (r < 0)
        return briq_error_set(err, r,
                              "%s: read of %zu bytes at byte %llu: %s; `briq check --deep` finds "
                              "the damaged blocks",
                              source->name, len, (unsigned long long)off, strerror(-r));
    return 0;
}

static int volume_extent(struct briq_source *source, unsigned worker, uint64_t off, uint64_t len,
                         uint64_t *ret_len, bool *ret_zero, struct briq_error *err)
{
    (void)worker;
    struct briq_extent extent;
    unsigned count = 0;
    int r = briq_status(volume_of(source)->store, len, off, BRIQ_OP_ONE, &extent, 1, &count);
    if (r < 0)
        return briq_error_set(err, r, "%s: reading its map at byte %llu: %s", source->name,
                              (unsigned long long)off, strerror(-r));
    *ret_len = extent.len_bytes;
    *ret_zero = extent.type != BRIQ_EXTENT_DATA;
    return 0;
}

static void volume_close(struct briq_source *source)
{
    struct volume_source *v = volume_of(source);
    (void)briq_store_close(v->store); /* opened read-only: nothing can be lost */
    free(v);
}

static const struct briq_source_ops volume_ops = {
    .read = volume_read,
    .extent = volume_extent,
    .close = volume_close,
};

int briq_source_volume_open(const char *name, struct briq_error *err, struct briq_source **ret)
{
    struct volume_source *v = calloc(1, sizeof *v);
    if (v == NULL)
        return briq_error_set(err, -ENOMEM, "%s: out of memory", name);
    struct briq_open_options options = {.read_only = true, .log = briq_warnings_log()};
    int r = briq_store_open(name, &options, err, &v->store);
    if (r < 0) {
        free(v);
        return r;
    }
    v->base = (struct briq_source){
        .ops = &volume_ops, .name = name, .size_bytes = briq_store_size(v->store)};
    *ret = &v->base;
    return 0;
}
