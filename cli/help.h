/* SPDX-License-Identifier: BSD-3-Clause */
/* help.h - the tables of the verbs as text for a terminal. Failures of `out` show in ferror(). */
#ifndef BRIQ_CLI_HELP_H
#define BRIQ_CLI_HELP_H

#include <stdio.h>

#include "cli/verb.h"

/* The program's own page: usage, verbs, exit codes. */
void briq_help_program(FILE *out);

/* "briq VERB --help". */
void briq_help_verb(const struct briq_verb *verb, FILE *out);

/* What is said of the program as a whole: paragraphs ended by NULL. */
extern const char *const briq_help_about[];

/* Exit codes: entry i says what code i means. */
extern const char *const briq_help_exits[3];

#endif
