/* SPDX-License-Identifier: BSD-3-Clause */
/* test_histogram.c - a histogram tells what sorting all values tells, within its stated bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/histogram.h"
#include "common/base/prng.h"

#define VALUES 20000u

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The value that a share q of the sorted ones does not exceed. */
static uint64_t exact_quantile(const uint64_t *sorted, size_t count, double q)
{
    size_t rank = (size_t)(q * (double)count);
    if ((double)rank < q * (double)count)
        rank++;
    if (rank == 0)
        rank = 1;
    return sorted[(rank < count ? rank : count) - 1];
}

static void assert_near(uint64_t told, uint64_t exact)
{
    assert_true(told >= exact);
    assert_true(told - exact <= (exact > 0 ? exact / 16 : 1));
}

static void assert_quantiles(const struct briq_histogram *h, uint64_t *values, size_t count)
{
    static const double shares[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
    qsort(values, count, sizeof values[0], compare);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
        assert_near(briq_histogram_quantile(h, shares[i]),
                    exact_quantile(values, count, shares[i]));
    assert_int_equal(briq_histogram_quantile(h, 1), values[count - 1]);
}

/* ---- buckets --------------------------------------------------------------------------------- */

static void every_value_is_below_its_bound(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BRIQ_HISTOGRAM_BUCKETS; i++) {
        uint64_t bound = briq_histogram_bound(i);
        assert_int_equal(briq_histogram_bucket(bound), i);
        if (i + 1 < BRIQ_HISTOGRAM_BUCKETS)
            assert_int_equal(briq_histogram_bucket(bound + 1), i + 1);
    }
    assert_int_equal(briq_histogram_bucket(0), 0);
    assert_int_equal(briq_histogram_bound(BRIQ_HISTOGRAM_BUCKETS - 1), BRIQ_HISTOGRAM_MAX);
    assert_int_equal(briq_histogram_bucket(UINT64_MAX), BRIQ_HISTOGRAM_BUCKETS - 1);
}

static void powers_of_two_are_bounds(void **state)
{
    (void)state;
    struct briq_histogram h = {0};
    for (unsigned bit = 0; bit <= BRIQ_HISTOGRAM_MAX_BITS; bit++) {
        briq_histogram_add(&h, UINT64_C(1) << bit, 1);
        assert_int_equal(briq_histogram_at_most(&h, UINT64_C(1) << bit), bit + 1);
    }
    assert_int_equal(briq_histogram_at_most(&h, 1024), 11);
    briq_histogram_add(&h, 1025, 1);
    assert_int_equal(briq_histogram_at_most(&h, 1024), 11);
}

/* ---- quantiles ------------------------------------------------------------------------------- */

static void fill(struct briq_histogram *h, uint64_t *values, size_t count, unsigned bits,
                 struct briq_prng *prng)
{
    for (size_t i = 0; i < count; i++) {
        /* As many short ones as long ones, as latencies are. */
        uint64_t value = briq_prng_next(prng) >> (64 - 1 - briq_prng_below(prng, bits));
        values[i] = value;
        briq_histogram_add(h, value, 1);
    }
}

static void quantiles_hold_the_bound(void **state)
{
    (void)state;
    static uint64_t values[VALUES];
    static const unsigned bits[] = {3, 10, 20, 36};
    struct briq_prng prng = {.state = 7};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        struct briq_histogram h = {0};
        uint64_t sum = 0;
        fill(&h, values, VALUES, bits[i], &prng);
        assert_quantiles(&h, values, VALUES);
        for (size_t v = 0; v < VALUES; v++)
            sum += values[v];
        assert_int_equal(briq_counter_get(&h.sum), sum);
        assert_int_equal(briq_histogram_count(&h), VALUES);
    }
}

static void merging_is_adding(void **state)
{
    (void)state;
    static uint64_t values[2 * VALUES];
    struct briq_histogram a = {0}, b = {0};
    struct briq_prng prng = {.state = 9};
    fill(&a, values, VALUES, 12, &prng);
    fill(&b, values + VALUES, VALUES, 30, &prng);
    briq_histogram_merge(&a, &b);
    assert_int_equal(briq_histogram_count(&a), 2 * VALUES);
    assert_quantiles(&a, values, (size_t)2 * VALUES);
}

static void the_largest_is_exact(void **state)
{
    (void)state;
    struct briq_histogram h = {0};
    assert_int_equal(briq_histogram_quantile(&h, 0.5), 0);
    briq_histogram_add(&h, 1000003, 5);
    assert_int_equal(briq_histogram_count(&h), 5);
    assert_int_equal(briq_histogram_quantile(&h, 0.5), 1000003);
    briq_histogram_add(&h, 10 * BRIQ_HISTOGRAM_MAX, 1);
    assert_int_equal(briq_histogram_quantile(&h, 1), 10 * BRIQ_HISTOGRAM_MAX);
    assert_near(briq_histogram_quantile(&h, 0.5), 1000003);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_below_its_bound),
        cmocka_unit_test(powers_of_two_are_bounds),
        cmocka_unit_test(quantiles_hold_the_bound),
        cmocka_unit_test(merging_is_adding),
        cmocka_unit_test(the_largest_is_exact),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
