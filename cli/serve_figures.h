/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_figures.h - figures of a running server as JSON. docs/statistics.md has the keys.
 *
 * Each function adds to an object that is the caller's, and tells whether there was memory for all
 * of it. Thread: any that has the object to itself. They do not block.
 */
#ifndef BRIQ_CLI_SERVE_FIGURES_H
#define BRIQ_CLI_SERVE_FIGURES_H

#include "server/server.h"

struct json_object;

/* Requests: in_flight, "counters" by kind, "latency" by kind; with its buckets unless latency, an
 * array of BRIQ_KINDS, is NULL. */
bool briq_figures_of_io(struct json_object *object, const struct briq_io_stats *io,
                        const struct briq_histogram *latency, uint64_t connections) BRIQ_MUST;

/* The volume: what it takes, and under "store" what it has done. */
bool briq_figures_of_store(struct json_object *object, const struct briq_stats *stats) BRIQ_MUST;

/* A thread with a ring, the number-th. */
bool briq_figures_of_thread(struct json_object *object, const struct briq_thread_stats *thread,
                            uint64_t number) BRIQ_MUST;

#endif
