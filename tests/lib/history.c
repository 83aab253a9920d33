/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/history.h"

#include <stdlib.h>

/* A value's span. Forward: [first end, last begin], it was there all that time. Else backward:
 * [last begin, first end], it was there at some instant in it. */
struct zone {
    uint64_t value, low, high;
};

struct zones {
    struct zone *forward, *backward;
    size_t forward_count, backward_count;
};

static int by_value_writes_first(const void *a, const void *b)
{
    const struct test_event *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (int)y->write - (int)x->write;
}

static int by_low(const void *a, const void *b)
{
    const struct zone *x = a, *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

/* The events of one value, its write first. The initial value was written at time 0. */
static enum test_verdict add_zone(struct zones *zones, const struct test_event *events,
                                  size_t count, uint64_t initial)
{
    bool written = events[0].write;
    if (!written && events[0].value != initial)
        return TEST_VERDICT_UNWRITTEN;
    BRIQ_ASSERT(!written || events[0].value != initial);
    BRIQ_ASSERT(count < 2 || !events[1].write);
    uint64_t write_begin = written ? events[0].begin : 0;
    uint64_t first_end = written ? events[0].end : 0, last_begin = write_begin;
    for (size_t i = written; i < count; i++) {
        if (events[i].end < write_begin)
            return TEST_VERDICT_EARLY;
        if (events[i].end < first_end)
            first_end = events[i].end;
        if (events[i].begin > last_begin)
            last_begin = events[i].begin;
    }
    if (first_end < last_begin)
        zones->forward[zones->forward_count++] =
            (struct zone){.value = events[0].value, .low = first_end, .high = last_begin};
    else
        zones->backward[zones->backward_count++] =
            (struct zone){.value = events[0].value, .low = last_begin, .high = first_end};
    return TEST_VERDICT_LINEAR;
}

static size_t same_value(const struct test_event *events, size_t count)
{
    size_t same = 1;
    while (same < count && events[same].value == events[0].value)
        same++;
    return same;
}

/* The last forward zone that begins before `time`; NULL when there is none. */
static const struct zone *forward_before(const struct zones *zones, uint64_t time)
{
    size_t low = 0, high = zones->forward_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (zones->forward[middle].low < time)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : &zones->forward[low - 1];
}

static enum test_verdict compare_zones(struct zones *zones, uint64_t *ret_value)
{
    qsort(zones->forward, zones->forward_count, sizeof *zones->forward, by_low);
    for (size_t i = 1; i < zones->forward_count; i++) {
        *ret_value = zones->forward[i - 1].value;
        if (zones->forward[i].low < zones->forward[i - 1].high)
            return TEST_VERDICT_STALE;
    }
    for (size_t i = 0; i < zones->backward_count; i++) {
        const struct zone *around = forward_before(zones, zones->backward[i].low);
        *ret_value = zones->backward[i].value;
        if (around != NULL && zones->backward[i].high < around->high)
            return TEST_VERDICT_STALE;
    }
    return TEST_VERDICT_LINEAR;
}

enum test_verdict test_history_judge(struct test_event *events, size_t count, uint64_t initial,
                                     uint64_t *ret_value)
{
    struct zones zones = {
        .forward = calloc(count + 1, sizeof *zones.forward),
        .backward = calloc(count + 1, sizeof *zones.backward),
    };
    BRIQ_ASSERT(zones.forward != NULL && zones.backward != NULL);
    enum test_verdict verdict = TEST_VERDICT_LINEAR;
    qsort(events, count, sizeof *events, by_value_writes_first);
    for (size_t i = 0, same; i < count && verdict == TEST_VERDICT_LINEAR; i += same) {
        same = same_value(events + i, count - i);
        *ret_value = events[i].value;
        verdict = add_zone(&zones, events + i, same, initial);
    }
    if (verdict == TEST_VERDICT_LINEAR)
        verdict = compare_zones(&zones, ret_value);
    free(zones.forward);
    free(zones.backward);
    return verdict;
}

const char *test_verdict_text(enum test_verdict verdict)
{
    static const char *const texts[] = {
        [TEST_VERDICT_LINEAR] = "is in order",
        [TEST_VERDICT_UNWRITTEN] = "was read and never written",
        [TEST_VERDICT_EARLY] = "was read before its write began",
        [TEST_VERDICT_STALE] = "was seen when another had taken its place",
    };
    return texts[verdict];
}
