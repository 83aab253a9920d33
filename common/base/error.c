/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int briq_error_set(struct briq_error *err, int code, const char *fmt, ...)
{
    if (err == NULL || err->text[0] != '\0')
        return code;

    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    return code;
}

void briq_assert_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "briq: %s:%d: assertion failed: %s\n", file, line, what);
    abort();
}
