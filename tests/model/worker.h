/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.h - one thread of the model test, which owns a window of the volume, and the checks that
 * both drivers share.
 */
#ifndef BRIQ_TESTS_MODEL_WORKER_H
#define BRIQ_TESTS_MODEL_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/prng.h"
#include "tests/model/expect.h"
#include "tests/model/request.h"
#include "tests/model/unit.h"
#include "tests/model/volume.h"

/* A request's memory at any alignment, with bytes in front and behind that must not change. */
struct buffer {
    uint8_t *memory;
    uint8_t *data; /* where the latest buffer_begin() put it */
    uint64_t len;
};

struct lanes;

struct worker {
    const struct unit *unit;
    struct report *report;
    struct volume *volume;
    struct briq_prng prng;
    struct expect expect; /* of this thread's window */
    bool whole;           /* the window is the whole volume, and nobody else is there */
    unsigned index;       /* of the thread */
    uint64_t first_op, ops;
    const struct lanes *lanes; /* NULL: none */
};

/* Runs the worker's operations with blocking calls, or step by step, and then verifies its window.
 */
void worker_run_blocking(struct worker *worker);
void worker_run_stepwise(struct worker *worker);

/* The rules for this worker's next request. */
struct request_rules worker_rules(const struct worker *worker);

/* Counts the operation. Whether it is a write that is to be left out. */
bool worker_begin_op(struct worker *worker, const struct request *request);

/* Fails the run unless `result` is one that the request may have. */
void worker_check_result(struct worker *worker, const struct request *request, int result);

/* Carries out a request_is_care() request; reopening included. */
void worker_care(struct worker *worker, const struct request *request);

/* Sends a request that has to be refused. */
void worker_probe_outside(struct worker *worker, const struct request *request);

/* Applies a change that succeeded to the expected array, but for blocks with an optional effect;
 * returns whether there were such blocks. */
bool worker_apply(struct worker *worker, const struct request *request, const uint8_t *data,
                  bool failed);

/* Reads the blocks whose effect was optional, and makes up the worker's mind about them. */
void worker_settle(struct worker *worker, const struct request *request, const uint8_t *data,
                   bool failed);

/* Reads the whole window and the type of every block, and compares. */
void worker_verify(struct worker *worker);

void buffer_init(struct buffer *buffer, struct report *report);
void buffer_fini(struct buffer *buffer);
/* Sets out data for a request; for a write, filled. */
void buffer_begin(struct buffer *buffer, struct worker *worker, const struct request *request);
/* Fails the run when bytes around the data were touched. */
void buffer_end(const struct buffer *buffer, const struct worker *worker,
                const struct request *request);

#endif
