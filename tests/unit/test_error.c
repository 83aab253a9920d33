/* SPDX-License-Identifier: BSD-3-Clause */
/* test_error.c - explanations and log lines: the innermost is kept, all are cut to fit. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/log.h"

static void an_explanation_stands_beside_its_code(void **state)
{
    (void)state;
    struct briq_error err = {.text = ""};
    assert_int_equal(briq_error_set(&err, -EBUSY, "%s: in use by %d", "disk.briq", 7), -EBUSY);
    assert_string_equal(err.text, "disk.briq: in use by 7");
    assert_int_equal(briq_error_set(NULL, -EIO, "nobody hears"), -EIO);
}

static void the_innermost_explanation_is_kept(void **state)
{
    (void)state;
    struct briq_error err = {.text = ""};
    assert_int_equal(briq_error_set(&err, -ENOENT, "the cause"), -ENOENT);
    assert_int_equal(briq_error_set(&err, -EIO, "its consequence"), -EIO);
    assert_string_equal(err.text, "the cause");
}

static void a_long_explanation_is_cut(void **state)
{
    (void)state;
    struct briq_error err = {.text = ""};
    char name[2 * BRIQ_ERROR_TEXT_MAX];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(briq_error_set(&err, -EIO, "%s", name), -EIO);
    assert_int_equal(strlen(err.text), BRIQ_ERROR_TEXT_MAX - 1);
}

struct heard {
    unsigned lines;
    enum briq_log_level level;
    char text[2048];
};

static void hear(void *opaque, enum briq_log_level level, const char *line)
{
    struct heard *heard = opaque;
    heard->lines++;
    heard->level = level;
    strncpy(heard->text, line, sizeof heard->text - 1);
}

static void a_line_reaches_the_sink(void **state)
{
    (void)state;
    struct heard heard = {.lines = 0};
    struct briq_log log = {.sink = hear, .opaque = &heard};
    briq_log_line(&log, BRIQ_LOG_WARNING, "segment %u is bad", 12u);
    assert_int_equal(heard.lines, 1);
    assert_int_equal(heard.level, BRIQ_LOG_WARNING);
    assert_string_equal(heard.text, "segment 12 is bad");
}

static void without_a_sink_nothing_happens(void **state)
{
    (void)state;
    struct briq_log log = {.sink = NULL};
    briq_log_line(&log, BRIQ_LOG_ERROR, "%d", 1);
    briq_log_line(NULL, BRIQ_LOG_ERROR, "%d", 1);
}

static void a_long_line_is_cut(void **state)
{
    (void)state;
    struct heard heard = {.lines = 0};
    struct briq_log log = {.sink = hear, .opaque = &heard};
    briq_log_line(&log, BRIQ_LOG_INFO, "%02000d", 1);
    assert_int_equal(heard.lines, 1);
    assert_in_range(strlen(heard.text), 500, 1999);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_explanation_stands_beside_its_code),
        cmocka_unit_test(the_innermost_explanation_is_kept),
        cmocka_unit_test(a_long_explanation_is_cut),
        cmocka_unit_test(a_line_reaches_the_sink),
        cmocka_unit_test(without_a_sink_nothing_happens),
        cmocka_unit_test(a_long_line_is_cut),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
