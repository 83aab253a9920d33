/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.h - where the rare lines of the library go.
 *
 * The library returns errors; it logs only what has no caller to tell (the maintenance thread met
 * an error, recovery discarded a torn tail). A program hands in a sink; without one nothing is
 * printed. Never called on the data path.
 */
#ifndef BRIQ_BASE_LOG_H
#define BRIQ_BASE_LOG_H

#include "common/base/attr.h"

enum briq_log_level {
    BRIQ_LOG_ERROR,
    BRIQ_LOG_WARNING,
    BRIQ_LOG_INFO,
};

/* `line` is one line without a newline, valid during the call only. Called from any thread. */
struct briq_log {
    void (*sink)(void *opaque, enum briq_log_level level, const char *line);
    void *opaque;
};

/* Formats and hands the line to log->sink. log or its sink may be NULL: then nothing happens. */
void briq_log_line(const struct briq_log *log, enum briq_log_level level, const char *fmt, ...)
    BRIQ_PRINTF(3, 4);

#endif
