/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_resize.c - "briq resize": makes a volume larger. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/daemon.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "cli/warnings.h"
#include "common/control/fields.h"
#include "common/store/store.h"

struct resize_args {
    const char *volume, *size, *control;
    bool json;
};

/* "8G", or "+1G" on top of what it has. */
static int new_size(const char *text, uint64_t size, uint64_t *ret, struct briq_error *err)
{
    bool more = text[0] == '+';
    uint64_t bytes = 0;
    int r = briq_options_size("SIZE", more ? text + 1 : text, &bytes, err);
    if (r < 0)
        return r;
    /* Both are below 2^63, so the sum is a number, if perhaps a refused one. */
    *ret = more ? size + bytes : bytes;
    return 0;
}

static int resize_closed(const struct resize_args *a, uint64_t *ret, struct briq_error *err)
{
    struct briq_open_options options = {.growth_bytes = BRIQ_VOLUME_BYTES_MAX,
                                        .log = briq_warnings_log()};
    struct briq_store *store = NULL;
    uint64_t size = 0;
    int r = briq_volume_check_name(a->volume, err);
    if (r == 0)
        r = briq_store_open(a->volume, &options, err, &store);
    if (r < 0)
        return r;

    r = new_size(a->size, briq_store_size(store), &size, err);
    if (r == 0)
        r = briq_store_resize(store, size, err);
    int closed = briq_store_close(store);
    if (r == 0 && closed < 0)
        return briq_error_set(err, closed, "%s: closing it: %s", a->volume, strerror(-closed));
    *ret = size;
    return r;
}

static int resize_served(const struct resize_args *a, uint64_t size, struct briq_served *served,
                         struct json_object **ret, struct briq_error *err)
{
    struct json_object *request = briq_served_request(served, "resize");
    bool fine = briq_field_set_number(request, a->size[0] == '+' ? "more" : "size", size);
    briq_control_be_patient(served->daemon);
    return briq_daemon_call(served->daemon, request, fine, ret, err);
}

static int resize(const struct resize_args *a, struct json_object **ret, struct briq_error *err)
{
    struct briq_served served = {0};
    uint64_t words = 0, size = 0;
    int r = new_size(a->size, 0, &words, err); /* bad ones are told without opening anything */
    if (r < 0)
        return r;
    r = a->control != NULL ? -EBUSY : resize_closed(a, &size, err);
    if (r < 0 && briq_served_instead(a->control, a->volume, r, &served, err)) {
        r = resize_served(a, words, &served, ret, err);
        briq_served_close(&served);
        return r;
    }
    if (r == 0 && a->json) {
        *ret = json_object_new_object();
        return briq_field_set_number(*ret, "size", size) ? 0 : -ENOMEM;
    }
    return r;
}

static enum briq_exit run(const void *args)
{
    const struct resize_args *a = args;
    struct briq_error err = {""};
    struct json_object *result = NULL;
    int r = resize(a, &result, &err);
    if (r == 0 && a->json)
        r = briq_report_print_json(result, stdout);
    json_object_put(result);
    return r < 0 ? briq_verb_fail("resize", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_resize = {
    .name = "resize",
    .summary = "make a volume larger",
    .description =
        (const char *const[]){
            "Gives VOLUME the new SIZE, a multiple of 512 and not below the present one; +SIZE "
            "makes it larger by that. The new part reads as zeros.",
            "A running `briq serve` that has the volume open is asked to do it; VOLUME may be the "
            "name of its export then. NBD clients learn of a size when they connect, so their "
            "connections to that volume are ended, and those that reconnect go on (QEMU with "
            "reconnect-delay does, and takes the new size with block_resize). Any other program "
            "that has the volume open must end first.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"VOLUME", offsetof(struct resize_args, volume), BRIQ_ONCE},
            {"SIZE", offsetof(struct resize_args, size), BRIQ_ONCE},
            {0},
        },
    .options =
        (const struct briq_option[]){
            BRIQ_CONTROL_OPTION(struct resize_args, control),
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct resize_args, json),
             .help = "Print the new size, and how many connections were ended, as a JSON object."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq resize disk.briq 128G", "The disk has 128 GiB from now on."},
            {"briq resize disk.briq +10G", "10 GiB more than before."},
            {0},
        },
    .args_bytes = sizeof(struct resize_args),
    .run = run,
};
