/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * error.h - one clear line of explanation beside an errno.
 *
 * Cold paths (open, create, check) take a `struct briq_error *` and leave in it what happened,
 * where, why and what to do; the data path returns bare -errno. Library code never prints.
 */
#ifndef BRIQ_BASE_ERROR_H
#define BRIQ_BASE_ERROR_H

#include "common/base/attr.h"

#define BRIQ_ERROR_TEXT_MAX 512

/* Zero-initialise before the first call. `text` is one line without a newline, empty = no error. */
struct briq_error {
    char text[BRIQ_ERROR_TEXT_MAX];
};

/*
 * Stores the formatted line in err (cut to fit; err may be NULL) and returns `code` unchanged, so
 * that it can stand in a return statement. `code` is a negative errno. An explanation that is
 * already there is kept: the first, innermost one names the cause.
 * Thread: owner of err. Does not allocate.
 */
int briq_error_set(struct briq_error *err, int code, const char *fmt, ...) BRIQ_PRINTF(3, 4);

#endif
