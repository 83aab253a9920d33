/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_checkpoint.c - "briq checkpoint": a served volume writes an image of its map. */
#include "cli/daemon.h"
#include "cli/verb.h"

struct checkpoint_args {
    const char *export, *control;
};

static int checkpoint(const struct checkpoint_args *a, struct briq_error *err)
{
    struct briq_served served = {0};
    int r = briq_served_find(a->control, a->export, &served, err);
    if (r < 0)
        return r;
    briq_control_be_patient(served.daemon);
    r = briq_daemon_call(served.daemon, briq_served_request(&served, "checkpoint"), true, NULL,
                         err);
    briq_served_close(&served);
    return r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    int r = checkpoint(args, &err);
    return r < 0 ? briq_verb_fail("checkpoint", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_checkpoint = {
    .name = "checkpoint",
    .summary = "shorten what a served volume would have to replay",
    .description =
        (const char *const[]){
            "The daemon that serves EXPORT (its name, or the volume) makes all of it durable with "
            "an image of its map, as it also does by itself now and then. Clients go on meanwhile. "
            "Should the machine fail, the next open has less of the log to replay.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"EXPORT", offsetof(struct checkpoint_args, export), BRIQ_ONCE}, {0}},
    .options =
        (const struct briq_option[]){
            BRIQ_CONTROL_OPTION(struct checkpoint_args, control),
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq checkpoint disk", "Before the host is switched off the hard way."},
            {0},
        },
    .args_bytes = sizeof(struct checkpoint_args),
    .run = run,
};
