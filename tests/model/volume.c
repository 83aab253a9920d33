/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/model/volume.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/device/device.h"

bool volume_never_blocks(const struct unit *unit)
{
    return unit->driver == MODEL_STEP && unit->threads == 1 && !unit->started;
}

static void wait_hook(void *opaque)
{
    struct volume *volume = opaque;
    if (volume->progress == NULL)
        report_fail(volume->report, "after op %llu: a call waits and nothing is in flight",
                    (unsigned long long)atomic_load(&volume->report->op));
    volume->progress(volume->progress_opaque);
}

/* The first error is the cause; what follows are its consequences. */
static void note_log(void *opaque, enum briq_log_level level, const char *line)
{
    struct report *report = opaque;
    if (level == BRIQ_LOG_ERROR && !atomic_flag_test_and_set(&report->logged))
        snprintf(report->log, sizeof report->log, "%s", line);
}

static void open_store(struct volume *volume, bool read_only)
{
    const struct unit *unit = volume->unit;
    struct briq_open_options options = {
        .read_only = read_only,
        .direct = volume->direct,
        .cache_bytes = unit->cache_bytes,
        .accel = unit->accel,
        .streams = unit->streams,
        .windows = unit->windows,
        .no_windows_file = unit->no_windows_file,
        .windows_dir = unit->dir,
        .wait_hook = volume_never_blocks(unit) ? wait_hook : NULL,
        .wait_opaque = volume,
        .log = {.sink = note_log, .opaque = volume->report},
    };
    struct briq_error err = {0};
    int r = briq_store_open(volume->name, &options, &err, &volume->store);
    if (r != 0)
        report_fail(volume->report, "open %s: %s: %s", volume->name, strerror(-r), err.text);
    if (briq_store_read_only(volume->store) != read_only)
        report_fail(volume->report, "open %s: read-only is %d and should be %d", volume->name,
                    briq_store_read_only(volume->store), read_only);
    if (unit->started && !read_only && (r = briq_store_start(volume->store)) != 0)
        report_fail(volume->report, "briq_store_start: %s", strerror(-r));
}

static void create_file(struct volume *volume)
{
    const struct unit *unit = volume->unit;
    struct briq_create_options options = {
        .size_bytes = unit->size_bytes,
        .limit_bytes = unit->limit_bytes,
        .segment_shift = unit->segment_shift,
        .preallocate = unit->preallocate,
    };
    struct briq_error err = {0};
    snprintf(volume->name, sizeof volume->name, "%s/model.briq", unit->dir);
    int r = briq_store_create(volume->name, &options, &err);
    if (r != 0)
        report_fail(volume->report, "create %s: %s: %s", volume->name, strerror(-r), err.text);
}

/* Whether the file system of the volume takes O_DIRECT: then it has to work. */
static bool takes_direct(const struct volume *volume)
{
    struct briq_device *dev = NULL;
    int r = briq_file_open(volume->name, BRIQ_FILE_READ_ONLY | BRIQ_FILE_DIRECT, NULL, &dev);
    briq_device_close(dev);
    return r == 0;
}

void volume_init(struct volume *volume, const struct unit *unit, struct report *report)
{
    *volume = (struct volume){.unit = unit, .report = report};
    if (unit->mode != MODEL_MEM) {
        create_file(volume);
        volume->direct = unit->mode == MODEL_DIRECT && takes_direct(volume);
    } else if (unit->limit_bytes != 0) {
        snprintf(volume->name, sizeof volume->name, "mem:%" PRIu64 ",limit=%" PRIu64,
                 unit->size_bytes, unit->limit_bytes);
    } else {
        snprintf(volume->name, sizeof volume->name, "mem:%" PRIu64, unit->size_bytes);
    }
    open_store(volume, false);
}

static void close_store(struct volume *volume)
{
    int r = briq_store_close(volume->store);
    volume->store = NULL;
    if (r != 0)
        report_fail(volume->report, "close after op %llu: %s",
                    (unsigned long long)atomic_load(&volume->report->op), strerror(-r));
}

void volume_reopen(struct volume *volume, bool read_only)
{
    close_store(volume);
    open_store(volume, read_only);
}

static void note_finding(void *opaque, const char *line)
{
    struct volume *volume = opaque;
    report_fail(volume->report, "check after op %llu: %s",
                (unsigned long long)atomic_load(&volume->report->op), line);
}

static void check_file(struct volume *volume)
{
    struct briq_check_options options = {
        .deep = true,
        .report = note_finding,
        .opaque = volume,
        .windows_dir = volume->unit->dir,
    };
    struct briq_check_result result = {0};
    struct briq_error err = {0};
    int r = briq_check(volume->name, &options, &result, &err);
    if (r != 0)
        report_fail(volume->report, "check: %s: %s", strerror(-r), err.text);
    uint64_t errors = result.superblock_errors + result.map_errors + result.segment_errors +
                      result.chunk_errors + result.payload_errors + result.lost_flushed;
    if (errors != 0)
        report_fail(volume->report, "check counts %" PRIu64 " errors and reports none", errors);
}

void volume_fini(struct volume *volume)
{
    close_store(volume);
    if (volume->unit->mode != MODEL_MEM)
        check_file(volume);
}
