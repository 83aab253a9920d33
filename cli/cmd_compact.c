/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_compact.c - "briq compact": gives the space of overwritten data back to the host. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/cancel.h"
#include "cli/daemon.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "cli/warnings.h"
#include "common/control/fields.h"
#include "common/store/store.h"

struct compact_args {
    const char *volume, *control;
    bool json, quiet;
};

struct compact_job {
    const struct compact_args *args;
    struct briq_cancel cancel;
    struct briq_progress progress;
    uint64_t file_before, file, stored; /* bytes */
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
static int compact_closed(struct compact_job *job, struct briq_error *err)
{
    struct briq_volume_info before, after;
    int r = briq_volume_check_name(job->args->volume, err);
    if (r == 0)
        r = briq_volume_info(job->args->volume, &before, err);
    if (r == 0)
        r = open_and_compact(job, err);
    if (r == 0)
        r = briq_volume_info(job->args->volume, &after, err);
    if (r < 0)
        return r;
    job->file_before = before.host_bytes;
    job->file = after.host_bytes;
    job->stored = after.stored_bytes;
    return 0;
}

static void take_served_progress(void *opaque, uint64_t done, uint64_t total)
{
    (void)take_progress(opaque, done, total);
}

/* Whoever asks and goes away gives it up, so the daemon ends early when this is interrupted. */
static int compact_served(struct compact_job *job, struct briq_served *served,
                          struct briq_error *err)
{
    struct json_object *result = NULL;
    struct briq_error why = {""};
    const struct briq_control_watch watch = {.patient = true,
                                             .cancel_fd = job->cancel.fd,
                                             .progress = take_served_progress,
                                             .opaque = job};
    briq_control_set_watch(served->daemon, &watch);
    briq_progress_init(&job->progress, "compact", BRIQ_PROGRESS_ITEMS, 0, job->args->quiet);
    int r = briq_daemon_call(served->daemon, briq_served_request(served, "compact"), true, &result,
                             &why);
    briq_progress_end(&job->progress);
    if (briq_cancel_requested(&job->cancel))
        r = briq_cancel_explain(&why);
    job->file_before = briq_field_number_or_0(result, "file_before");
    job->file = briq_field_number_or_0(result, "file");
    job->stored = briq_field_number_or_0(result, "stored");
    json_object_put(result);
    return r < 0 ? briq_error_set(err, r, "%s", why.text) : 0;
}

static int compact(struct compact_job *job, struct briq_error *err)
{
    const struct compact_args *a = job->args;
    struct briq_served served = {0};
    int r = briq_cancel_open(&job->cancel, err);
    if (r < 0)
        return r;
    r = a->control != NULL ? -EBUSY : compact_closed(job, err);
    if (r < 0 && briq_served_instead(a->control, a->volume, r, &served, err)) {
        r = compact_served(job, &served, err);
        briq_served_close(&served);
    }
    return r;
}

static int print_result(const struct compact_job *job)
{
    struct briq_report report;
    briq_report_init(&report, job->args->json);
    briq_report_text(&report, "volume", "Volume", job->args->volume);
    briq_report_size(&report, "file_before", "File took", job->file_before);
    briq_report_size(&report, "file", "File takes", job->file);
    briq_report_size(&report, "stored", "Stored data", job->stored);
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
            "It can be interrupted at any time.",
            "A running `briq serve` that has the volume open is asked to do it, beside its "
            "clients; VOLUME may be the name of its export then. Any other program that has the "
            "volume open must end first.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){{"VOLUME", offsetof(struct compact_args, volume), BRIQ_ONCE},
                                      {0}},
    .options =
        (const struct briq_option[]){
            BRIQ_CONTROL_OPTION(struct compact_args, control),
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
