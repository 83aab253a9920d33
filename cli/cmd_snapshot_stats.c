/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_snapshot_stats.c - "briq snapshot-stats": what a daemon has counted since a moment. */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/daemon.h"
#include "cli/live.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "common/control/fields.h"

#define NAME_MAX_BYTES 256

struct snapshot_args {
    const char *reset, *control;
    bool json;
};

static int ask(const struct snapshot_args *a, struct json_object **ret, struct briq_error *err)
{
    struct briq_control *daemon = NULL;
    if (a->reset != NULL && strcmp(a->reset, "reset") != 0)
        return briq_error_set(err, -EINVAL, "\"%s\" is not reset", a->reset);
    int r = briq_daemon_open(a->control, &daemon, err);
    if (r < 0)
        return r;
    struct json_object *request = briq_daemon_request("snapshot-stats");
    bool fine = briq_field_set_bool(request, "reset", a->reset != NULL);
    r = briq_daemon_call(daemon, request, fine, ret, err);
    briq_control_close(daemon);
    return r;
}

/* The whole numbers of an object, "prefix.key", two levels deep. */
static void print_counters(const char *prefix, struct json_object *counters, unsigned depth)
{
    if (!json_object_is_type(counters, json_type_object))
        return;
    json_object_object_foreach(counters, key, value)
    {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", key);
        if (json_object_is_type(value, json_type_int))
            printf("%-32s %" PRIu64 "\n", name, json_object_get_uint64(value));
        else if (depth < 2)
            print_counters(name, value, depth + 1);
    }
}

static void print(struct json_object *report)
{
    struct json_object *exports = NULL, *counters = NULL;
    uint64_t ms = briq_field_number_or_0(report, "milliseconds");
    printf("%-32s %" PRIu64 ".%03" PRIu64 "\n", "seconds", ms / 1000, ms % 1000);
    if (json_object_object_get_ex(report, "counters", &counters))
        print_counters("", counters, 0);
    if (!json_object_object_get_ex(report, "exports", &exports))
        return;
    for (size_t i = 0; i < json_object_array_length(exports); i++) {
        struct json_object *export = json_object_array_get_idx(exports, i);
        struct briq_live_name name;
        briq_live_name(briq_field_text_or_null(export, "name"), 0, &name);
        if (json_object_object_get_ex(export, "counters", &counters))
            print_counters(name.text, counters, 0);
    }
}

static enum briq_exit run(const void *args)
{
    const struct snapshot_args *a = args;
    struct briq_error err = {""};
    struct json_object *report = NULL;
    int r = ask(a, &report, &err);
    if (r == 0 && a->json)
        r = briq_report_print_json(report, stdout);
    else if (r == 0)
        print(report);
    json_object_put(report);
    return r < 0 ? briq_verb_fail("snapshot-stats", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_snapshot_stats = {
    .name = "snapshot-stats",
    .summary = "show what a daemon has counted since a moment",
    .description =
        (const char *const[]){
            "Prints the counters of a daemon and its exports: how much more they are than at the "
            "last reset, or at the daemon's start. With the word reset that moment is now from "
            "then on. The counters themselves go on for others.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){{"reset", offsetof(struct snapshot_args, reset), BRIQ_MAYBE},
                                      {0}},
    .options =
        (const struct briq_option[]){
            BRIQ_CONTROL_OPTION(struct snapshot_args, control),
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct snapshot_args, json),
             .help = "Print all the daemon reports as a JSON object."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq snapshot-stats reset", "What was until now, and begin anew."},
            {0},
        },
    .args_bytes = sizeof(struct snapshot_args),
    .run = run,
};
