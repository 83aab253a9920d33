/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.h - an NBD server for Briq volumes: the one header of this room that programs include.
 *
 *     briq_server_open()       nothing is running yet
 *     briq_server_export()     volumes are opened and locked: errors reach the user here
 *     briq_server_listen()     sockets are bound, for the same reason
 *     briq_server_start()      threads; from here on clients are served
 *     briq_server_stop()       no new connections, those there are end; waits for them
 *     briq_server_close()      volumes are flushed and closed
 *
 * Two engines serve the same protocol code: rings (io_uring, a few threads for all connections) and
 * threads (one a connection, blocking), for where there is no io_uring and to be compared with.
 *
 * Thread: one thread makes these calls, unless a function says otherwise.
 */
#ifndef BRIQ_SERVER_SERVER_H
#define BRIQ_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/store/store.h"
#include "server/socket_file.h"
#include "server/stats.h"
#include "server/tls.h"

struct briq_server;

enum briq_engine {
    BRIQ_ENGINE_AUTO, /* rings, or threads where they cannot be had (which is logged) */
    BRIQ_ENGINE_RING,
    BRIQ_ENGINE_THREADS,
};

enum briq_tls_mode {
    BRIQ_TLS_OFF,
    BRIQ_TLS_ON,      /* for clients that ask for it */
    BRIQ_TLS_REQUIRE, /* nothing is told to others, not even names */
};

#define BRIQ_SERVER_THREADS_MAX     64u
#define BRIQ_SERVER_CONNECTIONS_MAX 4096u

/* Zero-initialised: the defaults. */
struct briq_server_options {
    enum briq_engine engine;
    unsigned threads;                /* of the ring engine; 0: as many as processors */
    unsigned max_connections;        /* more are closed at once; 0: 100 */
    uint64_t handshake_ns;           /* for a client to choose its export; 0: 10 s */
    uint64_t drain_ns;               /* for connections to end when stopped; 0: 5 s */
    uint64_t spin_ns;                /* a ring looks so long for more before it sleeps; 0: not */
    uint32_t send_bytes, recv_bytes; /* sockets' buffers; 0: the kernel's default */
    enum briq_tls_mode tls_mode;
    struct briq_tls_options tls;              /* unless it is off; read by briq_server_open() */
    const struct briq_socket_file *unix_file; /* of all Unix sockets; NULL: the default */
    bool one_writer; /* of several clients of an export the first may write, the others read */
    struct briq_log log;
};

/* 0 and *ret for briq_server_close(), or -errno explained in err. Reads the files of TLS. Blocks. */
int briq_server_open(const struct briq_server_options *options, struct briq_error *err,
                     struct briq_server **ret) BRIQ_MUST;

/*
 * Opens the volume `source` and exports it as `name` (NULL: what follows from its file name).
 * 0, or -errno explained in err. Blocks.
 */
int briq_server_export(struct briq_server *server, const char *name, const char *source,
                       const struct briq_open_options *options, struct briq_error *err) BRIQ_MUST;

/* Adds a rule of who may connect (access.h); before start. Without rules everybody may. 0, or
 * -errno explained in err. */
int briq_server_allow(struct briq_server *server, const char *rule,
                      struct briq_error *err) BRIQ_MUST;

/*
 * Listens on "unix:PATH" or "tcp:HOST:PORT" (an IPv6 address in brackets; HOST empty: all). A
 * socket file that nobody listens on any more is replaced. 0, or -errno explained in err:
 * -EADDRINUSE, -EINVAL (no address), others of the system. Blocks (host names).
 */
int briq_server_listen(struct briq_server *server, const char *address,
                       struct briq_error *err) BRIQ_MUST;

/* Takes over a socket that listens already, made by a service manager. */
int briq_server_adopt(struct briq_server *server, int fd, struct briq_error *err) BRIQ_MUST;

/*
 * Gives the figures of the server to Prometheus: GET /metrics at "unix:PATH", "tcp:HOST:PORT" or
 * "tcp:PORT", of loopback addresses unless another one is written out. Before start, and once. 0, or
 * -errno explained in err. Blocks (host names).
 */
int briq_server_metrics(struct briq_server *server, const char *address,
                        struct briq_error *err) BRIQ_MUST;
/* Where that is, as a URL or the path of its socket; "" when it is nowhere. */
const char *briq_server_metrics_at(const struct briq_server *server, char *text, size_t room);

/* Starts the threads. 0, or -errno explained in err. */
int briq_server_start(struct briq_server *server, struct briq_error *err) BRIQ_MUST;

/* Serves a connected socket, which is the server's from now on. After start. 0 or -errno: -EACCES
 * (this client may not connect), -EBUSY (too many connections). */
int briq_server_connect(struct briq_server *server, int fd) BRIQ_MUST;

/* What is told of an export. Texts are valid during the call alone. */
struct briq_export_facts {
    const char *name, *source; /* the volume: an absolute path, or "mem:..." */
    uint64_t id;               /* never used again by another one */
    bool read_only, in_memory;
    unsigned connections;
    struct briq_usage usage;
};

/* Calls visit for each export, in the order in which they came; it must not call the server.
 * Constant time for each. Thread: any. */
void briq_server_each_export(struct briq_server *server,
                             void (*visit)(void *opaque, const struct briq_export_facts *facts),
                             void *opaque);

/*
 * Care of an export while clients use it. Thread: any, between start and stop; these block.
 */
struct briq_export;

/* Holds an export and its store, to work on it, until briq_server_release(): it cannot be detached.
 * 0, or -ENOENT explained in err. */
int briq_server_hold(struct briq_server *server, const char *name, struct briq_export **ret,
                     struct briq_store **ret_store, struct briq_error *err) BRIQ_MUST;
void briq_server_release(struct briq_server *server, struct briq_export *export);

struct briq_resized {
    uint64_t size_bytes; /* now */
    unsigned dropped;    /* connections that were ended */
};

/*
 * Gives an export the size `bytes`, or `more`: so many on top. NBD has no word for that, so all
 * connections to it are ended then, and clients see the new size when they connect again. What is
 * under way is answered first, if that takes no longer than drain_ns. 0, or -errno explained in
 * err: -ENOENT, or as briq_store_resize().
 */
int briq_server_resize(struct briq_server *server, const char *name, uint64_t bytes, bool more,
                       struct briq_resized *ret, struct briq_error *err) BRIQ_MUST;

/* What briq_server_detach() says of connections when it is not to end them, without detaching: 0; or
 * -ENOENT, -EBUSY explained in err. */
int briq_server_check_unconnected(struct briq_server *server, const char *name,
                                  struct briq_error *err) BRIQ_MUST;

/*
 * Takes an export away, flushes and closes its volume. With `force` its connections are ended
 * first, as for a resize. 0 and how many; or -errno explained in err: -ENOENT; -EBUSY, there are
 * connections, or somebody holds it: nothing has changed; or that of briq_store_close(), but then
 * it is gone all the same.
 */
int briq_server_detach(struct briq_server *server, const char *name, bool force,
                       unsigned *ret_dropped, struct briq_error *err) BRIQ_MUST;

/* A descriptor that becomes readable when the last connection has ended; the server's. */
int briq_server_idle_fd(const struct briq_server *server);

/* Connections there are now. Thread: any. */
unsigned briq_server_connections(const struct briq_server *server);

/* Writes the URI of an export (NULL: the default one) at the first address. Returns its length, or
 * -ENOENT: the server listens nowhere. */
int briq_server_uri(const struct briq_server *server, const char *name, char *text, size_t room);

/* "io_uring, 2 threads (single issuer, deferred task work)" */
const char *briq_server_describe(const struct briq_server *server, char *text, size_t room);

/* Ends all connections: what is under way is answered if it takes no longer than drain_ns. Blocks.
 */
void briq_server_stop(struct briq_server *server);

/* Stops if that was not done; flushes and closes all volumes, frees all. Returns the first error of
 * a volume. NULL is accepted. Blocks. */
int briq_server_close(struct briq_server *server);

#endif
