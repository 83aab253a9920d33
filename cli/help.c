/* SPDX-License-Identifier: BSD-3-Clause */
/* help.c - lays the verbs' tables out for a terminal of 80 columns. */
#include "cli/help.h"

#include <string.h>

#define COLUMNS     80
#define TEXT_INDENT 22 /* where the explanation of an option starts */

const char *const briq_help_about[] = {
    "Briq keeps block volumes compressed with LZ4, in a file or on a block device, and survives "
    "crashes and power cuts. This program makes volumes, moves data in and out of them, looks "
    "after them, and serves them to virtual machines, as the nbdkit plugin does too.",
    "A VOLUME is the path of a file or block device. A SIZE is a number of bytes, or a number "
    "with K M G T P behind it, powers of 1024: 512M, 1.5G.",
    NULL,
};

const char *const briq_help_exits[3] = {
    "It is done, and all is well.",
    "It is done, and the volume that was asked about is not well.",
    "It could not be done. One line on the standard error output says why.",
};

/* Prints text broken into lines; the cursor stands at `column`, later lines start at `indent`. */
static void wrap(FILE *out, const char *text, int column, int indent)
{
    bool first = true;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (!first && column + 1 + (int)len > COLUMNS) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (!first) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, len, out);
        column += (int)len;
        text += len + strspn(text + len, " ");
        first = false;
    }
    fputc('\n', out);
}

static void print_paragraphs(FILE *out, const char *const *paragraphs)
{
    for (; *paragraphs != NULL; paragraphs++) {
        fputc('\n', out);
        wrap(out, *paragraphs, 0, 0);
    }
}

static void print_usage(FILE *out, const struct briq_verb *verb)
{
    fprintf(out, "Usage: briq %s", verb->name);
    if (verb->options->name != NULL)
        fprintf(out, " [OPTION...]");
    for (const struct briq_operand *o = verb->operands; o->name != NULL; o++)
        fprintf(out, o->times == BRIQ_MAYBE ? " [%s%s]" : " %s%s", o->name,
                o->times == BRIQ_MANY ? "..." : "");
    fputc('\n', out);
}

/* A term and its explanation, in two columns when the term is short enough. */
static void print_term(FILE *out, const char *term, const char *text)
{
    int column = fprintf(out, "  %s", term);
    if (column + 2 > TEXT_INDENT) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", TEXT_INDENT - column, "");
    wrap(out, text, TEXT_INDENT, TEXT_INDENT);
}

static void print_option(FILE *out, const struct briq_option *o)
{
    char term[128], letter[8] = "";
    if (o->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(term, sizeof term, "%s--%s%s%s%s", letter, o->name,
             o->value == NULL ? ""
             : o->may_be_bare ? "[="
                              : " ",
             o->value != NULL ? o->value : "", o->may_be_bare ? "]" : "");
    print_term(out, term, o->help);
}

static void print_examples(FILE *out, const struct briq_example *examples)
{
    if (examples->command == NULL)
        return;
    fprintf(out, "\nExamples:\n");
    for (; examples->command != NULL; examples++) {
        fprintf(out, "  %s\n      ", examples->command);
        wrap(out, examples->what, 6, 6);
    }
}

static void print_group(FILE *out, const struct briq_verb *group)
{
    fprintf(out, "Usage: briq %s VERB [OPTION...] [ARGUMENT...]\n", group->name);
    print_paragraphs(out, group->description);
    fprintf(out, "\nVerbs:\n");
    for (const struct briq_verb *const *verb = group->members; *verb != NULL; verb++)
        print_term(out, (*verb)->name, (*verb)->summary);
    fprintf(out, "\nOptions:\n");
    print_term(out, "-h, --help", "Print this text; behind a verb, explain it.");
    print_examples(out, group->examples);
}

void briq_help_verb(const struct briq_verb *verb, FILE *out)
{
    if (verb->members != NULL) {
        print_group(out, verb);
        return;
    }
    print_usage(out, verb);
    print_paragraphs(out, verb->description);
    fprintf(out, "\nOptions:\n");
    for (const struct briq_option *o = verb->options; o->name != NULL; o++)
        print_option(out, o);
    print_term(out, "-h, --help", "Print this text.");
    print_examples(out, verb->examples);
}

void briq_help_program(FILE *out)
{
    fprintf(out, "Usage: briq VERB [OPTION...] [ARGUMENT...]\n");
    print_paragraphs(out, briq_help_about);
    fprintf(out, "\nVerbs:\n");
    for (const struct briq_verb *const *verb = briq_verbs; *verb != NULL; verb++)
        print_term(out, (*verb)->name, (*verb)->summary);
    fprintf(out, "\n`briq VERB --help` explains a verb; `briq --version` tells the version.\n");
    fprintf(out, "\nExit codes:\n");
    for (int i = 0; i < 3; i++)
        print_term(out, (const char[]){(char)('0' + i), '\0'}, briq_help_exits[i]);
}
