/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/model/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"

#define GUARD_BYTES  64u
#define GUARD_BYTE   0xa7
#define MISALIGN_MAX 64u

/* ---- memory of a request --------------------------------------------------------------------- */

void buffer_init(struct buffer *buffer, struct report *report)
{
    buffer->memory = malloc(REQUEST_BYTES_MAX + MISALIGN_MAX + 2 * GUARD_BYTES);
    if (buffer->memory == NULL)
        report_fail(report, "the test itself is out of memory");
}

void buffer_fini(struct buffer *buffer)
{
    free(buffer->memory);
}

void buffer_begin(struct buffer *buffer, struct worker *worker, const struct request *request)
{
    bool carries = request->kind == REQUEST_READ || request->kind == REQUEST_WRITE ||
                   request->kind == REQUEST_OUTSIDE;
    buffer->data = buffer->memory + GUARD_BYTES + request->misalign;
    buffer->len = carries ? request->len : 0;
    memset(buffer->data - GUARD_BYTES, GUARD_BYTE, GUARD_BYTES);
    memset(buffer->data + buffer->len, GUARD_BYTE, GUARD_BYTES);
    if (request->kind == REQUEST_WRITE)
        test_corpus_fill(worker->unit->corpus, &worker->prng, request->data, request->number,
                         buffer->data, request->len);
}

static bool intact(const uint8_t *guard)
{
    for (unsigned i = 0; i < GUARD_BYTES; i++)
        if (guard[i] != GUARD_BYTE)
            return false;
    return true;
}

void buffer_end(const struct buffer *buffer, const struct worker *worker,
                const struct request *request)
{
    if (!intact(buffer->data - GUARD_BYTES) || !intact(buffer->data + buffer->len))
        report_fail(worker->report,
                    "op %" PRIu64 " (%s offset %" PRIu64 " length %" PRIu64
                    "): memory beside the buffer was changed",
                    request->number, request_name(request->kind), request->off, request->len);
}

/* ---- results --------------------------------------------------------------------------------- */

struct request_rules worker_rules(const struct worker *worker)
{
    return (struct request_rules){
        .base = worker->expect.base,
        .size = worker->expect.size,
        .care = worker->index == 0,
        .whole_volume = worker->whole,
        .reopen = worker->whole && worker->unit->mode != MODEL_MEM,
        .tight = worker->unit->limit_bytes != 0,
    };
}

bool worker_begin_op(struct worker *worker, const struct request *request)
{
    uint64_t canary = worker->unit->canary;
    atomic_store_explicit(&worker->report->op, request->number, memory_order_relaxed);
    return canary != 0 && request->number >= canary && request->kind == REQUEST_WRITE;
}

void worker_check_result(struct worker *worker, const struct request *request, int result)
{
    if (result == 0)
        return;
    bool takes_space = request->kind == REQUEST_WRITE || request->kind == REQUEST_ZERO;
    if (result == -ENOSPC && takes_space && worker->unit->limit_bytes != 0) {
        atomic_fetch_add_explicit(&worker->report->writes_full, 1, memory_order_relaxed);
        return;
    }
    report_fail(worker->report,
                "op %" PRIu64 " (%s offset %" PRIu64 " length %" PRIu64 " flags %u): %s",
                request->number, request_name(request->kind), request->off, request->len,
                request->flags, strerror(-result));
}

static void check_refused(struct worker *worker, const struct request *request, const char *what,
                          int result, int wanted)
{
    if (result != wanted)
        report_fail(worker->report,
                    "op %" PRIu64 ": %s of %" PRIu64 " bytes at %" PRIu64 " in a volume of %" PRIu64
                    " bytes returned %d instead of %d",
                    request->number, what, request->len, request->off,
                    briq_store_size(worker->volume->store), result, wanted);
}

void worker_probe_outside(struct worker *worker, const struct request *request)
{
    struct briq_store *store = worker->volume->store;
    struct briq_extent extent;
    unsigned count;
    struct buffer buffer;
    buffer_init(&buffer, worker->report);
    buffer_begin(&buffer, worker, request);
    memset(buffer.data, 0x5a, request->len);
    check_refused(worker, request, "read",
                  briq_read(store, buffer.data, request->len, request->off), -EINVAL);
    check_refused(worker, request, "write",
                  briq_write(store, buffer.data, request->len, request->off, 0), -ENOSPC);
    check_refused(worker, request, "trim", briq_trim(store, request->len, request->off, 0),
                  -EINVAL);
    check_refused(worker, request, "zero", briq_zero(store, request->len, request->off, 0),
                  -ENOSPC);
    check_refused(worker, request, "prefetch", briq_prefetch(store, request->len, request->off),
                  -EINVAL);
    check_refused(worker, request, "status",
                  briq_status(store, request->len, request->off, 0, &extent, 1, &count), -EINVAL);
    buffer_end(&buffer, worker, request);
    buffer_fini(&buffer);
}

/* ---- changes --------------------------------------------------------------------------------- */

bool worker_apply(struct worker *worker, const struct request *request, const uint8_t *data,
                  bool failed)
{
    struct expect *expect = &worker->expect;
    bool open = false;
    uint64_t first, end;
    expect_blocks(expect, request->off, request->len, &first, &end);
    for (uint64_t block = first; block < end; block++) {
        struct test_effect effect = expect_effect(expect, request, block, data, failed);
        if (effect.optional) {
            open = true;
            continue;
        }
        struct test_block view = expect_get(expect, block);
        test_effect_apply(&effect, &view);
        expect_put(expect, block, view);
    }
    return open;
}

static void settle_block(struct worker *worker, const struct request *request, uint64_t block,
                         const struct test_effect *effect)
{
    uint8_t bytes[TEST_BLOCK_BYTES];
    struct request read = {
        .number = request->number,
        .kind = REQUEST_READ,
        .off = worker->expect.base + block * TEST_BLOCK_BYTES,
        .len = effect->valid,
    };
    worker_check_result(worker, &read, briq_read(worker->volume->store, bytes, read.len, read.off));
    struct test_effect effects[2] = {*effect};
    effects[1] = expect_effect(&worker->expect, &read, block, bytes, false);
    effects[1].begin = effects[1].end = effects[0].end + 1;
    struct test_block view = expect_get(&worker->expect, block);
    if (!test_linear_solve(effects, 2, &view))
        report_fail(worker->report,
                    "op %" PRIu64 " (%s offset %" PRIu64 " length %" PRIu64
                    ", failed or open): block %" PRIu64 " is neither as before nor as after it",
                    request->number, request_name(request->kind), request->off, request->len,
                    read.off / TEST_BLOCK_BYTES);
    expect_put(&worker->expect, block, view);
}

void worker_settle(struct worker *worker, const struct request *request, const uint8_t *data,
                   bool failed)
{
    uint64_t first, end;
    expect_blocks(&worker->expect, request->off, request->len, &first, &end);
    for (uint64_t block = first; block < end; block++) {
        struct test_effect effect = expect_effect(&worker->expect, request, block, data, failed);
        if (effect.optional)
            settle_block(worker, request, block, &effect);
    }
}

/* ---- care ------------------------------------------------------------------------------------ */

/* Nobody else resizes: the size is what it was the last time. */
static void resize(struct worker *worker, const struct request *request)
{
    struct briq_store *store = worker->volume->store;
    uint64_t old = briq_store_size(store), room = worker->unit->size_max_bytes - old;
    uint64_t size = old + briq_align_down(room / 3, BRIQ_SECTOR_BYTES);
    struct briq_error err = {0};
    int r = briq_store_resize(store, size, &err);
    if (r == -ENOTSUP && size > old)
        return; /* a limited volume may have too few segments */
    if (r != 0)
        report_fail(worker->report,
                    "op %" PRIu64 ": resize from %" PRIu64 " to %" PRIu64 ": %s: %s",
                    request->number, old, size, strerror(-r), err.text);
    if (briq_store_size(store) != size)
        report_fail(worker->report, "op %" PRIu64 ": size %" PRIu64 " after a resize to %" PRIu64,
                    request->number, briq_store_size(store), size);
    if (worker->whole)
        worker->expect.size = size;
    if (briq_store_resize(store, size - BRIQ_SECTOR_BYTES, NULL) != -EINVAL)
        report_fail(worker->report, "op %" PRIu64 ": a volume was made smaller", request->number);
}

/* Counts of one instant, which nobody is changing. */
static void check_stats(struct worker *worker, const struct request *request)
{
    struct briq_stats stats;
    briq_store_stats(worker->volume->store, &stats);
    uint64_t in_use = 0;
    for (unsigned i = 0; i < BRIQ_COUNT_OF(stats.utilisation); i++)
        in_use += stats.utilisation[i];
    bool wrong = stats.size_bytes != worker->expect.size || stats.latched_error != 0 ||
                 stats.fill_blocks > stats.mapped_blocks || stats.payload_errors != 0 ||
                 stats.metadata_errors != 0 || stats.segments_bad != 0 ||
                 in_use + stats.segments_free > stats.segments_total ||
                 stats.durable_sequence > stats.sequence;
    if (wrong)
        report_fail(worker->report,
                    "op %" PRIu64 ": statistics contradict themselves: size %" PRIu64
                    " latched %d mapped %" PRIu64 " fill %" PRIu64 " payload errors %" PRIu64
                    " metadata errors %" PRIu64 " segments %" PRIu64 " = %" PRIu64
                    " in use, %" PRIu64 " free, %" PRIu64 " bad; sequence %" PRIu64
                    ", durable %" PRIu64,
                    request->number, stats.size_bytes, stats.latched_error, stats.mapped_blocks,
                    stats.fill_blocks, stats.payload_errors, stats.metadata_errors,
                    stats.segments_total, in_use, stats.segments_free, stats.segments_bad,
                    stats.sequence, stats.durable_sequence);
}

static void reopen_read_only(struct worker *worker, const struct request *request)
{
    struct volume *volume = worker->volume;
    volume_reopen(volume, true);
    static const char byte = 'x';
    check_refused(worker, request, "write to a read-only volume",
                  briq_write(volume->store, &byte, 1, 0, 0), -EROFS);
    check_refused(worker, request, "trim of a read-only volume", briq_trim(volume->store, 1, 0, 0),
                  -EROFS);
    check_refused(worker, request, "zero in a read-only volume", briq_zero(volume->store, 1, 0, 0),
                  -EROFS);
    worker_verify(worker);
    volume_reopen(volume, false);
}

void worker_care(struct worker *worker, const struct request *request)
{
    struct briq_store *store = worker->volume->store;
    int r = 0;
    switch (request->kind) {
    case REQUEST_MAINTAIN:
        r = briq_store_maintain(store);
        r = r > 0 ? 0 : r;
        break;
    case REQUEST_CHECKPOINT:
        r = briq_store_checkpoint(store);
        break;
    case REQUEST_COMPACT:
        r = briq_store_compact(store, NULL, NULL);
        break;
    case REQUEST_RESIZE:
        resize(worker, request);
        break;
    case REQUEST_STATS:
        check_stats(worker, request);
        break;
    case REQUEST_REOPEN:
        volume_reopen(worker->volume, false);
        break;
    case REQUEST_REOPEN_READ_ONLY:
        reopen_read_only(worker, request);
        break;
    default:
        BRIQ_ASSERT(!"a request that is not care");
    }
    worker_check_result(worker, request, r);
}

/* ---- the whole window ------------------------------------------------------------------------ */

static void verify_types(struct worker *worker, uint64_t number)
{
    struct expect *expect = &worker->expect;
    struct briq_extent extents[REQUEST_EXTENTS_MAX];
    struct request request = {
        .number = number,
        .kind = REQUEST_STATUS,
        .off = expect->base,
        .len = expect->size,
        .extents_max = REQUEST_EXTENTS_MAX,
    };
    uint64_t blocks[BRIQ_EXTENT_HOLE + 1] = {0};
    while (request.len > 0) {
        unsigned count = 0;
        int r = briq_status(worker->volume->store, request.len, request.off, 0, extents,
                            REQUEST_EXTENTS_MAX, &count);
        worker_check_result(worker, &request, r);
        uint64_t done = expect_check_status(expect, &request, extents, count, NULL, NULL);
        for (unsigned i = 0; i < count; i++)
            blocks[extents[i].type] += briq_div_up(extents[i].len_bytes, BRIQ_BLOCK_BYTES);
        request.off += done;
        request.len -= done;
    }
    struct briq_stats stats;
    briq_store_stats(worker->volume->store, &stats);
    if (worker->whole && (blocks[BRIQ_EXTENT_DATA] != stats.mapped_blocks ||
                          blocks[BRIQ_EXTENT_ZERO] != stats.zero_blocks))
        report_fail(worker->report,
                    "after op %" PRIu64 ": status finds %" PRIu64 " blocks of data and %" PRIu64
                    " zero ones, the statistics say %" PRIu64 " and %" PRIu64,
                    number, blocks[BRIQ_EXTENT_DATA], blocks[BRIQ_EXTENT_ZERO], stats.mapped_blocks,
                    stats.zero_blocks);
}

void worker_verify(struct worker *worker)
{
    struct expect *expect = &worker->expect;
    uint64_t number = atomic_load(&worker->report->op);
    struct buffer buffer;
    buffer_init(&buffer, worker->report);
    for (uint64_t done = 0; done < expect->size;) {
        struct request request = {
            .number = number,
            .kind = REQUEST_READ,
            .off = expect->base + done,
            .len = briq_min_u64(REQUEST_BYTES_MAX, expect->size - done),
        };
        buffer_begin(&buffer, worker, &request);
        int r = briq_read(worker->volume->store, buffer.data, request.len, request.off);
        worker_check_result(worker, &request, r);
        expect_check_read(expect, &request, buffer.data);
        buffer_end(&buffer, worker, &request);
        done += request.len;
    }
    buffer_fini(&buffer);
    verify_types(worker, number);
}
