/* SPDX-License-Identifier: BSD-3-Clause */
/* care.c - what is done to an export while clients use it. */
#include "server/engine.h"

int briq_server_hold(struct briq_server *server, const char *name, struct briq_export **ret,
                     struct briq_store **ret_store, struct briq_error *err)
{
    int r = briq_exports_begin_task(&server->exports, name, ret, err);
    if (r == 0)
        *ret_store = (*ret)->store;
    return r;
}

void briq_server_release(struct briq_server *server, struct briq_export *export)
{
    briq_exports_end_task(&server->exports, export);
}

/* ---- growing --------------------------------------------------------------------------------- */

static int grow(struct briq_server *server, struct briq_export *export, uint64_t bytes, bool more,
                struct briq_resized *ret, struct briq_error *err)
{
    uint64_t old = briq_store_size(export->store);
    /* Both are far below 2^63, so the sum is a number, if perhaps a refused one. */
    uint64_t size = more && bytes <= BRIQ_VOLUME_BYTES_MAX ? old + bytes : bytes;
    int r = briq_store_resize(export->store, size, err);
    if (r < 0)
        return r;
    /* Whoever connects from here on is told the new size. */
    *ret = (struct briq_resized){.size_bytes = size};
    if (size != old)
        ret->dropped = server->ops->drop(server, export);
    return 0;
}

int briq_server_resize(struct briq_server *server, const char *name, uint64_t bytes, bool more,
                       struct briq_resized *ret, struct briq_error *err)
{
    struct briq_export *export;
    int r = briq_exports_begin_task(&server->exports, name, &export, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&server->care);
    r = grow(server, export, bytes, more, ret, err);
    pthread_mutex_unlock(&server->care);
    briq_exports_end_task(&server->exports, export);
    return r;
}

/* ---- taking away ----------------------------------------------------------------------------- */

int briq_server_check_unconnected(struct briq_server *server, const char *name,
                                  struct briq_error *err)
{
    return briq_exports_check_unconnected(&server->exports, name, err);
}

int briq_server_detach(struct briq_server *server, const char *name, bool force,
                       unsigned *ret_dropped, struct briq_error *err)
{
    struct briq_export *export = NULL;
    int r = briq_exports_take(&server->exports, name, force, &export, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&server->care);
    unsigned dropped = server->ops->drop(server, export);
    pthread_mutex_unlock(&server->care);
    r = briq_exports_close_taken(&server->exports, export, err);
    *ret_dropped = dropped;
    return r;
}
