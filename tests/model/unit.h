/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit.h - one run of the model test: what is fixed on the command line, what follows from the
 * seed, and where the run tells how it ends.
 */
#ifndef BRIQ_TESTS_MODEL_UNIT_H
#define BRIQ_TESTS_MODEL_UNIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/attr.h"
#include "common/base/prng.h"
#include "tests/lib/corpus.h"

enum model_mode {
    MODEL_MEM,
    MODEL_FILE,
    MODEL_DIRECT, /* a file with O_DIRECT */
};
#define MODEL_MODE_COUNT 3

enum model_driver {
    MODEL_BLOCKING,
    MODEL_STEP,
};
#define MODEL_DRIVER_COUNT 2

#define MODEL_THREADS_MAX 16

enum model_start {
    MODEL_START_DRAW, /* the seed decides */
    MODEL_START_YES,
    MODEL_START_NO,
};

struct unit {
    uint64_t seed, ops;
    enum model_mode mode;
    enum model_driver driver;
    unsigned threads;
    uint64_t asked_size_bytes;    /* 0: the seed decides */
    enum model_start asked_start; /* without a maintenance thread a run repeats exactly */
    uint64_t canary;              /* writes from this operation on are left out; 0: none */
    const char *dir;              /* where the volume and its append windows lie */
    const struct test_corpus *corpus;

    /* From the seed: unit_draw(). */
    uint64_t size_bytes, size_max_bytes; /* at first; and after all growing */
    uint64_t limit_bytes;                /* 0: none, so that -ENOSPC is a failure */
    unsigned segment_shift, streams, accel, windows;
    uint64_t cache_bytes;
    bool started; /* a maintenance thread does the maintenance */
    bool no_windows_file;
    bool preallocate;
};

const char *model_mode_name(enum model_mode mode);
const char *model_driver_name(enum model_driver driver);

/* Draws what is not fixed. Depends on the fixed fields alone, and not on `ops`. */
void unit_draw(struct unit *unit);

/* Prints the command that repeats this run, without a newline. */
void unit_print_command(const struct unit *unit, FILE *out);

/* Prints what the seed decided, without a newline. */
void unit_print_drawn(const struct unit *unit, FILE *out);

/* Shared memory between the process that runs a unit and the one that waits for it. */
struct report {
    atomic_ullong op;          /* the latest operation begun by any thread */
    atomic_ullong writes_full; /* writes that were refused for space */
    atomic_flag taken;         /* by the first thread that fails */
    bool abort_on_failure;     /* for a debugger */
    atomic_flag logged;        /* by the first line that the store logs as an error */
    char log[512];
    char text[2048];
};

/* Leaves the message in the report and ends the process with status 1. The first caller wins. */
void report_fail(struct report *report, const char *fmt, ...) BRIQ_PRINTF(2, 3)
    __attribute__((noreturn, cold));

/* Carries the unit out in this process, on fresh files below unit->dir. Returns when all is well.
 */
void unit_run(const struct unit *unit, struct report *report);

#endif
