/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plugin.c - Briq volumes for nbdkit: the callbacks, and the table of them that nbdkit asks for.
 *
 * Life: config* fills the tables, get_ready opens and locks every volume (errors reach the user
 * here), nbdkit forks, after_fork starts the maintenance threads, connections come and go, cleanup
 * flushes and closes. A connection's handle is its volume: nothing is allocated for a connection or
 * a request, and nothing is logged for a request. The store does its own locking, so nbdkit may
 * call from all of its threads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "common/exports/source.h"
#include "common/store/store.h"
#include "nbdkit-plugin/extents.h"
#include "nbdkit-plugin/params.h"
#include "nbdkit-plugin/server_args.h"
#include "nbdkit-plugin/volumes.h"
#include "plugin_help.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* The largest request that clients should send; the server takes up to BRIQ_REQUEST_BYTES_MAX. */
#define PREFERRED_REQUEST_BYTES_MAX (UINT32_C(32) << 20)

/* nbdkit hands no pointer through its configuration callbacks, so what they share is here. */
static struct {
    struct briq_params params;
    struct briq_volumes volumes;
} plugin_state;

/* The one place where the store's -errno becomes nbdkit's answer. 0 passes. */
static int plugin_result(int r)
{
    if (r >= 0)
        return 0;
    nbdkit_set_error(-r);
    return -1;
}

static struct briq_store *store_of(void *handle)
{
    const struct briq_volume *volume = handle;
    return volume->store;
}

/* ---- life of the process --------------------------------------------------------------------- */

static void plugin_unload(void)
{
    briq_volumes_fini(&plugin_state.volumes);
    briq_params_fini(&plugin_state.params);
}

static int plugin_config(const char *key, const char *value)
{
    if (strcmp(key, "volume") == 0)
        return briq_volumes_add(&plugin_state.volumes, value);
    if (strcmp(key, "export") == 0)
        return briq_volumes_rename_last(&plugin_state.volumes, value);

    int r = briq_params_set(&plugin_state.params, key, value);
    if (r == 0)
        nbdkit_error("unknown parameter '%s'; 'nbdkit briq --help' lists those there are", key);
    return r == 1 ? 0 : -1;
}

static int plugin_config_complete(void)
{
    if (briq_params_complete(&plugin_state.params) == -1)
        return -1;
    return briq_volumes_complete(&plugin_state.volumes);
}

static void log_line(void *opaque, enum briq_log_level level, const char *line)
{
    (void)opaque;
    if (level == BRIQ_LOG_ERROR)
        nbdkit_error("%s", line);
    else
        nbdkit_debug("%s", line);
}

static int plugin_get_ready(void)
{
    struct briq_open_options options = briq_params_open_options(&plugin_state.params);
    options.read_only = briq_server_is_read_only();
    options.log.sink = log_line;
    return briq_volumes_open(&plugin_state.volumes, &options);
}

static int plugin_after_fork(void)
{
    return briq_volumes_start(&plugin_state.volumes);
}

static void plugin_cleanup(void)
{
    briq_volumes_close(&plugin_state.volumes);
}

static void plugin_dump(void)
{
    printf("briq_version=%s\n", BRIQ_VERSION);
    printf("briq_format=%u\n", briq_format_version());
    printf("briq_lz4=%s\n", briq_lz4_version());
}

/* ---- exports --------------------------------------------------------------------------------- */

static int plugin_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports)
{
    (void)readonly;
    (void)is_tls;
    const struct briq_volumes *volumes = &plugin_state.volumes;

    for (size_t i = 0; i < volumes->count; i++) {
        char text[BRIQ_EXPORT_TEXT_MAX];
        const struct briq_volume *volume = &volumes->list[i];
        if (nbdkit_add_export(exports, volume->name, briq_source_describe(volume->store, text)) ==
            -1)
            return -1;
    }
    return 0;
}

/* A client that names no export means the only one; among several there is no default. */
static const char *plugin_default_export(int readonly, int is_tls)
{
    (void)readonly;
    (void)is_tls;
    const struct briq_volumes *volumes = &plugin_state.volumes;

    if (volumes->count == 1)
        return volumes->list[0].name;
    nbdkit_debug("no default export: there are %zu, the client must name one", volumes->count);
    return NULL;
}

static void *plugin_open(int readonly)
{
    (void)readonly; /* nbdkit itself refuses writes then */

    const char *name = nbdkit_export_name();
    if (name == NULL)
        return NULL;
    struct briq_volume *volume = briq_volumes_find(&plugin_state.volumes, name);
    if (volume == NULL) {
        nbdkit_error("unknown export '%s'", name);
        nbdkit_set_error(ENOENT);
    }
    return volume;
}

static const char *plugin_export_description(void *handle)
{
    char text[BRIQ_EXPORT_TEXT_MAX];
    return nbdkit_strdup_intern(briq_source_describe(store_of(handle), text));
}

static int64_t plugin_get_size(void *handle)
{
    return (int64_t)briq_store_size(store_of(handle));
}

static int plugin_block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
                             uint32_t *maximum)
{
    (void)handle;
    *minimum = 1;
    *preferred = BRIQ_BLOCK_BYTES;
    *maximum = PREFERRED_REQUEST_BYTES_MAX;
    return 0;
}

/* ---- what a connection can do ---------------------------------------------------------------- */

static int plugin_can_write(void *handle)
{
    return !briq_store_read_only(store_of(handle));
}

/* A volume that takes no writes has nothing to flush. */
static int plugin_can_flush(void *handle)
{
    return plugin_can_write(handle);
}

static int plugin_can_multi_conn(void *handle)
{
    (void)handle;
    return 1;
}

static int plugin_can_fua(void *handle)
{
    (void)handle;
    return NBDKIT_FUA_NATIVE;
}

static int plugin_can_fast_zero(void *handle)
{
    (void)handle;
    return 1;
}

static int plugin_can_cache(void *handle)
{
    (void)handle;
    return NBDKIT_CACHE_NATIVE;
}

/* ---- requests -------------------------------------------------------------------------------- */

static unsigned op_flags(uint32_t flags)
{
    return ((flags & NBDKIT_FLAG_FUA) != 0 ? BRIQ_OP_FUA : 0) |
           ((flags & NBDKIT_FLAG_MAY_TRIM) != 0 ? BRIQ_OP_MAY_TRIM : 0);
}

static int plugin_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
    (void)flags;
    return plugin_result(briq_read(store_of(handle), buf, count, offset));
}

static int plugin_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset,
                         uint32_t flags)
{
    return plugin_result(briq_write(store_of(handle), buf, count, offset, op_flags(flags)));
}

static int plugin_flush(void *handle, uint32_t flags)
{
    (void)flags;
    return plugin_result(briq_flush(store_of(handle)));
}

static int plugin_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    return plugin_result(briq_trim(store_of(handle), count, offset, op_flags(flags)));
}

/* NBDKIT_FLAG_FAST_ZERO needs no look: zeroing is a change of the map, whatever the length; only
 * the two blocks at the edges may have to be read and written. */
static int plugin_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    return plugin_result(briq_zero(store_of(handle), count, offset, op_flags(flags)));
}

static int plugin_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                          struct nbdkit_extents *extents)
{
    bool one = (flags & NBDKIT_FLAG_REQ_ONE) != 0;
    return plugin_result(briq_extents_add(store_of(handle), count, offset, one, extents));
}

static int plugin_cache(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    if (flags != 0) /* a flag of the future may ask for what a prefetch does not promise */
        return plugin_result(-EINVAL);
    return plugin_result(briq_prefetch(store_of(handle), count, offset));
}

static struct nbdkit_plugin plugin = {
    .name = "briq",
    .longname = "Briq",
    .version = BRIQ_VERSION,
    .description = "Serves LZ4-compressed, crash-safe block volumes.",
    .unload = plugin_unload,
    .dump_plugin = plugin_dump,
    .config = plugin_config,
    .config_complete = plugin_config_complete,
    .config_help = BRIQ_PLUGIN_HELP,
    .magic_config_key = "volume",
    .get_ready = plugin_get_ready,
    .after_fork = plugin_after_fork,
    .cleanup = plugin_cleanup,
    .list_exports = plugin_list_exports,
    .default_export = plugin_default_export,
    .open = plugin_open,
    .export_description = plugin_export_description,
    .get_size = plugin_get_size,
    .block_size = plugin_block_size,
    .can_write = plugin_can_write,
    .can_flush = plugin_can_flush,
    .can_multi_conn = plugin_can_multi_conn,
    .can_fua = plugin_can_fua,
    .can_fast_zero = plugin_can_fast_zero,
    .can_cache = plugin_can_cache,
    .pread = plugin_pread,
    .pwrite = plugin_pwrite,
    .flush = plugin_flush,
    .trim = plugin_trim,
    .zero = plugin_zero,
    .extents = plugin_extents,
    .cache = plugin_cache,
    .errno_is_preserved = 1,
};

/* The macro defines it without having declared it. */
struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)
