/* SPDX-License-Identifier: BSD-3-Clause */
/* warnings.h - shows on standard error what the store has nobody else to tell. */
#ifndef BRIQ_CLI_WARNINGS_H
#define BRIQ_CLI_WARNINGS_H

#include <stdbool.h>

#include "common/base/log.h"

/* Sinks for briq_open_options: errors and warnings get a line, information does not ... */
struct briq_log briq_warnings_log(void);
/* ... and errors alone, for a verb of which the result or its one line of failure says the rest. */
struct briq_log briq_warnings_errors_only(void);
/* ... and all there is. */
struct briq_log briq_warnings_everything(void);
/* The same for a program in the background: the system's log has them. */
struct briq_log briq_warnings_syslog(bool everything);

#endif
