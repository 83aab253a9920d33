/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options.c - the option parser: walks argv once, looks every option up in the verb's table and
 * stores its value at the offset the table names. Knows nothing of any verb.
 */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/size.h"

/* Where the walk stands. */
struct parse {
    const struct briq_verb *verb;
    int argc, index;
    char **argv;
    void *args;
    unsigned operands;  /* stored so far */
    bool operands_only; /* behind "--" */
    struct briq_error *err;
};

static void *field(const struct parse *p, size_t offset)
{
    return (char *)p->args + offset;
}

static int complain(const struct parse *p, const char *what, const char *which, size_t len)
{
    return briq_error_set(p->err, -EINVAL, "%s %.*s; see `briq %s --help`", what, (int)len, which,
                          p->verb->name);
}

static const struct briq_option *find_long(const struct briq_verb *verb, const char *name,
                                           size_t len)
{
    for (const struct briq_option *o = verb->options; o->name != NULL; o++)
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    return NULL;
}

static const struct briq_option *find_letter(const struct briq_verb *verb, char letter)
{
    for (const struct briq_option *o = verb->options; o->name != NULL; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

int briq_options_size(const char *what, const char *text, uint64_t *ret_bytes,
                      struct briq_error *err)
{
    int r = briq_size_parse(text, ret_bytes);
    if (r == -ERANGE)
        return briq_error_set(err, r, "%s: %s is too large", what, text);
    if (r < 0)
        return briq_error_set(err, r,
                              "%s: \"%s\" is not a size; write bytes or a number with K M G T P, "
                              "such as 512M or 1.5G",
                              what, text);
    return 0;
}

static int parse_number(const struct parse *p, const struct briq_option *o, const char *text,
                        uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    unsigned long long n = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0)
        return briq_error_set(p->err, -EINVAL, "--%s: \"%s\" is not a number", o->name, text);
    *ret = n;
    return 0;
}

static const char *format_bound(const struct briq_option *o, uint64_t bound,
                                char text[BRIQ_SIZE_TEXT_MAX])
{
    if (o->kind == BRIQ_OPTION_SIZE)
        return briq_size_format(bound, text);
    snprintf(text, BRIQ_SIZE_TEXT_MAX, "%" PRIu64, bound);
    return text;
}

static int check_range(const struct parse *p, const struct briq_option *o, uint64_t value,
                       const char *text)
{
    char min[BRIQ_SIZE_TEXT_MAX], max[BRIQ_SIZE_TEXT_MAX];
    if (o->max == 0 || (value >= o->min && value <= o->max))
        return 0;
    return briq_error_set(p->err, -ERANGE, "--%s: %s is not between %s and %s", o->name, text,
                          format_bound(o, o->min, min), format_bound(o, o->max, max));
}

static int add_word(const struct parse *p, struct briq_words *words, const char *text)
{
    if (words->count == BRIQ_WORDS_MAX)
        return complain(p, "one word too many:", text, strlen(text));
    words->list[words->count++] = text;
    return 0;
}

static int store_value(const struct parse *p, const struct briq_option *o, const char *text)
{
    uint64_t value = 0;
    int r = 0;
    switch (o->kind) {
    case BRIQ_OPTION_FLAG:
        *(bool *)field(p, o->offset) = true;
        return 0;
    case BRIQ_OPTION_TEXT:
        *(const char **)field(p, o->offset) = text;
        return 0;
    case BRIQ_OPTION_LIST:
        return add_word(p, field(p, o->offset), text);
    case BRIQ_OPTION_NUMBER:
        r = parse_number(p, o, text, &value);
        break;
    case BRIQ_OPTION_SIZE: {
        char what[64] = "--";
        strncat(what, o->name, sizeof what - 3);
        r = briq_options_size(what, text, &value, p->err);
        break;
    }
    }
    if (r == 0)
        r = check_range(p, o, value, text);
    if (r == 0)
        *(uint64_t *)field(p, o->offset) = value;
    return r;
}

/* `attached` is the text behind "=" or behind the letter, NULL when there is none. */
static int store_option(struct parse *p, const struct briq_option *o, const char *attached)
{
    if (o->kind == BRIQ_OPTION_FLAG)
        return store_value(p, o, NULL);
    if (attached == NULL && o->may_be_bare)
        return store_value(p, o, "");
    if (attached == NULL) {
        if (p->index + 1 >= p->argc)
            return briq_error_set(p->err, -EINVAL, "--%s needs a value: --%s %s", o->name, o->name,
                                  o->value);
        attached = p->argv[++p->index];
    }
    return store_value(p, o, attached);
}

static int parse_long(struct parse *p, const char *arg)
{
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct briq_option *o = find_long(p->verb, name, len);
    if (o == NULL)
        return complain(p, "unknown option", arg, len + 2);
    if (o->kind == BRIQ_OPTION_FLAG && equals != NULL)
        return complain(p, "no value is allowed with", arg, len + 2);
    return store_option(p, o, equals != NULL ? equals + 1 : NULL);
}

/* "-qf" is "-q -f"; a letter that takes a value takes the rest of the word or the next one. */
static int parse_letters(struct parse *p, const char *arg)
{
    for (const char *c = arg + 1; *c != '\0'; c++) {
        const struct briq_option *o = find_letter(p->verb, *c);
        if (o == NULL)
            return complain(p, "unknown option", (const char[]){'-', *c}, 2);
        if (o->kind != BRIQ_OPTION_FLAG)
            return store_option(p, o, c[1] != '\0' ? c + 1 : NULL);
        int r = store_option(p, o, NULL);
        if (r < 0)
            return r;
    }
    return 0;
}

static int parse_operand(struct parse *p, const char *arg)
{
    const struct briq_operand *operand = &p->verb->operands[p->operands];
    if (operand->name == NULL && p->operands > 0 && operand[-1].times == BRIQ_MANY)
        return add_word(p, field(p, operand[-1].offset), arg);
    if (operand->name == NULL)
        return complain(p, "one argument too many:", arg, strlen(arg));
    if (operand->times == BRIQ_MANY) {
        p->operands++;
        return add_word(p, field(p, operand->offset), arg);
    }
    *(const char **)field(p, operand->offset) = arg;
    p->operands++;
    return 0;
}

static int parse_word(struct parse *p, const char *arg)
{
    if (p->operands_only || arg[0] != '-' || arg[1] == '\0')
        return parse_operand(p, arg);
    if (strcmp(arg, "--") == 0) {
        p->operands_only = true;
        return 0;
    }
    return arg[1] == '-' ? parse_long(p, arg) : parse_letters(p, arg);
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

enum briq_options_result briq_options_parse(const struct briq_verb *verb, int argc, char **argv,
                                            void *args, struct briq_error *err)
{
    if (wants_help(argc, argv))
        return BRIQ_OPTIONS_HELP;

    memset(args, 0, verb->args_bytes);
    if (verb->defaults != NULL)
        memcpy(args, verb->defaults, verb->args_bytes);

    struct parse p = {.verb = verb, .argc = argc, .argv = argv, .args = args, .err = err};
    for (; p.index < argc; p.index++)
        if (parse_word(&p, argv[p.index]) < 0)
            return BRIQ_OPTIONS_BAD;

    const struct briq_operand *missing = &verb->operands[p.operands];
    if (missing->name != NULL && missing->times != BRIQ_MAYBE) {
        (void)complain(&p, "missing argument:", missing->name, strlen(missing->name));
        return BRIQ_OPTIONS_BAD;
    }
    return BRIQ_OPTIONS_RUN;
}
