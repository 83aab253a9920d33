/* SPDX-License-Identifier: BSD-3-Clause */
/* test_uuid.c - uuids are random, written and read back; the boot id is one that stays. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/boot_id.h"
#include "common/base/uuid.h"

static const char example_text[] = "00112233-4455-6677-8899-aabbccddeeff";
static const uint8_t example[BRIQ_UUID_BYTES] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                                 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static void random_uuids_are_of_version_4_and_differ(void **state)
{
    (void)state;
    uint8_t uuids[100][BRIQ_UUID_BYTES], seen_or[BRIQ_UUID_BYTES] = {0};
    for (int i = 0; i < 100; i++) {
        assert_int_equal(briq_uuid_random(uuids[i]), 0);
        assert_int_equal(uuids[i][6] >> 4, 4);
        assert_int_equal(uuids[i][8] >> 6, 2);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(uuids[i], uuids[j], BRIQ_UUID_BYTES);
        for (int j = 0; j < BRIQ_UUID_BYTES; j++)
            seen_or[j] |= uuids[i][j];
    }
    for (int j = 0; j < BRIQ_UUID_BYTES; j++) /* every free bit was 1 once: 1 - 2^-93 */
        assert_int_equal(seen_or[j], j == 6 ? 0x4f : j == 8 ? 0xbf : 0xff);
}

static void a_uuid_is_written_as_usual(void **state)
{
    (void)state;
    char text[BRIQ_UUID_TEXT_MAX];
    assert_ptr_equal(briq_uuid_format(example, text), text);
    assert_string_equal(text, example_text);
}

static void what_is_written_is_read_back_in_either_case(void **state)
{
    (void)state;
    uint8_t uuid[BRIQ_UUID_BYTES], back[BRIQ_UUID_BYTES];
    char text[BRIQ_UUID_TEXT_MAX];
    assert_int_equal(briq_uuid_parse(example_text, back), 0);
    assert_memory_equal(back, example, sizeof back);
    assert_int_equal(briq_uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", back), 0);
    assert_memory_equal(back, example, sizeof back);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(briq_uuid_random(uuid), 0);
        assert_int_equal(briq_uuid_parse(briq_uuid_format(uuid, text), back), 0);
        assert_memory_equal(back, uuid, sizeof back);
    }
}

static void assert_refused(const char *text)
{
    uint8_t back[BRIQ_UUID_BYTES], untouched[BRIQ_UUID_BYTES];
    memset(back, 0x5a, sizeof back);
    memset(untouched, 0x5a, sizeof untouched);
    if (briq_uuid_parse(text, back) != -EINVAL)
        fail_msg("\"%s\" was accepted", text);
    assert_memory_equal(back, untouched, sizeof back);
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    char text[64];
    for (size_t len = 0; len < strlen(example_text); len++) { /* cut anywhere */
        memcpy(text, example_text, len);
        text[len] = '\0';
        assert_refused(text);
    }
    for (size_t i = 0; i < strlen(example_text); i++) { /* one character that does not belong */
        memcpy(text, example_text, sizeof example_text);
        text[i] = example_text[i] == '-' ? '0' : '-';
        assert_refused(text);
        text[i] = 'g';
        assert_refused(text);
        text[i] = ' ';
        assert_refused(text);
    }
    snprintf(text, sizeof text, "%s0", example_text);
    assert_refused(text);
    snprintf(text, sizeof text, "%s\n", example_text);
    assert_refused(text);
    snprintf(text, sizeof text, "{%s}", example_text);
    assert_refused(text);
    assert_refused("00112233445566778899aabbccddeeff");
}

static void the_boot_id_stays_and_is_what_the_kernel_says(void **state)
{
    (void)state;
    uint8_t first[BRIQ_BOOT_ID_BYTES], second[BRIQ_BOOT_ID_BYTES];
    assert_int_equal(briq_boot_id(first), 0);
    assert_int_equal(briq_boot_id(second), 0);
    assert_memory_equal(first, second, sizeof first);

    char expected[BRIQ_UUID_TEXT_MAX], text[BRIQ_UUID_TEXT_MAX];
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    assert_non_null(file);
    assert_non_null(fgets(expected, sizeof expected, file));
    fclose(file);
    assert_string_equal(briq_uuid_format(first, text), expected);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_uuids_are_of_version_4_and_differ),
        cmocka_unit_test(a_uuid_is_written_as_usual),
        cmocka_unit_test(what_is_written_is_read_back_in_either_case),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(the_boot_id_stays_and_is_what_the_kernel_says),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("uuid", tests, NULL, NULL);
}
