/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/serve_snapshot.h"

#include <json-c/json.h>
#include <string.h>

#include "common/control/fields.h"

#define DEPTH_MAX 16u

static void subtract_counters(struct json_object *now, struct json_object *then, unsigned depth);

static void subtract_number(struct json_object *now, struct json_object *then)
{
    uint64_t a = json_object_get_uint64(now), b = json_object_get_uint64(then);
    json_object_set_uint64(now, a > b ? a - b : 0);
}

static void subtract_members(struct json_object *now, struct json_object *then, unsigned depth)
{
    json_object_object_foreach(now, key, value)
    {
        struct json_object *old = NULL;
        if (json_object_object_get_ex(then, key, &old))
            subtract_counters(value, old, depth);
    }
}

static void subtract_places(struct json_object *now, struct json_object *then, unsigned depth)
{
    size_t count = json_object_array_length(now), old = json_object_array_length(then);
    for (size_t i = 0; i < count && i < old; i++)
        subtract_counters(json_object_array_get_idx(now, i), json_object_array_get_idx(then, i),
                          depth);
}

static void subtract_counters(struct json_object *now, struct json_object *then, unsigned depth)
{
    enum json_type type = json_object_get_type(now);
    if (depth == DEPTH_MAX || type != json_object_get_type(then))
        return;
    if (type == json_type_int)
        subtract_number(now, then);
    else if (type == json_type_object)
        subtract_members(now, then, depth + 1);
    else if (type == json_type_array)
        subtract_places(now, then, depth + 1);
}

/* ---- finding them ---------------------------------------------------------------------------- */

static void look(struct json_object *now, struct json_object *then, unsigned depth);

static struct json_object *find_id(struct json_object *array, uint64_t id)
{
    for (size_t i = 0; i < json_object_array_length(array); i++) {
        struct json_object *element = json_object_array_get_idx(array, i);
        if (json_object_is_type(element, json_type_object) &&
            briq_field_number_or_0(element, "id") == id)
            return element;
    }
    return NULL;
}

static void look_at_array(struct json_object *now, struct json_object *then, unsigned depth)
{
    for (size_t i = 0; i < json_object_array_length(now); i++) {
        struct json_object *element = json_object_array_get_idx(now, i), *old = NULL;
        if (json_object_is_type(element, json_type_object))
            old = find_id(then, briq_field_number_or_0(element, "id"));
        if (old != NULL)
            look(element, old, depth);
    }
}

static void look_at_object(struct json_object *now, struct json_object *then, unsigned depth)
{
    json_object_object_foreach(now, key, value)
    {
        struct json_object *old = NULL;
        if (!json_object_object_get_ex(then, key, &old))
            continue;
        if (strcmp(key, "counters") == 0)
            subtract_counters(value, old, depth);
        else
            look(value, old, depth);
    }
}

static void look(struct json_object *now, struct json_object *then, unsigned depth)
{
    enum json_type type = json_object_get_type(now);
    if (depth == DEPTH_MAX || type != json_object_get_type(then))
        return;
    if (type == json_type_object)
        look_at_object(now, then, depth + 1);
    else if (type == json_type_array)
        look_at_array(now, then, depth + 1);
}

void briq_snapshot_subtract(struct json_object *now, struct json_object *then)
{
    look(now, then, 0);
}
