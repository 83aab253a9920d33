/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ublk_stat.c - "briq ublk stat": what each thread of a device has done. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/ublk_devices.h"
#include "cli/ublk_socket.h"
#include "cli/verb.h"

struct stat_args {
    const char *device;
};

static int ask(const struct stat_args *a, char *text, struct briq_error *err)
{
    uint32_t id = 0;
    int r = briq_ublk_parse_id(a->device, err, &id);
    return r == 0 ? briq_ublk_socket_ask(id, "stat", text, BRIQ_UBLK_MESSAGE_MAX, err) : r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    char *text = calloc(1, BRIQ_UBLK_MESSAGE_MAX);
    int r = text != NULL ? ask(args, text, &err) : -ENOMEM;
    if (r == 0)
        fputs(text, stdout);
    free(text);
    return r < 0 ? briq_verb_fail("ublk stat", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_ublk_stat = {
    .name = "ublk stat",
    .summary = "show what the threads of a device have done",
    .description =
        (const char *const[]){
            "Prints a line for each thread that serves DEVICE (a number, or /dev/ublkbN): requests "
            "by kind since the server started, how many were answered with an error, how many "
            "had to wait for the volume's file, and how many pieces of large ones helpers did.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"DEVICE", offsetof(struct stat_args, device), BRIQ_ONCE},
            {0},
        },
    .options = (const struct briq_option[]){{0}},
    .examples =
        (const struct briq_example[]){
            {"briq ublk stat 0", "Whether the work is spread over the queues."},
            {0},
        },
    .args_bytes = sizeof(struct stat_args),
    .run = run,
};
