/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_list.c - "briq list": the running daemons and what they serve. */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

#include "cli/daemon.h"
#include "cli/live.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "common/base/size.h"
#include "common/control/fields.h"

struct list_args {
    bool json;
};

struct list_job {
    struct json_object *daemons; /* an array */
    bool unwell;
};

static int take_daemon(void *opaque, struct briq_control *c)
{
    struct list_job *job = opaque;
    struct briq_error err = {""};
    struct json_object *daemon = NULL;
    int r = briq_daemon_call(c, briq_daemon_request("list"), true, &daemon, &err);
    if (r < 0) {
        (void)briq_verb_fail("list", &err, r);
        job->unwell = true;
        return 0;
    }
    if (briq_field_set_text(daemon, "control", briq_control_socket(c)))
        return briq_field_append(job->daemons, daemon) ? 0 : -ENOMEM;
    json_object_put(daemon);
    return -ENOMEM;
}

static void skipped(void *opaque, const char *why)
{
    struct list_job *job = opaque;
    fprintf(stderr, "briq list: %s\n", why);
    job->unwell = true;
}

static void print_export(struct json_object *export)
{
    char size[BRIQ_SIZE_TEXT_MAX];
    const char *uri = briq_field_text_or_null(export, "uri"), *device = NULL;
    struct briq_live_name name, volume;
    struct json_object *object = NULL;
    if (json_object_object_get_ex(export, "device", &object))
        device = briq_field_text_or_null(object, "path");
    printf("  %-16s %10s  %" PRIu64 " connected%s  %s  %s%s%s\n",
           briq_live_name(briq_field_text_or_null(export, "name"), 0, &name),
           briq_size_format(briq_field_number_or_0(export, "size"), size),
           briq_field_number_or_0(export, "connections"),
           briq_field_true(export, "read_only") ? ", read-only" : "",
           briq_live_name(briq_field_text_or_null(export, "volume"), 0, &volume),
           uri != NULL ? uri : "", uri != NULL && device != NULL ? "  " : "",
           device != NULL ? device : "");
}

static void print_daemon(struct json_object *daemon)
{
    struct json_object *exports = NULL;
    printf("process %" PRIu64 "  %s  %s\n", briq_field_number_or_0(daemon, "pid"),
           briq_field_text_or_null(daemon, "control"), briq_field_text_or_null(daemon, "engine"));
    if (!json_object_object_get_ex(daemon, "exports", &exports))
        return;
    for (size_t i = 0; i < json_object_array_length(exports); i++)
        print_export(json_object_array_get_idx(exports, i));
}

static int print(const struct list_job *job, bool json)
{
    if (json)
        return briq_report_print_json(job->daemons, stdout);
    for (size_t i = 0; i < json_object_array_length(job->daemons); i++)
        print_daemon(json_object_array_get_idx(job->daemons, i));
    return 0;
}

static enum briq_exit run(const void *args)
{
    const struct list_args *a = args;
    struct briq_error err = {""};
    struct list_job job = {.daemons = json_object_new_array()};
    int r = job.daemons == NULL ? -ENOMEM : briq_control_each(take_daemon, skipped, &job, &err);
    if (r == 0)
        r = print(&job, a->json);
    json_object_put(job.daemons);
    if (r < 0)
        return briq_verb_fail("list", &err, r);
    return job.unwell ? BRIQ_EXIT_UNWELL : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_list = {
    .name = "list",
    .summary = "list the running daemons and what they serve",
    .description =
        (const char *const[]){
            "Asks each `briq serve` of this user for its exports. The exit code is 1 when one of "
            "them does not answer. A socket that a daemon has left when it was killed is removed.",
            "The sockets of the daemons lie in /run/briq (of root), in $XDG_RUNTIME_DIR/briq (of "
            "everybody else) or, where there is no such variable, in /tmp/briq-UID; $BRIQ_RUN_DIR "
            "names another directory. A daemon that has its socket elsewhere (serve --control "
            "PATH) is not found by this verb.",
            NULL,
        },
    .operands = (const struct briq_operand[]){{0}},
    .options =
        (const struct briq_option[]){
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct list_args, json),
             .help = "Print a JSON array of daemons; sizes are in bytes."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq list", "Every volume that is served, and where."},
            {"briq list --json | jq -r '.[].exports[].uri'", "The URIs alone."},
            {0},
        },
    .args_bytes = sizeof(struct list_args),
    .run = run,
};
