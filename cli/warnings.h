/* SPDX-License-Identifier: BSD-3-Clause */
/* warnings.h - shows on standard error what the store has nobody else to tell. */
#ifndef BRIQ_CLI_WARNINGS_H
#define BRIQ_CLI_WARNINGS_H

#include "common/base/log.h"

/* A sink for briq_open_options: errors and warnings get a line, information does not. */
struct briq_log briq_warnings_log(void);

#endif
