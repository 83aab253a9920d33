/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/figures.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "server/nbd.h"

const char *briq_kind_name(enum briq_kind kind)
{
    static const char *const names[BRIQ_KINDS] = {
        [BRIQ_KIND_READ] = "read",     [BRIQ_KIND_WRITE] = "write", [BRIQ_KIND_FLUSH] = "flush",
        [BRIQ_KIND_TRIM] = "trim",     [BRIQ_KIND_ZERO] = "zero",   [BRIQ_KIND_CACHE] = "cache",
        [BRIQ_KIND_STATUS] = "status", [BRIQ_KIND_OTHER] = "other",
    };
    return names[kind];
}

enum briq_kind briq_figures_kind(uint16_t type)
{
    static const enum briq_kind kinds[] = {
        [NBD_CMD_READ] = BRIQ_KIND_READ,         [NBD_CMD_WRITE] = BRIQ_KIND_WRITE,
        [NBD_CMD_DISC] = BRIQ_KIND_OTHER,        [NBD_CMD_FLUSH] = BRIQ_KIND_FLUSH,
        [NBD_CMD_TRIM] = BRIQ_KIND_TRIM,         [NBD_CMD_CACHE] = BRIQ_KIND_CACHE,
        [NBD_CMD_WRITE_ZEROES] = BRIQ_KIND_ZERO, [NBD_CMD_BLOCK_STATUS] = BRIQ_KIND_STATUS,
    };
    return type < BRIQ_COUNT_OF(kinds) ? kinds[type] : BRIQ_KIND_OTHER;
}

struct briq_nbd_figures *briq_figures_new(void)
{
    return calloc(1, sizeof(struct briq_nbd_figures));
}

/* ---- who it is ------------------------------------------------------------------------------- */

static void peer_process(int fd, char text[BRIQ_PEER_TEXT_MAX])
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0)
        snprintf(text, BRIQ_PEER_TEXT_MAX, "pid %ld, uid %lu", (long)peer.pid,
                 (unsigned long)peer.uid);
}

void briq_figures_peer(int fd, char text[BRIQ_PEER_TEXT_MAX])
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN + 16], port[8];
    snprintf(text, BRIQ_PEER_TEXT_MAX, "unknown");
    if (getpeername(fd, (struct sockaddr *)&address, &len) < 0)
        return;
    if (address.ss_family == AF_UNIX)
        peer_process(fd, text);
    else if (getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                         NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(text, BRIQ_PEER_TEXT_MAX, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
                 host, port);
}

/* ---- requests -------------------------------------------------------------------------------- */

uint64_t briq_figures_taken(struct briq_nbd_figures *figures)
{
    struct briq_nbd_counts *counts = &figures->counts;
    if (figures->received_ns == 0)
        figures->received_ns = briq_clock_ns(); /* it came with the end of the handshake */
    briq_counter_add(&counts->taken, 1);
    briq_counter_max(&counts->in_flight_max,
                     briq_counter_get(&counts->taken) - briq_counter_get(&counts->ended));
    briq_counter_max(&counts->receive_max, ++figures->receive_taken);
    return figures->received_ns;
}

/* All of these were received at one time, so they have one latency. */
static void give_latency(struct briq_nbd_figures *figures)
{
    uint64_t now = briq_clock_ns();
    for (unsigned kind = 0; kind < BRIQ_KINDS; kind++) {
        if (figures->ready[kind] == 0)
            continue;
        briq_histogram_add(&figures->counts.kinds[kind].latency, now - figures->ready_ns,
                           figures->ready[kind]);
        figures->ready[kind] = 0;
    }
    figures->ready_count = 0;
}

void briq_figures_answered(struct briq_nbd_figures *figures, enum briq_kind kind,
                           uint64_t received_ns, uint64_t bytes, bool failed)
{
    struct briq_kind_counts *counts = &figures->counts.kinds[kind];
    briq_counter_add(&counts->ops, 1);
    if (failed)
        briq_counter_add(&counts->errors, 1);
    else
        briq_counter_add(&counts->bytes, bytes);
    if (figures->ready_count > 0 && figures->ready_ns != received_ns)
        give_latency(figures); /* those of another batch that waited for the device */
    figures->ready_ns = received_ns;
    figures->ready[kind]++;
    figures->ready_count++;
    figures->answered++;
}

void briq_figures_batch_end(struct briq_nbd_figures *figures)
{
    if (figures->ready_count > 0)
        give_latency(figures);
    briq_counter_add(&figures->counts.ended, figures->ended);
    figures->ended = 0;
}

/* ---- sums ------------------------------------------------------------------------------------ */

static void add(briq_counter *to, const briq_counter *from)
{
    briq_counter_add(to, briq_counter_get(from));
}

static void add_kind(struct briq_kind_counts *to, const struct briq_kind_counts *from)
{
    add(&to->ops, &from->ops);
    add(&to->bytes, &from->bytes);
    add(&to->errors, &from->errors);
    if (briq_counter_get(&from->ops) > 0)
        briq_histogram_merge(&to->latency, &from->latency);
}

void briq_figures_add(struct briq_nbd_counts *to, const struct briq_nbd_counts *from)
{
    /* Ended before taken: a reader never sees more ended than taken. */
    add(&to->ended, &from->ended);
    add(&to->taken, &from->taken);
    add(&to->abandoned, &from->abandoned);
    add(&to->hole_bytes, &from->hole_bytes);
    add(&to->refused, &from->refused);
    add(&to->receives, &from->receives);
    add(&to->sends, &from->sends);
    briq_counter_max(&to->in_flight_max, briq_counter_get(&from->in_flight_max));
    briq_counter_max(&to->receive_max, briq_counter_get(&from->receive_max));
    briq_counter_max(&to->send_max, briq_counter_get(&from->send_max));
    for (unsigned kind = 0; kind < BRIQ_KINDS; kind++)
        add_kind(&to->kinds[kind], &from->kinds[kind]);
}
