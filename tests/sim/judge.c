/* SPDX-License-Identifier: BSD-3-Clause */
/* judge.c - is what a crash left what was promised? */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/engine.h"
#include "tests/sim/sim.h"

/* ---- the medium ------------------------------------------------------------------------------ */

struct findings {
    char line[240];
    bool superblock; /* the one that counts is of a copy of the superblock */
};

static void note_finding(void *opaque, const char *line)
{
    struct findings *findings = opaque;
    if (findings->line[0] == '\0' && strstr(line, "not closed cleanly") == NULL)
        snprintf(findings->line, sizeof findings->line, "%s", line);
}

static uint64_t sum_errors(const struct briq_check_result *r)
{
    return r->map_errors + r->segment_errors + r->chunk_errors + r->payload_errors +
           r->lost_flushed;
}

void sim_judge_medium(struct sim_life *life)
{
    struct findings findings = {0};
    struct briq_check_result result;
    struct briq_error err = {0};
    struct briq_device *view = test_disk_view(life->disk);
    struct briq_check_options options = {
        .deep = true,
        .report = note_finding,
        .opaque = &findings,
        .windows_dir = life->windows.path,
        .boot_id = life->boot_id,
        .device = view,
    };
    view->fixed_size = life->plan.device_bytes != 0;
    view->host_ino = 1;
    if (view->fixed_size)
        view->size_bytes = life->plan.device_bytes;
    int r = briq_check(life->path.text, &options, &result, &err);
    life->stats->checks++;
    if (r != 0)
        sim_fail(life, "the check answered %s: %s", strerror(-r), err.text);
    /* A copy of the superblock that was being written when the power went may be torn; once the
     * volume is open both are sound. */
    uint64_t errors = sum_errors(&result) + (life->store != NULL ? result.superblock_errors : 0);
    if (errors > 0)
        sim_fail(life, "the check found %" PRIu64 " errors: %s", errors, findings.line);
}

/* ---- the content ----------------------------------------------------------------------------- */

static uint64_t blocks_of(const struct sim_life *life)
{
    return (life->size_bytes + BRIQ_BLOCK_BYTES - 1) / BRIQ_BLOCK_BYTES;
}

/* Reads every block that was ever changed into life->scratch. */
static void read_touched(struct sim_life *life)
{
    const uint8_t *touched = life->history.touched;
    uint64_t blocks = blocks_of(life);
    for (uint64_t block = 0, end; block < blocks; block = end) {
        end = block + 1;
        if (!touched[block])
            continue;
        while (end < blocks && end - block < 64 && touched[end])
            end++;
        uint64_t off = block * BRIQ_BLOCK_BYTES, len = (end - block) * BRIQ_BLOCK_BYTES;
        len = len < life->size_bytes - off ? len : life->size_bytes - off;
        memset(life->scratch + off, 0, (end - block) * BRIQ_BLOCK_BYTES);
        int r = briq_read(life->store, life->scratch + off, len, off);
        if (r != 0 && !life->stopped)
            sim_fail(life, "after the crash a read at %" PRIu64 " answered %s", off, strerror(-r));
        life->stats->blocks_compared += end - block;
    }
}

static void judge_prefix(struct sim_life *life)
{
    struct sim_history *h = &life->history;
    size_t floor = life->power_was_cut ? life->durable : life->acked, least, most;
    uint64_t n = atomic_load(&life->store->journal.seq), where = 0;
    sim_history_find(h, n, &least, &most);
    if (most < floor)
        sim_fail(life,
                 "lost: of %zu changes, %zu of them %s, the volume has the first %zu (operation "
                 "%" PRIu64 ")",
                 h->count, floor, life->power_was_cut ? "flushed" : "acknowledged", most, n);
    least = least < floor ? floor : least;
    size_t found = sim_history_match(h, least, most, life->scratch, blocks_of(life), &where);
    if (found == SIZE_MAX)
        sim_fail(life,
                 "the volume is not what its first %" PRIu64 " operations left: block %" PRIu64, n,
                 where);
    sim_history_settle(h, found);
}

static void judge_size(struct sim_life *life)
{
    uint64_t size = briq_store_size(life->store);
    if (size != life->size_bytes && size != life->size_wanted)
        sim_fail(life, "the volume has %" PRIu64 " bytes, and not %" PRIu64, size,
                 life->size_bytes);
    life->size_bytes = life->size_wanted = size;
}

void sim_judge_content(struct sim_life *life)
{
    if (briq_store_read_only(life->store))
        sim_fail(life, "the volume was opened read-only: it thinks that its medium lost data");
    judge_size(life);
    read_touched(life);
    judge_prefix(life);
    life->durable = life->acked = 0;
    life->power_was_cut = false;
    life->stats->recovered += life->store->recovered_records;
    life->stats->discarded_records += life->store->discarded_records;
    life->stats->from_windows += life->store->recovered_from_windows;
}
