/* SPDX-License-Identifier: BSD-3-Clause */
/* engine.h - struct briq_server, and what an engine has to do for it. For this room's files. */
#ifndef BRIQ_SERVER_ENGINE_H
#define BRIQ_SERVER_ENGINE_H

#include <stdatomic.h>

#include "server/access.h"
#include "server/exports.h"
#include "server/listener.h"
#include "server/server.h"

struct briq_engine_ops {
    /* Starts threads and accepts on all listeners. 0, or -errno explained in err. */
    int (*start)(struct briq_server *server, struct briq_error *err);
    /* Serves a connected socket that was counted already. Owns it, also on failure. */
    int (*connect)(struct briq_server *server, int fd);
    /* Ends all connections to an export: what is under way is answered if that takes no longer than
     * drain_ns. Returns how many, when they have gone. One call at a time. Thread: any. */
    unsigned (*drop)(struct briq_server *server, const struct briq_export *export);
    /* Accepts no more, ends all connections within drain_ns, joins all threads. */
    void (*stop)(struct briq_server *server);
    /* Frees `engine`: after the stores are closed, whose threads may still be waking what ended. */
    void (*free)(struct briq_server *server);
    /* Fills in options.threads of them. NULL: it has no rings. Thread: any, until free. */
    void (*threads)(const struct briq_server *server, struct briq_thread_stats *ret);
    int (*describe)(const struct briq_server *server, char *text, size_t room);
};

extern const struct briq_engine_ops briq_ring_engine;
extern const struct briq_engine_ops briq_thread_engine;

struct briq_server {
    struct briq_server_options options; /* complete: no zeros that mean defaults */
    struct briq_exports exports;
    struct briq_listener listeners[BRIQ_LISTENERS_MAX];
    unsigned listener_count;
    struct briq_socket_file unix_file;
    const struct briq_engine_ops *ops;
    void *engine; /* the engine's; NULL before start */
    bool started;
    uint64_t started_ns;       /* briq_server_start() */
    pthread_mutex_t care;      /* one drop at a time */
    struct briq_http *metrics; /* NULL: none */
    pthread_mutex_t watch;     /* one copy of all figures at a time */
    int idle_fd;               /* an eventfd: the last connection has ended */
    _Atomic unsigned connections;
    _Atomic uint64_t accepted, refused; /* connections; refused: there were too many */
    struct briq_access access;
    _Atomic uint64_t denied;    /* connections: of clients that are not allowed */
    struct briq_tls_creds *tls; /* NULL: there is none */
};

/* A connection came: true if this client may and there may be one more, which is counted then.
 * Thread: any. */
bool briq_server_admit(struct briq_server *server, int fd);
/* One that was counted has ended. Thread: any. */
void briq_server_leave(struct briq_server *server);

#endif
