/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_attach.c - "briq attach": a running daemon serves one volume more. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/daemon.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "common/control/fields.h"
#include "common/exports/source.h"

struct attach_args {
    const char *volume, *control;
    bool read_only, json;
};

/* The daemon may be in another directory. */
static int attach_volume(const struct attach_args *a, const char *name, const char *volume,
                         struct json_object **ret, struct briq_error *err)
{
    struct briq_control *daemon = NULL;
    int r = briq_daemon_open(a->control, &daemon, err);
    if (r < 0)
        return r;
    briq_control_set_watch(daemon, &(struct briq_control_watch){.patient = true, .cancel_fd = -1});
    char *absolute = briq_source_absolute(volume);
    struct json_object *request = briq_daemon_request("attach");
    bool fine = absolute != NULL && briq_field_set_text(request, "volume", absolute) &&
                briq_field_set_bool(request, "read_only", a->read_only);
    if (name != NULL)
        fine = fine && briq_field_set_text(request, "name", name);
    r = briq_daemon_call(daemon, request, fine, ret, err);
    free(absolute);
    briq_control_close(daemon);
    return r;
}

static int attach(const struct attach_args *a, struct briq_error *err)
{
    struct json_object *reply = NULL;
    const char *volume;
    char *name;
    int r = briq_volume_split(a->volume, &name, &volume, err);
    if (r < 0)
        return r;
    r = attach_volume(a, name, volume, &reply, err);
    free(name);
    if (r < 0)
        return r;
    const char *uri = briq_field_text_or_null(reply, "uri");
    if (a->json)
        r = briq_daemon_print_json(reply);
    else if (uri != NULL)
        printf("%s\n", uri);
    json_object_put(reply);
    return r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    int r = attach(args, &err);
    return r < 0 ? briq_verb_fail("attach", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_attach = {
    .name = "attach",
    .summary = "have a running daemon serve a volume too",
    .description =
        (const char *const[]){
            "The daemon opens VOLUME and gives it to NBD clients beside what it serves already, "
            "under the name that follows from the file's, or NAME when it is written NAME=VOLUME. "
            "It is opened as the options of `briq serve` said. Prints its URI.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){{"VOLUME", offsetof(struct attach_args, volume), BRIQ_ONCE},
                                      {0}},
    .options =
        (const struct briq_option[]){
            {.name = "read-only",
             .letter = 'r',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct attach_args, read_only),
             .help = "Open it without changing anything, beside other readers."},
            BRIQ_CONTROL_OPTION(struct attach_args, control),
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct attach_args, json),
             .help = "Print name and URI as a JSON object."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq attach spare.briq", "One disk more from the daemon that runs."},
            {"briq attach --control vms scratch=mem:4G", "A disk in memory, from that daemon."},
            {0},
        },
    .args_bytes = sizeof(struct attach_args),
    .run = run,
};
