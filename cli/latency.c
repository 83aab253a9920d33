/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/latency.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/control/fields.h"

static struct json_object *buckets_of(struct json_object *kind)
{
    struct json_object *counters = NULL, *buckets = NULL;
    if (json_object_object_get_ex(kind, "counters", &counters))
        json_object_object_get_ex(counters, "buckets", &buckets);
    return json_object_is_type(buckets, json_type_object) ? buckets : NULL;
}

bool briq_latency_read(struct json_object *kind, struct briq_histogram *ret)
{
    struct json_object *buckets = buckets_of(kind);
    uint64_t largest = 0, max = briq_field_number_or_0(kind, "max_ns");
    *ret = (struct briq_histogram){0};
    if (buckets == NULL)
        return false;
    json_object_object_foreach(buckets, key, value)
    {
        uint64_t bound = strtoull(key, NULL, 10), count = json_object_get_uint64(value);
        briq_counter_add(&ret->counts[briq_histogram_bucket(bound)], count);
        if (count > 0 && bound > largest)
            largest = bound;
    }
    briq_counter_max(&ret->max, largest < max || largest == BRIQ_HISTOGRAM_MAX ? largest : max);
    return largest > 0;
}

static void set_quantile(struct json_object *kind, const char *key, const struct briq_histogram *h,
                         double q)
{
    struct json_object *value = NULL;
    if (json_object_object_get_ex(kind, key, &value))
        json_object_set_uint64(value, briq_histogram_quantile(h, q));
}

/* False: there is nothing to tell. */
static bool refresh_kind(struct json_object *kind)
{
    struct briq_histogram h;
    if (!briq_latency_read(kind, &h))
        return false;
    set_quantile(kind, "p50_ns", &h, 0.5);
    set_quantile(kind, "p99_ns", &h, 0.99);
    set_quantile(kind, "p999_ns", &h, 0.999);
    set_quantile(kind, "max_ns", &h, 1);
    return true;
}

static void refresh_holder(struct json_object *holder)
{
    struct json_object *latency = NULL;
    if (!json_object_object_get_ex(holder, "latency", &latency))
        return;
    struct json_object_iterator at = json_object_iter_begin(latency);
    struct json_object_iterator end = json_object_iter_end(latency);
    bool any = false;
    while (!json_object_iter_equal(&at, &end)) {
        const char *key = json_object_iter_peek_name(&at);
        struct json_object *kind = json_object_iter_peek_value(&at);
        json_object_iter_next(&at);
        if (refresh_kind(kind))
            any = true;
        else
            json_object_object_del(latency, key);
    }
    if (!any)
        json_object_object_del(holder, "latency");
}

static void refresh_list(struct json_object *report, const char *key)
{
    struct json_object *list = NULL;
    if (!json_object_object_get_ex(report, key, &list))
        return;
    for (size_t i = 0; i < json_object_array_length(list); i++)
        refresh_holder(json_object_array_get_idx(list, i));
}

static void refresh_report(struct json_object *report)
{
    refresh_list(report, "exports");
    refresh_list(report, "clients");
}

void briq_latency_refresh(struct json_object *report)
{
    if (json_object_is_type(report, json_type_object))
        refresh_report(report);
    for (size_t i = 0;
         json_object_is_type(report, json_type_array) && i < json_object_array_length(report); i++)
        refresh_report(json_object_array_get_idx(report, i));
}
