/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * exports.h - the volumes that this process serves, by export name.
 *
 * There is one store a volume, shared by all connections: that is what makes a flush on one cover
 * what another has written. Exports come and go while connections run: a connection holds its
 * export, and the store is closed when the last one has let go of it.
 *
 * Thread: any; the table has a lock of its own, which is never held while a store is opened or
 * closed.
 */
#ifndef BRIQ_SERVER_EXPORTS_H
#define BRIQ_SERVER_EXPORTS_H

#include <pthread.h>
#include <stdbool.h>

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/exports/source.h"
#include "common/store/store.h"
#include "server/figures.h"
#include "server/handshake.h"

struct briq_export {
    struct briq_node node;
    char *name, *source; /* owned; constant */
    struct briq_store *store;
    uint64_t id;     /* never used again by another one */
    bool has_writer; /* under the table's lock: of one_writer, there is one */
    /* under the table's lock: its place in the table, connections, tasks, and who looks at it */
    unsigned refs, tasks, watchers;
    atomic_bool leaving; /* it was taken out of the table */
    /* under the table's lock: figures of the connections there are, how many there have been, and
     * what those that are gone had counted */
    struct briq_list figures;
    uint64_t joined;
    struct briq_nbd_counts closed;
    /* briq_server_stats()'s, one call at a time: what the store told last */
    struct briq_stats stats;
    uint64_t stats_ns; /* when; 0: never */
};

struct briq_exports {
    pthread_mutex_t lock;
    struct briq_list list;
    size_t count;
    uint64_t last_id, last_conn_id;
    bool closing;          /* no new connections */
    bool one_writer;       /* constant: the first client of an export writes, others read */
    bool one_connection;   /* constant: there is never more than one */
    pthread_cond_t let_go; /* somebody has let go of an export */
    struct briq_log log;
};

void briq_exports_init(struct briq_exports *exports, const struct briq_log *log);

/*
 * Opens the volume `source`, starts its maintenance and gives it to clients as `name`; NULL: the
 * name that follows from the source. 0, or -errno explained in err: as briq_store_open(), -EINVAL
 * (no name), -EEXIST (another export has it). Blocks.
 */
int briq_exports_add(struct briq_exports *exports, const char *name, const char *source,
                     const struct briq_open_options *options, struct briq_error *err) BRIQ_MUST;

/* No handshake finds an export from now on. */
void briq_exports_refuse(struct briq_exports *exports);

/*
 * Flushes and closes all volumes; no connection may hold one. Failures are logged. Returns the
 * first error.
 */
int briq_exports_close(struct briq_exports *exports) BRIQ_MUST;

/* Lets go of an export. */
void briq_exports_put(struct briq_exports *exports, struct briq_export *export);

/* A connection has chosen the export, which it holds: its figures are found there from now on. */
void briq_exports_join(struct briq_exports *exports, struct briq_export *export,
                       struct briq_nbd_figures *figures);
/* It is about to let go of it: what it has counted stays with the export. */
void briq_exports_part(struct briq_exports *exports, struct briq_export *export,
                       struct briq_nbd_figures *figures);

/* Under the table's lock: how many connections hold it. */
unsigned briq_export_connections(const struct briq_export *export);
/* Under the table's lock: holds it to look at it, which keeps nobody from taking it, until
 * briq_exports_unwatch(), without the lock. */
void briq_export_watch(struct briq_export *export);
void briq_exports_unwatch(struct briq_exports *exports, struct briq_export *export);

/* The export of that name, held for a task: it cannot be taken until that ends. 0, or -ENOENT
 * explained in err. */
int briq_exports_begin_task(struct briq_exports *exports, const char *name,
                            struct briq_export **ret, struct briq_error *err) BRIQ_MUST;
void briq_exports_end_task(struct briq_exports *exports, struct briq_export *export);

/* 0; or -ENOENT, -EBUSY (clients are connected to it) explained in err. */
int briq_exports_check_unconnected(struct briq_exports *exports, const char *name,
                                   struct briq_error *err) BRIQ_MUST;

/*
 * Takes an export out of the table: no handshake finds it any more. 0 and *ret, held, for
 * briq_exports_close_taken(); or -ENOENT, -EBUSY (it has connections, and not `force`; a task works
 * on it) explained in err.
 */
int briq_exports_take(struct briq_exports *exports, const char *name, bool force,
                      struct briq_export **ret, struct briq_error *err) BRIQ_MUST;

/* Waits until nobody else holds it, flushes and closes its volume. Returns as briq_store_close(),
 * explained in err. Blocks. */
int briq_exports_close_taken(struct briq_exports *exports, struct briq_export *export,
                             struct briq_error *err) BRIQ_MUST;

/* Calls visit for each export, under the lock of the table. */
struct briq_export_facts;
void briq_exports_each(struct briq_exports *exports,
                       void (*visit)(void *opaque, const struct briq_export_facts *facts),
                       void *opaque);

/* What handshakes look exports up in; valid as long as the table. */
struct briq_nbd_catalog briq_exports_catalog(struct briq_exports *exports);

#endif
