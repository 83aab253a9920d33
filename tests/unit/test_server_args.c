/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_server_args.c - nbdkit's read-only option is seen in every spelling, and nothing else is
 * taken for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* The file itself: it belongs to the plugin, which is no library to link with. */
#include "nbdkit-plugin/server_args.c"

#define WORDS_MAX 8

struct command {
    const char *words[WORDS_MAX]; /* up to a NULL */
};

static bool is_read_only(const struct command *command)
{
    FILE *args = tmpfile();
    assert_non_null(args);
    for (size_t i = 0; i < WORDS_MAX && command->words[i] != NULL; i++) {
        fputs(command->words[i], args);
        fputc('\0', args);
    }
    rewind(args);
    bool read_only = briq_server_args_read_only(args);
    fclose(args);
    return read_only;
}

static void print_command(const struct command *command)
{
    for (size_t i = 0; i < WORDS_MAX && command->words[i] != NULL; i++)
        print_error("%s ", command->words[i]);
    print_error("\n");
}

static void test_every_spelling_is_seen(void **state)
{
    (void)state;
    static const struct command commands[] = {
        {{"nbdkit", "-r", "briq", "disk"}},
        {{"nbdkit", "--read-only", "briq", "disk"}},
        {{"nbdkit", "--readonly", "briq", "disk"}},
        {{"nbdkit", "-fr", "briq", "disk"}},
        {{"nbdkit", "-rv", "briq", "disk"}},
        {{"nbdkit", "-fvrU", "/tmp/sock", "briq", "disk"}},
        {{"nbdkit", "briq", "disk", "-r"}},
        {{"nbdkit", "-U", "-", "-r", "briq", "disk"}},
        {{"nbdkit", "-U-", "-r", "briq", "disk"}},
        {{"nbdkit", "--unix=-", "-r", "briq", "disk"}},
        {{"nbdkit", "--unix", "/tmp/sock", "-r", "briq", "disk"}},
        {{"nbdkit", "--run", "nbdinfo $uri", "briq", "disk", "-r"}},
        {{"nbdkit", "--filter=cow", "--foreground", "-r", "briq"}},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(commands); i++) {
        if (!is_read_only(&commands[i])) {
            print_command(&commands[i]);
            fail();
        }
    }
}

static void test_nothing_else_is_taken_for_it(void **state)
{
    (void)state;
    static const struct command commands[] = {
        {{NULL}},
        {{"nbdkit"}},
        {{"-r", "briq", "disk"}}, /* the name of the program */
        {{"nbdkit", "briq", "disk"}},
        {{"nbdkit", "-e", "-r", "briq", "disk"}},
        {{"nbdkit", "-er", "briq", "disk"}},
        {{"nbdkit", "-fP", "-r", "briq", "disk"}},
        {{"nbdkit", "-fPr", "briq", "disk"}},
        {{"nbdkit", "--run", "-r", "briq", "disk"}},
        {{"nbdkit", "--export=r", "briq", "-disk"}},
        {{"nbdkit", "--pidfile", "--read-only", "briq", "disk"}},
        {{"nbdkit", "briq", "disk", "--", "-r"}},
        {{"nbdkit", "briq", "r", "read-only"}},
        {{"nbdkit", "-", "briq", ""}},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(commands); i++) {
        if (is_read_only(&commands[i])) {
            print_command(&commands[i]);
            fail();
        }
    }
}

/* This test was not started with -r, and its own arguments can be read. */
static void test_this_process_is_looked_at(void **state)
{
    (void)state;
    assert_false(briq_server_is_read_only());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_spelling_is_seen),
        cmocka_unit_test(test_nothing_else_is_taken_for_it),
        cmocka_unit_test(test_this_process_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
