/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_compact.c - "briq compact": gives the space of overwritten data back to the host. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cancel.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "cli/warnings.h"
#include "common/store/store.h"

struct compact_args {
    const char *volume;
    bool json, quiet;
};

struct compact_job {
    const struct compact_args *args;
    struct briq_cancel cancel;
    struct briq_progress progress;
    struct briq_volume_info before, after;
};

static bool take_progress(void *opaque, uint64_t done, uint64_t total)
{
    struct compact_job *job = opaque;
    job->progress.total = total;
    briq_progress_update(&job->progress, done);
    return !briq_cancel_requested(&job->cancel);
}

static int compact_store(struct compact_job *job, struct briq_store *store, struct briq_error *err)
{
    briq_progress_init(&job->progress, "compact", BRIQ_PROGRESS_ITEMS, 0, job->args->quiet);
    int r = briq_store_compact(store, take_progress, job);
    briq_progress_end(&job->progress);
    if (briq_cancel_requested(&job->cancel))
        return briq_cancel_explain(err);
    if (r < 0)
        return briq_error_set(err, r, "%s: %s", job->args->volume, strerror(-r));
    return 0;
}

static int open_and_compact(struct compact_job *job, struct briq_error *err)
{
    struct briq_open_options options = {.log = briq_warnings_log()};
    struct briq_store *store = NULL;
    int r = briq_store_open(job->args->volume, &options, err, &store);
    if (r < 0)
        return r;
    r = compact_store(job, store, err);
    int closed = briq_store_close(store);
    if (r == 0 && closed < 0)
        return briq_error_set(err, closed, "%s: closing it: %s", job->args->volume,
                              strerror(-closed));
    return r;
}

/* What the file takes is asked while it is closed: an open volume keeps some space ahead. */
static int compact(struct compact_job *job, struct briq_error *err)
{
    int r = briq_volume_check_name(job->args->volume, err);
    if (r == 0)
        r = briq_cancel_open(&job->cancel, err);
    if (r == 0)
        r = briq_volume_info(job->args->volume, &job->before, err);
    if (r == 0)
        r = open_and_compact(job, err);
    if (r == 0)
        r = briq_volume_info(job->args->volume, &job->after, err);
    return r;
}

static int print_result(const struct compact_job *job)
{
    struct briq_report report;
    briq_report_init(&report, job->args->json);
    briq_report_text(&report, "volume", "Volume", job->args->volume);
    briq_report_size(&report, "file_before", "File took", job->before.host_bytes);
    briq_report_size(&report, "file", "File takes", job->after.host_bytes);
    briq_report_size(&report, "stored", "Stored data", job->after.stored_bytes);
    int r = briq_report_print(&report, stdout);
    briq_report_fini(&report);
    return r;
}

static enum briq_exit run(const void *args)
{
    struct compact_job job = {.args = args, .cancel = BRIQ_CANCEL_NONE};
    struct briq_error err = {""};
    int r = compact(&job, &err);
    briq_cancel_close(&job.cancel);
    if (r == 0 && (job.args->json || !job.args->quiet))
        r = print_result(&job);
    return r < 0 ? briq_verb_fail("compact", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_compact = {
    .name = "compact",
    .summary = "give space that is not needed back to the host",
    .description =
        (const char *const[]){
            "Overwritten and trimmed data leaves gaps in VOLUME. They are filled again as new data "
            "comes in; this verb moves the data together now and gives the rest of the space back. "
            "Nobody may have the volume open. It can be interrupted at any time.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){{"VOLUME", offsetof(struct compact_args, volume), BRIQ_ONCE},
                                      {0}},
    .options =
        (const struct briq_option[]){
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct compact_args, json),
             .help = "Print the result as a JSON object; sizes are in bytes."},
            {.name = "quiet",
             .letter = 'q',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct compact_args, quiet),
             .help = "Show no progress and no result."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq compact disk.briq", "Make the file as small as it can be."},
            {0},
        },
    .args_bytes = sizeof(struct compact_args),
    .run = run,
};
