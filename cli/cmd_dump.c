/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_dump.c - "briq dump": the structures of a volume as text, for those who look inside. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "cli/volume.h"
#include "common/store/store.h"

#define SEGMENT_ALL   UINT64_MAX
#define COUNT_DEFAULT 64

struct dump_args {
    const char *volume, *what;
    uint64_t segment, block, count;
};

static int find_what(const char *name, enum briq_dump_what *ret, struct briq_error *err)
{
    static const char *const names[] = {
        [BRIQ_DUMP_SUPERBLOCK] = "superblock",
        [BRIQ_DUMP_SEGMENTS] = "segments",
        [BRIQ_DUMP_CHUNKS] = "chunks",
        [BRIQ_DUMP_RECORDS] = "records",
        [BRIQ_DUMP_MAP] = "map",
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum briq_dump_what)i;
            return 0;
        }
    }
    return briq_error_set(err, -EINVAL,
                          "there is no part \"%s\"; the parts are superblock, segments, chunks, "
                          "records and map",
                          name);
}

/* It is read without a lock, so what is seen may be of different moments. */
static void warn_if_used(const char *volume)
{
    struct briq_volume_info info;
    struct briq_error ignored = {""};
    if (briq_volume_info(volume, &info, &ignored) < 0 || info.owner_pid == 0)
        return;
    char who[64] = "a process that cannot be named";
    if (info.owner_pid > 0)
        snprintf(who, sizeof who, "%s (pid %ld)", info.owner_name, (long)info.owner_pid);
    fprintf(stderr,
            "briq dump: %s: in use by %s, so parts may not fit together; `briq "
            "checkpoint` or `briq detach` first if a daemon serves it\n",
            volume, who);
}

static enum briq_exit run(const void *args)
{
    const struct dump_args *a = args;
    struct briq_error err = {""};
    struct briq_dump_options options = {
        .segment = a->segment == SEGMENT_ALL ? -1 : (int64_t)a->segment,
        .block = a->block,
        .count = a->count,
    };
    int r = briq_volume_check_name(a->volume, &err);
    if (r == 0)
        r = find_what(a->what, &options.what, &err);
    if (r == 0)
        warn_if_used(a->volume);
    if (r == 0)
        r = briq_dump(a->volume, &options, stdout, &err);
    return r < 0 ? briq_verb_fail("dump", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_dump = {
    .name = "dump",
    .summary = "print the structures of a volume",
    .description =
        (const char *const[]){
            "Prints a PART of what lies on the medium of VOLUME, one structure a line, without "
            "changing anything and without a lock: superblock (the default), segments, chunks "
            "(their headers), records (every one) or map. The words are those of the format's "
            "description.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"VOLUME", offsetof(struct dump_args, volume), BRIQ_ONCE},
            {"PART", offsetof(struct dump_args, what), BRIQ_MAYBE},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "segment",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct dump_args, segment),
             .value = "N",
             .max = UINT32_MAX,
             .help = "Of chunks and records: only those in this segment."},
            {.name = "block",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct dump_args, block),
             .value = "N",
             .help = "Of the map: begin at this block of 4 KiB. The default is 0."},
            {.name = "count",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct dump_args, count),
             .value = "N",
             .help = "Of the map: show this many blocks. The default is 64."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq dump disk.briq", "Both copies of the superblock."},
            {"briq dump disk.briq map --block 1024 --count 8", "Where eight blocks lie."},
            {0},
        },
    .args_bytes = sizeof(struct dump_args),
    .defaults = &(const struct dump_args){.what = "superblock",
                                          .segment = SEGMENT_ALL,
                                          .count = COUNT_DEFAULT},
    .run = run,
};
