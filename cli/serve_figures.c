/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/serve_figures.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <math.h>
#include <stdio.h>

#include "cli/volume.h"
#include "common/control/fields.h"

/* A uint64_t of a struct and its key. */
struct figure {
    const char *key;
    size_t offset;
};

#define OF_IO(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct briq_io_stats, name)                                                \
    }
#define OF_STORE(name)                                                                             \
    {                                                                                              \
#name, offsetof(struct briq_stats, name)                                                   \
    }
#define OF_THREAD(name)                                                                            \
    {                                                                                              \
#name, offsetof(struct briq_thread_stats, name)                                            \
    }

static bool add_all(struct json_object *object, const void *from, const struct figure *figures,
                    size_t count)
{
    bool fine = true;
    for (size_t i = 0; i < count; i++) {
        const uint64_t *n = (const uint64_t *)((const char *)from + figures[i].offset);
        fine = fine && briq_field_set_number(object, figures[i].key, *n);
    }
    return fine;
}

/* ---- requests -------------------------------------------------------------------------------- */

static const struct figure io_now[] = {OF_IO(in_flight), OF_IO(in_flight_max), OF_IO(receive_max),
                                       OF_IO(send_max)};
static const struct figure io_counters[] = {OF_IO(hole_bytes), OF_IO(refused),  OF_IO(taken),
                                            OF_IO(abandoned),  OF_IO(receives), OF_IO(sends)};

static bool add_kind(struct json_object *counters, const char *name,
                     const struct briq_kind_stats *kind)
{
    struct json_object *object = json_object_new_object();
    bool fine = briq_field_set_number(object, "ops", kind->ops) &&
                briq_field_set_number(object, "bytes", kind->bytes) &&
                briq_field_set_number(object, "errors", kind->errors);
    return briq_field_set(counters, name, object) && fine;
}

/* By their upper bounds in nanoseconds, those that are not empty. */
static bool add_buckets(struct json_object *counters, const struct briq_histogram *latency)
{
    struct json_object *buckets = json_object_new_object();
    bool fine = true;
    for (unsigned i = 0; i < BRIQ_HISTOGRAM_BUCKETS; i++) {
        uint64_t count = briq_counter_get(&latency->counts[i]);
        char bound[24];
        snprintf(bound, sizeof bound, "%" PRIu64, briq_histogram_bound(i));
        if (count > 0)
            fine = fine && briq_field_set_number(buckets, bound, count);
    }
    return briq_field_set(counters, "buckets", buckets) && fine;
}

static bool add_latency(struct json_object *all, const char *name,
                        const struct briq_kind_stats *kind, const struct briq_histogram *latency)
{
    struct json_object *object = json_object_new_object(), *counters = json_object_new_object();
    bool fine = briq_field_set_number(object, "p50_ns", kind->p50) &&
                briq_field_set_number(object, "p99_ns", kind->p99) &&
                briq_field_set_number(object, "p999_ns", kind->p999) &&
                briq_field_set_number(object, "max_ns", kind->latency_max) &&
                briq_field_set_number(counters, "count", kind->latency_count) &&
                briq_field_set_number(counters, "sum_ns", kind->latency_sum);
    if (latency != NULL)
        fine = fine && add_buckets(counters, latency);
    fine = briq_field_set(object, "counters", counters) && fine;
    return briq_field_set(all, name, object) && fine;
}

bool briq_figures_of_io(struct json_object *object, const struct briq_io_stats *io,
                        const struct briq_histogram *latency, uint64_t connections)
{
    struct json_object *counters = json_object_new_object(), *all = json_object_new_object();
    bool fine = add_all(object, io, io_now, BRIQ_COUNT_OF(io_now)) &&
                add_all(counters, io, io_counters, BRIQ_COUNT_OF(io_counters)) &&
                briq_field_set_number(counters, "connections", connections);
    for (unsigned i = 0; i < BRIQ_KINDS; i++) {
        const struct briq_kind_stats *kind = &io->kinds[i];
        const char *name = briq_kind_name(i);
        fine = fine && add_kind(counters, name, kind);
        if (kind->ops > 0)
            fine = fine && add_latency(all, name, kind, latency != NULL ? &latency[i] : NULL);
    }
    fine = briq_field_set(object, "counters", counters) && fine;
    return briq_field_set(object, "latency", all) && fine;
}

/* ---- volumes --------------------------------------------------------------------------------- */

static const struct figure store_counters[] = {
    OF_STORE(reads),
    OF_STORE(read_bytes),
    OF_STORE(writes),
    OF_STORE(write_bytes),
    OF_STORE(trims),
    OF_STORE(trim_bytes),
    OF_STORE(zeroes),
    OF_STORE(zero_bytes),
    OF_STORE(flushes),
    OF_STORE(flush_rounds),
    OF_STORE(fua_writes),
    OF_STORE(rmw_blocks),
    OF_STORE(rmw_retries),
    OF_STORE(compressed_blocks),
    OF_STORE(incompressible_blocks),
    OF_STORE(compressed_bytes),
    OF_STORE(user_log_bytes),
    OF_STORE(gc_log_bytes),
    OF_STORE(meta_log_bytes),
    OF_STORE(device_reads),
    OF_STORE(device_read_bytes),
    OF_STORE(device_writes),
    OF_STORE(device_flushes),
    OF_STORE(window_reads),
    OF_STORE(cache_hits),
    OF_STORE(cache_misses),
    OF_STORE(gc_segments),
    OF_STORE(gc_moved_blocks),
    OF_STORE(gc_moved_bytes),
    OF_STORE(checkpoints),
    OF_STORE(checkpoint_pages),
    OF_STORE(payload_errors),
    OF_STORE(metadata_errors),
    OF_STORE(enospc),
    OF_STORE(waits_space),
    OF_STORE(waits_window),
    OF_STORE(waits_buffer),
};
static const struct figure store_now[] = {
    OF_STORE(segments_total),    OF_STORE(segments_free),   OF_STORE(segments_pending),
    OF_STORE(segments_bad),      OF_STORE(segment_bytes),   OF_STORE(sequence),
    OF_STORE(durable_sequence),  OF_STORE(flush_batch_max), OF_STORE(checkpoint_ns_last),
    OF_STORE(checkpoint_ns_max),
};

static bool add_ratio(struct json_object *object, const struct briq_stats *stats)
{
    double ratio = briq_volume_ratio(stats->mapped_blocks, stats->fill_blocks, stats->stored_bytes);
    if (isfinite(ratio))
        return briq_field_set(object, "ratio", json_object_new_double(ratio));
    return true; /* there is none */
}

bool briq_figures_of_store(struct json_object *object, const struct briq_stats *stats)
{
    struct json_object *store = json_object_new_object(), *counters = json_object_new_object();
    bool fine = briq_field_set_number(object, "mapped", stats->mapped_blocks * BRIQ_BLOCK_BYTES) &&
                briq_field_set_number(object, "fill", stats->fill_blocks * BRIQ_BLOCK_BYTES) &&
                briq_field_set_number(object, "zero", stats->zero_blocks * BRIQ_BLOCK_BYTES) &&
                briq_field_set_number(object, "raw", stats->raw_blocks * BRIQ_BLOCK_BYTES) &&
                briq_field_set_number(object, "stored", stats->stored_bytes) &&
                briq_field_set_number(object, "meta", stats->meta_bytes) &&
                briq_field_set_number(object, "file", stats->host_bytes) &&
                add_ratio(object, stats) &&
                briq_field_set_bool(store, "failed", stats->latched_error != 0) &&
                add_all(store, stats, store_now, BRIQ_COUNT_OF(store_now)) &&
                add_all(counters, stats, store_counters, BRIQ_COUNT_OF(store_counters));
    fine = briq_field_set(store, "counters", counters) && fine;
    return briq_field_set(object, "store", store) && fine;
}

/* ---- threads --------------------------------------------------------------------------------- */

static const struct figure thread_counters[] = {
    OF_THREAD(turns),        OF_THREAD(calls),         OF_THREAD(submitted),
    OF_THREAD(completed),    OF_THREAD(queue_full),    OF_THREAD(overflows),
    OF_THREAD(spins),        OF_THREAD(spin_hits),     OF_THREAD(sleeps),
    OF_THREAD(wakes),        OF_THREAD(sends_settled), OF_THREAD(sends_partial),
    OF_THREAD(recv_starved),
};

bool briq_figures_of_thread(struct json_object *object, const struct briq_thread_stats *thread,
                            uint64_t number)
{
    struct json_object *counters = json_object_new_object();
    bool fine = briq_field_set_number(object, "id", number) &&
                briq_field_set_number(object, "connections", thread->connections) &&
                briq_field_set_number(object, "completed_max", thread->completed_max) &&
                add_all(counters, thread, thread_counters, BRIQ_COUNT_OF(thread_counters));
    return briq_field_set(object, "counters", counters) && fine;
}
