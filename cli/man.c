/* SPDX-License-Identifier: BSD-3-Clause */
/* man.c - writes the verbs' tables as roff with the classic man macros. */
#include "cli/man.h"

#include <ctype.h>
#include <string.h>

#include "cli/help.h"
#include "common/store/store.h"

/* Text as roff sees it: a hyphen that can be copied, no accidental request at a line's start. */
static void put_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

static void put_line(FILE *out, const char *text)
{
    put_text(out, text);
    fputc('\n', out);
}

static void put_paragraphs(FILE *out, const char *const *paragraphs)
{
    for (; *paragraphs != NULL; paragraphs++) {
        fprintf(out, ".PP\n");
        put_line(out, *paragraphs);
    }
}

static void put_title(FILE *out, const char *name)
{
    fprintf(out, ".TH \"");
    for (; *name != '\0'; name++)
        fputc(toupper((unsigned char)*name), out);
    fprintf(out, "\" \"1\" \"\" \"%s\" \"Briq\"\n", briq_version());
}

static void put_usage(FILE *out, const struct briq_verb *verb)
{
    fprintf(out, ".PP\n\\fBbriq %s\\fR", verb->name);
    if (verb->options->name != NULL)
        fprintf(out, " [\\fIOPTION\\fR...]");
    for (const struct briq_operand *o = verb->operands; o->name != NULL; o++)
        fprintf(out, o->times == BRIQ_MAYBE ? " [\\fI%s\\fR%s]" : " \\fI%s\\fR%s", o->name,
                o->times == BRIQ_MANY ? "..." : "");
    fputc('\n', out);
}

static void put_option(FILE *out, const struct briq_option *o)
{
    fprintf(out, ".TP\n");
    if (o->letter != 0)
        fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
    fprintf(out, "\\fB\\-\\-");
    put_text(out, o->name);
    fprintf(out, "\\fR");
    if (o->may_be_bare)
        fprintf(out, "[=\\fI%s\\fR]", o->value);
    else if (o->value != NULL)
        fprintf(out, " \\fI%s\\fR", o->value);
    fputc('\n', out);
    put_line(out, o->help);
}

static void put_options(FILE *out, const struct briq_verb *verb)
{
    for (const struct briq_option *o = verb->options; o->name != NULL; o++)
        put_option(out, o);
    fprintf(out, ".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nPrint a short form of this text.\n");
}

static void put_examples(FILE *out, const struct briq_verb *verb)
{
    for (const struct briq_example *e = verb->examples; e->command != NULL; e++) {
        fprintf(out, ".PP\n");
        put_line(out, e->what);
        fprintf(out, ".PP\n.RS 4\n.nf\n");
        put_line(out, e->command);
        fprintf(out, ".fi\n.RE\n");
    }
}

static void put_exits(FILE *out)
{
    fprintf(out, ".SH EXIT STATUS\n");
    for (int i = 0; i < 3; i++) {
        fprintf(out, ".TP\n%d\n", i);
        put_line(out, briq_help_exits[i]);
    }
}

static void put_group(FILE *out, const struct briq_verb *group)
{
    fprintf(out,
            ".PP\n\\fBbriq %s\\fR \\fIVERB\\fR [\\fIOPTION\\fR...] "
            "[\\fIARGUMENT\\fR...]\n",
            group->name);
}

static void put_one_section(FILE *out, const struct briq_verb *verb)
{
    fprintf(out, ".SS \"briq %s\"\n", verb->name);
    put_line(out, verb->summary);
    put_usage(out, verb);
    put_paragraphs(out, verb->description);
    put_options(out, verb);
    put_examples(out, verb);
}

static void put_verb_section(FILE *out, const struct briq_verb *verb)
{
    if (verb->members == NULL) {
        put_one_section(out, verb);
        return;
    }
    fprintf(out, ".SS \"briq %s\"\n", verb->name);
    put_line(out, verb->summary);
    put_group(out, verb);
    put_paragraphs(out, verb->description);
    put_examples(out, verb);
    for (const struct briq_verb *const *member = verb->members; *member != NULL; member++)
        put_one_section(out, *member);
}

void briq_man_program(FILE *out)
{
    put_title(out, "briq");
    fprintf(out, ".SH NAME\nbriq \\- compressed block volumes\n.SH SYNOPSIS\n"
                 ".PP\n\\fBbriq\\fR \\fIVERB\\fR [\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]\n"
                 ".PP\n\\fBbriq \\-\\-help\\fR | \\fBbriq \\-\\-version\\fR\n.SH DESCRIPTION\n");
    put_paragraphs(out, briq_help_about);
    fprintf(out, ".SH VERBS\n");
    for (const struct briq_verb *const *verb = briq_verbs; *verb != NULL; verb++)
        put_verb_section(out, *verb);
    put_exits(out);
    fprintf(out, ".SH SEE ALSO\nnbdkit\\-briq\\-plugin(1), nbdkit(1), qemu\\-img(1), nbdcopy(1)\n");
}

/* The verbs of a group, each under its name. */
static void put_members(FILE *out, const struct briq_verb *group)
{
    fprintf(out, ".SH VERBS\n");
    for (const struct briq_verb *const *verb = group->members; *verb != NULL; verb++)
        put_one_section(out, *verb);
    fprintf(out, ".SH OPTIONS\n.TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\n"
                 "Print a short form of this text.\n");
}

static void put_page_name(const char *verb_name, char *name, size_t room)
{
    snprintf(name, room, "briq-%s", verb_name);
    for (char *c = name; *c != '\0'; c++)
        if (*c == ' ')
            *c = '-';
}

void briq_man_verb(const struct briq_verb *verb, FILE *out)
{
    char name[64];
    bool group = verb->members != NULL;
    put_page_name(verb->name, name, sizeof name);
    put_title(out, name);
    fprintf(out, ".SH NAME\n");
    put_text(out, name);
    fprintf(out, " \\- ");
    put_line(out, verb->summary);
    fprintf(out, ".SH SYNOPSIS\n");
    (group ? put_group : put_usage)(out, verb);
    fprintf(out, ".SH DESCRIPTION\n");
    put_paragraphs(out, verb->description);
    if (!group)
        fprintf(out, ".SH OPTIONS\n");
    (group ? put_members : put_options)(out, verb);
    if (verb->examples->command != NULL)
        fprintf(out, ".SH EXAMPLES\n");
    put_examples(out, verb);
    put_exits(out);
    fprintf(out, ".SH SEE ALSO\nbriq(1), nbdkit\\-briq\\-plugin(1)\n");
}
