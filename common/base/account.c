/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/base/account.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* An entry of a group with thousands of members. */
#define ENTRY_BYTES (UINT32_C(1) << 18)

/* The largest number means "nobody in particular" to the system. */
static bool is_number(const char *text, unsigned *ret)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*end != '\0' || errno != 0 || n >= UINT32_MAX)
        return false;
    *ret = (unsigned)n;
    return true;
}

static int explain(const char *what, const char *kind, const char *text, int r,
                   struct briq_error *err)
{
    if (r == 0 || r == -ENOENT)
        return briq_error_set(err, -ENOENT, "%s: there is no %s \"%s\"", what, kind, text);
    return briq_error_set(err, r, "%s: looking for %s \"%s\": %s", what, kind, text, strerror(-r));
}

int briq_account_user(const char *what, const char *text, uid_t *ret, struct briq_error *err)
{
    struct passwd entry, *found = NULL;
    unsigned number;
    if (is_number(text, &number)) {
        *ret = number;
        return 0;
    }
    char *memory = malloc(ENTRY_BYTES);
    int r = memory == NULL ? -ENOMEM : -getpwnam_r(text, &entry, memory, ENTRY_BYTES, &found);
    if (found != NULL)
        *ret = found->pw_uid;
    free(memory);
    return found != NULL ? 0 : explain(what, "user", text, r, err);
}

int briq_account_group(const char *what, const char *text, gid_t *ret, struct briq_error *err)
{
    struct group entry, *found = NULL;
    unsigned number;
    if (is_number(text, &number)) {
        *ret = number;
        return 0;
    }
    char *memory = malloc(ENTRY_BYTES);
    int r = memory == NULL ? -ENOMEM : -getgrnam_r(text, &entry, memory, ENTRY_BYTES, &found);
    if (found != NULL)
        *ret = found->gr_gid;
    free(memory);
    return found != NULL ? 0 : explain(what, "group", text, r, err);
}
