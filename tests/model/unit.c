/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/model/unit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/store/store.h"

#define MIB (UINT64_C(1) << 20)
#define KIB UINT64_C(1024)

/* What a tight volume has beside the segments for the payload it should run out with: that is what
 * checkpoints and collection have to get along with. */
#define SPARE_SEGMENTS          8u
#define SPARE_SEGMENTS_A_STREAM 3u
#define SEGMENTS_MIN            20u       /* fewer are refused */
#define FILE_FIXED_BYTES        (4 * MIB) /* in front of the first segment */

const char *model_mode_name(enum model_mode mode)
{
    static const char *const names[MODEL_MODE_COUNT] = {"mem", "file", "direct"};
    return names[mode];
}

const char *model_driver_name(enum model_driver driver)
{
    static const char *const names[MODEL_DRIVER_COUNT] = {"blocking", "step"};
    return names[driver];
}

/* Mostly small, so that every block is met often; now and then with a last block that is not whole.
 */
static uint64_t draw_size(struct briq_prng *prng)
{
    static const uint64_t sizes[] = {512 * KIB, MIB, 2 * MIB, 4 * MIB, 4 * MIB, 8 * MIB, 24 * MIB};
    uint64_t size = sizes[briq_prng_below(prng, BRIQ_COUNT_OF(sizes))];
    if (briq_prng_below(prng, 3) == 0)
        size += (1 + briq_prng_below(prng, 1000)) * BRIQ_SECTOR_BYTES;
    return size;
}

/* Payload for a part of the volume only, and a few segments to turn over. */
static uint64_t draw_limit(const struct unit *unit, struct briq_prng *prng)
{
    uint64_t segment_bytes = UINT64_C(1) << unit->segment_shift;
    uint64_t payload_bytes = unit->size_bytes * (5 + briq_prng_below(prng, 35)) / 100;
    uint64_t segments = briq_div_up(payload_bytes, segment_bytes) + SPARE_SEGMENTS +
                        SPARE_SEGMENTS_A_STREAM * unit->streams;
    uint64_t fixed_bytes = unit->mode == MODEL_MEM ? 0 : FILE_FIXED_BYTES;
    return fixed_bytes + briq_max_u64(segments, SEGMENTS_MIN) * segment_bytes;
}

void unit_draw(struct unit *unit)
{
    struct briq_prng prng = {.state = unit->seed ^ 0x5eed};
    uint64_t drawn_size = draw_size(&prng);
    unit->size_bytes = unit->asked_size_bytes != 0 ? unit->asked_size_bytes : drawn_size;
    unit->size_max_bytes = unit->size_bytes + unit->size_bytes / 2;
    unit->segment_shift = 16 + (unsigned)briq_prng_below(&prng, 3) / 2;
    unit->streams = 1 + (unsigned)briq_prng_below(&prng, 4);
    unit->accel = briq_prng_below(&prng, 4) == 0 ? 8 : 0;
    unit->windows = briq_prng_below(&prng, 2) == 0
                        ? 0
                        : 2 * unit->streams + 4 + (unsigned)briq_prng_below(&prng, 4);
    unit->cache_bytes =
        briq_prng_below(&prng, 3) == 0 ? UINT64_MAX : MIB << briq_prng_below(&prng, 4);
    unit->limit_bytes = briq_prng_below(&prng, 3) != 0 ? draw_limit(unit, &prng) : 0;
    unit->no_windows_file = briq_prng_below(&prng, 4) == 0;
    unit->preallocate = briq_prng_below(&prng, 8) == 0;
    bool started = briq_prng_below(&prng, 2) == 0;
    if (unit->asked_start != MODEL_START_DRAW)
        started = unit->asked_start == MODEL_START_YES;
    /* Stepping threads block when they wait, so somebody else has to do the maintenance. */
    unit->started = started || (unit->driver == MODEL_STEP && unit->threads > 1);
}

void unit_print_command(const struct unit *unit, FILE *out)
{
    fprintf(out, "model --seed %" PRIu64 " --ops %" PRIu64 " --mode %s --driver %s --threads %u",
            unit->seed, unit->ops, model_mode_name(unit->mode), model_driver_name(unit->driver),
            unit->threads);
    if (unit->asked_size_bytes != 0)
        fprintf(out, " --size %" PRIu64, unit->asked_size_bytes);
    if (unit->asked_start != MODEL_START_DRAW)
        fprintf(out, " --maintenance %s",
                unit->asked_start == MODEL_START_YES ? "thread" : "inline");
    if (unit->canary != 0)
        fprintf(out, " --canary %" PRIu64, unit->canary);
    fprintf(out, " --units 1");
}

void unit_print_drawn(const struct unit *unit, FILE *out)
{
    fprintf(out,
            "size %" PRIu64 " limit %" PRIu64 " segment 2^%u streams %u windows %u accel %u%s%s%s",
            unit->size_bytes, unit->limit_bytes, unit->segment_shift, unit->streams, unit->windows,
            unit->accel, unit->started ? ", maintenance thread" : ", inline maintenance",
            unit->no_windows_file ? ", no windows file" : "",
            unit->preallocate && unit->mode != MODEL_MEM ? ", preallocated" : "");
}

void report_fail(struct report *report, const char *fmt, ...)
{
    if (atomic_flag_test_and_set(&report->taken)) {
        for (;;)
            pause(); /* the thread that came first is about to end the process */
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(report->text, sizeof report->text, fmt, args);
    va_end(args);
    if (report->abort_on_failure) {
        fprintf(stderr, "%s\n", report->text);
        abort();
    }
    _exit(1);
}
