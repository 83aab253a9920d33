/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_export.c - "briq export": the content of a volume, as something else. */
#include <errno.h>
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
#include "common/base/clock.h"

struct export_args {
    const char *volume, *dest, *format;
    uint64_t threads;
    bool force, quiet, json;
};

struct export_job {
    const struct export_args *args;
    struct briq_cancel cancel;
    struct briq_source *source;
    struct briq_sink *sink;
    struct briq_pump_result copied;
    uint64_t elapsed_ns; /* of the copy, until it was safe */
};

static int open_ends(struct export_job *job, struct briq_error *err)
{
    const struct export_args *a = job->args;
    int r = briq_source_volume_open(a->volume, err, &job->source);
    if (r < 0)
        return r;
    struct briq_sink_options options = {
        .format = a->format,
        .size_bytes = job->source->size_bytes,
        .workers = briq_pump_threads(a->threads, true),
        .force = a->force,
    };
    return briq_sink_open(a->dest, &options, &job->cancel, err, &job->sink);
}

static int copy(struct export_job *job, struct briq_error *err)
{
    struct briq_progress progress;
    briq_progress_init(&progress, "export", BRIQ_PROGRESS_BYTES, job->source->size_bytes,
                       job->args->quiet);
    struct briq_pump_options options = {
        .threads = briq_pump_threads(job->args->threads, job->sink->waits),
        .cancel = &job->cancel,
        .progress = &progress,
    };
    uint64_t start = briq_clock_ns();
    int r = briq_pump(job->source, job->sink, &options, &job->copied, err);
    if (r == 0)
        r = job->sink->ops->finish(job->sink, err);
    job->elapsed_ns = briq_clock_ns() - start;
    return r;
}

static int export(struct export_job *job, struct briq_error *err)
{
    const struct export_args *a = job->args;
    int r = briq_volume_check_name(a->volume, err);
    if (r == 0 && briq_volume_same_file(a->volume, a->dest))
        r = briq_error_set(err, -EINVAL, "%s: volume and destination are the same file", a->dest);
    /* A stream leaves nothing behind that would have to be removed, and a write into a pipe that
     * nobody empties cannot be waited for: there the signals shall do what they always do. */
    if (r == 0 && !briq_sink_is_stream(a->dest))
        r = briq_cancel_open(&job->cancel, err);
    if (r == 0)
        r = open_ends(job, err);
    if (r == 0)
        r = copy(job, err);
    briq_sink_close(job->sink);
    briq_source_close(job->source);
    briq_cancel_close(&job->cancel);
    return r;
}

static int print_result(const struct export_job *job)
{
    double seconds = (double)job->elapsed_ns / 1e9;
    bool standard_output = strcmp(job->args->dest, "-") == 0;
    struct briq_report report;
    briq_report_init(&report, job->args->json);
    briq_report_text(&report, "volume", NULL, job->args->volume);
    briq_report_text(&report, "dest", "Written to", job->args->dest);
    briq_report_size(&report, "size", "Size", job->copied.copied_bytes);
    briq_report_size(&report, "written", "Data", job->copied.written_bytes);
    briq_report_real(&report, "seconds", "Time", seconds, 2, " s");
    briq_report_real(&report, "mb_per_s", "Speed", (double)job->copied.copied_bytes / 1e6 / seconds,
                     0, " MB/s");
    int r = briq_report_print(&report, standard_output ? stderr : stdout);
    briq_report_fini(&report);
    return r;
}

static enum briq_exit run(const void *args)
{
    struct export_job job = {.args = args, .cancel = BRIQ_CANCEL_NONE};
    struct briq_error err = {""};
    int r = export(&job, &err);
    if (r == 0 && (job.args->json || !job.args->quiet))
        r = print_result(&job);
    return r < 0 ? briq_verb_fail("export", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_export = {
    .name = "export",
    .summary = "write a volume's content to an image, a stream or an NBD export",
    .description =
        (const char *const[]){
            "Writes the content of VOLUME to DEST: a raw image, where holes stay holes; a block "
            "device; - for standard output, or a pipe, with zeros written out; an NBD URI, which "
            "must be at least as large; or with --format a new image in one of qemu's formats, "
            "written with the help of qemu-nbd. The volume is only read, and nobody may have it "
            "open for writing.",
            "A file that was not finished, for an error or an interruption, is removed. When DEST "
            "is standard output, the result goes to the standard error output.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"VOLUME", offsetof(struct export_args, volume), BRIQ_ONCE},
            {"DEST", offsetof(struct export_args, dest), BRIQ_ONCE},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "format",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct export_args, format),
             .value = "FORMAT",
             .help = "Write this format: raw (the default), or what qemu-img can create, such as "
                     "qcow2, vmdk, vdi or vhdx."},
            {.name = "force",
             .letter = 'f',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct export_args, force),
             .help = "Replace a file that exists, or whatever is on a block device."},
            {.name = "threads",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct export_args, threads),
             .value = "N",
             .min = 1,
             .max = BRIQ_PUMP_THREADS_MAX,
             .help = "Work with this many threads. The default is one a processor."},
            {.name = "quiet",
             .letter = 'q',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct export_args, quiet),
             .help = "Show no progress and no result."},
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct export_args, json),
             .help = "Print the result as a JSON object; sizes are in bytes."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq export disk.briq disk.img", "A sparse raw image."},
            {"briq export --format qcow2 disk.briq disk.qcow2", "An image for qemu."},
            {"briq export disk.briq - | zstd > disk.img.zst", "Packed for the archive."},
            {0},
        },
    .args_bytes = sizeof(struct export_args),
    .run = run,
};
