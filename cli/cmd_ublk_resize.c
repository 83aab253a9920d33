/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ublk_resize.c - "briq ublk resize": makes a served volume and its device larger. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cli/options.h"
#include "cli/ublk_devices.h"
#include "cli/ublk_socket.h"
#include "cli/verb.h"

struct resize_args {
    const char *device, *size;
};

static int resize(const struct resize_args *a, struct briq_error *err)
{
    char request[64], text[BRIQ_ERROR_TEXT_MAX];
    bool more = a->size[0] == '+';
    uint64_t bytes = 0;
    uint32_t id = 0;
    int r = briq_ublk_parse_id(a->device, err, &id);
    if (r == 0)
        r = briq_options_size("SIZE", more ? a->size + 1 : a->size, &bytes, err);
    if (r < 0)
        return r;
    snprintf(request, sizeof request, "resize %s%" PRIu64, more ? "+" : "", bytes);
    return briq_ublk_socket_ask(id, request, text, sizeof text, err);
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    int r = resize(args, &err);
    return r < 0 ? briq_verb_fail("ublk resize", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_ublk_resize = {
    .name = "ublk resize",
    .summary = "make a device and its volume larger",
    .description =
        (const char *const[]){
            "Gives DEVICE (a number, or /dev/ublkbN) and its volume the new SIZE while they are in "
            "use; +SIZE makes them larger by that. A file system on it is then to be told, with "
            "resize2fs or the like. Needs Linux 6.16 or newer.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"DEVICE", offsetof(struct resize_args, device), BRIQ_ONCE},
            {"SIZE", offsetof(struct resize_args, size), BRIQ_ONCE},
            {0},
        },
    .options = (const struct briq_option[]){{0}},
    .examples =
        (const struct briq_example[]){
            {"briq ublk resize 0 +10G", "10 GiB more than before."},
            {0},
        },
    .args_bytes = sizeof(struct resize_args),
    .run = run,
};
