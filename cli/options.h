/* SPDX-License-Identifier: BSD-3-Clause */
/* options.h - reads a command line into the args of a verb, as its table says. */
#ifndef BRIQ_CLI_OPTIONS_H
#define BRIQ_CLI_OPTIONS_H

#include "cli/verb.h"

enum briq_options_result {
    BRIQ_OPTIONS_RUN,  /* args are filled in */
    BRIQ_OPTIONS_HELP, /* --help was there: nothing else was looked at */
    BRIQ_OPTIONS_BAD,  /* err says what is wrong */
};

/*
 * Parses argv[0 .. argc), which stands behind the verb's name, into args (verb->args_bytes of it,
 * set to the verb's defaults first). Options and operands may be mixed; "--" ends the options; "-"
 * alone is an operand; an option's value follows it or stands behind "=". Text values point into
 * argv. Does not allocate.
 */
enum briq_options_result briq_options_parse(const struct briq_verb *verb, int argc, char **argv,
                                            void *args, struct briq_error *err) BRIQ_MUST;

/*
 * The size that `text` stands for, "a name for it" being `what` in the explanation.
 * Returns 0 and sets *ret_bytes, or -EINVAL or -ERANGE, explained in err.
 */
int briq_options_size(const char *what, const char *text, uint64_t *ret_bytes,
                      struct briq_error *err) BRIQ_MUST;

#endif
