/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_help.c - "briq help": the same words as --help, and the man pages made of them. */
#include <errno.h>
#include <stdio.h>

#include "cli/help.h"
#include "cli/man.h"
#include "cli/verb.h"

struct help_args {
    const char *verb, *member;
    bool man;
};

static const struct briq_verb *find(const struct help_args *a)
{
    const struct briq_verb *verb = briq_verb_find(a->verb);
    if (verb == NULL || a->member == NULL)
        return verb;
    return verb->members != NULL ? briq_verb_member(verb, a->member) : NULL;
}

static enum briq_exit run(const void *args)
{
    const struct help_args *a = args;
    const struct briq_verb *verb = a->verb != NULL ? find(a) : NULL;
    if (a->verb != NULL && verb == NULL) {
        struct briq_error err = {""};
        int r =
            briq_error_set(&err, -EINVAL, "there is no verb \"%s%s%s\"; see `briq --help`", a->verb,
                           a->member != NULL ? " " : "", a->member != NULL ? a->member : "");
        return briq_verb_fail("help", &err, r);
    }
    if (verb != NULL)
        (a->man ? briq_man_verb : briq_help_verb)(verb, stdout);
    else
        (a->man ? briq_man_program : briq_help_program)(stdout);
    return BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_help = {
    .name = "help",
    .summary = "explain the program or a verb",
    .description =
        (const char *const[]){
            "Prints what --help prints: of the program, of a verb, or of a MEMBER of a group of "
            "verbs.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"VERB", offsetof(struct help_args, verb), BRIQ_MAYBE},
            {"MEMBER", offsetof(struct help_args, member), BRIQ_MAYBE},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "man",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct help_args, man),
             .help = "Print a man page in roff instead, for man -l or a file."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq help --man import | man -l -", "Read the man page of one verb."},
            {0},
        },
    .args_bytes = sizeof(struct help_args),
    .run = run,
};
