/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_cli_options.c - a command line is read as the verb's table says, and every way of getting it
 * wrong is explained.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

struct args {
    const char *from, *to, *text;
    bool force, quiet;
    uint64_t size, count;
};

static const struct briq_verb verb = {
    .name = "test",
    .operands =
        (const struct briq_operand[]){
            {"FROM", offsetof(struct args, from), BRIQ_ONCE},
            {"TO", offsetof(struct args, to), BRIQ_MAYBE},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "force",
             .letter = 'f',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct args, force)},
            {.name = "quiet",
             .letter = 'q',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct args, quiet)},
            {.name = "size",
             .letter = 's',
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct args, size),
             .value = "SIZE"},
            {.name = "count",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct args, count),
             .value = "N",
             .min = 1,
             .max = 9},
            {.name = "text",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct args, text),
             .value = "TEXT"},
            {0},
        },
    .args_bytes = sizeof(struct args),
    .defaults = &(const struct args){.count = 5},
};

#define WORDS_MAX 8

struct line {
    const char *words[WORDS_MAX]; /* up to a NULL */
    const char *said;             /* what the explanation must contain, or NULL */
    struct args wanted;
};

static enum briq_options_result parse(const struct line *line, struct args *args,
                                      struct briq_error *err)
{
    char copies[WORDS_MAX][32], *argv[WORDS_MAX];
    int argc = 0;
    for (; argc < WORDS_MAX && line->words[argc] != NULL; argc++) {
        snprintf(copies[argc], sizeof copies[argc], "%s", line->words[argc]);
        argv[argc] = copies[argc];
    }
    enum briq_options_result result = briq_options_parse(&verb, argc, argv, args, err);
    /* Texts point into argv, which ends here: only what can be compared later is kept. */
    for (int i = 0; i < argc && result == BRIQ_OPTIONS_RUN; i++) {
        const char **texts[] = {&args->from, &args->to, &args->text};
        for (size_t t = 0; t < BRIQ_COUNT_OF(texts); t++)
            if (*texts[t] >= copies[i] && *texts[t] < copies[i] + sizeof copies[i])
                *texts[t] = line->words[i] + (*texts[t] - copies[i]);
    }
    return result;
}

static void expect_text(const char *got, const char *wanted)
{
    if (wanted == NULL)
        assert_null(got);
    else
        assert_string_equal(got, wanted);
}

static void test_options_and_operands_are_stored(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {{"a"}, NULL, {.from = "a", .count = 5}},
        {{"a", "b"}, NULL, {.from = "a", .to = "b", .count = 5}},
        {{"--force", "a"}, NULL, {.from = "a", .force = true, .count = 5}},
        {{"a", "--force", "b", "-q"},
         NULL,
         {.from = "a", .to = "b", .force = true, .quiet = true, .count = 5}},
        {{"-fq", "a"}, NULL, {.from = "a", .force = true, .quiet = true, .count = 5}},
        {{"-fs", "4K", "a"}, NULL, {.from = "a", .force = true, .size = 4096, .count = 5}},
        {{"-s1M", "a"}, NULL, {.from = "a", .size = 1 << 20, .count = 5}},
        {{"--size", "512", "--count=9", "a"}, NULL, {.from = "a", .size = 512, .count = 9}},
        {{"--text=", "a"}, NULL, {.from = "a", .text = "", .count = 5}},
        {{"--text=x=y", "a"}, NULL, {.from = "a", .text = "x=y", .count = 5}},
        {{"--text", "-f", "a"}, NULL, {.from = "a", .text = "-f", .count = 5}},
        {{"-", "--", "-f"}, NULL, {.from = "-", .to = "-f", .count = 5}},
        {{"--", "--help"}, NULL, {.from = "--help", .count = 5}},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(lines); i++) {
        const struct args *wanted = &lines[i].wanted;
        struct args args;
        struct briq_error err = {""};
        assert_int_equal(parse(&lines[i], &args, &err), BRIQ_OPTIONS_RUN);
        assert_string_equal(err.text, "");
        expect_text(args.from, wanted->from);
        expect_text(args.to, wanted->to);
        expect_text(args.text, wanted->text);
        assert_int_equal(args.force, wanted->force);
        assert_int_equal(args.quiet, wanted->quiet);
        assert_int_equal(args.size, wanted->size);
        assert_int_equal(args.count, wanted->count);
    }
}

static void test_mistakes_are_explained(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {{NULL}, "missing argument: FROM", {0}},
        {{"a", "b", "c"}, "too many: c", {0}},
        {{"--frob", "a"}, "unknown option --frob;", {0}},
        {{"--frob=1", "a"}, "unknown option --frob;", {0}},
        {{"--forc", "a"}, "unknown option --forc;", {0}},
        {{"--forced", "a"}, "unknown option --forced;", {0}},
        {{"--=x", "a"}, "unknown option --;", {0}},
        {{"-fx", "a"}, "unknown option -x;", {0}},
        {{"--force=1", "a"}, "no value is allowed with --force", {0}},
        {{"a", "--size"}, "--size needs a value: --size SIZE", {0}},
        {{"a", "-s"}, "--size needs a value", {0}},
        {{"--size=", "a"}, "--size: \"\" is not a size", {0}},
        {{"--size=1.2.3", "a"}, "is not a size", {0}},
        {{"--count=", "a"}, "--count: \"\" is not a number", {0}},
        {{"--count=-1", "a"}, "\"-1\" is not a number", {0}},
        {{"--count= 1", "a"}, "is not a number", {0}},
        {{"--count=1x", "a"}, "\"1x\" is not a number", {0}},
        {{"--count=0", "a"}, "0 is not between 1 and 9", {0}},
        {{"--count=10", "a"}, "10 is not between 1 and 9", {0}},
        {{"--count=99999999999999999999", "a"}, "is not a number", {0}},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(lines); i++) {
        struct args args;
        struct briq_error err = {""};
        assert_int_equal(parse(&lines[i], &args, &err), BRIQ_OPTIONS_BAD);
        if (strstr(err.text, lines[i].said) == NULL)
            fail_msg("line %zu says \"%s\" and not \"%s\"", i, err.text, lines[i].said);
    }
}

static void test_help_wins_over_mistakes(void **state)
{
    (void)state;
    static const struct line lines[] = {
        {{"--help"}, NULL, {0}},
        {{"-h"}, NULL, {0}},
        {{"--frob", "--help"}, NULL, {0}},
        {{"a", "b", "c", "-h"}, NULL, {0}},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(lines); i++) {
        struct args args;
        struct briq_error err = {""};
        assert_int_equal(parse(&lines[i], &args, &err), BRIQ_OPTIONS_HELP);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_and_operands_are_stored),
        cmocka_unit_test(test_mistakes_are_explained),
        cmocka_unit_test(test_help_wins_over_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
