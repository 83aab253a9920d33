/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fields.h - takes the fields of a request, or of an answer, and says clearly what is wrong with
 * them; and sets them.
 *
 * Taking: a field that is missing, or null, leaves *ret as it is. 0, or -EINVAL explained in err: it
 * is there, and of another type or out of range. Thread: any.
 */
#ifndef BRIQ_CONTROL_FIELDS_H
#define BRIQ_CONTROL_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/error.h"

struct json_object;

/* *ret is valid as long as the object. A text with a zero in it is refused. */
int briq_field_text(struct json_object *object, const char *key, const char **ret,
                    struct briq_error *err) BRIQ_MUST;
int briq_field_bool(struct json_object *object, const char *key, bool *ret,
                    struct briq_error *err) BRIQ_MUST;
/* A whole number, not negative. */
int briq_field_number(struct json_object *object, const char *key, uint64_t *ret,
                      struct briq_error *err) BRIQ_MUST;

/* Sets a field. False: there is no memory; object may be NULL, which also is false. */
bool briq_field_set_text(struct json_object *object, const char *key, const char *text) BRIQ_MUST;
bool briq_field_set_bool(struct json_object *object, const char *key, bool b) BRIQ_MUST;
bool briq_field_set_number(struct json_object *object, const char *key, uint64_t n) BRIQ_MUST;
/* Takes the value over, also on failure; NULL: there was no memory for it. */
bool briq_field_set(struct json_object *object, const char *key,
                    struct json_object *value) BRIQ_MUST;
/* The same for an array. */
bool briq_field_append(struct json_object *array, struct json_object *value) BRIQ_MUST;

/* For answers, which are believed: NULL, 0 or false for what is not there. */
bool briq_field_true(struct json_object *object, const char *key);
const char *briq_field_text_or_null(struct json_object *object, const char *key);
uint64_t briq_field_number_or_0(struct json_object *object, const char *key);

#endif
