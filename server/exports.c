/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/exports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/utf8.h"
#include "server/nbd.h"
#include "server/server.h"

void briq_exports_init(struct briq_exports *exports, const struct briq_log *log)
{
    *exports = (struct briq_exports){.log = *log};
    pthread_mutex_init(&exports->lock, NULL);
    pthread_cond_init(&exports->let_go, NULL);
    briq_list_init(&exports->list);
}

static struct briq_export *export_of(struct briq_node *node)
{
    return BRIQ_CONTAINER_OF(node, struct briq_export, node);
}

/* Under the lock. An empty name means the only one. */
static struct briq_export *find(struct briq_exports *exports, const char *name, size_t len)
{
    struct briq_node *node = exports->list.head.next;
    if (len == 0)
        return exports->count == 1 ? export_of(node) : NULL;
    for (; node != &exports->list.head; node = node->next) {
        struct briq_export *export = export_of(node);
        if (strlen(export->name) == len && memcmp(export->name, name, len) == 0)
            return export;
    }
    return NULL;
}

/* The same for verbs, which have to name what they mean. */
static struct briq_export *find_named(struct briq_exports *exports, const char *name)
{
    return name[0] != '\0' ? find(exports, name, strlen(name)) : NULL;
}

/* ---- coming ---------------------------------------------------------------------------------- */

static void free_export(struct briq_export *export)
{
    free(export->name);
    free(export->source);
    free(export);
}

static int new_export(const char *name, const char *source, struct briq_error *err,
                      struct briq_export **ret)
{
    struct briq_export *export = calloc(1, sizeof *export);
    if (export == NULL)
        return briq_error_set(err, -ENOMEM, "%s: out of memory", source);
    export->name = name != NULL ? strdup(name) : briq_source_export_name(source);
    export->source = briq_source_absolute(source);
    export->refs = 1;
    briq_list_init(&export->figures);
    if (export->name == NULL || export->source == NULL) {
        free_export(export);
        return briq_error_set(err, -ENOMEM, "%s: out of memory", source);
    }
    size_t len = strlen(export->name);
    if (len == 0 || len > BRIQ_EXPORT_NAME_MAX) {
        free_export(export);
        return briq_error_set(err, -EINVAL,
                              "%s: an export name has from 1 to %d bytes; write NAME=%s", source,
                              BRIQ_EXPORT_NAME_MAX, source);
    }
    *ret = export;
    return 0;
}

static int insert(struct briq_exports *exports, struct briq_export *export, struct briq_error *err)
{
    int r = 0;
    pthread_mutex_lock(&exports->lock);
    struct briq_export *other = find(exports, export->name, strlen(export->name));
    if (other != NULL) {
        r = briq_error_set(err, -EEXIST,
                           "%s and %s would both be export '%s': write NAME=%s for one of them",
                           other->source, export->source, export->name, export->source);
    } else {
        export->id = ++exports->last_id;
        briq_list_push_back(&exports->list, &export->node);
        exports->count++;
    }
    pthread_mutex_unlock(&exports->lock);
    return r;
}

static int open_store(struct briq_export *export, const struct briq_open_options *options,
                      struct briq_error *err)
{
    int r = briq_store_open(export->source, options, err, &export->store);
    if (r < 0)
        return r;
    r = briq_store_start(export->store);
    if (r == 0)
        return 0;
    (void)briq_store_close(export->store);
    return briq_error_set(err, r, "%s: cannot start its maintenance thread: %s", export->source,
                          strerror(-r));
}

int briq_exports_add(struct briq_exports *exports, const char *name, const char *source,
                     const struct briq_open_options *options, struct briq_error *err)
{
    struct briq_export *export = NULL;
    int r = new_export(name, source, err, &export);
    if (r < 0)
        return r;
    r = open_store(export, options, err);
    if (r < 0) {
        free_export(export);
        return r;
    }
    r = insert(exports, export, err);
    if (r < 0) {
        (void)briq_store_close(export->store);
        free_export(export);
    }
    return r;
}

/* ---- going ----------------------------------------------------------------------------------- */

static int close_export(struct briq_exports *exports, struct briq_export *export)
{
    int r = briq_store_close(export->store);
    if (r < 0)
        briq_log_line(&exports->log, BRIQ_LOG_ERROR,
                      "%s: not closed cleanly: %s; the next open replays its log", export->source,
                      strerror(-r));
    free_export(export);
    return r;
}

/* Returns the export if nobody holds it any more. `among` (or NULL) also counted who lets go. */
static struct briq_export *let_go(struct briq_exports *exports, struct briq_export *export,
                                  unsigned *among)
{
    pthread_mutex_lock(&exports->lock);
    BRIQ_ASSERT(export->refs > 0);
    if (among != NULL)
        --*among;
    bool last = --export->refs == 0;
    pthread_cond_broadcast(&exports->let_go);
    pthread_mutex_unlock(&exports->lock);
    return last ? export : NULL;
}

void briq_exports_put(struct briq_exports *exports, struct briq_export *export)
{
    if (let_go(exports, export, NULL) != NULL)
        (void)close_export(exports, export);
}

static struct briq_export *take_first(struct briq_exports *exports)
{
    pthread_mutex_lock(&exports->lock);
    struct briq_node *node = briq_list_pop_front(&exports->list);
    exports->count -= node != NULL;
    pthread_mutex_unlock(&exports->lock);
    return node == NULL ? NULL : export_of(node);
}

void briq_exports_refuse(struct briq_exports *exports)
{
    pthread_mutex_lock(&exports->lock);
    exports->closing = true;
    pthread_mutex_unlock(&exports->lock);
}

int briq_exports_close(struct briq_exports *exports)
{
    struct briq_export *export;
    int first = 0;
    while ((export = take_first(exports)) != NULL) {
        struct briq_export *last = let_go(exports, export, NULL);
        BRIQ_ASSERT(last == export);
        int r = close_export(exports, export);
        first = first < 0 ? first : r;
    }
    pthread_mutex_destroy(&exports->lock);
    pthread_cond_destroy(&exports->let_go);
    return first;
}

/* ---- while it is served ---------------------------------------------------------------------- */

/* Under the lock. 0, or -ENOENT explained in err. */
static int find_or_explain(struct briq_exports *exports, const char *name, struct briq_export **ret,
                           struct briq_error *err)
{
    *ret = find_named(exports, name);
    return *ret != NULL ? 0 : briq_error_set(err, -ENOENT, "there is no export '%s'", name);
}

int briq_exports_begin_task(struct briq_exports *exports, const char *name,
                            struct briq_export **ret, struct briq_error *err)
{
    pthread_mutex_lock(&exports->lock);
    int r = find_or_explain(exports, name, ret, err);
    if (r == 0) {
        (*ret)->refs++;
        (*ret)->tasks++;
    }
    pthread_mutex_unlock(&exports->lock);
    return r;
}

void briq_exports_end_task(struct briq_exports *exports, struct briq_export *export)
{
    pthread_mutex_lock(&exports->lock);
    export->tasks--;
    pthread_mutex_unlock(&exports->lock);
    briq_exports_put(exports, export);
}

unsigned briq_export_connections(const struct briq_export *export)
{
    return export->refs - 1 - export->tasks - export->watchers;
}

void briq_export_watch(struct briq_export *export)
{
    export->refs++;
    export->watchers++;
}

void briq_exports_unwatch(struct briq_exports *exports, struct briq_export *export)
{
    if (let_go(exports, export, &export->watchers) != NULL)
        (void)close_export(exports, export);
}

void briq_exports_join(struct briq_exports *exports, struct briq_export *export,
                       struct briq_nbd_figures *figures)
{
    figures->since_ns = briq_clock_ns();
    pthread_mutex_lock(&exports->lock);
    figures->id = ++exports->last_conn_id;
    export->joined++;
    briq_list_push_back(&export->figures, &figures->node);
    pthread_mutex_unlock(&exports->lock);
}

void briq_exports_part(struct briq_exports *exports, struct briq_export *export,
                       struct briq_nbd_figures *figures)
{
    briq_figures_batch_end(figures);
    pthread_mutex_lock(&exports->lock);
    briq_list_remove(&figures->node);
    briq_figures_add(&export->closed, &figures->counts);
    pthread_mutex_unlock(&exports->lock);
}

/* Under the lock, as the next one. */
static int check_unconnected(const struct briq_export *export, struct briq_error *err)
{
    unsigned connections = briq_export_connections(export);
    if (connections == 0)
        return 0;
    return briq_error_set(
        err, -EBUSY, "export '%s' has %u connection%s: disconnect first, or detach it by force",
        export->name, connections, connections == 1 ? "" : "s");
}

static int check_free(const struct briq_export *export, bool force, struct briq_error *err)
{
    if (export->tasks > 0)
        return briq_error_set(err, -EBUSY,
                              "export '%s' is being worked on (resized, compacted, written out): "
                              "wait for that, or interrupt it",
                              export->name);
    return force ? 0 : check_unconnected(export, err);
}

int briq_exports_check_unconnected(struct briq_exports *exports, const char *name,
                                   struct briq_error *err)
{
    struct briq_export *export;
    pthread_mutex_lock(&exports->lock);
    int r = find_or_explain(exports, name, &export, err);
    if (r == 0)
        r = check_unconnected(export, err);
    pthread_mutex_unlock(&exports->lock);
    return r;
}

int briq_exports_take(struct briq_exports *exports, const char *name, bool force,
                      struct briq_export **ret, struct briq_error *err)
{
    pthread_mutex_lock(&exports->lock);
    struct briq_export *export;
    int r = find_or_explain(exports, name, &export, err);
    if (r == 0)
        r = check_free(export, force, err);
    if (r == 0) {
        briq_list_remove(&export->node);
        exports->count--;
        atomic_store(&export->leaving, true);
        *ret = export;
    }
    pthread_mutex_unlock(&exports->lock);
    return r;
}

int briq_exports_close_taken(struct briq_exports *exports, struct briq_export *export,
                             struct briq_error *err)
{
    pthread_mutex_lock(&exports->lock);
    while (export->refs > 1)
        pthread_cond_wait(&exports->let_go, &exports->lock);
    pthread_mutex_unlock(&exports->lock);
    char *source = strdup(export->source);
    int r = close_export(exports, export);
    if (r < 0)
        briq_error_set(err, r, "%s: not closed cleanly: %s; the next open replays its log",
                       source != NULL ? source : "the volume", strerror(-r));
    free(source);
    return r;
}

/* ---- for people ------------------------------------------------------------------------------ */

void briq_exports_each(struct briq_exports *exports,
                       void (*visit)(void *opaque, const struct briq_export_facts *facts),
                       void *opaque)
{
    pthread_mutex_lock(&exports->lock);
    for (struct briq_node *node = exports->list.head.next; node != &exports->list.head;
         node = node->next) {
        const struct briq_export *export = export_of(node);
        struct briq_export_facts facts = {
            .name = export->name,
            .source = export->source,
            .id = export->id,
            .read_only = briq_store_read_only(export->store),
            .in_memory = briq_store_in_memory(export->store),
            .connections = briq_export_connections(export),
        };
        briq_store_usage(export->store, &facts.usage);
        visit(opaque, &facts);
    }
    pthread_mutex_unlock(&exports->lock);
}

/* ---- for handshakes -------------------------------------------------------------------------- */

/* Whoever is the only one that may write, or that may connect, must not think that further
 * connections may, too. */
static uint16_t flags_for(const struct briq_exports *exports, bool writes)
{
    const uint16_t all = NBD_FLAG_SEND_CACHE;
    const uint16_t writers = NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
                             NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
    bool alone = exports->one_connection || (writes && exports->one_writer);
    return (uint16_t)(all | (writes ? writers : NBD_FLAG_READ_ONLY) |
                      (alone ? 0 : NBD_FLAG_CAN_MULTI_CONN));
}

/* Under the lock. */
static bool may_write(const struct briq_export *export)
{
    return !briq_store_read_only(export->store) && !export->has_writer;
}

/* Under the lock. */
static void describe(const struct briq_exports *exports, struct briq_export *export,
                     struct briq_nbd_export_info *info)
{
    info->name = export->name;
    info->size_bytes = briq_store_size(export->store);
    info->id = export->id;
    info->flags = flags_for(exports, may_write(export));
    info->handle = export;
    info->writer = false;
    briq_source_describe(export->store, info->description);
}

/* Whoever can connect can make names up: what they wrote there must not look like our lines. */
static void log_unknown(const struct briq_exports *exports, const char *name, size_t len)
{
    char shown[NBD_NAME_SHOWN_MAX];
    size_t end = briq_utf8_clip(name, len, sizeof shown);
    if (end > 0)
        memcpy(shown, name, end);
    briq_utf8_clean(shown, end);
    briq_log_line(&exports->log, BRIQ_LOG_INFO, "a client asked for an unknown export '%.*s'",
                  (int)end, shown);
}

static int catalog_find(void *opaque, const char *name, size_t len,
                        struct briq_nbd_export_info *ret)
{
    struct briq_exports *exports = opaque;
    pthread_mutex_lock(&exports->lock);
    struct briq_export *export = exports->closing ? NULL : find(exports, name, len);
    int r = export != NULL ? 0 : exports->closing ? -ESHUTDOWN : -ENOENT;
    if (r == 0) {
        export->refs++;
        describe(exports, export, ret);
    }
    pthread_mutex_unlock(&exports->lock);
    if (r == -ENOENT)
        log_unknown(exports, name, len);
    return r;
}

static void catalog_release(void *opaque, void *handle)
{
    briq_exports_put(opaque, handle);
}

/* Between find() and now another client may have become the writer, or have ceased to be. */
static void catalog_enter(void *opaque, struct briq_nbd_export_info *info)
{
    struct briq_exports *exports = opaque;
    struct briq_export *export = info->handle;
    pthread_mutex_lock(&exports->lock);
    bool writes = may_write(export);
    info->flags = flags_for(exports, writes);
    info->writer = writes && exports->one_writer;
    export->has_writer = export->has_writer || info->writer;
    pthread_mutex_unlock(&exports->lock);
}

static void catalog_leave(void *opaque, void *handle, bool writer)
{
    struct briq_exports *exports = opaque;
    struct briq_export *export = handle;
    pthread_mutex_lock(&exports->lock);
    BRIQ_ASSERT(!writer || export->has_writer);
    if (writer)
        export->has_writer = false;
    pthread_mutex_unlock(&exports->lock);
    briq_exports_put(exports, export);
}

static void catalog_each(void *opaque, void (*emit)(void *, const struct briq_nbd_export_info *),
                         void *emit_opaque)
{
    struct briq_exports *exports = opaque;
    pthread_mutex_lock(&exports->lock);
    for (struct briq_node *node = exports->list.head.next; node != &exports->list.head;
         node = node->next) {
        struct briq_nbd_export_info info;
        describe(exports, export_of(node), &info);
        emit(emit_opaque, &info);
    }
    pthread_mutex_unlock(&exports->lock);
}

struct briq_nbd_catalog briq_exports_catalog(struct briq_exports *exports)
{
    return (struct briq_nbd_catalog){
        .find = catalog_find,
        .release = catalog_release,
        .enter = catalog_enter,
        .leave = catalog_leave,
        .each = catalog_each,
        .opaque = exports,
    };
}
