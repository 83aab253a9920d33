/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * metrics.c - one table a group of metrics: adding a line to a table is all there is to do.
 *
 * All samples of a metric must stand together, so the outer loop is over metrics and the inner one
 * over exports or threads.
 */
#include "server/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"

/* Bounds of the histograms' buckets: powers of two, 1.024 microseconds to 17.2 seconds. */
#define BOUND_FIRST 10u
#define BOUND_LAST  34u

enum unit {
    UNIT_ONE,
    UNIT_BLOCKS,      /* told in bytes */
    UNIT_NANOSECONDS, /* told in seconds */
};

struct metric {
    const char *name, *help;
    size_t offset; /* of a uint64_t */
    enum unit unit;
};

static bool is_counter(const char *name)
{
    size_t len = strlen(name);
    return len > 6 && strcmp(name + len - 6, "_total") == 0;
}

static void put_head(FILE *out, const char *name, const char *help, const char *type)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_head_of(FILE *out, const struct metric *metric)
{
    put_head(out, metric->name, metric->help, is_counter(metric->name) ? "counter" : "gauge");
}

static void put_seconds(FILE *out, uint64_t ns)
{
    fprintf(out, "%" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000u, ns % 1000000000u);
}

static void put_value(FILE *out, const struct metric *metric, const void *from)
{
    uint64_t n = *(const uint64_t *)((const char *)from + metric->offset);
    if (metric->unit == UNIT_NANOSECONDS)
        put_seconds(out, n);
    else
        fprintf(out, "%" PRIu64 "\n", metric->unit == UNIT_BLOCKS ? n * BRIQ_BLOCK_BYTES : n);
}

/* ---- labels ---------------------------------------------------------------------------------- */

/* Names of files may be any bytes; what is not UTF-8 is told as %XX. */
static void put_label(FILE *out, const char *name, const char *value)
{
    size_t left = strlen(value);
    fprintf(out, "%s=\"", name);
    for (const char *c = value; left > 0;) {
        unsigned len = briq_utf8_length(c, left), step = len > 0 ? len : 1;
        if (len == 0)
            fprintf(out, "%%%02X", (unsigned char)*c);
        else if (*c == '\n')
            fputs("\\n", out);
        else if (*c == '\\' || *c == '"')
            fprintf(out, "\\%c", *c);
        else
            fwrite(c, 1, len, out);
        c += step;
        left -= step;
    }
    fputc('"', out);
}

static void put_export(FILE *out, const char *name, const struct briq_export_stats *export)
{
    fprintf(out, "%s{", name);
    put_label(out, "export", export->name);
    fputc(',', out);
    put_label(out, "volume", export->source);
}

/* ---- the server and its threads -------------------------------------------------------------- */

#define THREAD(name, text, field)                                                                  \
    {                                                                                              \
        name, text, offsetof(struct briq_thread_stats, field), UNIT_ONE                            \
    }

static const struct metric thread_metrics[] = {
    THREAD("briq_ring_turns_total", "Times the thread waited for completions.", turns),
    THREAD("briq_ring_calls_total", "System calls into io_uring.", calls),
    THREAD("briq_ring_submissions_total", "Requests to the kernel.", submitted),
    THREAD("briq_ring_completions_total", "Completions from the kernel.", completed),
    THREAD("briq_ring_turn_completions_max", "Most completions in a turn.", completed_max),
    THREAD("briq_ring_queue_full_total", "Submissions forced in the middle of a turn.", queue_full),
    THREAD("briq_ring_overflows_total", "Times the kernel kept completions back.", overflows),
    THREAD("briq_ring_spins_total", "Times the thread looked for more before sleeping.", spins),
    THREAD("briq_ring_spin_hits_total", "Spins that were not in vain.", spin_hits),
    THREAD("briq_ring_sleeps_total", "Times the thread slept.", sleeps),
    THREAD("briq_ring_wakes_total", "Times another thread woke it.", wakes),
    THREAD("briq_ring_sends_whole_total", "Sends that the socket took at once.", sends_settled),
    THREAD("briq_ring_sends_partial_total", "Sends that had to wait for the peer.", sends_partial),
    THREAD("briq_ring_receives_starved_total", "Receives that found no buffer.", recv_starved),
};

static void put_one(FILE *out, const char *name, const char *help, uint64_t n)
{
    put_head(out, name, help, is_counter(name) ? "counter" : "gauge");
    fprintf(out, "%s %" PRIu64 "\n", name, n);
}

static void put_server(FILE *out, const struct briq_server_stats *stats, const char *engine)
{
    put_head(out, "briq_info", "The server; always 1.", "gauge");
    fputs("briq_info{", out);
    put_label(out, "version", briq_version());
    fputc(',', out);
    put_label(out, "engine", engine);
    fputs("} 1\n", out);
    put_head(out, "briq_uptime_seconds", "Since the server started.", "gauge");
    fputs("briq_uptime_seconds ", out);
    put_seconds(out, stats->uptime_ns);
    put_one(out, "briq_connections", "Connections now, those in their handshake among them.",
            stats->connections);
    put_one(out, "briq_connections_accepted_total", "Connections taken in.", stats->accepted);
    put_one(out, "briq_connections_refused_total", "Connections closed, there being too many.",
            stats->refused);
    put_one(out, "briq_connections_denied_total", "Connections of clients that are not allowed.",
            stats->denied);
}

static void put_threads(FILE *out, const struct briq_server_stats *stats)
{
    for (size_t m = 0; stats->thread_count > 0 && m < BRIQ_COUNT_OF(thread_metrics); m++) {
        const struct metric *metric = &thread_metrics[m];
        put_head_of(out, metric);
        for (size_t i = 0; i < stats->thread_count; i++) {
            fprintf(out, "%s{thread=\"%zu\"} ", metric->name, i + 1);
            put_value(out, metric, &stats->threads[i]);
        }
    }
}

/* ---- exports --------------------------------------------------------------------------------- */

#define EXPORT(name, text, field)                                                                  \
    {                                                                                              \
        name, text, offsetof(struct briq_export_stats, field), UNIT_ONE                            \
    }
#define STORE(name, text, field, unit)                                                             \
    {                                                                                              \
        name, text, offsetof(struct briq_export_stats, store.field), unit                          \
    }

static const struct metric export_metrics[] = {
    EXPORT("briq_export_connections_total", "Connections that chose the export.",
           connections_total),
    EXPORT("briq_export_requests_in_flight", "Requests taken in and not answered.", io.in_flight),
    EXPORT("briq_export_requests_in_flight_max", "The most of that on one connection.",
           io.in_flight_max),
    EXPORT("briq_export_requests_taken_total", "Requests taken in.", io.taken),
    EXPORT("briq_export_requests_refused_total", "Requests that made no sense.", io.refused),
    EXPORT("briq_export_requests_abandoned_total", "Requests whose client left before the answer.",
           io.abandoned),
    EXPORT("briq_export_read_hole_bytes_total", "Bytes read that were answered without data.",
           io.hole_bytes),
    EXPORT("briq_export_receives_total", "Receives that brought something.", io.receives),
    EXPORT("briq_export_receive_requests_max", "Most requests out of one receive.", io.receive_max),
    EXPORT("briq_export_sends_total", "Sends that carried replies.", io.sends),
    EXPORT("briq_export_send_replies_max", "Most replies in one send.", io.send_max),
    STORE("briq_volume_size_bytes", "Size that clients see.", size_bytes, UNIT_ONE),
    STORE("briq_volume_mapped_bytes", "Blocks with data.", mapped_blocks, UNIT_BLOCKS),
    STORE("briq_volume_fill_bytes", "Of those, blocks of one pattern, which take no space.",
          fill_blocks, UNIT_BLOCKS),
    STORE("briq_volume_zero_bytes", "Blocks of zeros that were written.", zero_blocks, UNIT_BLOCKS),
    STORE("briq_volume_stored_bytes", "What live data takes, compressed.", stored_bytes, UNIT_ONE),
    STORE("briq_volume_metadata_bytes", "What the live map takes.", meta_bytes, UNIT_ONE),
    STORE("briq_volume_medium_bytes", "What the file or memory takes.", host_bytes, UNIT_ONE),
    STORE("briq_volume_segment_bytes", "Size of a segment.", segment_bytes, UNIT_ONE),
    STORE("briq_volume_segments", "Segments.", segments_total, UNIT_ONE),
    STORE("briq_volume_segments_free", "Segments that are free.", segments_free, UNIT_ONE),
    STORE("briq_volume_segments_pending", "Segments that a checkpoint will free.", segments_pending,
          UNIT_ONE),
    STORE("briq_volume_segments_bad", "Segments given up after errors.", segments_bad, UNIT_ONE),
    STORE("briq_volume_flushes_total", "Flushes asked for.", flushes, UNIT_ONE),
    STORE("briq_volume_flush_rounds_total", "Rounds that did them.", flush_rounds, UNIT_ONE),
    STORE("briq_volume_flush_round_requests_max", "Most flushes done by one round.",
          flush_batch_max, UNIT_ONE),
    STORE("briq_volume_fua_writes_total", "Writes that had to be durable at once.", fua_writes,
          UNIT_ONE),
    STORE("briq_volume_rmw_blocks_total", "Blocks that were written in part.", rmw_blocks,
          UNIT_ONE),
    STORE("briq_volume_compressed_blocks_total", "Blocks that were compressed.", compressed_blocks,
          UNIT_ONE),
    STORE("briq_volume_incompressible_blocks_total", "Blocks that were kept as they are.",
          incompressible_blocks, UNIT_ONE),
    STORE("briq_volume_written_client_bytes_total", "Written to the medium for clients.",
          user_log_bytes, UNIT_ONE),
    STORE("briq_volume_written_gc_bytes_total", "Written by garbage collection.", gc_log_bytes,
          UNIT_ONE),
    STORE("briq_volume_written_checkpoint_bytes_total", "Written by checkpoints.", meta_log_bytes,
          UNIT_ONE),
    STORE("briq_volume_device_reads_total", "Reads of the medium.", device_reads, UNIT_ONE),
    STORE("briq_volume_device_read_bytes_total", "Bytes of those.", device_read_bytes, UNIT_ONE),
    STORE("briq_volume_device_writes_total", "Writes to the medium.", device_writes, UNIT_ONE),
    STORE("briq_volume_device_flushes_total", "Flushes of the medium.", device_flushes, UNIT_ONE),
    STORE("briq_volume_cache_hits_total", "Blocks found in the cache.", cache_hits, UNIT_ONE),
    STORE("briq_volume_cache_misses_total", "Blocks not found there.", cache_misses, UNIT_ONE),
    STORE("briq_volume_gc_segments_total", "Segments that were collected.", gc_segments, UNIT_ONE),
    STORE("briq_volume_gc_moved_blocks_total", "Blocks that were moved for it.", gc_moved_blocks,
          UNIT_ONE),
    STORE("briq_volume_gc_moved_bytes_total", "Bytes of those, compressed.", gc_moved_bytes,
          UNIT_ONE),
    STORE("briq_volume_checkpoints_total", "Checkpoints.", checkpoints, UNIT_ONE),
    STORE("briq_volume_checkpoint_last_seconds", "How long the last one took.", checkpoint_ns_last,
          UNIT_NANOSECONDS),
    STORE("briq_volume_checkpoint_max_seconds", "How long the longest one took.", checkpoint_ns_max,
          UNIT_NANOSECONDS),
    STORE("briq_volume_payload_errors_total", "Blocks whose data was damaged.", payload_errors,
          UNIT_ONE),
    STORE("briq_volume_metadata_errors_total", "Damage of the metadata.", metadata_errors,
          UNIT_ONE),
    STORE("briq_volume_out_of_space_total", "Operations that found no space.", enospc, UNIT_ONE),
    STORE("briq_volume_space_waits_total", "Operations that waited for a segment.", waits_space,
          UNIT_ONE),
    STORE("briq_volume_window_waits_total", "Operations that waited for a window.", waits_window,
          UNIT_ONE),
};

static void put_numbers(FILE *out, const struct briq_server_stats *stats)
{
    for (size_t m = 0; m < BRIQ_COUNT_OF(export_metrics); m++) {
        const struct metric *metric = &export_metrics[m];
        put_head_of(out, metric);
        for (size_t i = 0; i < stats->export_count; i++) {
            put_export(out, metric->name, &stats->exports[i]);
            fputs("} ", out);
            put_value(out, metric, &stats->exports[i]);
        }
    }
}

static double ratio_of(const struct briq_stats *s)
{
    uint64_t blocks = s->mapped_blocks > s->fill_blocks ? s->mapped_blocks - s->fill_blocks : 0;
    return (double)blocks * BRIQ_BLOCK_BYTES / (double)s->stored_bytes;
}

/* What is no uint64_t. */
static void put_rest(FILE *out, const struct briq_server_stats *stats)
{
    static const char connections[] = "briq_export_connections";
    static const char ratio[] = "briq_volume_compression_ratio";
    static const char writable[] = "briq_volume_writable";
    put_head(out, connections, "Connections now.", "gauge");
    for (size_t i = 0; i < stats->export_count; i++) {
        put_export(out, connections, &stats->exports[i]);
        fprintf(out, "} %u\n", stats->exports[i].connections);
    }
    put_head(out, writable, "1, or 0: opened read-only, or made so by a failure.", "gauge");
    for (size_t i = 0; i < stats->export_count; i++) {
        put_export(out, writable, &stats->exports[i]);
        fprintf(out, "} %d\n", !stats->exports[i].read_only);
    }
    put_head(out, ratio, "Data that is not a pattern, over what it takes. Missing: there is none.",
             "gauge");
    for (size_t i = 0; i < stats->export_count; i++) {
        if (stats->exports[i].store.stored_bytes == 0)
            continue;
        put_export(out, ratio, &stats->exports[i]);
        fprintf(out, "} %.6f\n", ratio_of(&stats->exports[i].store));
    }
}

/* ---- requests by kind ------------------------------------------------------------------------ */

#define KIND(name, text, field)                                                                    \
    {                                                                                              \
        name, text, offsetof(struct briq_kind_stats, field), UNIT_ONE                              \
    }

static const struct metric kind_metrics[] = {
    KIND("briq_export_requests_total", "Requests answered.", ops),
    KIND("briq_export_request_bytes_total", "Bytes of those that succeeded, as asked for.", bytes),
    KIND("briq_export_request_errors_total", "Requests answered with an error.", errors),
};

static void put_kinds(FILE *out, const struct briq_server_stats *stats)
{
    for (size_t m = 0; m < BRIQ_COUNT_OF(kind_metrics); m++) {
        const struct metric *metric = &kind_metrics[m];
        put_head_of(out, metric);
        for (size_t i = 0; i < stats->export_count; i++) {
            for (unsigned kind = 0; kind < BRIQ_KINDS; kind++) {
                put_export(out, metric->name, &stats->exports[i]);
                fprintf(out, ",kind=\"%s\"} ", briq_kind_name(kind));
                put_value(out, metric, &stats->exports[i].io.kinds[kind]);
            }
        }
    }
}

static void put_histogram(FILE *out, const char *name, const struct briq_export_stats *export,
                          unsigned kind)
{
    const struct briq_histogram *latency = &export->latency[kind];
    char part[64];
    for (unsigned bit = BOUND_FIRST; bit <= BOUND_LAST + 1; bit++) {
        bool last = bit > BOUND_LAST;
        uint64_t bound = UINT64_C(1) << bit;
        snprintf(part, sizeof part, "%s_bucket", name);
        put_export(out, part, export);
        snprintf(part, sizeof part, last ? "+Inf" : "%.9g", (double)bound / 1e9);
        fprintf(out, ",kind=\"%s\",le=\"%s\"} %" PRIu64 "\n", briq_kind_name(kind), part,
                last ? briq_histogram_count(latency) : briq_histogram_at_most(latency, bound));
    }
    snprintf(part, sizeof part, "%s_sum", name);
    put_export(out, part, export);
    fprintf(out, ",kind=\"%s\"} ", briq_kind_name(kind));
    put_seconds(out, briq_counter_get(&latency->sum));
    snprintf(part, sizeof part, "%s_count", name);
    put_export(out, part, export);
    fprintf(out, ",kind=\"%s\"} %" PRIu64 "\n", briq_kind_name(kind),
            briq_histogram_count(latency));
}

static void put_latencies(FILE *out, const struct briq_server_stats *stats)
{
    static const char name[] = "briq_export_request_duration_seconds";
    put_head(out, name, "From taking a request in to handing its reply to the socket.",
             "histogram");
    for (size_t i = 0; i < stats->export_count; i++)
        for (unsigned kind = 0; kind < BRIQ_KINDS; kind++)
            put_histogram(out, name, &stats->exports[i], kind);
}

int briq_metrics_text(const struct briq_server_stats *stats, const char *engine, char **ret,
                      size_t *ret_len)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return -ENOMEM;
    put_server(out, stats, engine);
    put_threads(out, stats);
    put_numbers(out, stats);
    put_rest(out, stats);
    put_kinds(out, stats);
    put_latencies(out, stats);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return -ENOMEM;
    }
    *ret = text;
    *ret_len = len;
    return 0;
}
