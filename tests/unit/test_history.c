/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_history.c - the judge of reads and writes of one block by several threads: it must accept
 * what may happen, and no more. On small random histories it must agree with a plain search.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/base/prng.h"
#include "tests/lib/fixture.h"
#include "tests/lib/history.h"

#define INITIAL    1u
#define EVENTS_MAX 6u
#define HISTORIES  20000u

static struct test_event write_of(uint64_t value, uint64_t begin, uint64_t end)
{
    return (struct test_event){.value = value, .begin = begin, .end = end, .write = true};
}

static struct test_event read_of(uint64_t value, uint64_t begin, uint64_t end)
{
    return (struct test_event){.value = value, .begin = begin, .end = end};
}

#define JUDGE(...)                                                                                 \
    judge((struct test_event[]){__VA_ARGS__},                                                      \
          sizeof(struct test_event[]){__VA_ARGS__} / sizeof(struct test_event))

static enum test_verdict judge(struct test_event *events, size_t count)
{
    uint64_t value;
    return test_history_judge(events, count, INITIAL, &value);
}

static void reads_during_a_write_see_either_value(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(write_of(2, 1, 6), read_of(2, 2, 3)), TEST_VERDICT_LINEAR);
    assert_int_equal(JUDGE(write_of(2, 1, 6), read_of(INITIAL, 2, 3)), TEST_VERDICT_LINEAR);
    assert_int_equal(JUDGE(write_of(2, 1, 6), read_of(INITIAL, 2, 3), read_of(2, 4, 5)),
                     TEST_VERDICT_LINEAR);
}

static void once_seen_a_value_stays(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(write_of(2, 1, 6), read_of(2, 2, 3), read_of(INITIAL, 4, 5)),
                     TEST_VERDICT_STALE);
}

static void what_was_acknowledged_is_read(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(write_of(2, 1, 2), read_of(2, 3, 4)), TEST_VERDICT_LINEAR);
    assert_int_equal(JUDGE(write_of(2, 1, 2), read_of(INITIAL, 3, 4)), TEST_VERDICT_STALE);
    assert_int_equal(JUDGE(write_of(2, 1, 2), write_of(3, 3, 4), read_of(2, 5, 6)),
                     TEST_VERDICT_STALE);
}

static void two_readers_see_one_order(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(write_of(2, 1, 20), write_of(3, 2, 19), read_of(2, 3, 4),
                           read_of(3, 5, 6), read_of(3, 7, 8)),
                     TEST_VERDICT_LINEAR);
    assert_int_equal(JUDGE(write_of(2, 1, 20), write_of(3, 2, 19), read_of(2, 3, 4),
                           read_of(3, 5, 6), read_of(2, 7, 8)),
                     TEST_VERDICT_STALE);
}

static void nothing_comes_from_nowhere_or_the_future(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(read_of(7, 1, 2)), TEST_VERDICT_UNWRITTEN);
    assert_int_equal(JUDGE(read_of(2, 1, 2), write_of(2, 3, 4)), TEST_VERDICT_EARLY);
}

/* ---- beside a plain search --------------------------------------------------------------------
 */

/* Whether the events that are not in `placed` can follow, with `value` in the block. */
static bool can_follow(const struct test_event *events, unsigned count, unsigned placed,
                       uint64_t value)
{
    if (placed == (1u << count) - 1)
        return true;
    for (unsigned i = 0; i < count; i++) {
        bool next = (placed & 1u << i) == 0 && (events[i].write || events[i].value == value);
        for (unsigned j = 0; j < count; j++)
            next = next && ((placed & 1u << j) != 0 || events[j].end >= events[i].begin);
        if (next && can_follow(events, count, placed | 1u << i, events[i].value))
            return true;
    }
    return false;
}

/* Intervals with ends that are all different, in a random order. */
static void draw_times(struct briq_prng *prng, struct test_event *events, unsigned count)
{
    uint64_t times[2 * EVENTS_MAX];
    for (unsigned i = 0; i < 2 * count; i++) {
        unsigned j = (unsigned)briq_prng_below(prng, i + 1);
        times[i] = times[j];
        times[j] = i + 1;
    }
    for (unsigned i = 0; i < count; i++) {
        uint64_t a = times[2 * i], b = times[2 * i + 1];
        events[i].begin = a < b ? a : b;
        events[i].end = a < b ? b : a;
    }
}

static void the_judge_agrees_with_a_search(void **state)
{
    (void)state;
    struct briq_prng prng = {.state = test_seed("build/tests/unit/test_history")};
    unsigned linear = 0;
    for (unsigned n = 0; n < HISTORIES; n++) {
        struct test_event events[EVENTS_MAX];
        unsigned count = 2 + (unsigned)briq_prng_below(&prng, EVENTS_MAX - 1), writes = 0;
        for (unsigned i = 0; i < count; i++) {
            bool write = briq_prng_below(&prng, 2) == 0;
            writes += write;
            events[i] = write ? write_of(INITIAL + writes, 0, 0)
                              : read_of(INITIAL + briq_prng_below(&prng, writes + 1), 0, 0);
        }
        draw_times(&prng, events, count);
        bool possible = can_follow(events, count, 0, INITIAL);
        bool accepted = judge(events, count) == TEST_VERDICT_LINEAR;
        if (possible != accepted)
            fail_msg("history %u of %u events: %s by the search, %s by the judge", n, count,
                     possible ? "possible" : "impossible", accepted ? "accepted" : "refused");
        linear += accepted;
    }
    assert_in_range(linear, HISTORIES / 10, HISTORIES / 10 * 9);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_during_a_write_see_either_value),
        cmocka_unit_test(once_seen_a_value_stays),
        cmocka_unit_test(what_was_acknowledged_is_read),
        cmocka_unit_test(two_readers_see_one_order),
        cmocka_unit_test(nothing_comes_from_nowhere_or_the_future),
        cmocka_unit_test(the_judge_agrees_with_a_search),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
