/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/serve_report.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/serve_figures.h"
#include "common/control/fields.h"

#define URI_MAX 16384

#define MILLISECOND_NS UINT64_C(1000000)
/* Clients in a report, whose length is bounded; some 1.5 KiB each. */
#define CLIENTS_MAX 1000u

struct reporting {
    const struct briq_server *server;
    struct briq_serve_devices *devices;
    struct json_object *exports; /* an array */
    bool fine;
};

/* ---- devices --------------------------------------------------------------------------------- */

struct threads {
    struct json_object *array;
    bool fine;
};

static void add_thread(void *opaque, const struct briq_ublk_figures *of)
{
    struct threads *threads = opaque;
    struct json_object *object = json_object_new_object(), *counters = json_object_new_object();
    bool fine = briq_field_set_number(counters, "reads", of->reads) &&
                briq_field_set_number(counters, "read_bytes", of->read_bytes) &&
                briq_field_set_number(counters, "writes", of->writes) &&
                briq_field_set_number(counters, "written_bytes", of->written_bytes) &&
                briq_field_set_number(counters, "flushes", of->flushes) &&
                briq_field_set_number(counters, "discards", of->discards) &&
                briq_field_set_number(counters, "write_zeroes", of->write_zeroes) &&
                briq_field_set_number(counters, "others", of->others) &&
                briq_field_set_number(counters, "errors", of->errors) &&
                briq_field_set_number(counters, "waits", of->waits);
    fine = briq_field_set_number(object, "id", json_object_array_length(threads->array)) && fine;
    fine = briq_field_set_number(object, "queue", of->queue) && fine;
    fine = briq_field_set_number(object, "thread", of->thread) && fine;
    fine = briq_field_set(object, "counters", counters) && fine;
    threads->fine = briq_field_append(threads->array, object) && fine && threads->fine;
}

static bool add_device(struct json_object *export, const char *name,
                       struct briq_serve_devices *devices, bool figures)
{
    struct briq_serve_device_facts facts;
    struct threads threads = {.array = json_object_new_array(), .fine = true};
    char path[32];
    if (!briq_serve_devices_facts(devices, name, &facts, figures ? add_thread : NULL, &threads)) {
        json_object_put(threads.array);
        return true;
    }
    struct json_object *object = json_object_new_object();
    snprintf(path, sizeof path, "/dev/ublkb%" PRIu32, facts.id);
    bool fine = briq_field_set_text(object, "path", path) &&
                briq_field_set_number(object, "id", facts.id) &&
                briq_field_set_number(object, "queues", facts.queues) &&
                briq_field_set_number(object, "depth", facts.depth);
    if (figures)
        fine = briq_field_set(object, "threads", threads.array) && fine;
    else
        json_object_put(threads.array);
    return briq_field_set(export, "device", object) && fine && threads.fine;
}

/* ---- both ------------------------------------------------------------------------------------ */

static struct json_object *new_export(const struct briq_server *server,
                                      const struct briq_export_facts *facts)
{
    struct json_object *object = json_object_new_object();
    bool fine = briq_field_set_text(object, "name", facts->name) &&
                briq_field_set_text(object, "volume", facts->source) &&
                briq_field_set_number(object, "id", facts->id) &&
                briq_field_set_number(object, "size", facts->usage.size_bytes) &&
                briq_field_set_bool(object, "read_only", facts->read_only) &&
                briq_field_set_bool(object, "in_memory", facts->in_memory) &&
                briq_field_set_number(object, "connections", facts->connections);
    char uri[URI_MAX];
    if (briq_server_uri(server, facts->name, uri, sizeof uri) > 0)
        fine = fine && briq_field_set_text(object, "uri", uri);
    if (fine)
        return object;
    json_object_put(object);
    return NULL;
}

static bool add_process(struct json_object *object, const struct briq_server *server)
{
    char engine[160];
    briq_server_describe(server, engine, sizeof engine);
    return briq_field_set_number(object, "pid", (uint64_t)getpid()) &&
           briq_field_set_text(object, "version", briq_version()) &&
           briq_field_set_text(object, "engine", engine) &&
           briq_field_set_number(object, "connections", briq_server_connections(server));
}

static struct json_object *only_if(bool fine, struct json_object *object)
{
    if (fine)
        return object;
    json_object_put(object);
    return NULL;
}

/* ---- who is there ---------------------------------------------------------------------------- */

static void list_export(void *opaque, const struct briq_export_facts *facts)
{
    struct reporting *reporting = opaque;
    struct json_object *object = new_export(reporting->server, facts);
    bool fine = object != NULL && add_device(object, facts->name, reporting->devices, false);
    reporting->fine = briq_field_append(reporting->exports, object) && fine && reporting->fine;
}

struct json_object *briq_serve_list(struct briq_server *server, struct briq_serve_devices *devices)
{
    struct json_object *object = json_object_new_object();
    struct reporting reporting = {
        .server = server, .devices = devices, .exports = json_object_new_array(), .fine = true};
    bool fine = add_process(object, server);
    briq_server_each_export(server, list_export, &reporting);
    fine = briq_field_set(object, "exports", reporting.exports) && fine && reporting.fine;
    return only_if(fine, object);
}

/* ---- figures --------------------------------------------------------------------------------- */

static struct json_object *report_export(const struct briq_server *server,
                                         struct briq_serve_devices *devices,
                                         const struct briq_export_stats *stats)
{
    const struct briq_export_facts facts = {
        .name = stats->name,
        .source = stats->source,
        .id = stats->id,
        .read_only = stats->read_only,
        .in_memory = stats->in_memory,
        .connections = stats->connections,
        .usage.size_bytes = stats->store.size_bytes,
    };
    struct json_object *object = new_export(server, &facts);
    bool fine = object != NULL &&
                briq_figures_of_io(object, &stats->io, stats->latency, stats->connections_total) &&
                briq_figures_of_store(object, &stats->store) &&
                add_device(object, stats->name, devices, true);
    return only_if(fine, object);
}

static const char *name_of(const struct briq_server_stats *stats, uint64_t export)
{
    for (size_t i = 0; i < stats->export_count; i++)
        if (stats->exports[i].id == export)
            return stats->exports[i].name;
    return "";
}

static struct json_object *report_client(const struct briq_server_stats *stats,
                                         const struct briq_connection_stats *client)
{
    struct json_object *object = json_object_new_object();
    bool fine = briq_field_set_number(object, "id", client->id) &&
                briq_field_set_text(object, "export", name_of(stats, client->export)) &&
                briq_field_set_text(object, "peer", client->peer) &&
                briq_field_set_bool(object, "tls", client->tls) &&
                briq_field_set_number(object, "age_ms", client->age_ns / MILLISECOND_NS) &&
                briq_figures_of_io(object, &client->io, NULL, 1);
    return only_if(fine, object);
}

static bool add_lists(struct json_object *object, const struct briq_server *server,
                      struct briq_serve_devices *devices, const struct briq_server_stats *stats)
{
    struct json_object *threads = json_object_new_array(), *exports = json_object_new_array(),
                       *clients = json_object_new_array();
    bool fine = true;
    for (size_t i = 0; i < stats->thread_count; i++) {
        struct json_object *thread = json_object_new_object();
        fine = briq_figures_of_thread(thread, &stats->threads[i], i + 1) && fine;
        fine = briq_field_append(threads, thread) && fine;
    }
    for (size_t i = 0; i < stats->export_count; i++)
        fine =
            briq_field_append(exports, report_export(server, devices, &stats->exports[i])) && fine;
    size_t told = stats->client_count < CLIENTS_MAX ? stats->client_count : CLIENTS_MAX;
    for (size_t i = 0; i < told; i++)
        fine = briq_field_append(clients, report_client(stats, &stats->clients[i])) && fine;
    fine = briq_field_set_number(object, "clients_left_out", stats->client_count - told) && fine;
    fine = briq_field_set(object, "threads", threads) && fine;
    fine = briq_field_set(object, "exports", exports) && fine;
    return briq_field_set(object, "clients", clients) && fine;
}

static bool add_counters(struct json_object *object, const struct briq_server_stats *stats)
{
    struct json_object *counters = json_object_new_object();
    bool fine = briq_field_set_number(counters, "accepted", stats->accepted) &&
                briq_field_set_number(counters, "refused", stats->refused) &&
                briq_field_set_number(counters, "denied", stats->denied);
    return briq_field_set(object, "counters", counters) && fine;
}

struct json_object *briq_serve_report(struct briq_server *server,
                                      struct briq_serve_devices *devices)
{
    struct briq_server_stats *stats = NULL;
    if (briq_server_stats(server, &stats) < 0)
        return NULL;
    struct json_object *object = json_object_new_object();
    bool fine = add_process(object, server) &&
                briq_field_set_number(object, "uptime_ms", stats->uptime_ns / MILLISECOND_NS) &&
                add_counters(object, stats) && add_lists(object, server, devices, stats);
    briq_server_stats_free(stats);
    return only_if(fine, object);
}
