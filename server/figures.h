/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * figures.h - what is counted of a connection.
 *
 * The counters of a connection lie together in memory of its own, which only its thread writes; who
 * wants them finds them in the list of the export. So a request costs a few additions, and no lock,
 * no shared cache line and no memory.
 *
 * Time is read once a receive and once a batch of replies, not twice a request: all requests of a
 * batch have the same latency. It is what a client sees of the server: a reply does not leave before
 * the others of its batch.
 *
 * Thread: the connection's writes, any reads counters.
 */
#ifndef BRIQ_SERVER_FIGURES_H
#define BRIQ_SERVER_FIGURES_H

#include "common/base/clock.h"
#include "common/base/histogram.h"
#include "common/base/list.h"
#include "server/stats.h"

struct briq_kind_counts {
    briq_counter ops, bytes, errors;
    struct briq_histogram latency;
};

struct briq_nbd_counts {
    briq_counter taken, ended, in_flight_max; /* ended: of past batches */
    briq_counter abandoned, hole_bytes, refused;
    briq_counter receives, receive_max, sends, send_max;
    struct briq_kind_counts kinds[BRIQ_KINDS];
};

struct briq_nbd_figures {
    struct briq_nbd_counts counts; /* first: it is large and read by others */
    /* set when the connection joins its export, constant then */
    struct briq_node node; /* in the export's list, under the table's lock */
    uint64_t id, since_ns;
    char peer[BRIQ_PEER_TEXT_MAX];
    bool tls;
    /* the connection's alone */
    uint64_t received_ns;   /* when the last receive was; 0: not since the handshake */
    uint64_t receive_taken; /* requests taken in since that */
    uint64_t ended;         /* answered or abandoned, since the last batch */
    uint64_t answered;      /* replies, since the last send */
    uint64_t ready_ns;      /* when the requests that `ready` counts were received */
    uint32_t ready_count, ready[BRIQ_KINDS]; /* answered and without a latency yet */
};

/* NULL: out of memory. For free(). */
struct briq_nbd_figures *briq_figures_new(void);

/* Writes who is at the other end of a connected socket: process and user, or address. */
void briq_figures_peer(int fd, char text[BRIQ_PEER_TEXT_MAX]);

/* The kind of a request by its type in the protocol. */
enum briq_kind briq_figures_kind(uint16_t type);

/* Gives what was answered its latency and counts it as ended: it is about to be handed to the
 * socket, or would be. */
void briq_figures_batch_end(struct briq_nbd_figures *figures);

/* What was counted goes to `to`. Under the lock of whoever else reads `to`. */
void briq_figures_add(struct briq_nbd_counts *to, const struct briq_nbd_counts *from);

/* Something was received. */
static inline void briq_figures_received(struct briq_nbd_figures *figures)
{
    briq_counter_add(&figures->counts.receives, 1);
    figures->received_ns = briq_clock_ns();
    figures->receive_taken = 0;
}

/* A request was taken in. Returns when it was received, in nanoseconds. */
uint64_t briq_figures_taken(struct briq_nbd_figures *figures);

/* Its reply is ready: `bytes` for what it has done, or an error. */
void briq_figures_answered(struct briq_nbd_figures *figures, enum briq_kind kind,
                           uint64_t received_ns, uint64_t bytes, bool failed);

/* Its slot is free again. */
static inline void briq_figures_ended(struct briq_nbd_figures *figures, bool answered)
{
    briq_counter_add(&figures->counts.abandoned, !answered);
    figures->ended++;
}

/* All replies that are ready go out in one send. One that ends no reply (a piece of a large read, or
 * of the handshake) is not counted. */
static inline void briq_figures_sent(struct briq_nbd_figures *figures)
{
    if (figures->answered == 0)
        return;
    briq_counter_add(&figures->counts.sends, 1);
    briq_counter_max(&figures->counts.send_max, figures->answered);
    figures->answered = 0;
}

#endif
