/* SPDX-License-Identifier: BSD-3-Clause */
/* blocking.c - the model's operations as blocking calls, one after the other. */
#include "tests/model/worker.h"

#include "common/base/align.h"
#include "tests/model/lanes.h"

static int call(struct worker *worker, const struct request *request, uint8_t *data,
                struct briq_extent *extents, unsigned *ret_count)
{
    struct briq_store *store = worker->volume->store;
    switch (request->kind) {
    case REQUEST_READ:
        return briq_read(store, data, request->len, request->off);
    case REQUEST_WRITE:
        return briq_write(store, data, request->len, request->off, request->flags);
    case REQUEST_TRIM:
        return briq_trim(store, request->len, request->off, request->flags);
    case REQUEST_ZERO:
        return briq_zero(store, request->len, request->off, request->flags);
    case REQUEST_FLUSH:
        return briq_flush(store);
    case REQUEST_STATUS:
        return briq_status(store, request->len, request->off, request->flags, extents,
                           request->extents_max, ret_count);
    default:
        BRIQ_ASSERT(request->kind == REQUEST_PREFETCH);
        return briq_prefetch(store, request->len, request->off);
    }
}

static void compare(struct worker *worker, const struct request *request, const uint8_t *data,
                    const struct briq_extent *extents, unsigned count, bool failed)
{
    switch (request->kind) {
    case REQUEST_READ:
        expect_check_read(&worker->expect, request, data);
        break;
    case REQUEST_WRITE:
    case REQUEST_TRIM:
    case REQUEST_ZERO:
        if (worker_apply(worker, request, data, failed))
            worker_settle(worker, request, data, failed);
        break;
    case REQUEST_STATUS:
        if (request->len > 0)
            expect_check_status(&worker->expect, request, extents, count, NULL, NULL);
        break;
    default:
        break;
    }
}

static void run_request(struct worker *worker, const struct request *request, struct buffer *buffer)
{
    struct briq_extent extents[REQUEST_EXTENTS_MAX];
    unsigned count = 0;
    bool skip = worker_begin_op(worker, request);
    if (request_is_care(request->kind)) {
        worker_care(worker, request);
        return;
    }
    if (request->kind == REQUEST_OUTSIDE) {
        worker_probe_outside(worker, request);
        return;
    }
    buffer_begin(buffer, worker, request);
    int r = skip ? 0 : call(worker, request, buffer->data, extents, &count);
    worker_check_result(worker, request, r);
    buffer_end(buffer, worker, request);
    compare(worker, request, buffer->data, extents, count, r != 0);
}

void worker_run_blocking(struct worker *worker)
{
    struct buffer buffer;
    struct lane_walk walk;
    buffer_init(&buffer, worker->report);
    lane_walk_init(&walk, worker);
    for (uint64_t i = 0; i < worker->ops; i++) {
        if (worker->lanes != NULL && briq_prng_below(&worker->prng, 3) == 0) {
            lane_walk_step(&walk, worker->first_op + i);
            continue;
        }
        struct request_rules rules = worker_rules(worker);
        struct request request = request_draw(&worker->prng, &rules, worker->first_op + i);
        run_request(worker, &request, &buffer);
    }
    lane_walk_fini(&walk);
    buffer_fini(&buffer);
}
