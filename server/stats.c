/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.c - copies the figures of a server: what changes with connections under the table's lock,
 * what the volumes add up without it. */
#include "server/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "server/engine.h"

/* How old the figures of a volume may be. */
#define STORE_AGE_NS UINT64_C(250000000)

struct copying {
    struct briq_exports *exports;
    struct briq_server_stats *stats;
    struct briq_export **held; /* export_count of them */
    struct briq_nbd_counts *sum;
    uint64_t now_ns;
};

/* ---- one after the other --------------------------------------------------------------------- */

static void copy_kind(const struct briq_kind_counts *from, struct briq_kind_stats *to)
{
    const struct briq_histogram *latency = &from->latency;
    *to = (struct briq_kind_stats){
        .ops = briq_counter_get(&from->ops),
        .bytes = briq_counter_get(&from->bytes),
        .errors = briq_counter_get(&from->errors),
    };
    if (to->ops == 0)
        return;
    to->latency_count = briq_histogram_count(latency);
    to->latency_sum = briq_counter_get(&latency->sum);
    to->latency_max = briq_counter_get(&latency->max);
    to->p50 = briq_histogram_quantile(latency, 0.5);
    to->p99 = briq_histogram_quantile(latency, 0.99);
    to->p999 = briq_histogram_quantile(latency, 0.999);
}

static void copy_io(const struct briq_nbd_counts *from, struct briq_io_stats *to)
{
    uint64_t ended = briq_counter_get(&from->ended); /* before taken, so that it is not above */
    *to = (struct briq_io_stats){
        .taken = briq_counter_get(&from->taken),
        .hole_bytes = briq_counter_get(&from->hole_bytes),
        .refused = briq_counter_get(&from->refused),
        .in_flight_max = briq_counter_get(&from->in_flight_max),
        .receives = briq_counter_get(&from->receives),
        .receive_max = briq_counter_get(&from->receive_max),
        .sends = briq_counter_get(&from->sends),
        .send_max = briq_counter_get(&from->send_max),
        .abandoned = briq_counter_get(&from->abandoned),
    };
    to->in_flight = to->taken > ended ? to->taken - ended : 0;
    for (unsigned kind = 0; kind < BRIQ_KINDS; kind++)
        copy_kind(&from->kinds[kind], &to->kinds[kind]);
}

static void copy_connection(const struct copying *copying, const struct briq_export *export,
                            const struct briq_nbd_figures *from)
{
    struct briq_connection_stats *to = &copying->stats->clients[copying->stats->client_count++];
    to->id = from->id;
    to->export = export->id;
    to->age_ns = copying->now_ns > from->since_ns ? copying->now_ns - from->since_ns : 0;
    to->tls = from->tls;
    memcpy(to->peer, from->peer, sizeof to->peer);
    copy_io(&from->counts, &to->io);
}

/* All its connections, those that are gone among them. */
static void copy_sum(const struct copying *copying, const struct briq_export *export,
                     struct briq_export_stats *to)
{
    struct briq_nbd_counts *sum = copying->sum;
    memset(sum, 0, sizeof *sum);
    briq_figures_add(sum, &export->closed);
    for (struct briq_node *node = export->figures.head.next; node != &export->figures.head;
         node = node->next) {
        const struct briq_nbd_figures *figures =
            BRIQ_CONTAINER_OF(node, struct briq_nbd_figures, node);
        briq_figures_add(sum, &figures->counts);
        copy_connection(copying, export, figures);
    }
    copy_io(sum, &to->io);
    for (unsigned kind = 0; kind < BRIQ_KINDS; kind++)
        if (to->io.kinds[kind].ops > 0)
            briq_histogram_merge(&to->latency[kind], &sum->kinds[kind].latency);
}

/* ---- all exports ----------------------------------------------------------------------------- */

static struct briq_node *next_of(struct briq_exports *exports, struct briq_node *node)
{
    node = node == NULL ? exports->list.head.next : node->next;
    return node != &exports->list.head ? node : NULL;
}

static size_t count_clients(struct briq_exports *exports)
{
    size_t count = 0;
    for (struct briq_node *node = NULL; (node = next_of(exports, node)) != NULL;) {
        const struct briq_list *list = &BRIQ_CONTAINER_OF(node, struct briq_export, node)->figures;
        for (struct briq_node *n = list->head.next; n != &list->head; n = n->next)
            count++;
    }
    return count;
}

static int copy_export(struct copying *copying, struct briq_export *export)
{
    struct briq_export_stats *to = &copying->stats->exports[copying->stats->export_count];
    *to = (struct briq_export_stats){
        .name = strdup(export->name),
        .source = strdup(export->source),
        .id = export->id,
        .read_only = briq_store_read_only(export->store),
        .in_memory = briq_store_in_memory(export->store),
        .connections = briq_export_connections(export),
        .connections_total = export->joined,
        .latency = calloc(BRIQ_KINDS, sizeof to->latency[0]),
    };
    copying->held[copying->stats->export_count++] = export;
    briq_export_watch(export); /* after its connections were counted */
    if (to->name == NULL || to->source == NULL || to->latency == NULL)
        return -ENOMEM;
    copy_sum(copying, export, to);
    return 0;
}

/* Under the lock. */
static int copy_exports(struct copying *copying)
{
    struct briq_server_stats *stats = copying->stats;
    size_t exports = copying->exports->count + 1, clients = count_clients(copying->exports) + 1;
    stats->exports = calloc(exports, sizeof stats->exports[0]);
    stats->clients = calloc(clients, sizeof stats->clients[0]);
    copying->held = calloc(exports, sizeof copying->held[0]);
    copying->sum = malloc(sizeof *copying->sum);
    if (stats->exports == NULL || stats->clients == NULL || copying->held == NULL ||
        copying->sum == NULL)
        return -ENOMEM;
    int r = 0;
    for (struct briq_node *node = NULL; r == 0 && (node = next_of(copying->exports, node)) != NULL;)
        r = copy_export(copying, BRIQ_CONTAINER_OF(node, struct briq_export, node));
    return r;
}

/* What can be had at any time is of now. */
static void refresh(struct briq_store *store, struct briq_stats *stats)
{
    struct briq_usage usage;
    briq_store_usage(store, &usage);
    stats->size_bytes = usage.size_bytes;
    stats->mapped_blocks = usage.mapped_blocks;
    stats->fill_blocks = usage.fill_blocks;
    stats->stored_bytes = usage.stored_bytes;
}

/* What the volumes say, without the lock; lets go of the exports. */
static void copy_stores(struct copying *copying)
{
    for (size_t i = 0; i < copying->stats->export_count; i++) {
        struct briq_export *export = copying->held[i];
        if (export->stats_ns == 0 || copying->now_ns - export->stats_ns > STORE_AGE_NS) {
            briq_store_stats(export->store, &export->stats);
            export->stats_ns = copying->now_ns;
        }
        copying->stats->exports[i].store = export->stats;
        refresh(export->store, &copying->stats->exports[i].store);
        briq_exports_unwatch(copying->exports, export);
    }
}

static int copy_threads(struct briq_server *server, struct briq_server_stats *stats)
{
    if (server->ops->threads == NULL)
        return 0;
    stats->threads = calloc(server->options.threads, sizeof stats->threads[0]);
    if (stats->threads == NULL)
        return -ENOMEM;
    stats->thread_count = server->options.threads;
    server->ops->threads(server, stats->threads);
    return 0;
}

/* One call at a time. */
static int copy_all(struct briq_server *server, struct briq_server_stats *stats)
{
    struct copying copying = {
        .exports = &server->exports, .stats = stats, .now_ns = briq_clock_ns()};
    int r = copy_threads(server, stats);
    pthread_mutex_lock(&server->exports.lock);
    if (r == 0)
        r = copy_exports(&copying);
    pthread_mutex_unlock(&server->exports.lock);
    copy_stores(&copying);
    free(copying.held);
    free(copying.sum);
    stats->uptime_ns = copying.now_ns - server->started_ns;
    return r;
}

int briq_server_stats(struct briq_server *server, struct briq_server_stats **ret)
{
    struct briq_server_stats *stats = calloc(1, sizeof *stats);
    if (stats == NULL)
        return -ENOMEM;
    stats->connections = atomic_load(&server->connections);
    stats->accepted = atomic_load(&server->accepted);
    stats->refused = atomic_load(&server->refused);
    stats->denied = atomic_load(&server->denied);
    pthread_mutex_lock(&server->watch);
    int r = copy_all(server, stats);
    pthread_mutex_unlock(&server->watch);
    if (r < 0) {
        briq_server_stats_free(stats);
        return r;
    }
    *ret = stats;
    return 0;
}

void briq_server_stats_free(struct briq_server_stats *stats)
{
    if (stats == NULL)
        return;
    for (size_t i = 0; i < stats->export_count; i++) {
        free(stats->exports[i].name);
        free(stats->exports[i].source);
        free(stats->exports[i].latency);
    }
    free(stats->exports);
    free(stats->clients);
    free(stats->threads);
    free(stats);
}
