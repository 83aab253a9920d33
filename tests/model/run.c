/* SPDX-License-Identifier: BSD-3-Clause */
/* run.c - one unit: a volume, its threads with their windows, and the last look at everything. */
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "common/base/align.h"
#include "tests/model/lanes.h"
#include "tests/model/worker.h"

#define SHARED_BYTES_MAX (UINT64_C(64) * BRIQ_BLOCK_BYTES)
#define LANE_SHIFT_MIN   5u
#define LANE_SHIFT_MAX   9u

struct run {
    const struct unit *unit;
    struct report *report;
    struct volume volume;
    struct lanes lanes;
    struct worker workers[MODEL_THREADS_MAX];
};

static void *work(void *opaque)
{
    struct worker *worker = opaque;
    if (worker->unit->driver == MODEL_STEP)
        worker_run_stepwise(worker);
    else
        worker_run_blocking(worker);
    return NULL;
}

/* One thread has the whole volume; several share its beginning and cut up the rest. */
static void lay_out(struct run *run)
{
    const struct unit *unit = run->unit;
    uint64_t shared = 0, window = unit->size_bytes, window_max = unit->size_max_bytes;
    struct briq_prng prng = {.state = unit->seed ^ 0x1a4e5};
    if (unit->threads > 1) {
        shared =
            briq_align_down(briq_min_u64(SHARED_BYTES_MAX, unit->size_bytes / 4), BRIQ_BLOCK_BYTES);
        window = briq_align_down((unit->size_bytes - shared) / unit->threads, BRIQ_BLOCK_BYTES);
        window_max = window;
        run->lanes = (struct lanes){
            .size = shared,
            .lane_bytes = 1u << (LANE_SHIFT_MIN +
                                 briq_prng_below(&prng, LANE_SHIFT_MAX - LANE_SHIFT_MIN + 1)),
            .owners = unit->threads,
        };
    }
    for (unsigned i = 0; i < unit->threads; i++) {
        struct worker *worker = &run->workers[i];
        *worker = (struct worker){
            .unit = unit,
            .report = run->report,
            .volume = &run->volume,
            .prng = {.state = unit->seed * 31 + i},
            .whole = unit->threads == 1,
            .index = i,
            .first_op = 1 + i * (unit->ops / unit->threads),
            .ops = unit->ops / unit->threads,
            .lanes = unit->threads > 1 && unit->driver == MODEL_BLOCKING ? &run->lanes : NULL,
        };
        expect_init(&worker->expect, run->report, shared + i * window, window, window_max);
    }
}

static void run_threads(struct run *run)
{
    pthread_t threads[MODEL_THREADS_MAX];
    unsigned count = run->unit->threads;
    for (unsigned i = 1; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, &run->workers[i]) != 0)
            report_fail(run->report, "the test cannot start a thread");
    work(&run->workers[0]);
    for (unsigned i = 1; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* What lies behind the last window was never written. */
static void verify_unowned(struct run *run)
{
    static const uint8_t zeros[BRIQ_BLOCK_BYTES];
    const struct expect *last = &run->workers[run->unit->threads - 1].expect;
    uint64_t size = briq_store_size(run->volume.store);
    for (uint64_t off = last->base + last->size; off < size; off += BRIQ_BLOCK_BYTES) {
        uint8_t bytes[BRIQ_BLOCK_BYTES];
        uint64_t len = briq_min_u64(sizeof bytes, size - off);
        int r = briq_read(run->volume.store, bytes, len, off);
        if (r != 0 || memcmp(bytes, zeros, len) != 0)
            report_fail(run->report, "the block at %" PRIu64 ", never written, reads as %s", off,
                        r != 0 ? strerror(-r) : "something");
    }
}

static void verify(struct run *run)
{
    for (unsigned i = 0; i < run->unit->threads; i++)
        worker_verify(&run->workers[i]);
    verify_unowned(run);
}

void unit_run(const struct unit *unit, struct report *report)
{
    struct run run = {.unit = unit, .report = report};
    volume_init(&run.volume, unit, report);
    lay_out(&run);
    run_threads(&run);
    verify(&run);
    if (unit->mode != MODEL_MEM) {
        volume_reopen(&run.volume, false);
        verify(&run);
    }
    volume_fini(&run.volume);
    for (unsigned i = 0; i < unit->threads; i++)
        expect_fini(&run.workers[i].expect);
}
