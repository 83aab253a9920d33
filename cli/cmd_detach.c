/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_detach.c - "briq detach": a running daemon serves a volume no longer. */
#include <json-c/json.h>
#include <stdio.h>

#include "cli/daemon.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "common/control/fields.h"

struct detach_args {
    const char *export, *control;
    bool force, json, ublk;
};

static int detach(const struct detach_args *a, struct briq_error *err)
{
    struct briq_served served = {0};
    struct json_object *reply = NULL;
    int r = briq_served_find(a->control, a->export, &served, err);
    if (r < 0)
        return r;
    /* What was written may be much, and is written out now. */
    briq_control_be_patient(served.daemon);
    struct json_object *request = briq_served_request(&served, "detach");
    bool fine = briq_field_set_bool(request, "force", a->force);
    if (a->ublk)
        fine = fine && briq_field_set_text(request, "kind", "ublk");
    r = briq_daemon_call(served.daemon, request, fine, &reply, err);
    if (r == 0 && a->json)
        r = briq_report_print_json(reply, stdout);
    json_object_put(reply);
    briq_served_close(&served);
    return r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    int r = detach(args, &err);
    return r < 0 ? briq_verb_fail("detach", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_detach = {
    .name = "detach",
    .summary = "take a volume away from a running daemon",
    .description =
        (const char *const[]){
            "The daemon takes EXPORT (its name, or the volume) away from its clients, flushes and "
            "closes the volume; it goes on with the others. Its block device goes too, if it has "
            "one. While clients are connected, or the device is mounted or held open, that is "
            "refused. When this verb has returned, others can open the volume.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){{"EXPORT", offsetof(struct detach_args, export), BRIQ_ONCE},
                                      {0}},
    .options =
        (const struct briq_option[]){
            {.name = "force",
             .letter = 'f',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct detach_args, force),
             .help = "Disconnect clients; what is under way is answered first. What a file system "
                     "on the device has not written yet is lost."},
            {.name = "ublk",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct detach_args, ublk),
             .help = "Take the block device away alone: NBD clients keep the export."},
            BRIQ_CONTROL_OPTION(struct detach_args, control),
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct detach_args, json),
             .help = "Print how many connections were dropped as a JSON object."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq detach spare", "That disk is not served any more."},
            {"briq detach --force /srv/spare.briq", "Whoever uses it."},
            {0},
        },
    .args_bytes = sizeof(struct detach_args),
    .run = run,
};
