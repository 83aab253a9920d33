/* SPDX-License-Identifier: BSD-3-Clause */
/* verb.c - finding a verb inside a group. Which verbs there are at all is the program's: main.c. */
#include "cli/verb.h"

#include <string.h>

const struct briq_verb *briq_verb_member(const struct briq_verb *group, const char *word)
{
    size_t skip = strlen(group->name) + 1;
    for (const struct briq_verb *const *verb = group->members; *verb != NULL; verb++)
        if (strcmp((*verb)->name + skip, word) == 0)
            return *verb;
    return NULL;
}
