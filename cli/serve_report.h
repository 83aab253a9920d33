/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_report.h - what `briq serve` tells of itself through its control socket. */
#ifndef BRIQ_CLI_SERVE_REPORT_H
#define BRIQ_CLI_SERVE_REPORT_H

#include "cli/serve_devices.h"
#include "server/server.h"

struct json_object;

/*
 * Who this is, and the exports with what verbs need to find them: name, volume, size, connections,
 * URI, and the device if it is one. The caller's; NULL: out of memory. Thread: any. Constant time for each export.
 */
struct json_object *briq_serve_list(struct briq_server *server, struct briq_serve_devices *devices);

/*
 * The same with figures. What stands under a "counters", at whatever depth, only ever counts up:
 * `snapshot-stats` subtracts what it was. The caller's; NULL: out of memory. Thread: any.
 */
struct json_object *briq_serve_report(struct briq_server *server,
                                      struct briq_serve_devices *devices);

#endif
