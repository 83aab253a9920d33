/* SPDX-License-Identifier: BSD-3-Clause */
/* test_snapshot.c - counters are what they are more than before, and nothing else is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "cli/serve_snapshot.h"

static void expect_difference(const char *now, const char *then, const char *want)
{
    struct json_object *a = json_tokener_parse(now);
    struct json_object *b = then != NULL ? json_tokener_parse(then) : NULL;
    struct json_object *c = json_tokener_parse(want);
    assert_non_null(a);
    assert_non_null(c);
    briq_snapshot_subtract(a, b);
    if (!json_object_equal(a, c))
        fail_msg("%s and not %s", json_object_to_json_string(a), want);
    json_object_put(a);
    json_object_put(b);
    json_object_put(c);
}

static void counters_lose_what_they_were(void **state)
{
    (void)state;
    expect_difference("{'size': 7, 'counters': {'reads': 10, 'deep': {'x': 5}}}",
                      "{'size': 3, 'counters': {'reads': 4, 'deep': {'x': 5}}}",
                      "{'size': 7, 'counters': {'reads': 6, 'deep': {'x': 0}}}");
}

static void histograms_are_subtracted_by_place(void **state)
{
    (void)state;
    expect_difference("{'counters': {'latency': [5, 6, 7]}}", "{'counters': {'latency': [1, 2]}}",
                      "{'counters': {'latency': [4, 4, 7]}}");
}

static void exports_are_matched_by_their_id(void **state)
{
    (void)state;
    expect_difference(
        "{'exports': [{'id': 3, 'counters': {'r': 9}}, {'id': 2, 'counters': {'r': 8}}]}",
        "{'exports': [{'id': 1, 'counters': {'r': 1}}, {'id': 2, 'counters': {'r': 2}}]}",
        "{'exports': [{'id': 3, 'counters': {'r': 9}}, {'id': 2, 'counters': {'r': 6}}]}");
}

static void what_has_no_match_stays(void **state)
{
    (void)state;
    static const char now[] = "{'counters': {'a': 5, 'b': [1], 'c': 'text', 'd': 1.5}, 'n': null}";
    expect_difference(now, NULL, now);
    expect_difference(now, "{}", now);
    expect_difference(now, "{'counters': {'a': 'x', 'b': 3, 'c': 'other', 'd': 1.0}}", now);
    /* Never below zero: it was another counter of that name. */
    expect_difference("{'counters': {'a': 5}}", "{'counters': {'a': 6}}", "{'counters': {'a': 0}}");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_lose_what_they_were),
        cmocka_unit_test(histograms_are_subtracted_by_place),
        cmocka_unit_test(exports_are_matched_by_their_id),
        cmocka_unit_test(what_has_no_match_stays),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
