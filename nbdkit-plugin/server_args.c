/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/server_args.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"

/* Short options with a value, which is the rest of the word or else the next one. */
#define SHORT_WITH_VALUE "DegiPptuU"

/* Long options with a value, which is the next word unless there is a '=' in this one. */
static bool long_takes_next_word(const char *option)
{
    static const char *const with_value[] = {
        "--debug",
        "--export",
        "--export-name",
        "--exportname",
        "--filter",
        "--group",
        "--ip-addr",
        "--ipaddr",
        "--log",
        "--mask-handshake",
        "--pid-file",
        "--pidfile",
        "--port",
        "--run",
        "--selinux-label",
        "--threads",
        "--timeout",
        "--tls",
        "--tls-certificates",
        "--tls-psk",
        "--unix",
        "--user",
    };

    for (size_t i = 0; i < BRIQ_COUNT_OF(with_value); i++) {
        if (strcmp(option, with_value[i]) == 0)
            return true;
    }
    return false;
}

/* A bundle of short options like "fvr" or "fP": is -r in it, and is the next word its value? */
static bool bundle_is_read_only(const char *letters, bool *ret_skip_next)
{
    for (; *letters != '\0'; letters++) {
        if (*letters == 'r')
            return true;
        if (strchr(SHORT_WITH_VALUE, *letters) != NULL) {
            *ret_skip_next = letters[1] == '\0';
            return false;
        }
    }
    return false;
}

static bool word_is_read_only(const char *word, bool *ret_skip_next)
{
    *ret_skip_next = false;
    if (strncmp(word, "--", 2) == 0) {
        *ret_skip_next = long_takes_next_word(word);
        return strcmp(word, "--read-only") == 0 || strcmp(word, "--readonly") == 0;
    }
    return word[0] == '-' && bundle_is_read_only(word + 1, ret_skip_next);
}

bool briq_server_args_read_only(FILE *args)
{
    char *word = NULL;
    size_t room = 0;
    bool read_only = false;
    bool skip = true; /* the program's name */

    while (!read_only && getdelim(&word, &room, '\0', args) > 0) {
        if (skip)
            skip = false;
        else if (strcmp(word, "--") == 0)
            break;
        else
            read_only = word_is_read_only(word, &skip);
    }
    free(word);
    return read_only;
}

bool briq_server_is_read_only(void)
{
    FILE *args = fopen("/proc/self/cmdline", "re");
    if (args == NULL)
        return false;

    bool read_only = briq_server_args_read_only(args);
    fclose(args);
    return read_only;
}
