/* SPDX-License-Identifier: BSD-3-Clause */
/* test_numbers.c - rounding, byte order on the medium, and random numbers that repeat everywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/align.h"
#include "common/base/attr.h"
#include "common/base/le.h"
#include "common/base/prng.h"

static void rounding_goes_to_multiples(void **state)
{
    (void)state;
    for (uint64_t unit = 1; unit <= 4096; unit *= 2) {
        for (uint64_t x = 0; x < 10000; x += 7) {
            assert_int_equal(briq_align_down(x, unit), x / unit * unit);
            assert_int_equal(briq_align_up(x, unit), (x + unit - 1) / unit * unit);
        }
    }
    assert_int_equal(briq_align_down(UINT64_MAX, 4096), UINT64_MAX - 4095);
    assert_int_equal(briq_align_up(UINT64_MAX - 4095, 4096), UINT64_MAX - 4095);
    assert_int_equal(briq_div_up(0, 7), 0);
    assert_int_equal(briq_div_up(7, 7), 1);
    assert_int_equal(briq_div_up(8, 7), 2);
    assert_int_equal(briq_div_up(UINT64_MAX, 2), UINT64_C(1) << 63);
}

static void powers_of_two_are_told_from_others(void **state)
{
    (void)state;
    assert_false(briq_is_pow2(0));
    for (unsigned shift = 0; shift < 64; shift++) {
        uint64_t power = UINT64_C(1) << shift;
        assert_true(briq_is_pow2(power));
        if (shift > 1) {
            assert_false(briq_is_pow2(power - 1));
            assert_false(briq_is_pow2(power + 1));
        }
    }
}

static void integers_lie_low_byte_first(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
    briq_le16 le16 = briq_le16_of(0x7788);
    briq_le32 le32 = briq_le32_of(0x55667788);
    briq_le64 le64 = briq_le64_of(UINT64_C(0x1122334455667788));
    assert_memory_equal(&le16, bytes, 2);
    assert_memory_equal(&le32, bytes, 4);
    assert_memory_equal(&le64, bytes, 8);
    assert_int_equal(briq_le16_get(le16), 0x7788);
    assert_int_equal(briq_le32_get(le32), 0x55667788);
    assert_int_equal(briq_le64_get(le64), UINT64_C(0x1122334455667788));
}

/* A seed in a failure report is worth nothing when it means something else tomorrow. */
static void a_seed_always_means_the_same_numbers(void **state)
{
    (void)state;
    struct briq_prng prng = {.state = 1234567};
    static const uint64_t expected[] = {UINT64_C(6457827717110365317),
                                        UINT64_C(3203168211198807973),
                                        UINT64_C(9817491932198370423)};
    for (size_t i = 0; i < BRIQ_COUNT_OF(expected); i++)
        assert_int_equal(briq_prng_next(&prng), expected[i]);
    for (int i = 0; i < 1000; i++)
        assert_in_range(briq_prng_below(&prng, 7), 0, 6);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_goes_to_multiples),
        cmocka_unit_test(powers_of_two_are_told_from_others),
        cmocka_unit_test(integers_lie_low_byte_first),
        cmocka_unit_test(a_seed_always_means_the_same_numbers),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("numbers", tests, NULL, NULL);
}
