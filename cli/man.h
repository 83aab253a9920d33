/* SPDX-License-Identifier: BSD-3-Clause */
/* man.h - the tables of the verbs as man pages (roff). Failures of `out` show in ferror(). */
#ifndef BRIQ_CLI_MAN_H
#define BRIQ_CLI_MAN_H

#include <stdio.h>

#include "cli/verb.h"

/* briq(1): the program and all of its verbs with their options. */
void briq_man_program(FILE *out);

/* briq-VERB(1). */
void briq_man_verb(const struct briq_verb *verb, FILE *out);

#endif
