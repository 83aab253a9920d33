/* SPDX-License-Identifier: BSD-3-Clause */
/* stat_text.h - what a daemon reports (serve_report.h), as text for people and for zram's scripts.
 * Failures of `out` show in ferror(). */
#ifndef BRIQ_CLI_STAT_TEXT_H
#define BRIQ_CLI_STAT_TEXT_H

#include <stdio.h>

struct json_object;
struct briq_live_row;

/* All of a daemon. */
void briq_stat_daemon(struct json_object *daemon, FILE *out);

#define BRIQ_STAT_NAME_COLUMNS 12u
/* A line for what an export does in a time, and the heading of such lines. 79 columns. */
void briq_stat_rates_head(FILE *out);
void briq_stat_rates(const struct briq_live_row *row, FILE *out);

/* The line of an export as in zram's mm_stat and io_stat. */
void briq_stat_mm(struct json_object *export, FILE *out);
void briq_stat_io(struct json_object *export, FILE *out);

#endif
