/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_resize.c - "briq resize": makes a volume larger. */
#include <errno.h>
#include <string.h>

#include "cli/options.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "cli/warnings.h"
#include "common/store/store.h"

struct resize_args {
    const char *volume, *size;
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

static int resize(const struct resize_args *a, struct briq_error *err)
{
    struct briq_open_options options = {.growth_bytes = BRIQ_VOLUME_BYTES_MAX,
                                        .log = briq_warnings_log()};
    struct briq_store *store = NULL;
    uint64_t size = 0;
    int r = briq_volume_check_name(a->volume, err);
    if (r == 0)
        r = new_size(a->size, 0, &size, err); /* bad words are told without opening anything */
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
    return r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    int r = resize(args, &err);
    return r < 0 ? briq_verb_fail("resize", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_resize = {
    .name = "resize",
    .summary = "make a volume larger",
    .description =
        (const char *const[]){
            "Gives VOLUME the new SIZE, a multiple of 512 and not below the present one; +SIZE "
            "makes it larger by that. The new part reads as zeros. Nobody may have the volume "
            "open.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"VOLUME", offsetof(struct resize_args, volume), BRIQ_ONCE},
            {"SIZE", offsetof(struct resize_args, size), BRIQ_ONCE},
            {0},
        },
    .options = (const struct briq_option[]){{0}},
    .examples =
        (const struct briq_example[]){
            {"briq resize disk.briq 128G", "The disk has 128 GiB from now on."},
            {"briq resize disk.briq +10G", "10 GiB more than before."},
            {0},
        },
    .args_bytes = sizeof(struct resize_args),
    .run = run,
};
