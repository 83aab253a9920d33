/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_shutdown.c - "briq shutdown": ends a running daemon. */
#include <json-c/json.h>
#include <stdio.h>

#include "cli/daemon.h"
#include "cli/verb.h"
#include "common/control/fields.h"

struct shutdown_args {
    const char *control;
};

static enum briq_exit tell_end(struct json_object *end)
{
    if (briq_field_true(end, "clean"))
        return BRIQ_EXIT_OK;
    const char *why = briq_field_text_or_null(end, "why");
    fprintf(stderr,
            "briq shutdown: the daemon has ended, but did not close a volume cleanly: %s; its log "
            "names it, and the next open of the volume replays what is missing\n",
            why != NULL ? why : "no reason");
    return BRIQ_EXIT_UNWELL;
}

static enum briq_exit run(const void *args)
{
    const struct shutdown_args *a = args;
    struct briq_error err = {""};
    struct briq_control *daemon = NULL;
    struct json_object *end = NULL;
    int r = briq_daemon_open(a->control, &daemon, &err);
    if (r < 0)
        return briq_verb_fail("shutdown", &err, r);
    briq_control_be_patient(daemon);
    r = briq_daemon_call(daemon, briq_daemon_request("shutdown"), true, &end, &err);
    briq_control_close(daemon);
    if (r < 0)
        return briq_verb_fail("shutdown", &err, r);
    enum briq_exit code = tell_end(end);
    json_object_put(end);
    return code;
}

const struct briq_verb briq_verb_shutdown = {
    .name = "shutdown",
    .summary = "end a running daemon",
    .description =
        (const char *const[]){
            "The daemon accepts nothing more, answers what is under way, flushes and closes its "
            "volumes, as it does when it gets SIGTERM. This verb returns when that is done. The "
            "exit code is 1 when a volume could not be closed cleanly.",
            NULL,
        },
    .operands = (const struct briq_operand[]){{0}},
    .options =
        (const struct briq_option[]){
            BRIQ_CONTROL_OPTION(struct shutdown_args, control),
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq shutdown", "The only daemon of this user."},
            {"briq shutdown --control 4711", "The one with that process id."},
            {0},
        },
    .args_bytes = sizeof(struct shutdown_args),
    .run = run,
};
