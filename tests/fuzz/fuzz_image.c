/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_image.c - a whole volume, damaged anywhere: read, checked, checked deeply, repaired. A check
 * changes nothing. A repair never makes a damaged volume worse: every block that could be read
 * before it can be read after it, with the same content. What a repair says it mended is mended.
 *
 *   byte 0: bits 0-1 which state of the volume; bit 2 deep; bits 3-4 what else than a repair: 0
 *           nothing, 1 a check before it, 2 a check after it, 3 open it for writing after it; then
 *           edits of anything, see edit.h. One thing else at a time: half as many take half as long.
 */
#include "tests/fuzz/support/fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/support/edit.h"
#include "tests/fuzz/support/reading.h"
#include "tests/fuzz/support/volume.h"

/* A check of what claims to be larger would take longer than a fuzzer can wait. */
#define SIZE_MAX_BYTES (UINT64_C(8) << 20)

static struct fuzz_volume *volume_of(unsigned state)
{
    static struct fuzz_volume *volumes[FUZZ_STATE_COUNT];
    state %= FUZZ_STATE_COUNT;
    if (volumes[state] == NULL)
        volumes[state] = fuzz_volume_make((enum fuzz_state)state);
    return volumes[state];
}

static void take_line(void *opaque, const char *line)
{
    unsigned *lines = opaque;
    BRIQ_ASSERT(line[0] != '\0' && strchr(line, '\n') == NULL);
    ++*lines;
}

static uint64_t errors_of(const struct briq_check_result *r)
{
    return r->superblock_errors + r->map_errors + r->segment_errors + r->chunk_errors +
           r->payload_errors + r->lost_flushed;
}

static int check(struct fuzz_disk *disk, bool deep, bool repair, struct briq_check_result *result)
{
    unsigned lines = 0;
    struct briq_error err = {{0}};
    struct briq_check_options options = {
        .deep = deep,
        .repair = repair,
        .report = take_line,
        .opaque = &lines,
        .windows_dir = "/nowhere",
        .device = fuzz_disk_device(disk),
        .growth_bytes = BRIQ_SECTOR_BYTES,
    };
    int r = briq_check(FUZZ_NAME, &options, result, &err);
    BRIQ_ASSERT(r == 0 || err.text[0] != '\0');
    BRIQ_ASSERT(r < 0 || errors_of(result) == 0 || lines > 0);
    return r;
}

/* Too large, or nothing at all. */
static bool is_out_of_bounds(const struct fuzz_volume *v)
{
    struct briq_superblock sb;
    const uint64_t at[] = {BRIQ_SB_A_OFFSET, BRIQ_SB_B_OFFSET};
    for (unsigned i = 0; i < BRIQ_COUNT_OF(at); i++)
        if (briq_superblock_decode(fuzz_disk_bytes(v->disk) + at[i], &sb) == BRIQ_SB_OK &&
            (sb.logical_bytes > SIZE_MAX_BYTES || sb.seg_end > 4 * FUZZ_SEG_END))
            return true;
    return false;
}

/* Whether it ran to its end. */
static bool repair(struct fuzz_disk *disk, bool deep, bool check_after,
                   const struct fuzz_reading *before)
{
    static struct fuzz_reading after;
    struct briq_check_result result, again;
    int r = check(disk, deep, true, &result);
    fuzz_read_disk(disk, NULL, &after);
    fuzz_expect_no_loss(before, &after);
    if (r < 0)
        return false;
    BRIQ_ASSERT(after.opened);
    if (check_after) {
        BRIQ_ASSERT(check(disk, deep, false, &again) == 0);
        BRIQ_ASSERT(result.unrepaired > 0 || errors_of(&again) == 0);
    }
    return true;
}

static void open_for_writing(struct fuzz_disk *disk, const struct fuzz_reading *before)
{
    static struct fuzz_reading now;
    struct briq_store *store = NULL;
    if (fuzz_volume_open(disk, false, NULL, &store) < 0)
        return;
    fuzz_read_store(store, &now);
    fuzz_expect_no_loss(before, &now);
    BRIQ_ASSERT(briq_store_compact(store, NULL, NULL) <= 0);
    fuzz_read_store(store, &now);
    fuzz_expect_no_loss(before, &now);
    (void)briq_store_close(store); /* fails where a write failed */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_reading before;
    struct fuzz_input in = {data, size};
    unsigned how = (unsigned)fuzz_number(&in, 1);
    bool deep = (how & 4) != 0;
    unsigned also = how >> 3 & 3;
    struct briq_check_result result;
    struct fuzz_volume *v = volume_of(how & 3);
    fuzz_disk_reset(v->disk);
    (void)fuzz_edit(v, &in, FUZZ_ALL);
    if (is_out_of_bounds(v))
        return 0;
    fuzz_read_disk(v->disk, NULL, &before);
    if (also == 1)
        (void)check(v->disk, deep, false, &result);
    if (repair(v->disk, deep, also == 2, &before) && also == 3)
        open_for_writing(v->disk, &before);
    return 0;
}
