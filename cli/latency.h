/* SPDX-License-Identifier: BSD-3-Clause */
/* latency.h - the latencies of a report (serve_report.h), read back. */
#ifndef BRIQ_CLI_LATENCY_H
#define BRIQ_CLI_LATENCY_H

#include <stdbool.h>

#include "common/base/histogram.h"

struct json_object;

/* The histogram of a "latency" of one kind, out of its buckets; its largest value is the bound of
 * the last bucket, or max_ns where that is less. False: it has none. Thread: any. */
bool briq_latency_read(struct json_object *kind, struct briq_histogram *ret);

/*
 * After counters were subtracted from a report, or from an array of them: sets the quantiles of
 * exports to what the buckets say now, and removes what has no buckets (of clients, of kinds
 * without requests), since its quantiles would be of all time.
 */
void briq_latency_refresh(struct json_object *report);

#endif
