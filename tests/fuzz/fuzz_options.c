/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_options.c - command lines: of every verb of briq, of the nbdkit plugin (its parameters), and
 * of nbdkit itself (is it read-only?). Any words are taken as the tables say, or refused in one
 * line.
 *
 *   byte 0: which verb, or the plugin's parameters, or the server's arguments; then words, each
 * ended by a zero or a newline.
 */
#include "tests/fuzz/support/fuzz.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "cli/options.h"
#include "nbdkit-plugin/params.h"
#include "nbdkit-plugin/server_args.h"

#define WORDS_MAX 32
#define ERROR_MAX 4096

/* ---- nbdkit, as far as the parameters need it --------------------------------------------------
 */

static unsigned errors_told;

void nbdkit_error(const char *format, ...)
{
    char line[ERROR_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    BRIQ_ASSERT(line[0] != '\0');
    errors_told++;
}

char *nbdkit_absolute_path(const char *path)
{
    char *text = NULL;
    BRIQ_ASSERT(asprintf(&text, "%s%s", path[0] == '/' ? "" : "/here/", path) >= 0);
    return text;
}

/* ---- words -------------------------------------------------------------------------------------
 */

/* Each in memory of its own. */
struct words {
    int count;
    char *word[WORDS_MAX + 1];
};

static void split(struct fuzz_input *in, struct words *words)
{
    words->count = 0;
    while (in->left > 0 && words->count < WORDS_MAX) {
        size_t len = 0, taken;
        while (len < in->left && in->at[len] != '\0' && in->at[len] != '\n')
            len++;
        char *word = malloc(len + 1);
        BRIQ_ASSERT(word != NULL);
        memcpy(word, in->at, len);
        word[len] = '\0';
        words->word[words->count++] = word;
        (void)fuzz_take(in, len + 1, &taken);
    }
    words->word[words->count] = NULL;
}

static void free_words(struct words *words)
{
    for (int i = 0; i < words->count; i++)
        free(words->word[i]);
}

static bool is_in_words(const struct words *words, const char *text)
{
    for (int i = 0; i < words->count; i++)
        if (text >= words->word[i] && text <= words->word[i] + strlen(words->word[i]))
            return true;
    return false;
}

/* ---- verbs -------------------------------------------------------------------------------------
 */

static const struct briq_verb *const verbs[] = {
    &briq_verb_create, &briq_verb_import,  &briq_verb_export, &briq_verb_info,  &briq_verb_check,
    &briq_verb_resize, &briq_verb_compact, &briq_verb_dump,   &briq_verb_bench, &briq_verb_help,
};

/* The verbs look others up by name only to print help. */
const struct briq_verb *const briq_verbs[] = {NULL};

const struct briq_verb *briq_verb_find(const char *name)
{
    (void)name;
    return NULL;
}

enum briq_exit briq_verb_fail(const char *verb, const struct briq_error *err, int code)
{
    (void)verb;
    (void)err;
    (void)code;
    return BRIQ_EXIT_FAILED;
}

/* Text that was given, or the default. */
static const char *expect_text(const struct briq_verb *verb, size_t offset, const char *args,
                               const struct words *words)
{
    const char *text, *wanted = NULL;
    memcpy(&text, args + offset, sizeof text);
    if (verb->defaults != NULL)
        memcpy(&wanted, (const char *)verb->defaults + offset, sizeof wanted);
    BRIQ_ASSERT(text == wanted || is_in_words(words, text));
    return text;
}

static void expect_option(const struct briq_verb *verb, const struct briq_option *o,
                          const char *args, const struct words *words)
{
    const char *field = args + o->offset;
    const char *defaults = verb->defaults;
    if (o->kind == BRIQ_OPTION_TEXT) {
        (void)expect_text(verb, o->offset, args, words);
    } else if (o->kind != BRIQ_OPTION_FLAG) {
        uint64_t value, wanted = 0;
        memcpy(&value, field, sizeof value);
        if (defaults != NULL)
            memcpy(&wanted, defaults + o->offset, sizeof wanted);
        BRIQ_ASSERT(value == wanted || o->max == 0 || (value >= o->min && value <= o->max));
    }
}

static void expect_operands(const struct briq_verb *verb, const char *args,
                            const struct words *words)
{
    for (const struct briq_operand *o = verb->operands; o->name != NULL; o++) {
        const char *text = expect_text(verb, o->offset, args, words);
        BRIQ_ASSERT(text != NULL || o->times != BRIQ_ONCE);
    }
}

static void try_verb(const struct briq_verb *verb, struct words *words)
{
    struct briq_error err = {{0}};
    char *args = malloc(verb->args_bytes);
    BRIQ_ASSERT(args != NULL);
    enum briq_options_result r = briq_options_parse(verb, words->count, words->word, args, &err);
    BRIQ_ASSERT((r == BRIQ_OPTIONS_BAD) == (err.text[0] != '\0'));
    if (r == BRIQ_OPTIONS_RUN) {
        for (const struct briq_option *o = verb->options; o->name != NULL; o++)
            expect_option(verb, o, args, words);
        expect_operands(verb, args, words);
    }
    free(args);
}

/* ---- parameters and arguments ------------------------------------------------------------------
 */

/* Words in pairs: a key, a value. */
static void try_params(struct words *words)
{
    struct briq_params params = {0};
    for (int i = 0; i + 1 < words->count; i += 2) {
        unsigned before = errors_told;
        int r = briq_params_set(&params, words->word[i], words->word[i + 1]);
        BRIQ_ASSERT(r >= -1 && r <= 1 && (r == -1) == (errors_told > before));
    }
    BRIQ_ASSERT(params.accel <= 64 && params.streams <= 8);
    BRIQ_ASSERT(params.windows_dir == NULL || params.windows_dir[0] == '/');
    if (briq_params_complete(&params) == 0) {
        struct briq_open_options options = briq_params_open_options(&params);
        BRIQ_ASSERT(options.windows_dir == NULL || !options.no_windows_file);
    }
    briq_params_fini(&params);
}

static void try_server_args(const uint8_t *bytes, size_t len)
{
    FILE *file = len > 0 ? fmemopen((void *)(uintptr_t)bytes, len, "r") : NULL;
    if (file == NULL)
        return;
    bool read_only = briq_server_args_read_only(file);
    /* The option must at least stand there. */
    BRIQ_ASSERT(!read_only || memchr(bytes, 'r', len) != NULL);
    fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    struct words words;
    unsigned which = (unsigned)fuzz_number(&in, 1) % (BRIQ_COUNT_OF(verbs) + 2);
    if (which == BRIQ_COUNT_OF(verbs) + 1) {
        try_server_args(in.at, in.left);
        return 0;
    }
    split(&in, &words);
    if (which == BRIQ_COUNT_OF(verbs))
        try_params(&words);
    else
        try_verb(verbs[which], &words);
    free_words(&words);
    return 0;
}
