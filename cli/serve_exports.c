/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_exports.c - what clients of the control socket do to exports.
 *
 *     {"verb": "attach", "volume": "/srv/a.briq", "name": "a", "read_only": false, "kind": "nbd"}
 *     {"verb": "attach", "export": "a", "kind": "ublk", "id": 3}
 *     {"verb": "detach", "export": "a", "force": false, "kind": "ublk"}
 *     {"verb": "resize", "export": "a", "size": 1073741824}     or "more": BYTES, on top
 *     {"verb": "compact", "export": "a"}
 *     {"verb": "checkpoint", "export": "a"}
 *
 * All but volume, export and size may be missing. "kind" is how clients get at the volume: "nbd",
 * or "ublk" for a block device of the kernel beside that, of an export that is there or of a volume
 * that becomes one. Detached by its kind an export loses that alone, "ublk" being the one that can.
 */
#include "cli/serve_exports.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/control/fields.h"
#include "common/exports/source.h"

#define URI_MAX 16384

/* Takes the result over, NULL being lack of memory. */
static int give(struct json_object *result, bool fine, struct json_object **ret,
                struct briq_error *err)
{
    if (!fine) {
        json_object_put(result);
        return briq_error_set(err, -ENOMEM, "done, but out of memory to tell of it");
    }
    *ret = result;
    return 0;
}

static int named(struct json_object *args, const char *key, const char **ret,
                 struct briq_error *err)
{
    *ret = NULL;
    int r = briq_field_text(args, key, ret, err);
    if (r == 0 && (*ret == NULL || (*ret)[0] == '\0'))
        return briq_error_set(err, -EINVAL, "\"%s\" is missing", key);
    return r;
}

/* ---- attach ---------------------------------------------------------------------------------- */

struct attachment {
    const char *volume, *export, *name, *kind; /* volume or export is NULL */
    bool read_only, device;
    uint64_t id;
};

static int check_attachment(struct attachment *a, struct briq_error *err)
{
    a->device = strcmp(a->kind, "ublk") == 0;
    if (!a->device && strcmp(a->kind, "nbd") != 0)
        return briq_error_set(err, -EOPNOTSUPP, "\"kind\": neither nbd nor ublk");
    if (a->export != NULL && (!a->device || a->volume != NULL))
        return briq_error_set(err, -EINVAL, "\"export\": is attached already, as nbd");
    if (a->export == NULL && a->volume == NULL)
        return briq_error_set(err, -EINVAL, "\"volume\" is missing");
    if (a->volume != NULL && a->volume[0] != '/' && !briq_source_in_memory(a->volume))
        return briq_error_set(err, -EINVAL, "\"volume\": not an absolute path, nor mem:SIZE");
    if (a->id > UBLK_ANY_ID)
        return briq_error_set(err, -EINVAL, "\"id\": no number of a device");
    return 0;
}

static int read_attachment(struct json_object *args, struct attachment *ret, struct briq_error *err)
{
    int r = briq_field_text(args, "volume", &ret->volume, err);
    if (r == 0)
        r = briq_field_text(args, "export", &ret->export, err);
    if (r == 0)
        r = briq_field_text(args, "name", &ret->name, err);
    if (r == 0)
        r = briq_field_text(args, "kind", &ret->kind, err);
    if (r == 0)
        r = briq_field_number(args, "id", &ret->id, err);
    if (r == 0)
        r = briq_field_bool(args, "read_only", &ret->read_only, err);
    return r == 0 ? check_attachment(ret, err) : r;
}

/* A volume whose device waits for a server has it back with this, asked for or not. */
static int attach_volume(const struct briq_serve_setup *setup, const struct attachment *a,
                         const char *name, struct briq_error *err)
{
    struct briq_open_options options = setup->open;
    options.read_only = options.read_only || a->read_only;
    int r =
        briq_serve_devices_export(setup->devices, setup->server, name, a->volume, &options, err);
    if (r == 0)
        briq_serve_devices_adopt(setup->devices, setup->server);
    return r;
}

/* What became an export for this goes again when it cannot become a device. */
static int attach_device(const struct briq_serve_setup *setup, const struct attachment *a,
                         const char *name, struct briq_error *err)
{
    struct briq_error ignored = {""};
    unsigned dropped;
    uint32_t id;
    bool is_new = a->volume != NULL;
    if (is_new && briq_serve_devices_find(setup->devices, name, NULL))
        return 0; /* it has been taken over */
    int r = briq_serve_devices_attach(setup->devices, setup->server, name, (uint32_t)a->id,
                                      &setup->open, &id, err);
    if (r < 0 && is_new && briq_server_detach(setup->server, name, true, &dropped, &ignored) < 0)
        briq_log_line(&setup->log, BRIQ_LOG_WARNING, "%s", ignored.text);
    return r;
}

static int tell_attached(const struct briq_serve_setup *setup, const char *name,
                         struct json_object **ret, struct briq_error *err)
{
    char uri[URI_MAX], path[32];
    uint32_t id;
    struct json_object *result = json_object_new_object();
    bool fine = briq_field_set_text(result, "name", name);
    if (briq_server_uri(setup->server, name, uri, sizeof uri) > 0)
        fine = fine && briq_field_set_text(result, "uri", uri);
    if (briq_serve_devices_find(setup->devices, name, &id)) {
        snprintf(path, sizeof path, "/dev/ublkb%" PRIu32, id);
        fine = fine && briq_field_set_text(result, "device", path);
    }
    return give(result, fine, ret, err);
}

static int run_attach(void *opaque, struct briq_control_request *request, struct json_object *args,
                      struct json_object **ret, struct briq_error *err)
{
    const struct briq_serve_setup *setup = opaque;
    struct attachment attachment = {.kind = "nbd", .id = UBLK_ANY_ID};
    (void)request;
    int r = read_attachment(args, &attachment, err);
    if (r < 0)
        return r;
    const char *given = attachment.export != NULL ? attachment.export : attachment.name;
    char *name = given != NULL ? strdup(given) : briq_source_export_name(attachment.volume);
    if (name == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    if (attachment.volume != NULL)
        r = attach_volume(setup, &attachment, name, err);
    if (r == 0 && attachment.device)
        r = attach_device(setup, &attachment, name, err);
    if (r == 0)
        r = tell_attached(setup, name, ret, err);
    free(name);
    return r;
}

/* ---- detach, resize -------------------------------------------------------------------------- */

/* Before anything is taken away: does somebody still use it? */
static int check_unused(const struct briq_serve_setup *setup, const char *name, bool device_alone,
                        struct briq_error *err)
{
    int r = briq_serve_devices_check_unused(setup->devices, name, err);
    return r < 0 || device_alone ? r : briq_server_check_unconnected(setup->server, name, err);
}

static int detach(const struct briq_serve_setup *setup, const char *name, bool force,
                  bool device_alone, unsigned *dropped, struct briq_error *err)
{
    int r = force ? 0 : check_unused(setup, name, device_alone, err);
    if (r == 0 && (device_alone || briq_serve_devices_find(setup->devices, name, NULL)))
        r = briq_serve_devices_detach(setup->devices, name, err);
    if (r == 0 && !device_alone)
        r = briq_server_detach(setup->server, name, force, dropped, err);
    return r;
}

static int run_detach(void *opaque, struct briq_control_request *request, struct json_object *args,
                      struct json_object **ret, struct briq_error *err)
{
    const struct briq_serve_setup *setup = opaque;
    const char *name, *kind = NULL;
    bool force = false;
    unsigned dropped = 0;
    (void)request;
    int r = named(args, "export", &name, err);
    if (r == 0)
        r = briq_field_bool(args, "force", &force, err);
    if (r == 0)
        r = briq_field_text(args, "kind", &kind, err);
    if (r == 0 && kind != NULL && strcmp(kind, "ublk") != 0)
        r = briq_error_set(err, -EOPNOTSUPP, "\"kind\": ublk alone can be detached by itself");
    if (r == 0)
        r = detach(setup, name, force, kind != NULL, &dropped, err);
    if (r < 0)
        return r;
    struct json_object *result = json_object_new_object();
    return give(result, briq_field_set_number(result, "dropped", dropped), ret, err);
}

static int run_resize(void *opaque, struct briq_control_request *request, struct json_object *args,
                      struct json_object **ret, struct briq_error *err)
{
    const struct briq_serve_setup *setup = opaque;
    struct briq_resized resized;
    const char *name;
    uint64_t size = UINT64_MAX, more = UINT64_MAX;
    (void)request;
    int r = named(args, "export", &name, err);
    if (r == 0)
        r = briq_field_number(args, "size", &size, err);
    if (r == 0)
        r = briq_field_number(args, "more", &more, err);
    if (r == 0 && (size == UINT64_MAX) == (more == UINT64_MAX))
        r = briq_error_set(err, -EINVAL, "one of \"size\" and \"more\" says how large");
    if (r == 0)
        r = briq_serve_devices_can_grow(setup->devices, name, err);
    if (r == 0)
        r = briq_server_resize(setup->server, name, more != UINT64_MAX ? more : size,
                               more != UINT64_MAX, &resized, err);
    if (r == 0)
        r = briq_serve_devices_grown(setup->devices, name, err);
    if (r < 0)
        return r;
    struct json_object *result = json_object_new_object();
    bool fine = briq_field_set_number(result, "size", resized.size_bytes) &&
                briq_field_set_number(result, "dropped", resized.dropped);
    return give(result, fine, ret, err);
}

/* ---- compact, checkpoint --------------------------------------------------------------------- */

static bool pass_progress(void *opaque, uint64_t done, uint64_t total)
{
    return briq_control_progress(opaque, done, total);
}

static int compact(struct briq_store *store, struct briq_control_request *request,
                   struct json_object **ret, struct briq_error *err)
{
    struct briq_stats before, after;
    briq_store_stats(store, &before);
    int r = briq_store_compact(store, pass_progress, request);
    if (r < 0)
        return r;
    if (briq_control_cancelled(request))
        return briq_error_set(err, -EINTR, "interrupted: what was done stays done");
    briq_store_stats(store, &after);
    struct json_object *result = json_object_new_object();
    bool fine = briq_field_set_number(result, "file_before", before.host_bytes) &&
                briq_field_set_number(result, "file", after.host_bytes) &&
                briq_field_set_number(result, "stored", after.stored_bytes);
    return give(result, fine, ret, err);
}

static int checkpoint(struct briq_store *store, struct briq_control_request *request,
                      struct json_object **ret, struct briq_error *err)
{
    (void)request;
    (void)ret;
    (void)err;
    return briq_store_checkpoint(store);
}

/* The work on the store of the export that is named. */
static int run_on_store(const struct briq_serve_setup *setup, struct briq_control_request *request,
                        struct json_object *args,
                        int (*work)(struct briq_store *, struct briq_control_request *,
                                    struct json_object **, struct briq_error *),
                        struct json_object **ret, struct briq_error *err)
{
    struct briq_export *export;
    struct briq_store *store;
    const char *name;
    int r = named(args, "export", &name, err);
    if (r == 0)
        r = briq_server_hold(setup->server, name, &export, &store, err);
    if (r < 0)
        return r;
    r = work(store, request, ret, err);
    briq_server_release(setup->server, export);
    return r < 0 ? briq_error_set(err, r, "export '%s': %s", name, strerror(-r)) : 0;
}

static int run_compact(void *opaque, struct briq_control_request *request, struct json_object *args,
                       struct json_object **ret, struct briq_error *err)
{
    return run_on_store(opaque, request, args, compact, ret, err);
}

static int run_checkpoint(void *opaque, struct briq_control_request *request,
                          struct json_object *args, struct json_object **ret,
                          struct briq_error *err)
{
    return run_on_store(opaque, request, args, checkpoint, ret, err);
}

const struct briq_control_verb briq_serve_export_verbs[] = {
    {.name = "attach", .pace = BRIQ_CONTROL_LASTING, .run = run_attach},
    {.name = "detach", .pace = BRIQ_CONTROL_LASTING, .run = run_detach},
    {.name = "resize", .pace = BRIQ_CONTROL_LASTING, .run = run_resize},
    {.name = "compact", .pace = BRIQ_CONTROL_LASTING, .run = run_compact},
    {.name = "checkpoint", .pace = BRIQ_CONTROL_LASTING, .run = run_checkpoint},
    {0},
};
