/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/serve_report.h"

#include <json-c/json.h>
#include <unistd.h>

#include "common/control/fields.h"

#define URI_MAX 16384

struct reporting {
    struct briq_server *server;
    struct json_object *exports; /* an array */
    bool figures, fine;
};

static bool add_figures(struct json_object *object, const struct briq_export_facts *facts)
{
    const struct briq_usage *usage = &facts->usage;
    return briq_field_set_number(object, "mapped", usage->mapped_blocks * BRIQ_BLOCK_BYTES) &&
           briq_field_set_number(object, "fill", usage->fill_blocks * BRIQ_BLOCK_BYTES) &&
           briq_field_set_number(object, "stored", usage->stored_bytes);
}

static void add_export(void *opaque, const struct briq_export_facts *facts)
{
    struct reporting *reporting = opaque;
    struct json_object *object = json_object_new_object();
    bool fine = briq_field_set_text(object, "name", facts->name) &&
                briq_field_set_text(object, "volume", facts->source) &&
                briq_field_set_number(object, "id", facts->id) &&
                briq_field_set_number(object, "size", facts->usage.size_bytes) &&
                briq_field_set_bool(object, "read_only", facts->read_only) &&
                briq_field_set_bool(object, "in_memory", facts->in_memory) &&
                briq_field_set_number(object, "connections", facts->connections);
    char uri[URI_MAX];
    if (briq_server_uri(reporting->server, facts->name, uri, sizeof uri) > 0)
        fine = fine && briq_field_set_text(object, "uri", uri);
    if (reporting->figures)
        fine = fine && add_figures(object, facts);
    fine = briq_field_append(reporting->exports, object) && fine;
    reporting->fine = reporting->fine && fine;
}

static bool add_counters(struct json_object *object, const struct briq_server *server)
{
    struct json_object *counters = json_object_new_object();
    bool fine = briq_field_set_number(counters, "refused", briq_server_refused(server));
    return briq_field_set(object, "counters", counters) && fine;
}

static struct json_object *report(struct briq_server *server, bool figures)
{
    char engine[160];
    struct json_object *object = json_object_new_object();
    struct reporting reporting = {
        .server = server, .exports = json_object_new_array(), .figures = figures, .fine = true};
    briq_server_describe(server, engine, sizeof engine);
    bool fine = briq_field_set_number(object, "pid", (uint64_t)getpid()) &&
                briq_field_set_text(object, "version", briq_version()) &&
                briq_field_set_text(object, "engine", engine) &&
                briq_field_set_number(object, "connections", briq_server_connections(server));
    if (figures)
        fine = fine && add_counters(object, server);
    briq_server_each_export(server, add_export, &reporting);
    fine = briq_field_set(object, "exports", reporting.exports) && fine && reporting.fine;
    if (fine)
        return object;
    json_object_put(object);
    return NULL;
}

struct json_object *briq_serve_list(struct briq_server *server)
{
    return report(server, false);
}

struct json_object *briq_serve_report(struct briq_server *server)
{
    return report(server, true);
}
