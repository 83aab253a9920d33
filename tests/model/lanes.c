/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/model/lanes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"
#include "tests/model/worker.h"

#define READ_BYTES_MAX (16u * BRIQ_BLOCK_BYTES)
#define LANE_BYTES_MAX 512u

void lane_walk_init(struct lane_walk *walk, struct worker *worker)
{
    *walk = (struct lane_walk){.worker = worker};
    if (worker->lanes == NULL)
        return;
    walk->bytes = calloc(1, worker->lanes->size);
    walk->read = malloc(READ_BYTES_MAX);
    if (walk->bytes == NULL || walk->read == NULL)
        report_fail(worker->report, "the test itself is out of memory");
}

static bool owns(const struct lane_walk *walk, uint64_t at)
{
    const struct lanes *lanes = walk->worker->lanes;
    return at / lanes->lane_bytes % lanes->owners == walk->worker->index;
}

/* Compares the thread's own bytes among [at, at+len) of the shared part, lying in `got`. */
static void check_own(const struct lane_walk *walk, uint64_t number, uint64_t at, uint64_t len,
                      const uint8_t *got)
{
    const struct worker *worker = walk->worker;
    for (uint64_t i = 0; i < len; i++) {
        if (!owns(walk, at + i) || got[i] == walk->bytes[at + i])
            continue;
        report_fail(
            worker->report,
            "op %" PRIu64 " (thread %u): byte %" PRIu64 " of its own was 0x%02x and reads as "
            "0x%02x: lost to a racing writer of the same block",
            number, worker->index, worker->lanes->base + at + i, walk->bytes[at + i], got[i]);
    }
}

static void read_and_check(struct lane_walk *walk, uint64_t number, uint64_t at, uint64_t len)
{
    struct worker *worker = walk->worker;
    struct request request = {
        .number = number, .kind = REQUEST_READ, .off = worker->lanes->base + at, .len = len};
    int r = briq_read(worker->volume->store, walk->read, len, request.off);
    worker_check_result(worker, &request, r);
    check_own(walk, number, at, len, walk->read);
}

void lane_walk_fini(struct lane_walk *walk)
{
    if (walk->bytes == NULL)
        return;
    uint64_t size = walk->worker->lanes->size;
    uint64_t number = atomic_load(&walk->worker->report->op);
    for (uint64_t at = 0; at < size; at += READ_BYTES_MAX)
        read_and_check(walk, number, at, briq_min_u64(READ_BYTES_MAX, size - at));
    free(walk->bytes);
    free(walk->read);
}

/* What the thread's bytes become; reads them back where a failure leaves old or new open. */
static void settle(struct lane_walk *walk, const struct request *request, const uint8_t *after,
                   bool failed)
{
    struct worker *worker = walk->worker;
    uint64_t at = request->off - worker->lanes->base;
    if (failed) {
        uint8_t got[LANE_BYTES_MAX];
        struct request read = *request;
        read.kind = REQUEST_READ;
        int r = briq_read(worker->volume->store, got, request->len, request->off);
        worker_check_result(worker, &read, r);
        if (memcmp(got, after, request->len) != 0) {
            check_own(walk, request->number, at, request->len, got);
            return;
        }
    }
    memcpy(walk->bytes + at, after, request->len);
}

/* A piece of a lane: never over its border, so never over that of a block. */
static void draw_piece(struct lane_walk *walk, struct request *request)
{
    const struct lanes *lanes = walk->worker->lanes;
    struct briq_prng *prng = &walk->worker->prng;
    uint64_t rows = lanes->size / (lanes->lane_bytes * lanes->owners);
    uint64_t row = briq_prng_below(prng, rows);
    uint64_t lane = row * lanes->owners + walk->worker->index;
    uint64_t skip = briq_prng_below(prng, lanes->lane_bytes);
    request->off = lanes->base + lane * lanes->lane_bytes + skip;
    request->len = 1 + briq_prng_below(prng, lanes->lane_bytes - skip);
}

static void change_piece(struct lane_walk *walk, struct request *request)
{
    struct worker *worker = walk->worker;
    struct briq_store *store = worker->volume->store;
    uint8_t data[LANE_BYTES_MAX];
    int r;
    draw_piece(walk, request);
    if (request->kind == REQUEST_WRITE) {
        test_corpus_fill(worker->unit->corpus, &worker->prng, test_corpus_draw(&worker->prng),
                         request->number, data, request->len);
        r = briq_write(store, data, request->len, request->off, request->flags);
    } else if (request->kind == REQUEST_ZERO) {
        memset(data, 0, request->len);
        r = briq_zero(store, request->len, request->off, request->flags);
    } else { /* a trim of less than a block changes nothing */
        memcpy(data, walk->bytes + (request->off - worker->lanes->base), request->len);
        r = briq_trim(store, request->len, request->off, request->flags);
    }
    worker_check_result(worker, request, r);
    settle(walk, request, data, r != 0);
}

void lane_walk_step(struct lane_walk *walk, uint64_t number)
{
    struct worker *worker = walk->worker;
    struct briq_prng *prng = &worker->prng;
    struct request request = {.number = number};
    uint64_t kind = briq_prng_below(prng, 100);
    atomic_store_explicit(&worker->report->op, number, memory_order_relaxed);
    request.flags = briq_prng_below(prng, 100) == 0 ? BRIQ_OP_FUA : 0;
    if (kind < 35) {
        uint64_t at = briq_prng_below(prng, worker->lanes->size);
        uint64_t len = 1 + briq_prng_below(prng, READ_BYTES_MAX);
        read_and_check(walk, number, at, briq_min_u64(len, worker->lanes->size - at));
        return;
    }
    request.kind = kind < 85 ? REQUEST_WRITE : kind < 95 ? REQUEST_ZERO : REQUEST_TRIM;
    change_piece(walk, &request);
}
