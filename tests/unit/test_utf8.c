/* SPDX-License-Identifier: BSD-3-Clause */
/* test_utf8.c - what is a character in UTF-8, and that nothing else gets to a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/base/utf8.h"

/* The way there: 0 for what is no character. */
static unsigned encode(uint32_t code, char to[4])
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    unsigned len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (unsigned i = len - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3f));
    to[0] = (char)((0xf00u >> len & 0xff) | code);
    return len;
}

static void every_character_has_its_length(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x120000; code++) {
        char text[4];
        unsigned len = encode(code, text);
        bool none = (code >= 0xd800 && code < 0xe000) || code >= 0x110000;
        assert_int_equal(briq_utf8_length(text, 4), none ? 0 : len);
        for (unsigned left = 0; left < len; left++)
            assert_int_equal(briq_utf8_length(text, left), 0);
    }
}

static void other_bytes_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",     "\xbf",         "\xc0\x80", "\xc1\xbf",
                                      "\xc3(",    "\xe0\x9f\xbf", "\xe2\x82", "\xe2(\xac",
                                      "\xf5\x80", "\xff",         "\xfe",     "\xf0\x8f\xbf\xbf"};
    for (size_t i = 0; i < BRIQ_COUNT_OF(bad); i++)
        assert_int_equal(briq_utf8_length(bad[i], strlen(bad[i])), 0);
}

static void what_is_shown_is_one_line_of_characters(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"", ""},
        {"disk-1", "disk-1"},
        {"Gr\xc3\xbc\xc3\x9f"
         "e",
         "Gr\xc3\xbc\xc3\x9f"
         "e"},
        {"a\nb\r\tc\x7f", "a?b??c?"},
        {"\x1b[31mred", "?[31mred"},
        {"\xc2\x9b"
         "1m",
         "??1m"},
        {"\xff\xfe"
         "a",
         "??a"},
        {"cut\xe2\x82", "cut??"},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(cases); i++) {
        char text[32];
        size_t len = strlen(cases[i].text);
        memcpy(text, cases[i].text, len + 1);
        briq_utf8_clean(text, len);
        assert_string_equal(text, cases[i].shown);
    }
    char zero[3] = {'a', '\0', 'b'};
    briq_utf8_clean(zero, sizeof zero);
    assert_memory_equal(zero, "a?b", 3);
}

static void a_cut_text_ends_with_a_character(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    static const size_t ends[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    for (size_t max = 0; max < BRIQ_COUNT_OF(ends); max++)
        assert_int_equal(briq_utf8_clip(text, sizeof text - 1, max), ends[max]);
    static const char bad[] = "\x80\x80\x80\x80\x80\x80";
    assert_int_equal(briq_utf8_clip(bad, 6, 5), 2);
    assert_int_equal(briq_utf8_clip(bad, 6, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_has_its_length),
        cmocka_unit_test(other_bytes_are_none),
        cmocka_unit_test(what_is_shown_is_one_line_of_characters),
        cmocka_unit_test(a_cut_text_ends_with_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
