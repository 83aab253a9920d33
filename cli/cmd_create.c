/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_create.c - "briq create": a new, empty volume. */
#include "cli/options.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "common/store/store.h"

struct create_args {
    const char *volume, *size;
    bool preallocate, force;
    uint64_t accel, limit;
};

static int create(const struct create_args *a, struct briq_error *err)
{
    struct briq_create_options options = {
        .limit_bytes = a->limit,
        .accel = (unsigned)a->accel,
        .preallocate = a->preallocate,
        .force = a->force,
    };
    int r = briq_volume_check_name(a->volume, err);
    if (r == 0)
        r = briq_options_size("SIZE", a->size, &options.size_bytes, err);
    if (r == 0)
        r = briq_store_create(a->volume, &options, err);
    return r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    int r = create(args, &err);
    return r < 0 ? briq_verb_fail("create", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_create = {
    .name = "create",
    .summary = "make a new, empty volume",
    .description =
        (const char *const[]){
            "Makes VOLUME, a file or block device that holds a disk of SIZE bytes, which reads as "
            "zeros until it is written. SIZE is a multiple of 512, at most 4T. A file grows as "
            "data comes in and shrinks as it goes; it takes a few MiB at first.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"VOLUME", offsetof(struct create_args, volume), BRIQ_ONCE},
            {"SIZE", offsetof(struct create_args, size), BRIQ_ONCE},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "preallocate",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct create_args, preallocate),
             .help = "Take all the space now, so that no write can ever fail for lack of it. The "
                     "space is never given back."},
            {.name = "limit",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct create_args, limit),
             .value = "SIZE",
             .help = "Never take more than this much space; writes fail when it is full. The "
                     "default is as much as is ever needed."},
            {.name = "accel",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct create_args, accel),
             .value = "N",
             .min = 1,
             .max = 64,
             .help = "LZ4 acceleration, 1 to 64: a higher one compresses faster and less. The "
                     "default is 1."},
            {.name = "force",
             .letter = 'f',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct create_args, force),
             .help = "Replace a file that exists, or whatever is on a block device."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq create disk.briq 64G", "A disk of 64 GiB in a file that is small at first."},
            {"briq create --limit 20G disk.briq 64G", "The same, never taking more than 20 GiB."},
            {"briq create --force /dev/vg/disk 1T",
             "On a logical volume, replacing what is there."},
            {0},
        },
    .args_bytes = sizeof(struct create_args),
    .run = run,
};
