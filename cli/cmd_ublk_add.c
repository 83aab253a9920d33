/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ublk_add.c - "briq ublk add": a new block device over a volume. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ublk_server.h"
#include "cli/verb.h"
#include "common/base/align.h"
#include "common/store/store.h"

struct add_args {
    const char *volume;
    uint64_t id;
    const char *queues;
    uint64_t depth, max_io, block_size, spin, threads;
    const char *affinity, *on_death, *partitions;
    const char *windows_dir;
    bool read_only, direct, no_windows_file, plain_copy, foreground;
    uint64_t cache, null_bytes;
};

#define CACHE_DEFAULT (UINT64_C(128) << 20)

static const struct add_args defaults = {
    .id = UBLK_ANY_ID,
    .queues = "auto",
    .depth = BRIQ_UBLK_DEPTH_DEFAULT,
    .block_size = 512,
    .threads = 1,
    .affinity = "mask",
    .on_death = "queue",
    .partitions = "auto",
    .cache = CACHE_DEFAULT,
};

static int parse_queues(const char *text, struct briq_error *err, unsigned *ret)
{
    char *end;
    if (strcmp(text, "auto") == 0) {
        *ret = 0;
        return 0;
    }
    unsigned long n = strtoul(text, &end, 10);
    if (*end != '\0' || text[0] < '0' || text[0] > '9' || n == 0 || n > BRIQ_UBLK_THREADS_MAX)
        return briq_error_set(err, -EINVAL, "--queues: \"%s\" is neither auto nor 1 to %u", text,
                              BRIQ_UBLK_THREADS_MAX);
    *ret = (unsigned)n;
    return 0;
}

static int check_sizes(const struct add_args *a, struct briq_error *err)
{
    if (a->block_size != 512 && a->block_size != 4096)
        return briq_error_set(err, -EINVAL, "--block-size: %" PRIu64 " is neither 512 nor 4096",
                              a->block_size);
    if (a->max_io != 0 && !briq_is_pow2(a->max_io))
        return briq_error_set(err, -EINVAL, "--max-io: %" PRIu64 " is not a power of two",
                              a->max_io);
    if (a->null_bytes != 0 && a->volume != NULL)
        return briq_error_set(err, -EINVAL, "--null takes the place of a volume: leave out %s",
                              a->volume);
    if (a->threads > a->depth)
        return briq_error_set(err, -EINVAL,
                              "--threads-per-queue: %" PRIu64
                              " threads cannot share --depth %" PRIu64 " requests",
                              a->threads, a->depth);
    if (a->null_bytes % a->block_size != 0)
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
    job->what.read_only = a->read_only;
    job->what.direct = a->direct;
    job->what.no_windows_file = a->no_windows_file;
    job->what.cache_bytes = a->cache != 0 ? a->cache : UINT64_MAX; /* none */
    job->what.null_bytes = a->null_bytes;
    options->id = (uint32_t)a->id;
    options->depth = (unsigned)a->depth;
    options->max_io_bytes = (uint32_t)a->max_io;
    options->block_bytes = (uint32_t)a->block_size;
    options->spin_ns = a->spin * 1000;
    options->wishes.plain_copy = a->plain_copy;
    options->wishes.threads_per_queue = (unsigned)a->threads;
    int r = check_sizes(a, err);
    if (r == 0)
        r = parse_queues(a->queues, err, &options->queues);
    if (r == 0)
        r = briq_ublk_affinity_parse(a->affinity, err, &options->affinity);
    if (r == 0)
        r = briq_ublk_on_death_parse(a->on_death, err, &options->wishes.on_death);
    if (r == 0)
        r = briq_ublk_partitions_parse(a->partitions, err, &options->wishes.partitions);
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
    {.name = "queues",
     .letter = 'q',
     .kind = BRIQ_OPTION_TEXT,
     .offset = FIELD(queues),
     .value = "N|auto",
     .help = "Hardware queues, each with a thread of its own. Default: auto, which is one for each "
             "processor, at most 8."},
    {.name = "depth",
     .letter = 'd',
     .kind = BRIQ_OPTION_NUMBER,
     .offset = FIELD(depth),
     .value = "N",
     .min = 1,
     .max = UBLK_DEPTH_MAX,
     .help = "Requests that a queue can have under way. Default: 128."},
    {.name = "max-io",
     .kind = BRIQ_OPTION_SIZE,
     .offset = FIELD(max_io),
     .value = "SIZE",
     .min = 4096,
     .max = UBLK_IO_BYTES_MAX,
     .help = "Largest request, a power of two. Default: 1M; 128K with --plain-copy, where every "
             "request takes that much memory."},
    {.name = "block-size",
     .letter = 'b',
     .kind = BRIQ_OPTION_SIZE,
     .offset = FIELD(block_size),
     .value = "SIZE",
     .help = "Logical block size, 512 or 4096. Default: 512."},
    {.name = "threads-per-queue",
     .kind = BRIQ_OPTION_NUMBER,
     .offset = FIELD(threads),
     .value = "N",
     .min = 1,
     .max = 16,
     .help = "Threads that share the requests of each queue (Linux 6.16 or newer). Default: 1."},
    {.name = "affinity",
     .kind = BRIQ_OPTION_TEXT,
     .offset = FIELD(affinity),
     .value = "mask|one|none",
     .help = "Bind threads to the processors of their queue, to one of those each, or not at all. "
             "Default: mask."},
    {.name = "spin",
     .kind = BRIQ_OPTION_NUMBER,
     .offset = FIELD(spin),
     .value = "MICROSECONDS",
     .max = 10000,
     .help = "Look so long for the next request before sleeping: shorter answers for processor "
             "time. Default: 0."},
    {.name = "on-death",
     .kind = BRIQ_OPTION_TEXT,
     .offset = FIELD(on_death),
     .value = "queue|fail|remove",
     .help = "What becomes of the device when its server dies: requests wait for `briq ublk "
             "recover`, they fail until then (Linux 6.13 or newer), or the device goes. Default: "
             "queue; for a volume in memory always remove."},
    {.name = "read-only",
     .letter = 'r',
     .kind = BRIQ_OPTION_FLAG,
     .offset = FIELD(read_only),
     .help = "Change nothing."},
    {.name = "partitions",
     .kind = BRIQ_OPTION_TEXT,
     .offset = FIELD(partitions),
     .value = "auto|yes|no",
     .help = "Let the kernel look for partitions. Before Linux 7.0 it hangs for ever if the server "
             "dies at that moment, so auto means no there (partx -a finds them), and yes from then "
             "on. Default: auto."},
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
    {.name = "plain-copy",
     .kind = BRIQ_OPTION_FLAG,
     .offset = FIELD(plain_copy),
     .help = "Let the kernel copy all data through a buffer for each request, as it must where it "
             "has no UBLK_F_USER_COPY."},
    {.name = "null",
     .kind = BRIQ_OPTION_SIZE,
     .offset = FIELD(null_bytes),
     .value = "SIZE",
     .min = 4096,
     .max = BRIQ_VOLUME_BYTES_MAX,
     .help = "No volume: a device of SIZE that reads as zeros and forgets what is written, to "
             "measure what the way there costs."},
    {.name = "foreground",
     .letter = 'f',
     .kind = BRIQ_OPTION_FLAG,
     .offset = FIELD(foreground),
     .help = "Do not go to the background: serve until the device ends or a signal comes."},
    {0},
};

const struct briq_verb briq_verb_ublk_add = {
    .name = "ublk add",
    .summary = "make a block device over a volume",
    .description =
        (const char *const[]){
            "Serves VOLUME as /dev/ublkbN, and returns when that can be used; its name is printed. "
            "The server goes on in the background, its messages go to the system log. SIGTERM "
            "makes it stop the device, close the volume and end; so does `briq ublk stop`.",
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
            {0},
        },
    .args_bytes = sizeof(struct add_args),
    .defaults = &defaults,
    .run = run,
};
