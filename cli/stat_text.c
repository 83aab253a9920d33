/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/stat_text.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <math.h>
#include <string.h>

#include "cli/live.h"
#include "common/base/size.h"
#include "common/control/fields.h"
#include "server/server.h"

static struct json_object *member(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(object, key, &value);
    return value;
}

static uint64_t number(struct json_object *object, const char *key)
{
    return object != NULL ? briq_field_number_or_0(object, key) : 0;
}

/* A counter of the export, or of its volume. */
static uint64_t counter(struct json_object *object, const char *key)
{
    return number(member(object, "counters"), key);
}

static uint64_t kind_counter(struct json_object *export, const char *kind, const char *key)
{
    return number(member(member(export, "counters"), kind), key);
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* ---- people: requests ------------------------------------------------------------------------ */

static void print_kind(struct json_object *export, const char *kind, FILE *out)
{
    struct json_object *latency = member(member(export, "latency"), kind);
    char size[BRIQ_SIZE_TEXT_MAX], text[5][BRIQ_LIVE_TEXT_MAX];
    uint64_t count = counter(latency, "count");
    if (kind_counter(export, kind, "ops") == 0)
        return;
    fprintf(out, "  %-7s %12" PRIu64 " %12s %8" PRIu64 " %7s %7s %7s %7s %7s\n", kind,
            kind_counter(export, kind, "ops"),
            briq_size_format(kind_counter(export, kind, "bytes"), size),
            kind_counter(export, kind, "errors"),
            briq_live_time(count > 0 ? counter(latency, "sum_ns") / count : 0, text[0]),
            briq_live_time(number(latency, "p50_ns"), text[1]),
            briq_live_time(number(latency, "p99_ns"), text[2]),
            briq_live_time(number(latency, "p999_ns"), text[3]),
            briq_live_time(number(latency, "max_ns"), text[4]));
}

static double each(uint64_t of, uint64_t n)
{
    return n > 0 ? (double)of / (double)n : 0;
}

static uint64_t answered(struct json_object *export)
{
    uint64_t ops = 0;
    for (unsigned kind = 0; kind < BRIQ_KINDS; kind++)
        ops += kind_counter(export, briq_kind_name(kind), "ops");
    return ops;
}

static void print_requests(struct json_object *export, FILE *out)
{
    uint64_t ops = answered(export);
    fprintf(out, "  %" PRIu64 " in flight (%" PRIu64 " at most on a connection)\n",
            number(export, "in_flight"), number(export, "in_flight_max"));
    if (ops == 0)
        return;
    fprintf(out, "  %-7s %12s %12s %8s %7s %7s %7s %7s %7s\n", "", "requests", "bytes", "errors",
            "mean", "p50", "p99", "p99.9", "max");
    for (unsigned kind = 0; kind < BRIQ_KINDS; kind++)
        print_kind(export, briq_kind_name(kind), out);
    fprintf(out,
            "  %.1f requests a receive (%" PRIu64 " at most), %.1f replies a send (%" PRIu64
            " at most)\n",
            each(counter(export, "taken"), counter(export, "receives")),
            number(export, "receive_max"), each(ops, counter(export, "sends")),
            number(export, "send_max"));
}

/* ---- people: volumes ------------------------------------------------------------------------- */

static void print_space(struct json_object *export, FILE *out)
{
    char size[3][BRIQ_SIZE_TEXT_MAX];
    struct json_object *store = member(export, "store"), *ratio = member(export, "ratio");
    fprintf(out, "  %s of data stored in %s", briq_size_format(number(export, "mapped"), size[0]),
            briq_size_format(number(export, "stored"), size[1]));
    if (ratio != NULL)
        fprintf(out, ", ratio %.2f", json_object_get_double(ratio));
    fprintf(out, "; %s takes %s, %" PRIu64 " of %" PRIu64 " segments free\n",
            briq_field_true(export, "in_memory") ? "memory" : "the file",
            briq_size_format(number(export, "file"), size[2]), number(store, "segments_free"),
            number(store, "segments_total"));
    if (briq_field_true(store, "failed"))
        fprintf(out, "  a write or flush of the medium failed: read-only until opened again\n");
}

static void print_work(struct json_object *export, FILE *out)
{
    struct json_object *store = member(export, "store");
    char size[BRIQ_SIZE_TEXT_MAX];
    uint64_t flushes = counter(store, "flushes"), rounds = counter(store, "flush_rounds");
    uint64_t checkpoints = counter(store, "checkpoints"), segments = counter(store, "gc_segments");
    fprintf(out,
            "  %" PRIu64 " flush%s in %" PRIu64 " round%s; %" PRIu64 " checkpoint%s; %" PRIu64
            " segment%s collected, %s moved\n",
            flushes, flushes == 1 ? "" : "es", rounds, plural(rounds), checkpoints,
            plural(checkpoints), segments, plural(segments),
            briq_size_format(counter(store, "gc_moved_bytes"), size));
}

static void print_clients(struct json_object *daemon, struct json_object *export, FILE *out)
{
    struct json_object *clients = member(daemon, "clients");
    const char *name = briq_field_text_or_null(export, "name");
    for (size_t i = 0; clients != NULL && i < json_object_array_length(clients); i++) {
        struct json_object *client = json_object_array_get_idx(clients, i);
        const char *of = briq_field_text_or_null(client, "export");
        struct briq_live_name peer;
        if (name == NULL || of == NULL || strcmp(of, name) != 0)
            continue;
        fprintf(out,
                "  client %" PRIu64 ": %s%s, for %" PRIu64 " s, %" PRIu64 " requests, %" PRIu64
                " in flight\n",
                number(client, "id"),
                briq_live_name(briq_field_text_or_null(client, "peer"), 0, &peer),
                briq_field_true(client, "tls") ? ", TLS" : "", number(client, "age_ms") / 1000,
                counter(client, "taken"), number(client, "in_flight"));
    }
}

/* The block device that it is too, if it is one. */
static void print_device(struct json_object *export, FILE *out)
{
    struct json_object *device = member(export, "device"), *threads = member(device, "threads");
    const char *path = device != NULL ? briq_field_text_or_null(device, "path") : NULL;
    if (path == NULL)
        return;
    fprintf(out, "  device %s: %" PRIu64 " queue%s of %" PRIu64 " requests\n", path,
            number(device, "queues"), plural(number(device, "queues")), number(device, "depth"));
    for (size_t i = 0; threads != NULL && i < json_object_array_length(threads); i++) {
        struct json_object *thread = json_object_array_get_idx(threads, i);
        fprintf(out,
                "  queue %" PRIu64 " thread %" PRIu64 ": %" PRIu64 " reads, %" PRIu64
                " writes, %" PRIu64 " flushes, %" PRIu64 " discards, %" PRIu64
                " write-zeroes, %" PRIu64 " errors, %" PRIu64 " waits\n",
                number(thread, "queue"), number(thread, "thread"), counter(thread, "reads"),
                counter(thread, "writes"), counter(thread, "flushes"), counter(thread, "discards"),
                counter(thread, "write_zeroes"), counter(thread, "errors"),
                counter(thread, "waits"));
    }
}

static void print_export(struct json_object *daemon, struct json_object *export, FILE *out)
{
    struct briq_live_name name, volume;
    char size[BRIQ_SIZE_TEXT_MAX];
    uint64_t connections = number(export, "connections");
    fprintf(out, "\n%s  %s, %s%s, %" PRIu64 " connection%s\n",
            briq_live_name(briq_field_text_or_null(export, "name"), 0, &name),
            briq_live_name(briq_field_text_or_null(export, "volume"), 0, &volume),
            briq_size_format(number(export, "size"), size),
            briq_field_true(export, "read_only") ? ", read-only" : "", connections,
            plural(connections));
    print_space(export, out);
    print_work(export, out);
    print_requests(export, out);
    print_clients(daemon, export, out);
    print_device(export, out);
}

/* ---- people: daemons ------------------------------------------------------------------------- */

static void print_threads(struct json_object *daemon, FILE *out)
{
    struct json_object *threads = member(daemon, "threads");
    for (size_t i = 0; threads != NULL && i < json_object_array_length(threads); i++) {
        struct json_object *thread = json_object_array_get_idx(threads, i);
        uint64_t connections = number(thread, "connections"), turns = counter(thread, "turns");
        fprintf(out,
                "  thread %" PRIu64 ": %" PRIu64 " connection%s, %" PRIu64 " turns, %" PRIu64
                " system calls, %.1f completions a turn (%" PRIu64 " at most), %" PRIu64
                " of %" PRIu64 " spins hit\n",
                number(thread, "id"), connections, plural(connections), turns,
                counter(thread, "calls"), each(counter(thread, "completed"), turns),
                number(thread, "completed_max"), counter(thread, "spin_hits"),
                counter(thread, "spins"));
    }
}

void briq_stat_daemon(struct json_object *daemon, FILE *out)
{
    struct briq_live_name control;
    uint64_t up = number(daemon, "uptime_ms") / 1000;
    fprintf(out, "process %" PRIu64 "  %s, for %" PRIu64 ":%02" PRIu64 ":%02" PRIu64 "  %s\n",
            number(daemon, "pid"), briq_field_text_or_null(daemon, "engine"), up / 3600,
            up / 60 % 60, up % 60,
            briq_live_name(briq_field_text_or_null(daemon, "control"), 0, &control));
    uint64_t now = number(daemon, "connections");
    fprintf(out,
            "  %" PRIu64 " connection%s now, %" PRIu64 " so far, %" PRIu64 " refused, %" PRIu64
            " not allowed\n",
            now, plural(now), counter(daemon, "accepted"), counter(daemon, "refused"),
            counter(daemon, "denied"));
    print_threads(daemon, out);
    struct json_object *exports = member(daemon, "exports");
    for (size_t i = 0; exports != NULL && i < json_object_array_length(exports); i++)
        print_export(daemon, json_object_array_get_idx(exports, i), out);
    uint64_t left_out = number(daemon, "clients_left_out");
    if (left_out > 0)
        fprintf(out, "\n%" PRIu64 " connection%s more, left out here\n", left_out,
                plural(left_out));
}

/* ---- rates ----------------------------------------------------------------------------------- */

void briq_stat_rates_head(FILE *out)
{
    fprintf(out, "%-12s %7s %6s %7s %6s %6s %6s %6s %4s %4s %5s\n", "EXPORT", "READ/s", "BYTES",
            "WRITE/s", "BYTES", "FLUSH", "P99 R", "P99 W", "FLY", "ERR", "RATIO");
}

void briq_stat_rates(const struct briq_live_row *row, FILE *out)
{
    char text[8][BRIQ_LIVE_TEXT_MAX], ratio[16] = "-";
    struct briq_live_name name;
    if (isfinite(row->ratio))
        snprintf(ratio, sizeof ratio, "%.*f", row->ratio < 99.95 ? 2 : 0,
                 row->ratio < 99999 ? row->ratio : 99999);
    fprintf(out, "%s %7s %6s %7s %6s %6s %6s %6s %4" PRIu64 " %4s %5s\n",
            briq_live_name(row->name, BRIQ_STAT_NAME_COLUMNS, &name),
            briq_live_rate(row->read_ops, text[0]), briq_live_bytes(row->read_bytes, text[1]),
            briq_live_rate(row->write_ops, text[2]), briq_live_bytes(row->write_bytes, text[3]),
            briq_live_rate(row->flushes, text[4]), briq_live_time(row->p99_read_ns, text[5]),
            briq_live_time(row->p99_write_ns, text[6]), row->in_flight,
            briq_live_rate(row->errors, text[7]), ratio);
}

/* ---- zram ------------------------------------------------------------------------------------ */

void briq_stat_mm(struct json_object *export, FILE *out)
{
    struct json_object *store = member(export, "store");
    const uint64_t block = BRIQ_BLOCK_BYTES, segment = number(store, "segment_bytes");
    const uint64_t figures[] = {
        number(export, "mapped") + number(export, "zero"),         /* orig_data_size */
        number(export, "stored"),                                  /* compr_data_size */
        number(export, "file"),                                    /* mem_used_total */
        number(store, "segments_total") * segment,                 /* mem_limit */
        number(export, "file"),                                    /* mem_used_max */
        (number(export, "fill") + number(export, "zero")) / block, /* same_pages */
        counter(store, "gc_segments") * segment / block,           /* pages_compacted */
        number(export, "raw") / block,                             /* huge_pages */
        counter(store, "incompressible_blocks"),                   /* huge_pages_since */
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(figures); i++)
        fprintf(out, "%s%8" PRIu64, i > 0 ? " " : "", figures[i]);
    fputc('\n', out);
}

void briq_stat_io(struct json_object *export, FILE *out)
{
    fprintf(out, "%8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 "\n",
            kind_counter(export, "read", "errors"), kind_counter(export, "write", "errors"),
            counter(export, "refused"), kind_counter(export, "trim", "bytes") / BRIQ_BLOCK_BYTES);
}
