/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - the program `briq`: finds the verb, reads its command line, runs it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/help.h"
#include "cli/options.h"
#include "cli/verb.h"
#include "common/store/store.h"

const struct briq_verb *const briq_verbs[] = {
    &briq_verb_create,         &briq_verb_import,   &briq_verb_export,
    &briq_verb_info,           &briq_verb_check,    &briq_verb_resize,
    &briq_verb_compact,        &briq_verb_dump,     &briq_verb_serve,
    &briq_verb_list,           &briq_verb_stat,     &briq_verb_top,
    &briq_verb_attach,         &briq_verb_detach,   &briq_verb_checkpoint,
    &briq_verb_snapshot_stats, &briq_verb_shutdown, &briq_verb_ublk,
    &briq_verb_bench,          &briq_verb_help,     NULL,
};

const struct briq_verb *briq_verb_find(const char *name)
{
    for (const struct briq_verb *const *verb = briq_verbs; *verb != NULL; verb++)
        if (strcmp((*verb)->name, name) == 0)
            return *verb;
    return NULL;
}

enum briq_exit briq_verb_fail(const char *verb, const struct briq_error *err, int code)
{
    const char *why = err->text[0] != '\0' ? err->text : strerror(-code);
    fprintf(stderr, "briq %s: %s\n", verb, why);
    return BRIQ_EXIT_FAILED;
}

static enum briq_exit run_verb(const struct briq_verb *verb, int argc, char **argv)
{
    struct briq_error err = {""};
    void *args = calloc(1, verb->args_bytes);
    if (args == NULL)
        return briq_verb_fail(verb->name, &err, -ENOMEM);

    enum briq_exit code = BRIQ_EXIT_OK;
    switch (briq_options_parse(verb, argc, argv, args, &err)) {
    case BRIQ_OPTIONS_RUN:
        code = verb->run(args);
        break;
    case BRIQ_OPTIONS_HELP:
        briq_help_verb(verb, stdout);
        break;
    case BRIQ_OPTIONS_BAD:
        code = briq_verb_fail(verb->name, &err, -EINVAL);
        break;
    }
    free(args);
    return code;
}

/* argv begins behind the group's name. */
static enum briq_exit run_group(const struct briq_verb *group, int argc, char **argv)
{
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        briq_help_verb(group, stdout);
        return BRIQ_EXIT_OK;
    }
    const struct briq_verb *verb = argc > 0 ? briq_verb_member(group, argv[0]) : NULL;
    if (verb != NULL)
        return run_verb(verb, argc - 1, argv + 1);
    if (argc == 0)
        fprintf(stderr, "briq %s: missing verb; see `briq %s --help`\n", group->name, group->name);
    else
        fprintf(stderr, "briq %s: unknown verb \"%s\"; see `briq %s --help`\n", group->name,
                argv[0], group->name);
    return BRIQ_EXIT_FAILED;
}

static enum briq_exit run_program(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "briq: missing verb; see `briq --help`\n");
        return BRIQ_EXIT_FAILED;
    }
    const char *word = argv[1];
    const struct briq_verb *verb = briq_verb_find(word);
    if (verb != NULL && verb->members != NULL)
        return run_group(verb, argc - 2, argv + 2);
    if (verb != NULL)
        return run_verb(verb, argc - 2, argv + 2);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        briq_help_program(stdout);
        return BRIQ_EXIT_OK;
    }
    if (strcmp(word, "--version") == 0) {
        printf("%s (volume format %u, LZ4 %s)\n", briq_version(), briq_format_version(),
               briq_lz4_version());
        return BRIQ_EXIT_OK;
    }
    fprintf(stderr, "briq: unknown %s \"%s\"; see `briq --help`\n",
            word[0] == '-' ? "option" : "verb", word);
    return BRIQ_EXIT_FAILED;
}

int main(int argc, char **argv)
{
    enum briq_exit code = run_program(argc, argv);
    /* A report that did not reach a full disk must not end in success. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "briq: standard output: %s\n", strerror(errno));
        code = BRIQ_EXIT_FAILED;
    }
    return (int)code;
}
