/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_stat.c - "briq stat": what running daemons and their volumes have done. */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/cancel.h"
#include "cli/daemon.h"
#include "cli/live.h"
#include "cli/stat_text.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "common/base/clock.h"
#include "common/control/fields.h"

struct stat_args {
    const char *word, *control, *interval;
    uint64_t count;
    bool json, mm_stat, io_stat;
};

struct stat_job {
    const struct stat_args *args;
    struct briq_live live;
    struct briq_cancel cancel;
    uint64_t interval_ns;
    unsigned lines; /* of rates, since the last heading */
    bool unwell;
};

static void skipped(void *opaque, const char *why)
{
    struct stat_job *job = opaque;
    fprintf(stderr, "briq stat: %s\n", why);
    job->unwell = true;
}

/* ---- once ------------------------------------------------------------------------------------ */

static void count_export(void *opaque, struct json_object *export)
{
    unsigned *count = opaque;
    (void)export;
    ++*count;
}

/* A line of zram has no name in it. */
static int check_one(struct json_object *daemons, struct briq_error *err)
{
    unsigned count = 0;
    briq_live_each(daemons, "exports", count_export, &count);
    if (count == 1)
        return 0;
    return briq_error_set(err, -ENOTUNIQ,
                          "--mm-stat and --io-stat are of one volume, and there are %u: name it",
                          count);
}

static void print_mm(void *opaque, struct json_object *export)
{
    (void)opaque;
    briq_stat_mm(export, stdout);
}

static void print_io(void *opaque, struct json_object *export)
{
    (void)opaque;
    briq_stat_io(export, stdout);
}

static int print_once(const struct stat_job *job, struct json_object *daemons,
                      struct briq_error *err)
{
    const struct stat_args *a = job->args;
    if (a->json)
        return briq_report_print_json(daemons, stdout);
    if (!a->mm_stat && !a->io_stat) {
        for (size_t i = 0; i < json_object_array_length(daemons); i++)
            briq_stat_daemon(json_object_array_get_idx(daemons, i), stdout);
        return 0;
    }
    int r = check_one(daemons, err);
    if (r == 0)
        briq_live_each(daemons, "exports", a->mm_stat ? print_mm : print_io, NULL);
    return r;
}

static int run_once(struct stat_job *job, struct briq_error *err)
{
    struct json_object *daemons = NULL;
    int r = briq_live_read(&job->live, &daemons, err);
    if (r == 0)
        r = print_once(job, daemons, err);
    json_object_put(daemons);
    return r;
}

/* ---- again and again ------------------------------------------------------------------------- */

#define LINES_A_HEADING 20u

struct printing {
    struct stat_job *job;
    double seconds;
};

static void print_rates(void *opaque, struct json_object *export)
{
    const struct printing *printing = opaque;
    struct briq_live_row row;
    if (printing->job->lines++ % LINES_A_HEADING == 0)
        briq_stat_rates_head(stdout);
    briq_live_row(export, printing->seconds, &row);
    briq_stat_rates(&row, stdout);
}

static int print_change(struct stat_job *job, struct json_object *daemons, double seconds)
{
    struct printing printing = {.job = job, .seconds = seconds};
    if (!job->args->json) {
        briq_live_each(daemons, "exports", print_rates, &printing);
    } else {
        struct json_object *line = json_object_new_object();
        bool fine = briq_field_set_number(line, "milliseconds", (uint64_t)(seconds * 1e3 + 0.5));
        fine = briq_field_set(line, "daemons", json_object_get(daemons)) && fine;
        int r = fine ? briq_report_print_json_line(line, stdout) : -ENOMEM;
        json_object_put(line);
        if (r < 0)
            return r;
    }
    return fflush(stdout) == 0 ? 0 : -errno;
}

static int run_again(struct stat_job *job, struct briq_error *err)
{
    uint64_t next_ns = briq_clock_ns(), printed = 0;
    int r = 0;
    while (r == 0 && (job->args->count == 0 || printed < job->args->count)) {
        struct json_object *daemons = NULL;
        double seconds = 0;
        r = briq_live_read_change(&job->live, &daemons, &seconds, err);
        if (r == 0 && daemons != NULL) {
            r = print_change(job, daemons, seconds);
            printed++;
        }
        json_object_put(daemons);
        next_ns += job->interval_ns;
        if (r == 0 && (job->args->count == 0 || printed < job->args->count) &&
            briq_cancel_wait_ns(&job->cancel, next_ns))
            return 0;
    }
    return r;
}

static int run_stat(struct stat_job *job, struct briq_error *err)
{
    const struct stat_args *a = job->args;
    if (a->json + a->mm_stat + a->io_stat > 1)
        return briq_error_set(err, -EINVAL, "one of --json, --mm-stat and --io-stat");
    if (a->interval == NULL && a->count > 0)
        return briq_error_set(err, -EINVAL, "--count is of --interval");
    if (a->interval == NULL)
        return run_once(job, err);
    if (a->mm_stat || a->io_stat)
        return briq_error_set(err, -EINVAL, "--mm-stat and --io-stat have no --interval");
    int r = briq_live_interval(a->interval, &job->interval_ns, err);
    if (r == 0)
        r = briq_cancel_open(&job->cancel, err);
    return r == 0 ? run_again(job, err) : r;
}

static enum briq_exit run(const void *args)
{
    struct stat_job job = {.args = args, .cancel = BRIQ_CANCEL_NONE};
    struct briq_error err = {""};
    job.live = (struct briq_live){
        .control = job.args->control, .word = job.args->word, .skipped = skipped, .opaque = &job};
    int r = run_stat(&job, &err);
    briq_live_fini(&job.live);
    briq_cancel_close(&job.cancel);
    if (r < 0)
        return briq_verb_fail("stat", &err, r);
    return job.unwell ? BRIQ_EXIT_UNWELL : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_stat = {
    .name = "stat",
    .summary = "show what running daemons and their volumes have done",
    .description =
        (const char *const[]){
            "Shows, for each volume that is served, its requests, bytes, errors and latencies by "
            "kind, what it takes and how well it is packed, and its clients. VOLUME is the name of "
            "an export, or the path of its volume; without it all are shown.",
            "With --interval it prints a line for each export and interval: what happened in it, "
            "a second. See docs/statistics.md for what each figure means.",
            "--mm-stat and --io-stat print the words of /sys/block/zram0/mm_stat and io_stat, in "
            "their order. mm_stat: orig_data_size, compr_data_size, mem_used_total, mem_limit "
            "(what the file or memory can grow to), mem_used_max (as mem_used_total: there is no "
            "record of it), same_pages, pages_compacted (freed by garbage collection), huge_pages, "
            "huge_pages_since. io_stat: failed_reads, failed_writes, invalid_io, notify_free.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){{"VOLUME", offsetof(struct stat_args, word), BRIQ_MAYBE},
                                      {0}},
    .options =
        (const struct briq_option[]){
            BRIQ_CONTROL_OPTION(struct stat_args, control),
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct stat_args, json),
             .help = "Print a JSON array of daemons, with all there is; with --interval an object "
                     "on a line for each interval, whose counters are of that interval."},
            {.name = "mm-stat",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct stat_args, mm_stat),
             .help = "Print memory figures as zram does."},
            {.name = "io-stat",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct stat_args, io_stat),
             .help = "Print figures of failed requests as zram does."},
            {.name = "interval",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct stat_args, interval),
             .value = "SECONDS",
             .help = "Print what happens in every SECONDS (0.1 to 3600) until interrupted."},
            {.name = "count",
             .letter = 'n',
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct stat_args, count),
             .value = "N",
             .min = 1,
             .max = UINT32_MAX,
             .help = "With --interval: end after N intervals."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq stat", "Everything that is served."},
            {"briq stat disk --interval 1 --count 10", "Ten seconds of the export disk."},
            {"briq stat /srv/disk.briq --mm-stat", "For a script that knows zram."},
            {0},
        },
    .args_bytes = sizeof(struct stat_args),
    .run = run,
};
