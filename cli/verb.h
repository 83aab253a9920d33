/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verb.h - what a verb of the program is: one table that the option parser, --help and the man page
 * all read, and one function.
 *
 * A verb's options and operands are written into a struct of the verb's own (`args`), at the
 * offsets the table names. Adding an option is adding a line to the table: it is parsed, checked,
 * shown by --help and printed in the man page by that.
 */
#ifndef BRIQ_CLI_VERB_H
#define BRIQ_CLI_VERB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum briq_exit {
    BRIQ_EXIT_OK = 0,
    BRIQ_EXIT_UNWELL = 1, /* it ran, and what it was asked about is not well */
    BRIQ_EXIT_FAILED = 2, /* it could not run */
};

enum briq_option_kind {
    BRIQ_OPTION_FLAG,   /* a bool, set to true */
    BRIQ_OPTION_SIZE,   /* a uint64_t: bytes with an optional suffix */
    BRIQ_OPTION_NUMBER, /* a uint64_t: decimal digits */
    BRIQ_OPTION_TEXT,   /* a const char *: points into argv */
    BRIQ_OPTION_LIST,   /* a struct briq_words: a text each time it is given */
};

#define BRIQ_WORDS_MAX 64u

/* Words of argv, in their order. */
struct briq_words {
    const char *list[BRIQ_WORDS_MAX];
    unsigned count;
};

struct briq_option {
    const char *name; /* long form, without the dashes */
    char letter;      /* short form, 0 for none */
    enum briq_option_kind kind;
    size_t offset;     /* of the field in the args */
    const char *value; /* what stands for the value in help; NULL for a flag */
    uint64_t min, max; /* SIZE and NUMBER: the range accepted; max 0 means no range */
    const char *help;  /* sentences, without line breaks */
    bool may_be_bare;  /* LIST: the value stands behind "=", or there is none, which is "" */
};

enum briq_operand_times {
    BRIQ_ONCE,
    BRIQ_MAYBE, /* or not; only the last ones */
    BRIQ_MANY,  /* once or more often; only the last one. Its field is a struct briq_words */
};

struct briq_operand {
    const char *name; /* as in the usage line */
    size_t offset;    /* of a const char * in the args */
    enum briq_operand_times times;
};

struct briq_example {
    const char *command;
    const char *what; /* what it does, one sentence */
};

struct briq_verb {
    const char *name;
    const char *summary;                 /* one line for the list of verbs */
    const char *const *description;      /* paragraphs, ended by NULL */
    const struct briq_operand *operands; /* ended by a NULL name */
    const struct briq_option *options;   /* ended by a NULL name; --help is everybody's */
    const struct briq_example *examples; /* ended by a NULL command */
    size_t args_bytes;
    const void *defaults; /* args before parsing; NULL: zeros */
    /* A group of verbs ("ublk"), ended by NULL: their names begin with its own ("ublk add"), and
     * nothing above but name, summary and description is looked at. NULL: this is no group. */
    const struct briq_verb *const *members;
    /* Does the work and returns the exit code. Failures were explained in one line on stderr. */
    enum briq_exit (*run)(const void *args);
};

/* Ended by NULL; in the order in which people meet them. */
extern const struct briq_verb *const briq_verbs[];

/* NULL when there is no such verb. */
const struct briq_verb *briq_verb_find(const char *name);

/* The member of a group by the second word of its name; NULL when there is none. */
const struct briq_verb *briq_verb_member(const struct briq_verb *group, const char *word);

/*
 * Prints "briq VERB: why" on stderr, the reason being err's line or, when that is empty, the name
 * of the errno `code` (negative). Returns BRIQ_EXIT_FAILED.
 */
enum briq_exit briq_verb_fail(const char *verb, const struct briq_error *err, int code);

extern const struct briq_verb briq_verb_create;
extern const struct briq_verb briq_verb_import;
extern const struct briq_verb briq_verb_export;
extern const struct briq_verb briq_verb_info;
extern const struct briq_verb briq_verb_check;
extern const struct briq_verb briq_verb_resize;
extern const struct briq_verb briq_verb_compact;
extern const struct briq_verb briq_verb_dump;
extern const struct briq_verb briq_verb_serve;
extern const struct briq_verb briq_verb_list;
extern const struct briq_verb briq_verb_stat;
extern const struct briq_verb briq_verb_top;
extern const struct briq_verb briq_verb_snapshot_stats;
extern const struct briq_verb briq_verb_shutdown;
extern const struct briq_verb briq_verb_checkpoint;
extern const struct briq_verb briq_verb_detach;
extern const struct briq_verb briq_verb_attach;
extern const struct briq_verb briq_verb_bench;
extern const struct briq_verb briq_verb_ublk;
extern const struct briq_verb briq_verb_ublk_add;
extern const struct briq_verb briq_verb_ublk_del;
extern const struct briq_verb briq_verb_ublk_features;
extern const struct briq_verb briq_verb_ublk_list;
extern const struct briq_verb briq_verb_ublk_owner;
extern const struct briq_verb briq_verb_ublk_recover;
extern const struct briq_verb briq_verb_ublk_resize;
extern const struct briq_verb briq_verb_ublk_stat;
extern const struct briq_verb briq_verb_ublk_stop;
extern const struct briq_verb briq_verb_help;

#endif
