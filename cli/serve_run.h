/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_run.h - the life of "briq serve", from its options to its end.
 */
#ifndef BRIQ_CLI_SERVE_RUN_H
#define BRIQ_CLI_SERVE_RUN_H

#include "cli/serve_args.h"

/* Opens what is to be served, serves it until it is told to end, and closes it. What goes wrong is on
 * standard error, or in the log of a daemon. Returns the exit code. Thread: the first one. Blocks. */
enum briq_exit briq_serve_run(const struct serve_args *args) BRIQ_MUST;

#endif
