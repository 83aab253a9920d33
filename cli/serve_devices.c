/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_devices.c - which exports are devices, and who may do what to them when.
 *
 * An entry of the table is there from before its device is until after it has gone, so that there
 * are never two devices of an export. Nothing is waited for under the lock but a change of the
 * table.
 */
#include "cli/serve_devices.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/serve_device.h"
#include "cli/ublk_devices.h"
#include "cli/ublk_takeover.h"
#include "cli/ublk_unit.h"
#include "cli/volume.h"
#include "common/base/list.h"
#include "common/exports/source.h"

struct entry {
    struct briq_node node;
    char *name;                       /* of the export */
    struct briq_serve_device *device; /* NULL: it is being made */
    unsigned users;                   /* that are asking it something */
};

/* A device whose server has died, of a volume that is exported. */
struct orphan {
    struct briq_node node;
    char *name;
    uint32_t id;
    struct briq_ublk_record what;
};

struct briq_serve_devices {
    struct briq_serve_devices_setup setup;
    bool own_mounts; /* the process has a mount namespace of its own */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct briq_list entries, orphans;
    uint32_t next_id;
    bool ending;
};

/* ---- beginning ------------------------------------------------------------------------------- */

static bool any_waits(const struct briq_words *volumes)
{
    bool found = false;
    struct briq_ublk_record *what = malloc(sizeof *what);
    for (unsigned i = 0; what != NULL && !found && i < volumes->count; i++) {
        struct briq_error ignored = {""};
        const char *volume;
        char *name = NULL;
        uint32_t id;
        found = briq_volume_split(volumes->list[i], &name, &volume, &ignored) == 0 &&
                briq_ublk_find_orphan(volume, &id, what);
        free(name);
    }
    free(what);
    return found;
}

static int prepare_process(struct briq_serve_devices *devices, struct briq_error *err)
{
    const struct briq_serve_devices_setup *setup = &devices->setup;
    int r = briq_ublk_mark_flusher();
    if (r < 0 && setup->wanted)
        return briq_error_set(err, r, "PR_SET_IO_FLUSHER: %s; devices need root", strerror(-r));
    r = setup->swap ? briq_ublk_use_reserves(err) : 0;
    if (r < 0)
        return r;
    if (!setup->wanted && !any_waits(setup->volumes))
        return 0; /* nobody has asked for a device; who does will be told if it cannot be */
    r = briq_ublk_leave_mounts(err);
    devices->own_mounts = r == 0;
    return r;
}

int briq_serve_devices_open(const struct briq_serve_devices_setup *setup, struct briq_error *err,
                            struct briq_serve_devices **ret)
{
    struct briq_serve_devices *devices = calloc(1, sizeof *devices);
    if (devices == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    devices->setup = *setup;
    int r = prepare_process(devices, err);
    if (r < 0) {
        free(devices);
        return r;
    }
    devices->next_id = setup->options.id;
    pthread_mutex_init(&devices->lock, NULL);
    pthread_cond_init(&devices->changed, NULL);
    briq_list_init(&devices->entries);
    briq_list_init(&devices->orphans);
    *ret = devices;
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------- */

static struct entry *find(struct briq_serve_devices *devices, const char *name)
{
    struct briq_list *list = &devices->entries;
    for (struct briq_node *node = list->head.next; node != &list->head; node = node->next) {
        struct entry *entry = BRIQ_CONTAINER_OF(node, struct entry, node);
        if (strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

static void free_entry(struct entry *entry)
{
    if (entry->device != NULL)
        briq_serve_device_free(entry->device);
    free(entry->name);
    free(entry);
}

/* Under the lock. An entry whose device has ended by itself goes when it is met. */
static bool reap(struct entry *entry)
{
    if (entry->users > 0 || entry->device == NULL || !briq_serve_device_over(entry->device))
        return false;
    briq_list_remove(&entry->node);
    free_entry(entry);
    return true;
}

/* The entry of a device that lives, for put(); NULL: the export is none. */
static struct entry *get(struct briq_serve_devices *devices, const char *name)
{
    pthread_mutex_lock(&devices->lock);
    struct entry *entry;
    while ((entry = find(devices, name)) != NULL && entry->device == NULL)
        pthread_cond_wait(&devices->changed, &devices->lock);
    if (entry != NULL && reap(entry))
        entry = NULL;
    if (entry != NULL)
        entry->users++;
    pthread_mutex_unlock(&devices->lock);
    return entry;
}

static void put(struct briq_serve_devices *devices, struct entry *entry)
{
    pthread_mutex_lock(&devices->lock);
    entry->users--;
    (void)reap(entry);
    pthread_cond_broadcast(&devices->changed);
    pthread_mutex_unlock(&devices->lock);
}

/* A place for the device of an export that is none yet. */
static int reserve(struct briq_serve_devices *devices, const char *name, struct briq_error *err,
                   struct entry **ret)
{
    struct entry *entry = calloc(1, sizeof *entry), *other;
    if (entry == NULL || (entry->name = strdup(name)) == NULL) {
        free(entry);
        return briq_error_set(err, -ENOMEM, "out of memory");
    }
    int r = 0;
    pthread_mutex_lock(&devices->lock);
    while ((other = find(devices, name)) != NULL && reap(other))
        ;
    if (devices->ending)
        r = briq_error_set(err, -ESHUTDOWN, "this daemon is ending");
    else if (other != NULL && other->device == NULL)
        r = briq_error_set(err, -EEXIST, "export '%s' is becoming a device already", name);
    else if (other != NULL)
        r = briq_error_set(err, -EEXIST, "export '%s' is /dev/ublkb%" PRIu32 " already", name,
                           briq_serve_device_id(other->device));
    else
        briq_list_push_back(&devices->entries, &entry->node);
    pthread_mutex_unlock(&devices->lock);
    if (r < 0)
        free_entry(entry);
    else
        *ret = entry;
    return r;
}

/* device is NULL: it was not to be. */
static void settle(struct briq_serve_devices *devices, struct entry *entry,
                   struct briq_serve_device *device)
{
    pthread_mutex_lock(&devices->lock);
    entry->device = device;
    if (device == NULL)
        briq_list_remove(&entry->node);
    pthread_cond_broadcast(&devices->changed);
    pthread_mutex_unlock(&devices->lock);
    if (device == NULL)
        free_entry(entry);
}

/* ---- coming ---------------------------------------------------------------------------------- */

static int start(struct briq_serve_devices *devices, struct briq_server *server, const char *name,
                 uint32_t id, bool recover, const struct briq_ublk_record *what,
                 struct briq_error *err, uint32_t *ret_id)
{
    struct briq_serve_device_setup setup = {
        .server = server,
        .name = name,
        .log = devices->setup.log,
        .options = devices->setup.options,
        .recover = recover,
        .what = what,
    };
    struct entry *entry = NULL;
    struct briq_serve_device *device = NULL;
    int r = reserve(devices, name, err, &entry);
    if (r < 0)
        return r;
    if (recover && devices->own_mounts)
        briq_ublk_drop_mounts(id);
    setup.options.id = id;
    setup.options.cancel_fd = devices->setup.cancel_fd;
    r = briq_serve_device_start(&setup, err, &device);
    if (r == 0)
        *ret_id = briq_serve_device_id(device);
    settle(devices, entry, device);
    if (r == 0)
        briq_ublk_harden_process(&devices->setup.log);
    return r;
}

/* What somebody needs to serve the volume again. */
static int fill_record(const char *volume, const struct briq_open_options *options,
                       struct briq_ublk_record *ret, struct briq_error *err)
{
    *ret = (struct briq_ublk_record){
        .read_only = options->read_only,
        .direct = options->direct,
        .no_windows_file = options->no_windows_file,
        .cache_bytes = options->cache_bytes,
    };
    if (strlen(volume) >= sizeof ret->volume)
        return briq_error_set(err, -ENAMETOOLONG, "%s: too long", volume);
    strncpy(ret->volume, volume, sizeof ret->volume - 1);
    if (options->windows_dir != NULL && realpath(options->windows_dir, ret->windows_dir) == NULL)
        return briq_error_set(err, -errno, "%s: %s", options->windows_dir, strerror(errno));
    return 0;
}

struct lookup {
    const char *name;
    char *volume;
    bool read_only;
};

static void look_up(void *opaque, const struct briq_export_facts *facts)
{
    struct lookup *lookup = opaque;
    if (strcmp(facts->name, lookup->name) != 0)
        return;
    lookup->volume = strdup(facts->source);
    lookup->read_only = facts->read_only;
}

static uint32_t next_id(struct briq_serve_devices *devices)
{
    pthread_mutex_lock(&devices->lock);
    uint32_t id = devices->next_id;
    devices->next_id += id != UBLK_ANY_ID;
    pthread_mutex_unlock(&devices->lock);
    return id;
}

int briq_serve_devices_attach(struct briq_serve_devices *devices, struct briq_server *server,
                              const char *name, uint32_t id,
                              const struct briq_open_options *options, uint32_t *ret_id,
                              struct briq_error *err)
{
    struct lookup lookup = {.name = name};
    briq_server_each_export(server, look_up, &lookup);
    if (lookup.volume == NULL)
        return briq_error_set(err, -ENOENT, "there is no export '%s'", name);
    struct briq_open_options opened = *options;
    opened.read_only = lookup.read_only;
    struct briq_ublk_record *what = malloc(sizeof *what);
    int r = what == NULL ? briq_error_set(err, -ENOMEM, "out of memory")
                         : fill_record(lookup.volume, &opened, what, err);
    if (r == 0)
        r = start(devices, server, name, id != UBLK_ANY_ID ? id : next_id(devices), false, what,
                  err, ret_id);
    free(what);
    free(lookup.volume);
    return r;
}

/* ---- taking over ----------------------------------------------------------------------------- */

struct export_job {
    struct briq_server *server;
    const char *name, *volume;
    const struct briq_open_options *options;
};

static int export_once(void *opaque, struct briq_error *err)
{
    const struct export_job *job = opaque;
    return briq_server_export(job->server, job->name, job->volume, job->options, err);
}

/* NULL: there is none to take over. */
static struct orphan *find_orphan(struct briq_serve_devices *devices, const char *volume,
                                  bool read_only)
{
    struct orphan *orphan = calloc(1, sizeof *orphan);
    if (orphan == NULL || !briq_ublk_find_orphan(volume, &orphan->id, &orphan->what)) {
        free(orphan);
        return NULL;
    }
    if (read_only == orphan->what.read_only)
        return orphan;
    briq_log_line(&devices->setup.log, BRIQ_LOG_WARNING,
                  "/dev/ublkb%" PRIu32 " of %s waits for a server, but it is %s and the volume is "
                  "now served %s: it waits on",
                  orphan->id, volume, orphan->what.read_only ? "read-only" : "writable",
                  read_only ? "read-only" : "writable");
    free(orphan);
    return NULL;
}

static void note(struct briq_serve_devices *devices, struct orphan *orphan)
{
    pthread_mutex_lock(&devices->lock);
    briq_list_push_back(&devices->orphans, &orphan->node);
    pthread_mutex_unlock(&devices->lock);
}

int briq_serve_devices_export(struct briq_serve_devices *devices, struct briq_server *server,
                              const char *name, const char *volume,
                              const struct briq_open_options *options, struct briq_error *err)
{
    struct export_job job = {.server = server, .name = name, .volume = volume, .options = options};
    struct orphan *orphan = find_orphan(devices, volume, options->read_only);
    if (orphan == NULL)
        return export_once(&job, err);
    orphan->name = name != NULL ? strdup(name) : briq_source_export_name(volume);
    int r = orphan->name == NULL
                ? briq_error_set(err, -ENOMEM, "out of memory")
                : briq_ublk_open_again(export_once, &job, devices->setup.cancel_fd, err);
    if (r == 0) {
        note(devices, orphan);
        return 0;
    }
    free(orphan->name);
    free(orphan);
    return r;
}

void briq_serve_devices_adopt(struct briq_serve_devices *devices, struct briq_server *server)
{
    for (;;) {
        struct briq_error err = {""};
        pthread_mutex_lock(&devices->lock);
        struct briq_node *node = briq_list_pop_front(&devices->orphans);
        pthread_mutex_unlock(&devices->lock);
        if (node == NULL)
            return;
        struct orphan *orphan = BRIQ_CONTAINER_OF(node, struct orphan, node);
        int r = start(devices, server, orphan->name, orphan->id, true, &orphan->what, &err,
                      &orphan->id);
        if (r < 0)
            briq_log_line(&devices->setup.log, BRIQ_LOG_WARNING,
                          "/dev/ublkb%" PRIu32 " of export '%s' is not taken over: %s", orphan->id,
                          orphan->name, err.text);
        else
            briq_log_line(&devices->setup.log, BRIQ_LOG_INFO,
                          "/dev/ublkb%" PRIu32 " of export '%s' is taken over", orphan->id,
                          orphan->name);
        free(orphan->name);
        free(orphan);
    }
}

/* ---- while it is there ----------------------------------------------------------------------- */

bool briq_serve_devices_find(struct briq_serve_devices *devices, const char *name, uint32_t *ret_id)
{
    struct entry *entry = get(devices, name);
    if (entry == NULL)
        return false;
    if (ret_id != NULL)
        *ret_id = briq_serve_device_id(entry->device);
    put(devices, entry);
    return true;
}

int briq_serve_devices_check_unused(struct briq_serve_devices *devices, const char *name,
                                    struct briq_error *err)
{
    uint32_t id = 0;
    return briq_serve_devices_find(devices, name, &id) ? briq_ublk_check_unheld(id, err) : 0;
}

static int ask(struct briq_serve_devices *devices, const char *name,
               enum briq_serve_device_wish wish, int none, struct briq_error *err)
{
    struct entry *entry = get(devices, name);
    if (entry == NULL)
        return none;
    int r = briq_serve_device_ask(entry->device, wish, err);
    put(devices, entry);
    return r;
}

int briq_serve_devices_detach(struct briq_serve_devices *devices, const char *name,
                              struct briq_error *err)
{
    int r = ask(devices, name, BRIQ_SERVE_DEVICE_STOP, -ENOENT, err);
    return r == -ENOENT ? briq_error_set(err, r, "export '%s' is no device", name) : r;
}

int briq_serve_devices_can_grow(struct briq_serve_devices *devices, const char *name,
                                struct briq_error *err)
{
    struct entry *entry = get(devices, name);
    if (entry == NULL)
        return 0;
    int r = briq_serve_device_can_grow(entry->device, err);
    put(devices, entry);
    return r;
}

int briq_serve_devices_grown(struct briq_serve_devices *devices, const char *name,
                             struct briq_error *err)
{
    return ask(devices, name, BRIQ_SERVE_DEVICE_GROWN, 0, err);
}

bool briq_serve_devices_facts(struct briq_serve_devices *devices, const char *name,
                              struct briq_serve_device_facts *ret,
                              void (*figures)(void *opaque, const struct briq_ublk_figures *of),
                              void *opaque)
{
    pthread_mutex_lock(&devices->lock);
    struct entry *entry = find(devices, name);
    bool is = entry != NULL && entry->device != NULL &&
              briq_serve_device_facts(entry->device, ret, figures, opaque);
    pthread_mutex_unlock(&devices->lock);
    return is;
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void end_one(struct briq_serve_devices *devices, struct entry *entry)
{
    struct briq_error err = {""};
    const struct briq_log *log = &devices->setup.log;
    bool waits = briq_ublk_is_to_wait(briq_serve_device_id(entry->device),
                                      briq_serve_device_recoverable(entry->device), log);
    int r = briq_serve_device_ask(entry->device,
                                  waits ? BRIQ_SERVE_DEVICE_LEAVE : BRIQ_SERVE_DEVICE_STOP, &err);
    if (r < 0) {
        briq_log_line(log, BRIQ_LOG_ERROR, "%s", err.text);
        briq_ublk_die();
    }
}

/* Any one of them, for put(); NULL: there are no more. */
static struct entry *get_first(struct briq_serve_devices *devices)
{
    struct entry *entry = NULL;
    pthread_mutex_lock(&devices->lock);
    devices->ending = true;
    while (entry == NULL && !briq_list_empty(&devices->entries)) {
        entry = BRIQ_CONTAINER_OF(devices->entries.head.next, struct entry, node);
        if (entry->device == NULL || entry->users > 0) {
            pthread_cond_wait(&devices->changed, &devices->lock);
            entry = NULL;
        } else if (reap(entry)) {
            entry = NULL;
        }
    }
    if (entry != NULL)
        entry->users++;
    pthread_mutex_unlock(&devices->lock);
    return entry;
}

void briq_serve_devices_end(struct briq_serve_devices *devices)
{
    struct entry *entry;
    if (devices == NULL)
        return;
    while ((entry = get_first(devices)) != NULL) {
        end_one(devices, entry);
        put(devices, entry);
    }
}

void briq_serve_devices_close(struct briq_serve_devices *devices)
{
    struct briq_node *node;
    if (devices == NULL)
        return;
    while ((node = briq_list_pop_front(&devices->orphans)) != NULL) {
        struct orphan *orphan = BRIQ_CONTAINER_OF(node, struct orphan, node);
        free(orphan->name);
        free(orphan);
    }
    pthread_mutex_destroy(&devices->lock);
    pthread_cond_destroy(&devices->changed);
    free(devices);
}
