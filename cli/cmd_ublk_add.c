/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ublk_add.c - "briq ublk add": a new block device over a volume. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ublk_options.h"
#include "cli/ublk_server.h"
#include "cli/verb.h"
#include "common/store/store.h"

struct add_args {
    const char *volume;
    uint64_t id, spin;
    struct briq_ublk_shape_words shape;
    struct briq_ublk_thread_words threads;
    const char *windows_dir;
    bool read_only, direct, no_windows_file, swap, foreground;
    uint64_t cache, null_bytes;
};

#define CACHE_DEFAULT (UINT64_C(128) << 20)

static const struct add_args defaults = {
    .id = UBLK_ANY_ID,
    .shape = BRIQ_UBLK_SHAPE_WORDS,
    .threads = BRIQ_UBLK_THREAD_WORDS,
    .cache = CACHE_DEFAULT,
};

static int check_volume(const struct add_args *a, struct briq_error *err)
{
    if (a->null_bytes != 0 && a->volume != NULL)
        return briq_error_set(err, -EINVAL, "--null takes the place of a volume: leave out %s",
                              a->volume);
    if (a->null_bytes % a->shape.block_size != 0)
        return briq_error_set(err, -EINVAL, "--null: not a multiple of the block size");
    if (a->null_bytes == 0 && a->volume == NULL)
        return briq_error_set(err, -EINVAL, "missing argument: VOLUME; see `briq ublk add --help`");
    return 0;
}

static int fill_path(const char *path, char absolute[PATH_MAX], struct briq_error *err)
{
    if (realpath(path, absolute) != NULL)
        return 0;
    int r = -errno;
    absolute[0] = '\0';
    return briq_error_set(err, r, "%s: %s", path, strerror(-r));
}

/* The server does not stay in this directory, and the next one may not have been here. */
static int fill_volume(const char *volume, struct briq_ublk_record *what, struct briq_error *err)
{
    if (volume == NULL)
        return 0;
    if (strncmp(volume, "mem:", 4) == 0) {
        if (strlen(volume) >= sizeof what->volume)
            return briq_error_set(err, -ENAMETOOLONG, "%s: too long", volume);
        strncpy(what->volume, volume, sizeof what->volume - 1);
        return 0;
    }
    return fill_path(volume, what->volume, err);
}

static int fill_job(const struct add_args *a, struct briq_ublk_job *job, struct briq_error *err)
{
    struct briq_ublk_options *options = &job->options;
    job->verb = "ublk add";
    job->foreground = a->foreground;
    job->swap = a->swap;
    job->what.read_only = a->read_only;
    job->what.direct = a->direct;
    job->what.no_windows_file = a->no_windows_file;
    job->what.cache_bytes = a->cache != 0 ? a->cache : UINT64_MAX; /* none */
    job->what.null_bytes = a->null_bytes;
    options->id = (uint32_t)a->id;
    options->spin_ns = a->spin * 1000;
    int r = briq_ublk_read_threads(&a->threads, err, options);
    if (r == 0)
        r = briq_ublk_read_shape(&a->shape, err, options);
    if (r == 0)
        r = check_volume(a, err);
    if (r == 0 && a->windows_dir != NULL)
        r = fill_path(a->windows_dir, job->what.windows_dir, err);
    return r == 0 ? fill_volume(a->volume, &job->what, err) : r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    struct briq_ublk_job *job = calloc(1, sizeof *job);
    int r = job == NULL ? -ENOMEM : fill_job(args, job, &err);
    enum briq_exit code = r < 0 ? briq_verb_fail("ublk add", &err, r) : briq_ublk_server_run(job);
    free(job);
    return code;
}

#define FIELD(name) offsetof(struct add_args, name)

static const struct briq_option options[] = {
    {.name = "id",
     .letter = 'n',
     .kind = BRIQ_OPTION_NUMBER,
     .offset = FIELD(id),
     .value = "N",
     .min = 0,
     .max = 1 << 20,
     .help = "The device's number. Default: the first that is free."},
    BRIQ_UBLK_SHAPE_OPTIONS(FIELD(shape)),
    BRIQ_UBLK_THREAD_OPTIONS(FIELD(threads)),
    BRIQ_UBLK_SPIN_OPTION(struct add_args, spin),
    {.name = "read-only",
     .letter = 'r',
     .kind = BRIQ_OPTION_FLAG,
     .offset = FIELD(read_only),
     .help = "Change nothing."},
    {.name = "direct",
     .kind = BRIQ_OPTION_FLAG,
     .offset = FIELD(direct),
     .help = "Go past the kernel's page cache, with a cache of compressed sectors instead."},
    {.name = "cache",
     .kind = BRIQ_OPTION_SIZE,
     .offset = FIELD(cache),
     .value = "SIZE",
     .max = UINT64_C(1) << 40,
     .help = "Size of that cache, 0 for none. Default: 128M."},
    BRIQ_UBLK_SWAP_OPTION(struct add_args, swap),
    {.name = "windows-dir",
     .kind = BRIQ_OPTION_TEXT,
     .offset = FIELD(windows_dir),
     .value = "DIR",
     .help = "A tmpfs for the append windows: what was acknowledged outlives the server there. "
             "Default: /dev/shm."},
    {.name = "no-windows-file",
     .kind = BRIQ_OPTION_FLAG,
     .offset = FIELD(no_windows_file),
     .help = "Keep the append windows in private memory, and acknowledge a write only when the "
             "volume's file has it. Slower."},
    {.name = "null",
     .kind = BRIQ_OPTION_SIZE,
     .offset = FIELD(null_bytes),
     .value = "SIZE",
     .min = 4096,
     .max = BRIQ_VOLUME_BYTES_MAX,
     .help = "No volume: a device of SIZE that reads as zeros and forgets what is written, to "
             "measure what the way there costs."},
    BRIQ_UBLK_FOREGROUND_OPTION(struct add_args, foreground),
    {0},
};

const struct briq_verb briq_verb_ublk_add = {
    .name = "ublk add",
    .summary = "make a block device over a volume",
    .description =
        (const char *const[]){
            "Serves VOLUME as /dev/ublkbN, and returns when that can be used; its name is printed. "
            "The server goes on in the background, its messages go to the system log. SIGTERM "
            "makes it close the volume and end: with the device when nobody uses that, and else "
            "the device waits for `briq ublk recover` (one that cannot wait, see --on-death, goes "
            "as well). `briq ublk stop` ends both.",
            "A volume whose device waits for a server cannot get another one before that was "
            "recovered or deleted.",
            "VOLUME may be mem:SIZE, which is gone with its server.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"VOLUME", FIELD(volume), BRIQ_MAYBE},
            {0},
        },
    .options = options,
    .examples =
        (const struct briq_example[]){
            {"briq ublk add disk.briq --queues 4", "A device with four queues."},
            {"briq ublk add mem:8G --foreground", "A compressed RAM disk until Control-C."},
            {"briq ublk add mem:16G --swap --queues 1", "Compressed swap; mkswap and swapon next."},
            {0},
        },
    .args_bytes = sizeof(struct add_args),
    .defaults = &defaults,
    .run = run,
};
