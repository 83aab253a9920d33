/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/live.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/daemon.h"
#include "cli/latency.h"
#include "cli/serve_snapshot.h"
#include "cli/volume.h"
#include "common/base/clock.h"
#include "common/control/fields.h"
#include "server/server.h"

#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 3600.0

/* ---- asking ---------------------------------------------------------------------------------- */

struct asking {
    struct briq_live *live;
    struct json_object *daemons; /* an array */
    struct briq_error *err;
};

/* A daemon that is about to end is no failure where there are others. */
static int ask(void *opaque, struct briq_control *c)
{
    struct asking *asking = opaque;
    struct json_object *report = NULL;
    struct briq_error err = {""};
    int r = briq_daemon_call(c, briq_daemon_request("stat"), true, &report, &err);
    if (r < 0 && asking->live->control != NULL)
        *asking->err = err;
    else if (r < 0 && asking->live->skipped != NULL)
        asking->live->skipped(asking->live->opaque, err.text);
    if (r < 0)
        return asking->live->control != NULL ? r : 0;
    if (briq_field_set_number(report, "id", briq_field_number_or_0(report, "pid")) &&
        briq_field_set_text(report, "control", briq_control_socket(c)))
        return briq_field_append(asking->daemons, report) ? 0 : -ENOMEM;
    json_object_put(report);
    return -ENOMEM;
}

static int ask_all(struct briq_live *live, struct json_object *daemons, struct briq_error *err)
{
    struct asking asking = {.live = live, .daemons = daemons, .err = err};
    struct briq_control *c = NULL;
    if (live->control == NULL)
        return briq_control_each(ask, live->skipped, &asking, err);
    int r = briq_control_open(live->control, err, &c);
    if (r == 0)
        r = ask(&asking, c);
    briq_control_close(c);
    return r;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* Removes what is not meant. Returns how many exports are left. */
static size_t choose(struct json_object *daemon, const char *word)
{
    struct json_object *exports = NULL, *clients = NULL;
    if (!json_object_object_get_ex(daemon, "exports", &exports))
        return 0;
    for (size_t i = json_object_array_length(exports); i-- > 0;)
        if (!briq_served_is(json_object_array_get_idx(exports, i), word))
            json_object_array_del_idx(exports, i, 1);
    if (json_object_object_get_ex(daemon, "clients", &clients))
        for (size_t i = json_object_array_length(clients); i-- > 0;) {
            const char *of =
                briq_field_text_or_null(json_object_array_get_idx(clients, i), "export");
            if (of == NULL || briq_served_named(exports, of) == NULL)
                json_object_array_del_idx(clients, i, 1);
        }
    return json_object_array_length(exports);
}

static int choose_all(const struct briq_live *live, struct json_object *daemons,
                      struct briq_error *err)
{
    for (size_t i = json_object_array_length(daemons); live->word != NULL && i-- > 0;)
        if (choose(json_object_array_get_idx(daemons, i), live->word) == 0)
            json_object_array_del_idx(daemons, i, 1);
    if (json_object_array_length(daemons) > 0)
        return 0;
    if (live->word != NULL)
        return briq_error_set(err, -ENOENT, "no daemon serves '%s': see `briq list`", live->word);
    return briq_error_set(err, -ENOENT,
                          "there is no daemon of this user: start one with `briq serve`, or name "
                          "its socket with --control");
}

int briq_live_read(struct briq_live *live, struct json_object **ret, struct briq_error *err)
{
    struct json_object *daemons = json_object_new_array();
    if (daemons == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    int r = ask_all(live, daemons, err);
    if (r == 0)
        r = choose_all(live, daemons, err);
    if (r < 0)
        json_object_put(daemons);
    else
        *ret = daemons;
    return r;
}

int briq_live_read_change(struct briq_live *live, struct json_object **ret, double *ret_seconds,
                          struct briq_error *err)
{
    struct json_object *now = NULL, *same = NULL;
    int r = briq_live_read(live, &now, err);
    if (r < 0)
        return r;
    uint64_t now_ns = briq_clock_ns();
    if (json_object_deep_copy(now, &same, NULL) < 0) {
        json_object_put(now);
        return briq_error_set(err, -ENOMEM, "out of memory");
    }
    bool first = live->before == NULL;
    *ret_seconds = (double)(now_ns - live->before_ns) / 1e9;
    if (!first)
        briq_snapshot_subtract(now, live->before);
    json_object_put(live->before);
    live->before = same;
    live->before_ns = now_ns;
    if (first) {
        json_object_put(now);
        *ret = NULL;
        return 0;
    }
    briq_latency_refresh(now);
    *ret = now;
    return 0;
}

void briq_live_fini(struct briq_live *live)
{
    json_object_put(live->before);
    live->before = NULL;
}

int briq_live_interval(const char *text, uint64_t *ret_ns, struct briq_error *err)
{
    char *end;
    double s = strtod(text, &end);
    if (end == text || *end != '\0' || !(s >= INTERVAL_MIN && s <= INTERVAL_MAX))
        return briq_error_set(err, -EINVAL,
                              "--interval: \"%s\" is not between 0.1 and 3600 seconds", text);
    *ret_ns = (uint64_t)(s * 1e9);
    return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

void briq_live_each(struct json_object *daemons, const char *list,
                    void (*visit)(void *opaque, struct json_object *object), void *opaque)
{
    for (size_t d = 0; d < json_object_array_length(daemons); d++) {
        struct json_object *array = NULL;
        if (!json_object_object_get_ex(json_object_array_get_idx(daemons, d), list, &array))
            continue;
        for (size_t i = 0; i < json_object_array_length(array); i++)
            visit(opaque, json_object_array_get_idx(array, i));
    }
}

static double counted(struct json_object *counters, const char *kind, const char *what)
{
    struct json_object *object = NULL;
    if (!json_object_object_get_ex(counters, kind, &object))
        return 0;
    return (double)briq_field_number_or_0(object, what);
}

static uint64_t p99_of(struct json_object *object, const char *kind)
{
    struct json_object *latency = NULL, *of_kind = NULL;
    if (!json_object_object_get_ex(object, "latency", &latency) ||
        !json_object_object_get_ex(latency, kind, &of_kind))
        return 0;
    return briq_field_number_or_0(of_kind, "p99_ns");
}

static void sum_kinds(struct json_object *counters, double seconds, struct briq_live_row *row)
{
    for (unsigned i = 0; i < BRIQ_KINDS; i++) {
        const char *kind = briq_kind_name(i);
        row->ops += counted(counters, kind, "ops") / seconds;
        row->errors += counted(counters, kind, "errors") / seconds;
    }
    row->read_ops = counted(counters, "read", "ops") / seconds;
    row->read_bytes = counted(counters, "read", "bytes") / seconds;
    row->write_ops = counted(counters, "write", "ops") / seconds;
    row->write_bytes = counted(counters, "write", "bytes") / seconds;
    row->flushes = counted(counters, "flush", "ops") / seconds;
    row->bytes = row->read_bytes + row->write_bytes;
}

void briq_live_row(struct json_object *object, double seconds, struct briq_live_row *ret)
{
    struct json_object *counters = NULL, *ratio = NULL;
    *ret = (struct briq_live_row){
        .name = briq_field_text_or_null(object, "name"),
        .volume = briq_field_text_or_null(object, "volume"),
        .p99_read_ns = p99_of(object, "read"),
        .p99_write_ns = p99_of(object, "write"),
        .in_flight = briq_field_number_or_0(object, "in_flight"),
        .connections = briq_field_number_or_0(object, "connections"),
        .ratio = NAN,
    };
    if (json_object_object_get_ex(object, "ratio", &ratio))
        ret->ratio = json_object_get_double(ratio);
    if (json_object_object_get_ex(object, "counters", &counters))
        sum_kinds(counters, seconds > 0 ? seconds : 1, ret);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Three digits and what they count in: 1.23, 12.3, 123. */
static const char *three_digits(double n, const char *unit, char text[BRIQ_LIVE_TEXT_MAX])
{
    int digits = n < 9.995 ? 2 : n < 99.95 ? 1 : 0;
    snprintf(text, BRIQ_LIVE_TEXT_MAX, "%.*f%s", digits, n, unit);
    return text;
}

const char *briq_live_time(uint64_t ns, char text[BRIQ_LIVE_TEXT_MAX])
{
    double n = (double)ns;
    if (ns == 0)
        return "-";
    if (ns < 1000) {
        snprintf(text, BRIQ_LIVE_TEXT_MAX, "%" PRIu64 "ns", ns);
        return text;
    }
    if (n < 999.5e3)
        return three_digits(n / 1e3, "us", text);
    return n < 999.5e6 ? three_digits(n / 1e6, "ms", text) : three_digits(n / 1e9, "s", text);
}

const char *briq_live_rate(double n, char text[BRIQ_LIVE_TEXT_MAX])
{
    if (n >= 9999999.5)
        return three_digits(n / 1e6, "M", text);
    snprintf(text, BRIQ_LIVE_TEXT_MAX, n > 0 && n < 9.95 ? "%.1f" : "%.0f", n);
    return text;
}

const char *briq_live_bytes(double n, char text[BRIQ_LIVE_TEXT_MAX])
{
    static const char *const units[] = {"", "K", "M", "G", "T", "P"};
    size_t i = 0;
    for (; n >= 999.5 && i + 1 < BRIQ_COUNT_OF(units); i++)
        n /= 1024;
    if (i == 0) {
        snprintf(text, BRIQ_LIVE_TEXT_MAX, "%.0f", n);
        return text;
    }
    return three_digits(n, units[i], text);
}

const char *briq_live_name(const char *name, unsigned columns, struct briq_live_name *buf)
{
    size_t at = 0;
    unsigned column = 0;
    for (const unsigned char *c = (const unsigned char *)(name != NULL ? name : ""); *c != '\0';
         c++) {
        bool goes_on = *c >= 0x80 && *c < 0xc0; /* of a character in UTF-8 */
        if (at + 2 > sizeof buf->text || (!goes_on && columns > 0 && column == columns))
            break;
        /* C2 begins the controls of ISO 8859, which some terminals obey. */
        bool control = *c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0);
        buf->text[at++] = control ? '?' : (char)*c;
        if (control && *c == 0xc2 && c[1] >= 0x80)
            c++;
        column += !goes_on;
    }
    for (; column < columns && at + 1 < sizeof buf->text; column++)
        buf->text[at++] = ' ';
    buf->text[at] = '\0';
    return buf->text;
}
