/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * volumes.h - the volumes that one nbdkit process serves, each an export with a name.
 *
 * There is one store a volume, opened once and shared by all connections: that is what makes a
 * flush on one connection cover what another has written. The table is filled while nbdkit reads
 * its command line, opened before it forks and closed after the last connection, so it needs
 * neither lock nor reference count: in between it does not change.
 *
 * What is wrong is reported with nbdkit_error(), one line; the return value is then -1.
 * Thread: nbdkit's main thread for everything but briq_volumes_find(), which any thread may
 * call between open and close.
 */
#ifndef BRIQ_NBDKIT_PLUGIN_VOLUMES_H
#define BRIQ_NBDKIT_PLUGIN_VOLUMES_H

#include <stddef.h>

#include "common/store/store.h"

struct briq_volume {
    char *source;             /* what to open: an absolute path, or "mem:SIZE..."; owned */
    char *name;               /* export name; owned */
    struct briq_store *store; /* NULL until opened */
};

/* Zero-initialised: no volumes. */
struct briq_volumes {
    struct briq_volume *list;
    size_t count;
};

/*
 * Adds a volume: a path, or "mem:SIZE[,limit=SIZE]". Its export name is the file name without
 * directories and without ".briq", or "mem"; briq_volumes_rename_last() may change it.
 */
int briq_volumes_add(struct briq_volumes *volumes, const char *source) BRIQ_MUST;
int briq_volumes_rename_last(struct briq_volumes *volumes, const char *name) BRIQ_MUST;

/* Is there a volume, and has each a name of its own? */
int briq_volumes_complete(const struct briq_volumes *volumes) BRIQ_MUST;

/* Opens and locks every volume; when one fails those before it are closed again. */
int briq_volumes_open(struct briq_volumes *volumes,
                      const struct briq_open_options *options) BRIQ_MUST;

/* Starts the maintenance threads: after the fork that takes nbdkit to the background. */
int briq_volumes_start(struct briq_volumes *volumes) BRIQ_MUST;

/* Flushes and closes every open volume. A failure is reported and does not keep the others open. */
void briq_volumes_close(struct briq_volumes *volumes);

/* Frees the table, which must be closed. */
void briq_volumes_fini(struct briq_volumes *volumes);

/* The volume with this export name, or NULL. The name may be any bytes a client sent. */
struct briq_volume *briq_volumes_find(const struct briq_volumes *volumes, const char *name);

#endif
