/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_exports.h - the verbs of a control socket that work on one export of a running server. */
#ifndef BRIQ_CLI_SERVE_EXPORTS_H
#define BRIQ_CLI_SERVE_EXPORTS_H

#include "cli/serve_control.h"
#include "common/control/server.h"

/* Ended by a verb without a name. Their opaque is a struct briq_serve_setup. */
extern const struct briq_control_verb briq_serve_export_verbs[];

#endif
