/* SPDX-License-Identifier: BSD-3-Clause */
/* test_size.c - sizes are read exactly, refused when they are none, and written so that they read.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/base/size.h"

#define UNTOUCHED UINT64_C(0x5ca1ab1e)
#define KIB       UINT64_C(1024)
#define MIB       (KIB * KIB)
#define GIB       (MIB * KIB)
#define TIB       (GIB * KIB)
#define PIB       (TIB * KIB)

struct good {
    const char *text;
    uint64_t bytes;
};

static void assert_parsed(const char *text, uint64_t bytes)
{
    uint64_t got = UNTOUCHED;
    int r = briq_size_parse(text, &got);
    if (r != 0 || got != bytes)
        fail_msg("\"%s\": %d, %" PRIu64 " instead of %" PRIu64, text, r, got, bytes);
}

static void assert_refused(const char *text, int error)
{
    uint64_t got = UNTOUCHED;
    int r = briq_size_parse(text, &got);
    if (r != error || got != UNTOUCHED)
        fail_msg("\"%s\": %d and %" PRIu64 " instead of %d", text, r, got, error);
}

static void whole_numbers_are_bytes(void **state)
{
    (void)state;
    static const struct good cases[] = {
        {"0", 0},
        {"1", 1},
        {"007", 7},
        {"512", 512},
        {"4096", 4096},
        {"4096B", 4096},
        {"4096 b", 4096},
        {"9223372036854775807", INT64_MAX},
        {"0009223372036854775807", INT64_MAX},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(cases); i++)
        assert_parsed(cases[i].text, cases[i].bytes);
}

static void every_suffix_in_every_spelling(void **state)
{
    (void)state;
    static const char letters[] = "KMGTP";
    static const char *const tails[] = {"", "B", "b", "iB", "ib", "Ib", "IB"};
    uint64_t unit = 1;
    for (size_t i = 0; letters[i] != '\0'; i++) {
        unit *= 1024;
        for (size_t j = 0; j < BRIQ_COUNT_OF(tails); j++) {
            char text[32];
            snprintf(text, sizeof text, "3%c%s", letters[i], tails[j]);
            assert_parsed(text, 3 * unit);
            snprintf(text, sizeof text, "3%c%s", letters[i] + ('a' - 'A'), tails[j]);
            assert_parsed(text, 3 * unit);
            snprintf(text, sizeof text, "3 %c%s", letters[i], tails[j]);
            assert_parsed(text, 3 * unit);
        }
    }
}

static void fractions_are_exact(void **state)
{
    (void)state;
    static const struct good cases[] = {
        {"1.5T", TIB + TIB / 2},
        {"0.5K", 512},
        {"0.0K", 0},
        {"1.0G", GIB},
        {"2.25MiB", 2 * MIB + MIB / 4},
        {"1.3K", 1331}, /* 1331.2: the rest of a byte is dropped */
        {"0.001K", 1},
        {"0.0001K", 0},
        {"0.999999999999999999K", 1023},
        {"0.1P", 112589990684262}, /* ...262.4 */
        {"1.00000000000000000000000000000001P", PIB},
        {"0.9999999999999999999999999P", PIB - 1},
        {"8191.999999999999999999P", 8192 * PIB - 1},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(cases); i++)
        assert_parsed(cases[i].text, cases[i].bytes);
}

static void values_at_the_limit(void **state)
{
    (void)state;
    assert_parsed("9007199254740991K", 9007199254740991 * KIB);
    assert_refused("9007199254740992K", -ERANGE);
    assert_parsed("9007199254740991.999K", INT64_MAX - 1);
    assert_parsed("8191P", 8191 * PIB);
    assert_refused("8192P", -ERANGE);
    assert_refused("9223372036854775808", -ERANGE);
    assert_refused("18446744073709551615", -ERANGE);
    assert_refused("18446744073709551616", -ERANGE);
    assert_refused("99999999999999999999999999999999999G", -ERANGE);
    assert_refused("18446744073709551617K", -ERANGE);
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",        " ",     "K",     "B",      "-1",    "+1",     " 1",
        "1 ",      "1  K",  "1K ",   "1 K ",   "1KK",   "1KiBB",  "1Ki",
        "1iB",     "1E",    "1Z",    "1kb!",   "1.K",   ".5K",    "1..5K",
        "1.5",     "1.0",   "1.5B",  "1.5.5K", "1,5K",  "0x10",   "1e3",
        "1e3K",    "nan",   "inf",   "1\n",    "1K\n",  "1\tK",   "ten",
        "1G2",     "1-",    "1BK",   "\xff",   "1\xff", "1K\xc3", "99999999999999999999999999X",
        "1.5 K x", "1. 5K", "1 .5K",
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(cases); i++)
        assert_refused(cases[i], -EINVAL);
}

/* Every single character behind a number, and every pair of bytes alone. */
static void no_stray_character_is_accepted(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char text[] = {'7', (char)c, '\0'};
        uint64_t got;
        bool good = strchr("0123456789bBkKmMgGtTpP", c) != NULL;
        assert_int_equal(briq_size_parse(text, &got), good ? 0 : -EINVAL);

        text[0] = (char)c;
        text[1] = '7';
        good = c >= '0' && c <= '9';
        assert_int_equal(briq_size_parse(text, &got), good ? 0 : -EINVAL);
    }
}

static void sizes_are_written_for_people(void **state)
{
    (void)state;
    static const struct good cases[] = {
        {"0 B", 0},
        {"1 B", 1},
        {"1023 B", 1023},
        {"1 KiB", 1024},
        {"1.0 KiB", 1025},
        {"1.5 KiB", 1536},
        {"1023.9 KiB", MIB - 130},
        {"1.0 MiB", MIB - 1}, /* not 1024.0 KiB */
        {"1 MiB", MIB},
        {"8 GiB", 8 * GIB},
        {"1.5 TiB", TIB + TIB / 2},
        {"4 TiB", 4 * TIB},
        {"8191 PiB", 8191 * PIB},
        {"8192.0 PiB", INT64_MAX},
        {"16384.0 PiB", UINT64_MAX},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(cases); i++) {
        char text[BRIQ_SIZE_TEXT_MAX];
        assert_ptr_equal(briq_size_format(cases[i].bytes, text), text);
        assert_string_equal(text, cases[i].text);
    }
}

/* Within half a tenth of the unit that it is shown in. */
static void assert_round_trip(uint64_t bytes)
{
    char text[BRIQ_SIZE_TEXT_MAX];
    uint64_t back = UNTOUCHED;
    briq_size_format(bytes, text);
    assert_true(strlen(text) < BRIQ_SIZE_TEXT_MAX);
    assert_int_equal(briq_size_parse(text, &back), 0);

    uint64_t unit = 1;
    while (unit < PIB && bytes / unit >= 1024)
        unit *= 1024;
    uint64_t off_by = back > bytes ? back - bytes : bytes - back;
    if (off_by > unit / 20 + 1)
        fail_msg("%" PRIu64 " -> \"%s\" -> %" PRIu64, bytes, text, back);
    if (strchr(text, '.') == NULL && back != bytes)
        fail_msg("%" PRIu64 " is not \"%s\"", bytes, text);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    uint64_t seed = getenv("BRIQ_SEED") != NULL ? strtoull(getenv("BRIQ_SEED"), NULL, 0) : 1;
    print_message("seed %" PRIu64 "\n", seed);
    struct briq_prng prng = {.state = seed};

    for (uint64_t bytes = 0; bytes < 4 * KIB; bytes++)
        assert_round_trip(bytes);
    for (unsigned shift = 10; shift < 63; shift++) {
        for (uint64_t near = 0; near < 64; near++) {
            assert_round_trip((UINT64_C(1) << shift) - 1 - near);
            assert_round_trip((UINT64_C(1) << shift) + near);
        }
    }
    for (int i = 0; i < 100000; i++) {
        uint64_t bytes = briq_prng_next(&prng) >> (2 + briq_prng_below(&prng, 60));
        assert_round_trip(bytes);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_bytes),
        cmocka_unit_test(every_suffix_in_every_spelling),
        cmocka_unit_test(fractions_are_exact),
        cmocka_unit_test(values_at_the_limit),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(no_stray_character_is_accepted),
        cmocka_unit_test(sizes_are_written_for_people),
        cmocka_unit_test(what_is_written_is_read_back),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("size", tests, NULL, NULL);
}
