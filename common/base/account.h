/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * account.h - users and groups of the system, by name or number.
 * Thread: any. Blocks: the system may ask the network.
 */
#ifndef BRIQ_BASE_ACCOUNT_H
#define BRIQ_BASE_ACCOUNT_H

#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/error.h"

/* The user `text` names, or whose number it is; a number need not belong to anybody. 0, or -EINVAL,
 * -ENOENT or another -errno, explained in err: "WHAT: ...". */
int briq_account_user(const char *what, const char *text, uid_t *ret,
                      struct briq_error *err) BRIQ_MUST;
/* The same for a group. */
int briq_account_group(const char *what, const char *text, gid_t *ret,
                       struct briq_error *err) BRIQ_MUST;

#endif
