/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/warnings.h"

#include <stdio.h>
#include <syslog.h>

static void show(void *opaque, enum briq_log_level level, const char *line)
{
    (void)opaque;
    if (level == BRIQ_LOG_ERROR)
        fprintf(stderr, "briq: error: %s\n", line);
    else if (level == BRIQ_LOG_WARNING)
        fprintf(stderr, "briq: warning: %s\n", line);
}

static void show_everything(void *opaque, enum briq_log_level level, const char *line)
{
    if (level == BRIQ_LOG_INFO)
        fprintf(stderr, "briq: %s\n", line);
    else
        show(opaque, level, line);
}

static void show_errors(void *opaque, enum briq_log_level level, const char *line)
{
    if (level == BRIQ_LOG_ERROR)
        show(opaque, level, line);
}

struct briq_log briq_warnings_log(void)
{
    return (struct briq_log){.sink = show};
}

struct briq_log briq_warnings_errors_only(void)
{
    return (struct briq_log){.sink = show_errors};
}

struct briq_log briq_warnings_everything(void)
{
    return (struct briq_log){.sink = show_everything};
}

static void to_syslog(void *opaque, enum briq_log_level level, const char *line)
{
    (void)opaque;
    int priority = level == BRIQ_LOG_ERROR     ? LOG_ERR
                   : level == BRIQ_LOG_WARNING ? LOG_WARNING
                                               : LOG_INFO;
    syslog(LOG_DAEMON | priority, "%s", line);
}

static void warnings_to_syslog(void *opaque, enum briq_log_level level, const char *line)
{
    if (level != BRIQ_LOG_INFO)
        to_syslog(opaque, level, line);
}

struct briq_log briq_warnings_syslog(bool everything)
{
    return (struct briq_log){.sink = everything ? to_syslog : warnings_to_syslog};
}
