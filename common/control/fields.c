/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/control/fields.h"

#include <errno.h>
#include <json-c/json.h>
#include <stddef.h>
#include <string.h>

/* The field of that type; NULL: not there. */
static int find(struct json_object *object, const char *key, enum json_type type, const char *what,
                struct json_object **ret, struct briq_error *err)
{
    struct json_object *value = NULL;
    *ret = NULL;
    if (!json_object_object_get_ex(object, key, &value) || value == NULL)
        return 0;
    if (!json_object_is_type(value, type))
        return briq_error_set(err, -EINVAL, "\"%s\" is not %s", key, what);
    *ret = value;
    return 0;
}

int briq_field_text(struct json_object *object, const char *key, const char **ret,
                    struct briq_error *err)
{
    struct json_object *value;
    int r = find(object, key, json_type_string, "a text", &value, err);
    if (value == NULL)
        return r;
    const char *text = json_object_get_string(value);
    if (strlen(text) != (size_t)json_object_get_string_len(value))
        return briq_error_set(err, -EINVAL, "\"%s\" has a zero in it", key);
    *ret = text;
    return 0;
}

int briq_field_bool(struct json_object *object, const char *key, bool *ret, struct briq_error *err)
{
    struct json_object *value;
    int r = find(object, key, json_type_boolean, "true or false", &value, err);
    if (value != NULL)
        *ret = json_object_get_boolean(value);
    return r;
}

int briq_field_number(struct json_object *object, const char *key, uint64_t *ret,
                      struct briq_error *err)
{
    struct json_object *value;
    int r = find(object, key, json_type_int, "a whole number", &value, err);
    if (value == NULL)
        return r;
    if (json_object_get_int64(value) < 0)
        return briq_error_set(err, -EINVAL, "\"%s\" is negative", key);
    *ret = json_object_get_uint64(value);
    return 0;
}

const char *briq_field_text_or_null(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(object, key, &value) ? json_object_get_string(value) : NULL;
}

uint64_t briq_field_number_or_0(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(object, key, &value) ? json_object_get_uint64(value) : 0;
}

bool briq_field_true(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(object, key, &value) && json_object_get_boolean(value);
}

/* ---- setting --------------------------------------------------------------------------------- */

bool briq_field_set(struct json_object *object, const char *key, struct json_object *value)
{
    if (object != NULL && value != NULL && json_object_object_add(object, key, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

bool briq_field_append(struct json_object *array, struct json_object *value)
{
    if (array != NULL && value != NULL && json_object_array_add(array, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

bool briq_field_set_text(struct json_object *object, const char *key, const char *text)
{
    return briq_field_set(object, key, json_object_new_string(text));
}

bool briq_field_set_bool(struct json_object *object, const char *key, bool b)
{
    return briq_field_set(object, key, json_object_new_boolean(b));
}

bool briq_field_set_number(struct json_object *object, const char *key, uint64_t n)
{
    return briq_field_set(object, key, json_object_new_uint64(n));
}
