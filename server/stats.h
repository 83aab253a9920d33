/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stats.h - what a server tells of itself: figures of its threads, exports and connections, copied
 * at one moment. For programs, through server.h. docs/statistics.md says what each figure means.
 */
#ifndef BRIQ_SERVER_STATS_H
#define BRIQ_SERVER_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/histogram.h"
#include "common/store/store.h"

/* Kinds of requests. */
enum briq_kind {
    BRIQ_KIND_READ,
    BRIQ_KIND_WRITE,
    BRIQ_KIND_FLUSH,
    BRIQ_KIND_TRIM,
    BRIQ_KIND_ZERO,
    BRIQ_KIND_CACHE,
    BRIQ_KIND_STATUS,
    BRIQ_KIND_OTHER, /* unknown: answered with an error */
    BRIQ_KINDS,
};

/* "read" ... "other". */
const char *briq_kind_name(enum briq_kind kind);

/* Of a kind. A request counts when its reply is ready to be sent. */
struct briq_kind_stats {
    uint64_t ops;    /* answered, with success or an error */
    uint64_t bytes;  /* of those that succeeded, as asked for */
    uint64_t errors; /* answered with an error */
    /* In nanoseconds, from when the request was received to when its reply was handed to the
     * socket, with others of its batch. The quantiles are at most 1/16 too high. */
    uint64_t latency_count, latency_sum, latency_max, p50, p99, p999;
};

/* Of a connection, or of all that an export has had. */
struct briq_io_stats {
    struct briq_kind_stats kinds[BRIQ_KINDS];
    uint64_t hole_bytes;                   /* of read bytes: answered without data */
    uint64_t refused;                      /* of errors: requests that made no sense */
    uint64_t in_flight, in_flight_max;     /* taken in, and the reply not handed to the socket */
    uint64_t receives, receive_max, taken; /* receive_max: most requests taken from one */
    uint64_t sends, send_max;              /* send_max: most replies in one */
    uint64_t abandoned;                    /* taken in and never answered: the client left */
};

struct briq_export_stats {
    char *name, *source;
    uint64_t id;
    bool read_only, in_memory;
    unsigned connections;           /* now */
    uint64_t connections_total;     /* that ever chose it, those of now among them */
    struct briq_io_stats io;        /* in_flight_max: the largest of a connection */
    struct briq_histogram *latency; /* BRIQ_KINDS of them */
    struct briq_stats store;        /* at most a quarter of a second old */
};

#define BRIQ_PEER_TEXT_MAX 80

struct briq_connection_stats {
    uint64_t id;                   /* never used again by another one */
    uint64_t export;               /* its id */
    uint64_t age_ns;               /* since it chose its export */
    char peer[BRIQ_PEER_TEXT_MAX]; /* "pid 17, uid 0", "192.0.2.1:5000", "[2001:db8::1]:5000" */
    bool tls;
    struct briq_io_stats io;
};

/* Of a thread with a ring; see briq_ring_counts. */
struct briq_thread_stats {
    unsigned connections;
    uint64_t turns, calls, submitted, completed, completed_max, queue_full, overflows;
    uint64_t spins, spin_hits, sleeps, wakes, sends_settled, sends_partial, recv_starved;
};

struct briq_server_stats {
    uint64_t uptime_ns;         /* since briq_server_start() */
    unsigned connections;       /* now, those that have not chosen an export among them */
    uint64_t accepted, refused; /* connections; refused: there were too many */
    uint64_t denied;            /* connections of clients that are not allowed */
    struct briq_thread_stats *threads;
    size_t thread_count;               /* 0: there is a thread for each connection */
    struct briq_export_stats *exports; /* in the order in which they came */
    size_t export_count;
    struct briq_connection_stats *clients; /* by export */
    size_t client_count;
};

struct briq_server;

/*
 * Copies all figures, in *ret for briq_server_stats_free(). 0 or -ENOMEM. Thread: any, between
 * start and close. Clients are never held up; callers wait for each other, and for what each volume
 * has to add up, which is done at most four times a second.
 */
int briq_server_stats(struct briq_server *server, struct briq_server_stats **ret) BRIQ_MUST;
/* NULL is accepted. */
void briq_server_stats_free(struct briq_server_stats *stats);

#endif
