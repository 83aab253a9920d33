/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics.h - the figures of a server as Prometheus reads them. */
#ifndef BRIQ_SERVER_METRICS_H
#define BRIQ_SERVER_METRICS_H

#include "common/base/attr.h"
#include "server/stats.h"

#define BRIQ_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/*
 * Writes the text format 0.0.4: seconds and bytes, labels `export` and `volume`, histograms of
 * latencies by `kind`. 0, and *ret for free(), or -ENOMEM. Pure.
 */
int briq_metrics_text(const struct briq_server_stats *stats, const char *engine, char **ret,
                      size_t *ret_len) BRIQ_MUST;

#endif
