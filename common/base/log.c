/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/base/log.h"

#include <stdarg.h>
#include <stdio.h>

void briq_log_line(const struct briq_log *log, enum briq_log_level level, const char *fmt, ...)
{
    if (log == NULL || log->sink == NULL)
        return;

    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    log->sink(log->opaque, level, line);
}
