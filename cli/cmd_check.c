/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_check.c - "briq check": verifies a volume, and mends what can be mended. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/daemon.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "common/store/store.h"

struct check_args {
    const char *volume;
    bool deep, repair, json, quiet;
};

/* What the callbacks of a check need. */
struct check_job {
    const struct check_args *args;
    struct briq_report report;
    struct briq_progress progress;
};

static void take_finding(void *opaque, const char *line)
{
    struct check_job *job = opaque;
    briq_progress_end(&job->progress); /* the bar's line is wanted */
    if (job->args->json)
        briq_report_append(&job->report, "findings", line);
    else
        printf("%s\n", line);
}

static void take_progress(void *opaque, uint64_t done, uint64_t total)
{
    struct check_job *job = opaque;
    job->progress.total = total;
    briq_progress_update(&job->progress, done);
}

/* What is still wrong after the check. */
static uint64_t count_left(const struct check_args *a, const struct briq_check_result *result)
{
    if (a->repair)
        return result->unrepaired;
    return result->superblock_errors + result->map_errors + result->segment_errors +
           result->chunk_errors + result->payload_errors + result->lost_flushed;
}

static void report_result(struct briq_report *report, const struct check_args *a,
                          const struct briq_check_result *result)
{
    briq_report_bool(report, "sound", NULL, count_left(a, result) == 0);
    briq_report_number(report, "blocks_checked", NULL, result->blocks_checked);
    briq_report_number(report, "payloads_checked", NULL, result->payloads_checked);
    briq_report_number(report, "superblock_errors", NULL, result->superblock_errors);
    briq_report_number(report, "map_errors", NULL, result->map_errors);
    briq_report_number(report, "segment_errors", NULL, result->segment_errors);
    briq_report_number(report, "chunk_errors", NULL, result->chunk_errors);
    briq_report_number(report, "payload_errors", NULL, result->payload_errors);
    briq_report_number(report, "lost_flushed", NULL, result->lost_flushed);
    briq_report_number(report, "leaked_segments", NULL, result->leaked_segments);
    briq_report_number(report, "repaired", NULL, result->repaired);
    briq_report_number(report, "unrepaired", NULL, result->unrepaired);
}

static void print_summary(const struct check_args *a, const struct briq_check_result *result)
{
    uint64_t left = count_left(a, result);
    printf("%s: %" PRIu64 " blocks", a->volume, result->blocks_checked);
    if (a->deep)
        printf(" and %" PRIu64 " payloads", result->payloads_checked);
    printf(" checked: ");
    if (left == 0)
        printf("sound");
    else
        printf("NOT sound, %" PRIu64 " error%s", left, left == 1 ? "" : "s");
    if (result->repaired != 0)
        printf(", %" PRIu64 " mended", result->repaired);
    if (result->leaked_segments != 0)
        printf(" (%" PRIu64 " leaked segments, harmless)", result->leaked_segments);
    printf("\n");
}

static int check(struct check_job *job, struct briq_check_result *result, struct briq_error *err)
{
    const struct check_args *a = job->args;
    struct briq_check_options options = {
        .deep = a->deep,
        .repair = a->repair,
        .report = take_finding,
        .progress = take_progress,
        .opaque = job,
    };
    int r = briq_volume_check_name(a->volume, err);
    if (r == 0)
        r = briq_check(a->volume, &options, result, err);
    briq_progress_end(&job->progress);
    if (r < 0)
        return briq_served_explain(a->volume, r, err);
    if (a->json) {
        report_result(&job->report, a, result);
        return briq_report_print(&job->report, stdout);
    }
    if (!a->quiet)
        print_summary(a, result);
    return 0;
}

static enum briq_exit run(const void *args)
{
    struct check_job job = {.args = args};
    struct briq_check_result result = {0};
    struct briq_error err = {""};
    briq_report_init(&job.report, job.args->json);
    briq_report_array(&job.report, "findings");
    briq_progress_init(&job.progress, "check", BRIQ_PROGRESS_ITEMS, 0, job.args->quiet);
    int r = check(&job, &result, &err);
    briq_report_fini(&job.report);
    if (r < 0)
        return briq_verb_fail("check", &err, r);
    return count_left(job.args, &result) == 0 ? BRIQ_EXIT_OK : BRIQ_EXIT_UNWELL;
}

const struct briq_verb briq_verb_check = {
    .name = "check",
    .summary = "verify a volume, and mend what can be mended",
    .description =
        (const char *const[]){
            "Verifies VOLUME, which nobody may have open: both superblocks, every table and page "
            "of the map, every chunk of the log against the map, and the accounting of space. "
            "Each finding is one line. The exit code is 0 when the volume is sound, 1 when "
            "something is wrong with it (and was not mended), 2 when it could not be checked.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){{"VOLUME", offsetof(struct check_args, volume), BRIQ_ONCE},
                                      {0}},
    .options =
        (const struct briq_option[]){
            {.name = "deep",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct check_args, deep),
             .help = "Also read and verify the payload of every block."},
            {.name = "repair",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct check_args, repair),
             .help = "Rebuild what can be rebuilt from what is intact. Data that is lost stays "
                     "lost: such a block answers an error until it is written again."},
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct check_args, json),
             .help = "Print a JSON object: the findings and the counts of errors."},
            {.name = "quiet",
             .letter = 'q',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct check_args, quiet),
             .help = "Show no progress and no summary, only findings."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq check disk.briq", "Verify the metadata; takes seconds."},
            {"briq check --deep disk.briq", "Verify every byte of it."},
            {0},
        },
    .args_bytes = sizeof(struct check_args),
    .run = run,
};
