/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report.h - the result of a verb, once as aligned lines for people, once as a JSON object.
 *
 * Each entry has a key for JSON and a label for people; one of the two may be NULL, then the entry
 * is missing in that form. A dot in a key makes a nested object: "owner.pid".
 * Memory that runs out ends the program's report with an error from briq_report_print(), not in
 * the middle: the functions that add need no checks.
 */
#ifndef BRIQ_CLI_REPORT_H
#define BRIQ_CLI_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/attr.h"

struct json_object;

#define BRIQ_REPORT_LINES_MAX 128

struct briq_report {
    bool json, failed;
    struct json_object *root; /* owned; NULL in text form */
    struct {
        const char *label;
        char *value; /* owned */
    } lines[BRIQ_REPORT_LINES_MAX];
    unsigned line_count;
};

void briq_report_init(struct briq_report *report, bool json);
void briq_report_fini(struct briq_report *report);

/* People read "1.5 GiB", programs bytes. */
void briq_report_size(struct briq_report *report, const char *key, const char *label,
                      uint64_t bytes);
void briq_report_number(struct briq_report *report, const char *key, const char *label, uint64_t n);
void briq_report_bool(struct briq_report *report, const char *key, const char *label, bool b);
void briq_report_text(struct briq_report *report, const char *key, const char *label,
                      const char *text);
/* `digits` behind the point, `unit` behind it for people; a number that is not finite is null. */
void briq_report_real(struct briq_report *report, const char *key, const char *label, double x,
                      int digits, const char *unit);
void briq_report_null(struct briq_report *report, const char *key, const char *label,
                      const char *text);
/* A line for people alone; `fmt` as printf. */
void briq_report_line(struct briq_report *report, const char *label, const char *fmt, ...)
    BRIQ_PRINTF(3, 4);
/* Appends text to the JSON array `key`, made by its first entry or by briq_report_array(). */
void briq_report_array(struct briq_report *report, const char *key);
void briq_report_append(struct briq_report *report, const char *key, const char *text);

/* Prints what another made as the JSON of a report looks. Returns as the next. */
int briq_report_print_json(struct json_object *object, FILE *out) BRIQ_MUST;
/* The same on one line. */
int briq_report_print_json_line(struct json_object *object, FILE *out) BRIQ_MUST;

/* Returns 0 or -ENOMEM; failures of `out` show in ferror(). */
int briq_report_print(const struct briq_report *report, FILE *out) BRIQ_MUST;

#endif
