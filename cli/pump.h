/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pump.h - copies a source into a sink with several threads.
 *
 * The calling thread watches (progress, cancellation, errors); the workers take pieces from the
 * front of what is left, so that an ordered sink can wait for its turn without a deadlock.
 */
#ifndef BRIQ_CLI_PUMP_H
#define BRIQ_CLI_PUMP_H

#include <stdint.h>

#include "cli/cancel.h"
#include "cli/progress.h"
#include "cli/sink.h"
#include "cli/source.h"

#define BRIQ_PUMP_THREADS_MAX 64

struct briq_pump_options {
    unsigned threads; /* 1 .. BRIQ_PUMP_THREADS_MAX */
    /* Of a stream: a longer one is an error. 0: the sink grows as the stream turns out. */
    uint64_t limit_bytes;
    const struct briq_cancel *cancel;
    struct briq_progress *progress;
};

struct briq_pump_result {
    uint64_t copied_bytes;  /* length of the source */
    uint64_t written_bytes; /* handed to write; the rest were zeros */
};

/*
 * Copies everything. Returns 0, -EINTR when cancelled, or the first error of a worker, explained in
 * err. After a failure the sink holds some part. Blocks; allocates.
 */
int briq_pump(struct briq_source *source, struct briq_sink *sink,
              const struct briq_pump_options *options, struct briq_pump_result *ret,
              struct briq_error *err) BRIQ_MUST;

/* The number of threads for a copy when the user asked for `wanted`, 0 for no wish. */
unsigned briq_pump_threads(uint64_t wanted, bool waits);

#endif
