/* SPDX-License-Identifier: BSD-3-Clause */
/* test_control_line.c - lines come out of a stream however it is cut, and none is too long. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/control/line.h"

/* Hands in up to len bytes; how many there was room for, or the error. */
static int put(struct briq_line_buf *buf, const char *bytes, size_t len)
{
    char *to;
    size_t room;
    int r = briq_line_room(buf, &to, &room);
    if (r < 0)
        return r;
    assert_true(room > 0);
    len = len < room ? len : room;
    memcpy(to, bytes, len);
    briq_line_added(buf, len);
    return (int)len;
}

static void lines_come_out_however_the_stream_is_cut(void **state)
{
    (void)state;
    static const char stream[] = "one\n\nthree is longer\nfour\nrest";
    static const char *const want[] = {"one", "", "three is longer", "four"};
    for (size_t cut = 1; cut <= sizeof stream; cut++) {
        struct briq_line_buf buf;
        size_t len, at = 0, lines = 0;
        briq_line_init(&buf, 64);
        while (at < sizeof stream - 1) {
            size_t part = sizeof stream - 1 - at < cut ? sizeof stream - 1 - at : cut;
            at += (size_t)put(&buf, stream + at, part);
            for (const char *line; (line = briq_line_next(&buf, &len)) != NULL; lines++) {
                assert_true(lines < 4);
                assert_string_equal(line, want[lines]);
                assert_int_equal(len, strlen(want[lines]));
            }
        }
        assert_int_equal(lines, 4);
        assert_int_equal(briq_line_rest(&buf), 4);
        briq_line_fini(&buf);
    }
}

/* A line of len bytes with its newline, in a buffer for 4096. */
static int put_line_of(size_t len, struct briq_line_buf *buf)
{
    char line[8192];
    memset(line, 'x', sizeof line);
    line[len - 1] = '\n';
    briq_line_init(buf, 4096);
    for (size_t at = 0; at < len;) {
        int n = put(buf, line + at, len - at);
        if (n < 0)
            return n;
        at += (size_t)n;
    }
    return 0;
}

static void a_line_has_its_length_and_no_more(void **state)
{
    (void)state;
    struct briq_line_buf buf;
    size_t len;
    assert_int_equal(put_line_of(4096, &buf), 0);
    assert_non_null(briq_line_next(&buf, &len));
    assert_int_equal(len, 4095);
    assert_null(briq_line_next(&buf, &len));
    briq_line_fini(&buf);
    assert_int_equal(put_line_of(4097, &buf), -EMSGSIZE);
    assert_null(briq_line_next(&buf, &len));
    assert_int_equal(buf.room, 4096); /* it has not grown beyond that */
    briq_line_fini(&buf);
}

static void zeros_in_a_line_show_in_its_length(void **state)
{
    (void)state;
    struct briq_line_buf buf;
    size_t len;
    briq_line_init(&buf, 64);
    assert_int_equal(put(&buf, "a\0b\nc", 5), 5);
    const char *line = briq_line_next(&buf, &len);
    assert_non_null(line);
    assert_int_equal(len, 3);
    assert_memory_equal(line, "a\0b", 4);
    briq_line_fini(&buf);
}

static void many_lines_need_no_more_room_than_one(void **state)
{
    (void)state;
    struct briq_line_buf buf;
    size_t len;
    briq_line_init(&buf, 1 << 20);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(put(&buf, "twelve bytes\n", 13), 13);
        assert_non_null(briq_line_next(&buf, &len));
    }
    assert_true(buf.room <= 1024);
    briq_line_fini(&buf);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_out_however_the_stream_is_cut),
        cmocka_unit_test(a_line_has_its_length_and_no_more),
        cmocka_unit_test(zeros_in_a_line_show_in_its_length),
        cmocka_unit_test(many_lines_need_no_more_room_than_one),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
