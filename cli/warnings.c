/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/warnings.h"

#include <stdio.h>

static void show(void *opaque, enum briq_log_level level, const char *line)
{
    (void)opaque;
    if (level == BRIQ_LOG_ERROR || level == BRIQ_LOG_WARNING)
        fprintf(stderr, "briq: %s: %s\n", level == BRIQ_LOG_ERROR ? "error" : "warning", line);
}

struct briq_log briq_warnings_log(void)
{
    return (struct briq_log){.sink = show};
}
