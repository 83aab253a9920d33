/* SPDX-License-Identifier: BSD-3-Clause */
/* life.c - a volume from its creation through all of its crashes. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/store/cache.h"
#include "common/store/superblock.h"
#include "tests/sim/sim.h"

/* ---- failures -------------------------------------------------------------------------------- */

void sim_fail(struct sim_life *life, const char *fmt, ...)
{
    char plan[256];
    va_list args;
    sim_plan_print(&life->plan, plan, sizeof plan);
    fflush(stdout);
    fprintf(stderr, "sim: FAILED: seed %" PRIu64 ", crash %" PRIu64 ": ", life->seed,
            life->crashes);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n  volume: %s\n", plan);
    for (unsigned i = 0; i < life->log_count; i++)
        fprintf(stderr, "  logged: %s\n", life->log[i]);
    fprintf(stderr, "  repeat: build/tests/sim/sim --seed %" PRIu64 " --crashes %" PRIu64 "\n",
            life->seed, life->crashes_wanted);
    fflush(stderr);
    if (life->abort_on_failure)
        abort();
    _exit(1); /* the files are the parent's to remove */
}

static void note_log(void *opaque, enum briq_log_level level, const char *line)
{
    struct sim_life *life = opaque;
    if (strstr(line, "no shared memory") != NULL)
        sim_fail(life, "the host is out of shared memory: %s", line);
    if (level == BRIQ_LOG_INFO && !life->verbose)
        return;
    if (life->verbose)
        printf("  crash %" PRIu64 ": %s\n", life->crashes, line);
    if (life->log_count == SIM_LOG_LINES_MAX)
        memmove(life->log[0], life->log[1], sizeof life->log - sizeof life->log[0]);
    else
        life->log_count++;
    snprintf(life->log[life->log_count - 1], sizeof life->log[0], "%s", line);
}

static void note_illegal_step(void *opaque, const char *line)
{
    struct sim_life *life = opaque;
    if (!life->stopped) /* a dead disk changes no more */
        sim_fail(life, "illegal step: %s", line);
}

/* ---- creation -------------------------------------------------------------------------------- */

/* The volume's name follows from the seed too. */
static void put_uuid(struct sim_life *life)
{
    struct briq_device *dev = test_disk_handle(life->disk);
    struct briq_superblock_found found;
    struct briq_error err = {0};
    if (briq_superblock_read(dev, life->path.text, &found, &err) != 0)
        sim_fail(life, "%s", err.text);
    for (unsigned i = 0; i < sizeof found.sb.uuid; i++)
        found.sb.uuid[i] = (uint8_t)briq_prng_next(&life->prng);
    if (briq_superblock_write(dev, &found.sb, &found.next_slot) != 0 || briq_device_flush(dev) != 0)
        sim_fail(life, "the superblock of the new volume cannot be written");
    briq_device_close(dev);
}

static void create(struct sim_life *life)
{
    struct briq_create_options options = {
        .size_bytes = life->plan.size_bytes,
        .limit_bytes =
            life->plan.device_bytes != 0 ? life->plan.device_bytes : life->plan.limit_bytes,
        .segment_shift = life->plan.segment_shift,
        .force = true,
    };
    struct briq_error err = {0};
    if (briq_store_create(life->path.text, &options, &err) != 0)
        sim_fail(life, "create: %s", err.text);
    test_disk_load(life->disk, life->path.text);
    put_uuid(life);
}

/* ---- opening --------------------------------------------------------------------------------- */

static struct briq_device *make_device(struct sim_life *life)
{
    struct briq_device *dev = test_disk_handle(life->disk);
    dev->host_ino = 1; /* the name of the windows' file has it */
    if (life->plan.device_bytes != 0) {
        dev->fixed_size = true;
        dev->size_bytes = life->plan.device_bytes;
    }
    if (life->plan.direct)
        dev->align_bytes = 4096;
    return protocol_wrap(life->protocol, dev, test_disk_view(life->disk));
}

static int open_store(struct sim_life *life, struct briq_error *err)
{
    struct briq_open_options options = {
        .direct = life->plan.direct,
        .cache_bytes = BRIQ_CACHE_BYTES_MIN,
        .streams = life->plan.streams,
        .windows = 2 * life->plan.streams + 4 + (unsigned)sim_draw(life, 3),
        .growth_bytes = life->plan.growth_bytes,
        .no_windows_file = life->plan.no_windows_file,
        .windows_dir = life->windows.path,
        .log = {.sink = note_log, .opaque = life},
        .device = make_device(life),
        .boot_id = life->boot_id,
        .wait_hook = sim_slots_wait,
        .wait_opaque = life,
    };
    return briq_store_open(life->path.text, &options, err, &life->store);
}

static void open_contexts(struct sim_life *life)
{
    for (unsigned i = 0; i < life->plan.streams; i++)
        if (briq_ctx_open(life->store, &life->ctx[i]) != 0)
            sim_fail(life, "out of memory");
}

/* Whether the store is open; else the next crash came while it recovered from the last. */
static bool try_open(struct sim_life *life)
{
    struct briq_error err = {0};
    life->store = NULL;
    life->end = sim_chance(life, 60) ? SIM_POWER_CUT : SIM_PROCESS_DEATH;
    life->place = SIM_IN_RECOVERY;
    if (sim_chance(life, 20))
        test_disk_cut_after(life->disk, 1 + sim_draw(life, 12));
    else if (sim_chance(life, 20))
        test_disk_cut_after_any(life->disk, 1 + sim_draw(life, 100));
    int r = open_store(life, &err);
    test_disk_cut_after(life->disk, 0);
    life->place = SIM_IN_OPERATION;
    if (r != 0 && !life->stopped)
        sim_fail(life, "open: %s", err.text);
    return !life->stopped;
}

/* ---- the life -------------------------------------------------------------------------------- */

static void live_once(struct sim_life *life)
{
    if (sim_chance(life, 30))
        sim_judge_medium(life);
    if (try_open(life)) {
        sim_crash_forget_stale(life);
        open_contexts(life);
        sim_judge_content(life);
        if (sim_chance(life, 30))
            sim_judge_medium(life);
        sim_work(life);
    }
    sim_crash(life);
}

void sim_life_run(struct sim_life *life, uint64_t seed, uint64_t crashes)
{
    life->seed = seed;
    life->prng.state = seed * 0x9e3779b97f4a7c15u;
    life->crashes_wanted = crashes;
    life->crashes = life->operations = 0;
    life->durable = life->acked = 0;
    life->power_was_cut = life->stopped = false;
    life->log_count = life->saved_count = 0;
    test_disk_on_stop(life->disk, NULL, NULL);
    sim_plan_draw(life);
    sim_boot(life);
    test_dir_empty(&life->windows);
    create(life);
    sim_history_reset(&life->history);
    protocol_reset(life->protocol);
    life->size_bytes = life->size_wanted = life->plan.size_bytes;
    test_disk_on_stop(life->disk, sim_crash_note, life);
    while (life->crashes < crashes)
        live_once(life);
    life->stats->seeds++;
}

static void sum_fates(struct sim_life *life)
{
    struct test_disk_fates fates = test_disk_fates(life->disk);
    life->stats->kept = fates.kept;
    life->stats->lost = fates.lost;
    life->stats->torn = fates.torn;
    life->stats->garbled = fates.garbled;
    life->stats->discarded = fates.discarded;
}

void sim_life_open(struct sim_life *life, const char *dir, struct sim_stats *stats)
{
    memset(life, 0, sizeof *life);
    life->stats = stats;
    test_dir_open_below(&life->dir, dir);
    test_dir_open_below(&life->windows, dir);
    life->path = test_dir_file(&life->dir, "volume.briq");
    life->corpus = test_corpus_open();
    life->disk = test_disk_open(SIM_DISK_BYTES);
    life->protocol = protocol_open(note_illegal_step, life);
    sim_history_open(&life->history, SIM_VOLUME_MAX);
    life->scratch = malloc(SIM_VOLUME_MAX);
    for (unsigned i = 0; i < SIM_SLOTS; i++)
        life->slots[i].buffer = malloc(SIM_REQUEST_MAX);
    BRIQ_ASSERT(life->scratch != NULL && life->slots[SIM_SLOTS - 1].buffer != NULL);
}

void sim_life_close(struct sim_life *life)
{
    sum_fates(life);
    for (unsigned i = 0; i < SIM_SLOTS; i++)
        free(life->slots[i].buffer);
    for (unsigned i = 0; i < SIM_WINDOW_FILES; i++)
        free(life->saved[i].bytes);
    free(life->scratch);
    sim_history_close(&life->history);
    protocol_close(life->protocol);
    test_disk_close(life->disk);
    test_corpus_close(life->corpus);
    test_dir_close(&life->windows);
    test_dir_close(&life->dir);
}
