/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/report.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/size.h"
#include "common/base/utf8.h"

void briq_report_init(struct briq_report *report, bool json)
{
    *report = (struct briq_report){.json = json};
    if (json) {
        report->root = json_object_new_object();
        report->failed = report->root == NULL;
    }
}

void briq_report_fini(struct briq_report *report)
{
    json_object_put(report->root);
    for (unsigned i = 0; i < report->line_count; i++)
        free(report->lines[i].value);
    *report = (struct briq_report){0};
}

/* The member `name` of parent, an object, made when it is missing. NULL: no memory. */
static struct json_object *find_group(struct json_object *parent, const char *name)
{
    struct json_object *group = NULL;
    if (json_object_object_get_ex(parent, name, &group))
        return group;
    group = json_object_new_object();
    if (group != NULL && json_object_object_add(parent, name, group) == 0)
        return group;
    json_object_put(group);
    return NULL;
}

/* The object in which the last part of the key lies; that part is *ret_name. NULL: no memory. */
static struct json_object *find_parent(struct briq_report *report, const char *key,
                                       const char **ret_name)
{
    struct json_object *parent = report->root;
    const char *dot;
    while (parent != NULL && (dot = strchr(key, '.')) != NULL) {
        char group[64];
        snprintf(group, sizeof group, "%.*s", (int)(dot - key), key);
        parent = find_group(parent, group);
        key = dot + 1;
    }
    *ret_name = key;
    return parent;
}

/* Owns value, which is NULL for JSON's null when `null` says so and else for lack of memory. */
static void add_json(struct briq_report *report, const char *key, struct json_object *value,
                     bool null)
{
    const char *name = NULL;
    struct json_object *parent = find_parent(report, key, &name);
    if (parent != NULL && (value != NULL || null) &&
        json_object_object_add(parent, name, value) == 0)
        return;
    json_object_put(value);
    report->failed = true;
}

void briq_report_line(struct briq_report *report, const char *label, const char *fmt, ...)
{
    if (report->json || label == NULL)
        return;
    BRIQ_ASSERT(report->line_count < BRIQ_REPORT_LINES_MAX);
    char *value = NULL;
    va_list args;
    va_start(args, fmt);
    if (vasprintf(&value, fmt, args) < 0) {
        value = NULL;
        report->failed = true;
    }
    va_end(args);
    report->lines[report->line_count].label = label;
    report->lines[report->line_count++].value = value;
}

static bool takes_json(const struct briq_report *report, const char *key)
{
    return report->json && key != NULL;
}

void briq_report_size(struct briq_report *report, const char *key, const char *label,
                      uint64_t bytes)
{
    char text[BRIQ_SIZE_TEXT_MAX];
    if (takes_json(report, key))
        add_json(report, key, json_object_new_uint64(bytes), false);
    briq_report_line(report, label, "%s", briq_size_format(bytes, text));
}

void briq_report_number(struct briq_report *report, const char *key, const char *label, uint64_t n)
{
    if (takes_json(report, key))
        add_json(report, key, json_object_new_uint64(n), false);
    briq_report_line(report, label, "%" PRIu64, n);
}

void briq_report_bool(struct briq_report *report, const char *key, const char *label, bool b)
{
    if (takes_json(report, key))
        add_json(report, key, json_object_new_boolean(b), false);
    briq_report_line(report, label, "%s", b ? "yes" : "no");
}

void briq_report_text(struct briq_report *report, const char *key, const char *label,
                      const char *text)
{
    if (takes_json(report, key))
        add_json(report, key, json_object_new_string(text), false);
    briq_report_line(report, label, "%s", text);
}

void briq_report_real(struct briq_report *report, const char *key, const char *label, double x,
                      int digits, const char *unit)
{
    if (!isfinite(x)) {
        briq_report_null(report, key, label, "-");
        return;
    }
    char text[64];
    snprintf(text, sizeof text, "%.*f", digits, x);
    if (takes_json(report, key))
        add_json(report, key, json_object_new_double_s(x, text), false);
    briq_report_line(report, label, "%s%s", text, unit);
}

void briq_report_null(struct briq_report *report, const char *key, const char *label,
                      const char *text)
{
    if (takes_json(report, key))
        add_json(report, key, NULL, true);
    briq_report_line(report, label, "%s", text);
}

void briq_report_array(struct briq_report *report, const char *key)
{
    if (takes_json(report, key) && !json_object_object_get_ex(report->root, key, NULL))
        add_json(report, key, json_object_new_array(), false);
}

void briq_report_append(struct briq_report *report, const char *key, const char *text)
{
    struct json_object *array = NULL, *value = NULL;
    briq_report_array(report, key);
    if (!takes_json(report, key) || !json_object_object_get_ex(report->root, key, &array))
        return;
    value = json_object_new_string(text);
    if (value == NULL || json_object_array_add(array, value) != 0) {
        json_object_put(value);
        report->failed = true;
    }
}

static void print_lines(const struct briq_report *report, FILE *out)
{
    int width = 0;
    for (unsigned i = 0; i < report->line_count; i++) {
        int len = (int)strlen(report->lines[i].label);
        width = len > width ? len : width;
    }
    for (unsigned i = 0; i < report->line_count; i++)
        fprintf(out, "%-*s  %s\n", width, report->lines[i].label, report->lines[i].value);
}

/* JSON is UTF-8, and names of files may be any bytes: what is no character is told as %XX. */
static int print_json(struct json_object *object, int style, FILE *out)
{
    size_t left = 0;
    const char *text =
        json_object_to_json_string_length(object, style | JSON_C_TO_STRING_NOSLASHESCAPE, &left);
    if (text == NULL)
        return -ENOMEM;
    while (left > 0) {
        unsigned len = briq_utf8_length(text, left), step = len > 0 ? len : 1;
        if (len > 0)
            fwrite(text, 1, len, out);
        else
            fprintf(out, "%%%02X", (unsigned char)*text);
        text += step;
        left -= step;
    }
    fputc('\n', out);
    return 0;
}

int briq_report_print_json(struct json_object *object, FILE *out)
{
    return print_json(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED, out);
}

int briq_report_print_json_line(struct json_object *object, FILE *out)
{
    return print_json(object, JSON_C_TO_STRING_PLAIN, out);
}

int briq_report_print(const struct briq_report *report, FILE *out)
{
    if (report->failed)
        return -ENOMEM;
    if (!report->json) {
        print_lines(report, out);
        return 0;
    }
    return briq_report_print_json(report->root, out);
}
