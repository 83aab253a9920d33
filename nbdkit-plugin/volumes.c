/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/volumes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "common/exports/source.h"

/* ---- naming ---------------------------------------------------------------------------------- */

int briq_volumes_add(struct briq_volumes *volumes, const char *source)
{
    if (source[0] == '\0') {
        nbdkit_error("volume=: must be a file, a block device or mem:SIZE");
        return -1;
    }
    struct briq_volume *list =
        reallocarray(volumes->list, volumes->count + 1, sizeof volumes->list[0]);
    if (list == NULL) {
        nbdkit_error("%s: out of memory", source);
        return -1;
    }
    volumes->list = list;

    struct briq_volume *volume = &list[volumes->count];
    /* nbdkit changes its directory before it serves, and the store may have to say where its file
     * is. */
    *volume = (struct briq_volume){.source = briq_source_absolute(source),
                                   .name = briq_source_export_name(source)};
    volumes->count++; /* from here on briq_volumes_fini() frees it, complete or not */
    if (volume->source == NULL || volume->name == NULL) {
        nbdkit_error("%s: %s", source, strerror(errno));
        return -1;
    }
    return 0;
}

int briq_volumes_rename_last(struct briq_volumes *volumes, const char *name)
{
    if (volumes->count == 0) {
        nbdkit_error("export=%s: names the volume before it; give the volume first", name);
        return -1;
    }
    if (name[0] == '\0' || strlen(name) > BRIQ_EXPORT_NAME_MAX) {
        nbdkit_error("export=: a name has from 1 to %d bytes", BRIQ_EXPORT_NAME_MAX);
        return -1;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        nbdkit_error("export=%s: out of memory", name);
        return -1;
    }
    struct briq_volume *last = &volumes->list[volumes->count - 1];
    free(last->name);
    last->name = copy;
    return 0;
}

static int check_name(const struct briq_volumes *volumes, const struct briq_volume *volume)
{
    if (volume->name[0] == '\0') {
        nbdkit_error("%s: no file name to name the export by; add export=NAME", volume->source);
        return -1;
    }
    const struct briq_volume *first = briq_volumes_find(volumes, volume->name);
    if (first != volume) {
        nbdkit_error("%s and %s would both be export '%s': add export=NAME behind one of them",
                     first->source, volume->source, volume->name);
        return -1;
    }
    return 0;
}

int briq_volumes_complete(const struct briq_volumes *volumes)
{
    if (volumes->count == 0) {
        nbdkit_error("no volume given: nbdkit briq VOLUME... (a file, a block device or mem:SIZE)");
        return -1;
    }
    for (size_t i = 0; i < volumes->count; i++) {
        if (check_name(volumes, &volumes->list[i]) == -1)
            return -1;
    }
    return 0;
}

/* ---- opening and closing --------------------------------------------------------------------- */

int briq_volumes_open(struct briq_volumes *volumes, const struct briq_open_options *options)
{
    for (size_t i = 0; i < volumes->count; i++) {
        struct briq_volume *volume = &volumes->list[i];
        struct briq_error err = {0};
        int r = briq_store_open(volume->source, options, &err, &volume->store);
        if (r < 0) {
            nbdkit_error("%s", err.text[0] != '\0' ? err.text : strerror(-r));
            volume->store = NULL;
            briq_volumes_close(volumes);
            return -1;
        }
    }
    return 0;
}

int briq_volumes_start(struct briq_volumes *volumes)
{
    for (size_t i = 0; i < volumes->count; i++) {
        int r = briq_store_start(volumes->list[i].store);
        if (r < 0) {
            nbdkit_error("%s: cannot start its maintenance thread: %s", volumes->list[i].source,
                         strerror(-r));
            return -1;
        }
    }
    return 0;
}

void briq_volumes_close(struct briq_volumes *volumes)
{
    for (size_t i = 0; i < volumes->count; i++) {
        struct briq_volume *volume = &volumes->list[i];
        int r = briq_store_close(volume->store);
        if (r < 0)
            nbdkit_error("%s: not closed cleanly: %s; the next open replays its log",
                         volume->source, strerror(-r));
        volume->store = NULL;
    }
}

void briq_volumes_fini(struct briq_volumes *volumes)
{
    for (size_t i = 0; i < volumes->count; i++) {
        BRIQ_ASSERT(volumes->list[i].store == NULL);
        free(volumes->list[i].source);
        free(volumes->list[i].name);
    }
    free(volumes->list);
    *volumes = (struct briq_volumes){0};
}

/* ---- for connections ------------------------------------------------------------------------- */

struct briq_volume *briq_volumes_find(const struct briq_volumes *volumes, const char *name)
{
    for (size_t i = 0; i < volumes->count; i++) {
        if (strcmp(volumes->list[i].name, name) == 0)
            return &volumes->list[i];
    }
    return NULL;
}
