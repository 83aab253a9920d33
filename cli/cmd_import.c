/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cmd_import.c - "briq import": a new volume with the content of something else.
 *
 * A volume that is not whole is never left behind: what goes wrong after its creation removes it.
 * Should nobody be left to do that, for SIGKILL or a power cut, the volume says of itself that it
 * is unfinished, and cannot be opened.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cancel.h"
#include "cli/progress.h"
#include "cli/pump.h"
#include "cli/report.h"
#include "cli/sink.h"
#include "cli/source.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "cli/warnings.h"
#include "common/base/align.h"
#include "common/base/clock.h"
#include "common/store/store.h"

/* Segments are chosen by size; of a volume that grows with a stream, nobody knows it yet. With
 * these it can grow as large as a volume may be. */
#define GROWING_SEGMENT_SHIFT 20

struct import_args {
    const char *source, *volume, *source_format;
    uint64_t size, limit, accel, threads;
    bool force, direct, quiet, json;
};

struct import_job {
    const struct import_args *args;
    struct briq_cancel cancel;
    struct briq_source *source;
    struct briq_store *store;
    bool created;
    struct briq_pump_result copied;
    uint64_t elapsed_ns; /* of the copy, until it was safe */
    struct briq_volume_info info;
};

/* How large the new volume is at first; *ret_limit is how long a stream may be, 0: it may grow. */
static int choose_size(const struct import_args *a, const struct briq_source *source,
                       uint64_t *ret_size, uint64_t *ret_limit, struct briq_error *err)
{
    bool stream = source->size_bytes == BRIQ_SOURCE_SIZE_UNKNOWN;
    uint64_t size = stream ? BRIQ_SECTOR_BYTES : source->size_bytes;
    if (!stream && size > BRIQ_VOLUME_BYTES_MAX)
        return briq_error_set(err, -EFBIG, "%s: it has %" PRIu64 " bytes; a volume has at most 4T",
                              a->source, size);
    if (!stream && a->size != 0 && a->size < size)
        return briq_error_set(err, -EFBIG,
                              "%s: it has %" PRIu64 " bytes, more than --size (%" PRIu64 ")",
                              a->source, size, a->size);
    if (size == 0 && a->size == 0)
        return briq_error_set(err, -EINVAL, "%s: it is empty; --size makes a volume all the same",
                              a->source);
    *ret_size = a->size != 0 ? a->size : briq_align_up(size, BRIQ_SECTOR_BYTES);
    *ret_limit = stream ? a->size : 0;
    return 0;
}

static int make_volume(struct import_job *job, uint64_t size, bool grows, struct briq_error *err)
{
    const struct import_args *a = job->args;
    struct briq_create_options create = {
        .size_bytes = size,
        .limit_bytes = a->limit,
        .accel = (unsigned)a->accel,
        .force = a->force,
        .unfinished = true,
        .segment_shift = grows ? GROWING_SEGMENT_SHIFT : 0,
    };
    struct briq_open_options open = {.unfinished = true,
                                     .direct = a->direct,
                                     .growth_bytes = grows ? BRIQ_VOLUME_BYTES_MAX : 0,
                                     .log = briq_warnings_errors_only()};
    int r = briq_store_create(a->volume, &create, err);
    if (r < 0)
        return r;
    job->created = true;
    r = briq_store_open(a->volume, &open, err, &job->store);
    if (r < 0)
        return r;
    r = briq_store_start(job->store);
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot start a thread: %s", a->volume, strerror(-r));
    return 0;
}

static int copy(struct import_job *job, uint64_t limit, struct briq_error *err)
{
    const struct import_args *a = job->args;
    struct briq_sink *sink = NULL;
    int r = briq_sink_volume_open(a->volume, job->store, err, &sink);
    if (r < 0)
        return r;
    struct briq_progress progress;
    bool stream = job->source->size_bytes == BRIQ_SOURCE_SIZE_UNKNOWN;
    briq_progress_init(&progress, "import", BRIQ_PROGRESS_BYTES,
                       stream ? 0 : job->source->size_bytes, a->quiet);
    struct briq_pump_options options = {
        .threads = briq_pump_threads(a->threads, job->source->waits),
        .limit_bytes = limit,
        .cancel = &job->cancel,
        .progress = &progress,
    };
    uint64_t start = briq_clock_ns();
    r = briq_pump(job->source, sink, &options, &job->copied, err);
    if (r == 0 && job->copied.copied_bytes == 0 && a->size == 0)
        r = briq_error_set(err, -EINVAL, "%s: it is empty; --size makes a volume all the same",
                           job->source->name);
    if (r == 0)
        r = sink->ops->finish(sink, err);
    if (r == 0) {
        r = briq_store_finish(job->store);
        if (r < 0)
            r = briq_error_set(err, r, "%s: finishing it: %s", a->volume, strerror(-r));
    }
    job->elapsed_ns = briq_clock_ns() - start;
    briq_sink_close(sink);
    return r;
}

/* Closes the volume, and removes it unless all went well. */
static int end_volume(struct import_job *job, int r, struct briq_error *err)
{
    if (job->store != NULL) {
        int closed = briq_store_close(job->store);
        if (r == 0 && closed < 0)
            r = briq_error_set(err, closed, "%s: closing it: %s", job->args->volume,
                               strerror(-closed));
    }
    if (r < 0 && job->created)
        briq_volume_discard(job->args->volume);
    return r;
}

static int import(struct import_job *job, struct briq_error *err)
{
    bool stream = job->source->size_bytes == BRIQ_SOURCE_SIZE_UNKNOWN;
    uint64_t size = 0, limit = 0;
    int r = choose_size(job->args, job->source, &size, &limit, err);
    if (r == 0)
        r = make_volume(job, size, stream && limit == 0, err);
    if (r == 0)
        r = copy(job, limit, err);
    r = end_volume(job, r, err);
    return r == 0 ? briq_volume_info(job->args->volume, &job->info, err) : r;
}

static int open_and_import(struct import_job *job, struct briq_error *err)
{
    const struct import_args *a = job->args;
    int r = briq_volume_check_name(a->volume, err);
    if (r == 0 && briq_volume_same_file(a->source, a->volume))
        r = briq_error_set(err, -EINVAL, "%s: source and volume are the same file", a->source);
    if (r == 0)
        r = briq_cancel_open(&job->cancel, err);
    if (r == 0)
        r = briq_source_open(a->source, a->source_format, briq_pump_threads(a->threads, true),
                             &job->cancel, err, &job->source);
    if (r < 0)
        return r;
    r = import(job, err);
    briq_source_close(job->source);
    return r;
}

static int print_result(const struct import_job *job)
{
    const struct briq_volume_info *info = &job->info;
    double seconds = (double)job->elapsed_ns / 1e9;
    struct briq_report report;
    briq_report_init(&report, job->args->json);
    briq_report_text(&report, "source", NULL, job->args->source);
    briq_report_text(&report, "volume", "Volume", job->args->volume);
    briq_report_size(&report, "size", "Size", info->size_bytes);
    briq_report_size(&report, "mapped", "Data", info->mapped_blocks * BRIQ_BLOCK_BYTES);
    briq_report_size(&report, "stored", "Stored as", info->stored_bytes);
    briq_report_real(&report, "ratio", "Ratio",
                     briq_volume_ratio(info->mapped_blocks, info->fill_blocks, info->stored_bytes),
                     3, "");
    briq_report_size(&report, "file", "File takes", info->host_bytes);
    briq_report_real(&report, "seconds", "Time", seconds, 2, " s");
    briq_report_real(&report, "mb_per_s", "Speed", (double)job->copied.copied_bytes / 1e6 / seconds,
                     0, " MB/s");
    int r = briq_report_print(&report, stdout);
    briq_report_fini(&report);
    return r;
}

static enum briq_exit run(const void *args)
{
    struct import_job job = {.args = args, .cancel = BRIQ_CANCEL_NONE};
    struct briq_error err = {""};
    int r = open_and_import(&job, &err);
    briq_cancel_close(&job.cancel);
    if (r == 0 && (job.args->json || !job.args->quiet))
        r = print_result(&job);
    return r < 0 ? briq_verb_fail("import", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_import = {
    .name = "import",
    .summary = "make a volume from an image, a stream or an NBD export",
    .description =
        (const char *const[]){
            "Makes VOLUME with the content of SOURCE. SOURCE is a raw image or block device; - for "
            "standard input, or a pipe; an NBD URI such as nbd://host/export or "
            "nbd+unix:///?socket=PATH; another volume; or an image in a format that qemu reads, "
            "such as qcow2 or vmdk, which is recognised by its first bytes and read with the help "
            "of qemu-nbd.",
            "Holes and zeros take no space in the volume, and holes are not even read. The volume "
            "is as large as the source, rounded up to 512 bytes. An import that fails or is "
            "interrupted leaves no volume behind, also when it had replaced one with --force; one "
            "that is killed leaves a volume that cannot be opened.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"SOURCE", offsetof(struct import_args, source), BRIQ_ONCE},
            {"VOLUME", offsetof(struct import_args, volume), BRIQ_ONCE},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "size",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct import_args, size),
             .value = "SIZE",
             .help = "Make the volume this large, not smaller than the source; the rest reads as "
                     "zeros. A stream without it makes the volume grow as it is read."},
            {.name = "limit",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct import_args, limit),
             .value = "SIZE",
             .help = "Let the volume never take more than this much space."},
            {.name = "accel",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct import_args, accel),
             .value = "N",
             .min = 1,
             .max = 64,
             .help = "LZ4 acceleration, 1 to 64: a higher one compresses faster and less. The "
                     "default is 1."},
            {.name = "source-format",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct import_args, source_format),
             .value = "FORMAT",
             .help = "Do not look, take this for the source's format: raw, briq, or one of qemu's. "
                     "Say raw for an image whose first bytes others could write: a guest can "
                     "make its raw disk look like a qcow2 that refers to your files."},
            {.name = "force",
             .letter = 'f',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct import_args, force),
             .help = "Replace a file that exists, or whatever is on a block device."},
            {.name = "threads",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct import_args, threads),
             .value = "N",
             .min = 1,
             .max = BRIQ_PUMP_THREADS_MAX,
             .help = "Work with this many threads. The default is one a processor."},
            {.name = "direct",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct import_args, direct),
             .help = "Write the volume with O_DIRECT, past the kernel's page cache."},
            {.name = "quiet",
             .letter = 'q',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct import_args, quiet),
             .help = "Show no progress and no result."},
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct import_args, json),
             .help = "Print the result as a JSON object; sizes are in bytes."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq import disk.qcow2 disk.briq", "Convert an image of qemu's."},
            {"zstdcat disk.img.zst | briq import - disk.briq", "Unpack straight into a volume."},
            {"briq import --size 100G small.img disk.briq", "Leave room to grow."},
            {"briq import nbd://host/disk disk.briq", "Fetch a disk from an NBD server."},
            {0},
        },
    .args_bytes = sizeof(struct import_args),
    .run = run,
};
