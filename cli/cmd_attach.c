/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_attach.c - "briq attach": a running daemon serves one volume more. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/daemon.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "common/control/fields.h"
#include "common/exports/source.h"
#include "ublk-frontend/uapi.h"

struct attach_args {
    const char *volume, *control;
    uint64_t id;
    bool read_only, json, ublk;
};

static const struct attach_args defaults = {.id = UBLK_ANY_ID};

static bool add_device(struct json_object *request, const struct attach_args *a)
{
    return briq_field_set_text(request, "kind", "ublk") &&
           (a->id == UBLK_ANY_ID || briq_field_set_number(request, "id", a->id));
}

/* What is an export already becomes a device. */
static int attach_export(const struct attach_args *a, struct briq_served *served,
                         struct json_object **ret, struct briq_error *err)
{
    briq_control_be_patient(served->daemon);
    struct json_object *request = briq_served_request(served, "attach");
    return briq_daemon_call(served->daemon, request, add_device(request, a), ret, err);
}

/* The daemon may be in another directory. */
static int attach_volume(const struct attach_args *a, const char *name, const char *volume,
                         struct json_object **ret, struct briq_error *err)
{
    struct briq_control *daemon = NULL;
    int r = briq_daemon_open(a->control, &daemon, err);
    if (r < 0)
        return r;
    briq_control_be_patient(daemon);
    char *absolute = briq_source_absolute(volume);
    struct json_object *request = briq_daemon_request("attach");
    bool fine = absolute != NULL && briq_field_set_text(request, "volume", absolute) &&
                briq_field_set_bool(request, "read_only", a->read_only);
    if (name != NULL)
        fine = fine && briq_field_set_text(request, "name", name);
    if (a->ublk)
        fine = fine && add_device(request, a);
    r = briq_daemon_call(daemon, request, fine, ret, err);
    free(absolute);
    briq_control_close(daemon);
    return r;
}

static int print(const struct attach_args *a, struct json_object *reply)
{
    if (a->json)
        return briq_report_print_json(reply, stdout);
    const char *uri = briq_field_text_or_null(reply, "uri");
    const char *device = briq_field_text_or_null(reply, "device");
    if (uri != NULL && !a->ublk)
        printf("%s\n", uri);
    if (device != NULL)
        printf("%s\n", device);
    return 0;
}

static int attach_word(const struct attach_args *a, struct json_object **ret,
                       struct briq_error *err)
{
    struct briq_served served = {0};
    struct briq_error why = {""};
    const char *volume;
    char *name;
    if (a->id != UBLK_ANY_ID && !a->ublk)
        return briq_error_set(err, -EINVAL, "--id is the number of a device: give --ublk too");
    int r = a->ublk ? briq_served_find(a->control, a->volume, &served, &why) : -ENOENT;
    if (r == 0) {
        r = attach_export(a, &served, ret, err);
        briq_served_close(&served);
        return r;
    }
    if (r == -ENOTUNIQ)
        return briq_error_set(err, r, "%s", why.text);
    r = briq_volume_split(a->volume, &name, &volume, err);
    if (r < 0)
        return r;
    r = attach_volume(a, name, volume, ret, err);
    free(name);
    return r;
}

static int attach(const struct attach_args *a, struct briq_error *err)
{
    struct json_object *reply = NULL;
    int r = attach_word(a, &reply, err);
    if (r == 0)
        r = print(a, reply);
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
            "With --ublk it becomes a block device of the kernel too, shaped as those options "
            "said; "
            "VOLUME can then also be a volume that is served, or the name of its export. Prints "
            "the device.",
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
            {.name = "ublk",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct attach_args, ublk),
             .help = "Make it a block device /dev/ublkbN as well."},
            {.name = "id",
             .letter = 'n',
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct attach_args, id),
             .value = "N",
             .min = 0,
             .max = 1 << 20,
             .help = "The device's number. Default: the first that is free."},
            BRIQ_CONTROL_OPTION(struct attach_args, control),
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct attach_args, json),
             .help = "Print name, URI and device as a JSON object."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq attach spare.briq", "One disk more from the daemon that runs."},
            {"briq attach --control vms scratch=mem:4G", "A disk in memory, from that daemon."},
            {"briq attach spare --ublk --id 3", "What is served is /dev/ublkb3 too."},
            {0},
        },
    .args_bytes = sizeof(struct attach_args),
    .defaults = &defaults,
    .run = run,
};
