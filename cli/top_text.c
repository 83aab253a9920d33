/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/top_text.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/live.h"
#include "cli/stat_text.h"
#include "common/base/attr.h"
#include "common/control/fields.h"

/* Lines that are always there: two of sums, a blank one, and a heading for each table, with a blank
 * one between them. */
#define FIXED_ROWS 6u
#define LINE_MAX   512u

/* An export or a client. */
struct line {
    struct briq_live_row row;
    struct json_object *object;
};

struct lines {
    struct line *list; /* owned */
    size_t count, room;
    double seconds;
    bool failed;
};

static void take(void *opaque, struct json_object *object)
{
    struct lines *lines = opaque;
    if (lines->count == lines->room) {
        size_t room = 2 * lines->room + 16;
        struct line *list = reallocarray(lines->list, room, sizeof list[0]);
        lines->failed = lines->failed || list == NULL;
        if (list == NULL)
            return;
        lines->list = list;
        lines->room = room;
    }
    struct line *line = &lines->list[lines->count++];
    briq_live_row(object, lines->seconds, &line->row);
    line->object = object;
}

/* ---- order ----------------------------------------------------------------------------------- */

static int compare_names(const struct line *a, const struct line *b)
{
    if (a->row.name == NULL || b->row.name == NULL)
        return 0;
    return strcmp(a->row.name, b->row.name);
}

static uint64_t slowest(const struct briq_live_row *row)
{
    return row->p99_read_ns > row->p99_write_ns ? row->p99_read_ns : row->p99_write_ns;
}

/* The larger figure first; the names decide between equals. */
static int compare(const void *left, const void *right, void *order)
{
    const struct line *a = left, *b = right;
    double x = 0, y = 0;
    switch (*(const enum briq_top_order *)order) {
    case BRIQ_TOP_BY_OPS:
        x = a->row.ops;
        y = b->row.ops;
        break;
    case BRIQ_TOP_BY_BYTES:
        x = a->row.bytes;
        y = b->row.bytes;
        break;
    case BRIQ_TOP_BY_LATENCY:
        x = (double)slowest(&a->row);
        y = (double)slowest(&b->row);
        break;
    case BRIQ_TOP_BY_NAME:
        break;
    }
    return x != y ? (x < y) - (x > y) : compare_names(a, b);
}

/* ---- a line ---------------------------------------------------------------------------------- */

/* Cut off where the screen ends, in the middle of no character. */
static void put_line(const struct briq_top_screen *screen, char *text, bool heading, FILE *out)
{
    size_t at = 0;
    unsigned column = 0;
    text[strcspn(text, "\n")] = '\0';
    for (; text[at] != '\0'; at++) {
        bool goes_on = ((unsigned char)text[at] & 0xc0) == 0x80;
        if (!goes_on && column++ == screen->columns)
            break;
    }
    bool marked = heading && screen->colours;
    fprintf(out, "%s%.*s%s\n", marked ? "\033[7m" : "", (int)at, text, marked ? "\033[0m" : "");
}

/* What a function of stat_text.h prints, as a line. */
static void put_rates(const struct briq_top_screen *screen, const struct briq_live_row *row,
                      FILE *out)
{
    char text[LINE_MAX] = "";
    FILE *line = fmemopen(text, sizeof text, "w");
    if (line == NULL)
        return;
    if (row != NULL)
        briq_stat_rates(row, line);
    else
        briq_stat_rates_head(line);
    fclose(line);
    put_line(screen, text, row == NULL, out);
}

static void put_client(const struct briq_top_screen *screen, const struct line *line, FILE *out)
{
    struct briq_live_name peer, export;
    char text[LINE_MAX], ops[BRIQ_LIVE_TEXT_MAX], bytes[BRIQ_LIVE_TEXT_MAX];
    snprintf(text, sizeof text, "%s %s %7s %6s %5" PRIu64 " %4" PRIu64 " %8" PRIu64,
             briq_live_name(briq_field_text_or_null(line->object, "peer"), 26, &peer),
             briq_live_name(briq_field_text_or_null(line->object, "export"), BRIQ_STAT_NAME_COLUMNS,
                            &export),
             briq_live_rate(line->row.ops, ops), briq_live_bytes(line->row.bytes, bytes),
             line->row.in_flight, briq_field_number_or_0(line->object, "in_flight_max"),
             briq_field_number_or_0(line->object, "age_ms") / 1000);
    put_line(screen, text, false, out);
}

/* ---- sums ------------------------------------------------------------------------------------ */

static void sum_exports(const struct lines *exports, struct briq_live_row *sum)
{
    *sum = (struct briq_live_row){.name = NULL};
    for (size_t i = 0; i < exports->count; i++) {
        const struct briq_live_row *row = &exports->list[i].row;
        sum->ops += row->ops;
        sum->bytes += row->bytes;
        sum->read_ops += row->read_ops;
        sum->read_bytes += row->read_bytes;
        sum->write_ops += row->write_ops;
        sum->write_bytes += row->write_bytes;
        sum->errors += row->errors;
        sum->in_flight += row->in_flight;
    }
}

struct thread_sum {
    uint64_t calls, turns, completed;
};

static void sum_thread(void *opaque, struct json_object *thread)
{
    struct thread_sum *sum = opaque;
    struct json_object *counters = NULL;
    if (!json_object_object_get_ex(thread, "counters", &counters))
        return;
    sum->calls += briq_field_number_or_0(counters, "calls");
    sum->turns += briq_field_number_or_0(counters, "turns");
    sum->completed += briq_field_number_or_0(counters, "completed");
}

static void put_sums(const struct briq_top_screen *screen, struct json_object *daemons,
                     const struct lines *exports, const struct lines *clients, FILE *out)
{
    struct briq_live_row sum;
    struct thread_sum threads = {0};
    char text[LINE_MAX], a[5][BRIQ_LIVE_TEXT_MAX], calls[32] = "";
    sum_exports(exports, &sum);
    briq_live_each(daemons, "threads", sum_thread, &threads);
    double requests = sum.ops * exports->seconds;
    if (threads.turns > 0 && requests >= 1)
        snprintf(calls, sizeof calls, ", %.2f calls a request", (double)threads.calls / requests);
    size_t count = json_object_array_length(daemons);
    snprintf(text, sizeof text, "briq top: %zu daemon%s, %zu export%s, %zu client%s%s", count,
             count == 1 ? "" : "s", exports->count, exports->count == 1 ? "" : "s", clients->count,
             clients->count == 1 ? "" : "s", calls);
    put_line(screen, text, false, out);
    snprintf(text, sizeof text,
             "read %s/s %sB/s, write %s/s %sB/s, %s errors/s, %" PRIu64 " in flight",
             briq_live_rate(sum.read_ops, a[0]), briq_live_bytes(sum.read_bytes, a[1]),
             briq_live_rate(sum.write_ops, a[2]), briq_live_bytes(sum.write_bytes, a[3]),
             briq_live_rate(sum.errors, a[4]), sum.in_flight);
    put_line(screen, text, false, out);
}

/* ---- the screen ------------------------------------------------------------------------------ */

/* How many exports and clients there is room for: half each, or what the other one leaves. */
static void share(const struct briq_top_screen *screen, size_t *exports, size_t *clients)
{
    size_t room = screen->rows > FIXED_ROWS ? screen->rows - FIXED_ROWS : 0;
    if (screen->rows == 0 || *exports + *clients <= room)
        return;
    size_t half = room / 2;
    if (*exports < half)
        *clients = room - *exports;
    else if (*clients < room - half)
        *exports = room - *clients;
    else {
        *exports = half;
        *clients = room - half;
    }
}

static void put_all(const struct briq_top_screen *screen, struct json_object *daemons,
                    const struct lines *exports, const struct lines *clients, FILE *out)
{
    size_t export_rows = exports->count, client_rows = clients->count;
    char heading[LINE_MAX], empty[1] = "";
    share(screen, &export_rows, &client_rows);
    put_sums(screen, daemons, exports, clients, out);
    put_line(screen, empty, false, out);
    put_rates(screen, NULL, out);
    for (size_t i = 0; i < export_rows; i++)
        put_rates(screen, &exports->list[i].row, out);
    put_line(screen, empty, false, out);
    snprintf(heading, sizeof heading, "%-26s %-12s %7s %6s %5s %4s %8s", "CLIENT", "EXPORT",
             "OPS/s", "BYTES", "FLY", "MOST", "SECONDS");
    put_line(screen, heading, true, out);
    for (size_t i = 0; i < client_rows; i++)
        put_client(screen, &clients->list[i], out);
}

bool briq_top_text(const struct briq_top_screen *screen, struct json_object *daemons,
                   double seconds, FILE *out)
{
    struct lines exports = {.seconds = seconds}, clients = {.seconds = seconds};
    enum briq_top_order order = screen->order;
    briq_live_each(daemons, "exports", take, &exports);
    briq_live_each(daemons, "clients", take, &clients);
    bool fine = !exports.failed && !clients.failed;
    if (fine) {
        if (exports.count > 0)
            qsort_r(exports.list, exports.count, sizeof exports.list[0], compare, &order);
        if (clients.count > 0)
            qsort_r(clients.list, clients.count, sizeof clients.list[0], compare, &order);
        put_all(screen, daemons, &exports, &clients, out);
    }
    free(exports.list);
    free(clients.list);
    return fine;
}
