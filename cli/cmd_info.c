/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_info.c - "briq info": the facts in a volume's superblock. */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "cli/daemon.h"
#include "cli/report.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "common/base/uuid.h"
#include "common/control/fields.h"
#include "common/exports/source.h"
#include "common/store/store.h"

struct info_args {
    const char *volume, *control;
    bool json;
};

/* The superblock, and what the daemon says that has the volume open. */
struct info_job {
    const struct info_args *args;
    struct briq_volume_info info;
    struct briq_served served;  /* zeroed: no daemon, or none that can be asked */
    struct json_object *export; /* of its report; NULL: none */
};

/* ---- asking the daemon ----------------------------------------------------------------------- */

/* Its figures are those of now. */
static void take_live_figures(struct info_job *job)
{
    struct briq_volume_info *info = &job->info;
    info->size_bytes = briq_field_number_or_0(job->export, "size");
    info->mapped_blocks = briq_field_number_or_0(job->export, "mapped") / BRIQ_BLOCK_BYTES;
    info->fill_blocks = briq_field_number_or_0(job->export, "fill") / BRIQ_BLOCK_BYTES;
    info->stored_bytes = briq_field_number_or_0(job->export, "stored");
}

static int ask_daemon(struct info_job *job, struct briq_error *err)
{
    struct json_object *report = NULL, *exports = NULL;
    int r = briq_daemon_call(job->served.daemon, briq_daemon_request("stat"), true, &report, err);
    if (r < 0)
        return r;
    if (json_object_object_get_ex(report, "exports", &exports))
        job->export = json_object_get(briq_served_named(exports, job->served.name));
    json_object_put(report);
    if (job->export == NULL)
        return briq_error_set(err, -ENOENT, "'%s' was detached a moment ago", job->served.name);
    take_live_figures(job);
    return 0;
}

/* The superblock tells what it can at any time: a daemon that cannot be asked is no failure, unless
 * it is all there is. */
static int gather(struct info_job *job, struct briq_error *err)
{
    const struct info_args *a = job->args;
    int r = a->control != NULL ? -EBUSY : briq_volume_check_name(a->volume, err);
    if (r == 0)
        r = briq_volume_info(a->volume, &job->info, err);
    if (r == 0 && job->info.owner_pid == 0)
        return 0;
    if (r == 0) {
        struct briq_error ignored = {""};
        if (briq_served_find(NULL, a->volume, &job->served, &ignored) == 0)
            (void)ask_daemon(job, &ignored);
        return 0;
    }
    if (!briq_served_instead(a->control, a->volume, r, &job->served, err))
        return r;
    r = 0;
    if (!briq_source_in_memory(job->served.volume))
        r = briq_volume_info(job->served.volume, &job->info, err);
    return r < 0 ? r : ask_daemon(job, err);
}

/* ---- telling --------------------------------------------------------------------------------- */

static void report_served(struct briq_report *report, const struct info_job *job)
{
    uint64_t connections = briq_field_number_or_0(job->export, "connections");
    const char *uri = briq_field_text_or_null(job->export, "uri");
    if (job->export == NULL) {
        briq_report_null(report, "served", NULL, NULL);
        return;
    }
    briq_report_text(report, "served.export", NULL, job->served.name);
    briq_report_number(report, "served.connections", NULL, connections);
    briq_report_text(report, "served.control", NULL, briq_control_socket(job->served.daemon));
    if (uri != NULL)
        briq_report_text(report, "served.uri", NULL, uri);
    briq_report_line(report, "Served as", "%s, %" PRIu64 " connection%s", job->served.name,
                     connections, connections == 1 ? "" : "s");
    if (uri != NULL)
        briq_report_line(report, "", "%s", uri);
}

/* Of a volume in memory there is nothing but what its daemon says. */
static void report_in_memory(struct briq_report *report, const struct info_job *job)
{
    const struct briq_volume_info *info = &job->info;
    double ratio = briq_volume_ratio(info->mapped_blocks, info->fill_blocks, info->stored_bytes);
    briq_report_size(report, "size", "Size", info->size_bytes);
    briq_report_size(report, "mapped", "Data", info->mapped_blocks * BRIQ_BLOCK_BYTES);
    briq_report_size(report, "fill", "  same-filled", info->fill_blocks * BRIQ_BLOCK_BYTES);
    briq_report_size(report, "stored", "Stored as", info->stored_bytes);
    briq_report_real(report, "ratio", "Ratio", ratio, 3, "");
    report_served(report, job);
}

static void report_space(struct briq_report *report, const struct briq_volume_info *info)
{
    double ratio = briq_volume_ratio(info->mapped_blocks, info->fill_blocks, info->stored_bytes);
    briq_report_size(report, "size", "Size", info->size_bytes);
    briq_report_size(report, "mapped", "Data", info->mapped_blocks * BRIQ_BLOCK_BYTES);
    briq_report_size(report, "fill", "  same-filled", info->fill_blocks * BRIQ_BLOCK_BYTES);
    briq_report_size(report, "zero", "Written zeros", info->zero_blocks * BRIQ_BLOCK_BYTES);
    briq_report_size(report, "stored", "Stored as", info->stored_bytes);
    briq_report_real(report, "ratio", "Ratio", ratio, 3, "");
    briq_report_size(report, "meta", "Metadata", info->meta_bytes);
    briq_report_size(report, "file", "File takes", info->host_bytes);
    if (info->limit_bytes != 0)
        briq_report_size(report, "limit", "Limit", info->limit_bytes);
    else
        briq_report_null(report, "limit", "Limit", "none");
}

static void report_owner(struct briq_report *report, const struct briq_volume_info *info)
{
    if (info->owner_pid == 0) {
        briq_report_null(report, "owner", "In use by", "nobody");
        return;
    }
    if (info->owner_pid < 0) {
        briq_report_null(report, "owner.pid", NULL, NULL);
        briq_report_null(report, "owner.name", NULL, NULL);
        briq_report_line(report, "In use by", "a process that cannot be named");
        return;
    }
    briq_report_number(report, "owner.pid", NULL, (uint64_t)info->owner_pid);
    briq_report_text(report, "owner.name", NULL, info->owner_name);
    briq_report_line(report, "In use by", "%s (process %ld)", info->owner_name,
                     (long)info->owner_pid);
}

static void report_state(struct briq_report *report, const struct info_job *job)
{
    const struct briq_volume_info *info = &job->info;
    const char *clean = info->clean ? "yes" : "no: the next open replays its log";
    if (!info->clean && job->export != NULL)
        clean = "no: it is in use";
    else if (!info->clean && info->owner_pid != 0)
        clean = "no: it is in use, and the figures are those of the last checkpoint";
    briq_report_bool(report, "clean", NULL, info->clean);
    briq_report_line(report, "Closed cleanly", "%s", clean);
    report_owner(report, info);
    report_served(report, job);
    briq_report_bool(report, "unfinished", NULL, info->unfinished);
    if (info->unfinished)
        briq_report_line(report, "Unfinished",
                         info->owner_pid != 0 ? "an import fills it"
                                              : "the import into it did not come to its end");
    briq_report_bool(report, "superblock_damaged", NULL, info->superblock_damaged);
    if (info->superblock_damaged)
        briq_report_line(report, "Superblock",
                         "one of its two copies is damaged; `briq check "
                         "--repair` mends it");
}

static void report_format(struct briq_report *report, const struct briq_volume_info *info)
{
    char uuid[BRIQ_UUID_TEXT_MAX];
    briq_report_number(report, "accel", "LZ4 acceleration", info->accel);
    briq_report_bool(report, "preallocated", "Preallocated", info->preallocated);
    briq_report_size(report, "segment", "Segment size", info->segment_bytes);
    briq_report_text(report, "uuid", "UUID", briq_uuid_format(info->uuid, uuid));
    briq_report_number(report, "version", "Format version", info->version);
    briq_report_number(report, "features.compat", NULL, info->features_compat);
    briq_report_number(report, "features.ro_compat", NULL, info->features_ro_compat);
    briq_report_number(report, "features.incompat", NULL, info->features_incompat);
    briq_report_line(report, "Features",
                     "compat 0x%" PRIx64 ", ro 0x%" PRIx64 ", incompat 0x%" PRIx64,
                     info->features_compat, info->features_ro_compat, info->features_incompat);
    briq_report_number(report, "incarnation", "Times opened", info->incarnation);
    briq_report_number(report, "generation", "Superblock writes", info->generation);
    briq_report_number(report, "checkpoint", "Checkpoint at", info->checkpoint_sequence);
}

static int print(const struct info_job *job)
{
    struct briq_report report;
    briq_report_init(&report, job->args->json);
    briq_report_text(&report, "volume", "Volume",
                     job->served.volume != NULL ? job->served.volume : job->args->volume);
    if (job->served.volume != NULL && briq_source_in_memory(job->served.volume)) {
        report_in_memory(&report, job);
    } else {
        report_space(&report, &job->info);
        report_state(&report, job);
        report_format(&report, &job->info);
    }
    int r = briq_report_print(&report, stdout);
    briq_report_fini(&report);
    return r;
}

static enum briq_exit run(const void *args)
{
    struct info_job job = {.args = args};
    struct briq_error err = {""};
    int r = gather(&job, &err);
    if (r == 0)
        r = print(&job);
    json_object_put(job.export);
    briq_served_close(&job.served);
    if (r < 0)
        return briq_verb_fail("info", &err, r);
    return job.info.superblock_damaged ? BRIQ_EXIT_UNWELL : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_info = {
    .name = "info",
    .summary = "show the size, ratio and state of a volume",
    .description =
        (const char *const[]){
            "Shows what the superblock of VOLUME says, without opening it: that works at any time, "
            "also while another process uses the volume. The figures of space are those of its "
            "last checkpoint, and exact when it was closed cleanly. A running `briq serve` that "
            "has the volume open is asked for those of now (but zeros, metadata and file); VOLUME "
            "may be the name of its export then, and must be for a volume in memory.",
            "The ratio is that of the blocks with a payload of their own: zeros and blocks filled "
            "with one repeated pattern take no space and are left out. The exit code is 1 when one "
            "of the two copies of the superblock is damaged.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){{"VOLUME", offsetof(struct info_args, volume), BRIQ_ONCE},
                                      {0}},
    .options =
        (const struct briq_option[]){
            BRIQ_CONTROL_OPTION(struct info_args, control),
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct info_args, json),
             .help = "Print a JSON object; sizes are in bytes, an unknown ratio is null."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq info disk.briq", "Show everything there is to know."},
            {"briq info --json disk.briq | jq .ratio", "The compression ratio alone."},
            {0},
        },
    .args_bytes = sizeof(struct info_args),
    .run = run,
};
