/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_control.h - the verbs that a running `briq serve` answers on its control socket. */
#ifndef BRIQ_CLI_SERVE_CONTROL_H
#define BRIQ_CLI_SERVE_CONTROL_H

#include "cli/serve_devices.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "server/server.h"

struct briq_serve_control;

struct briq_serve_setup {
    struct briq_server *server; /* outlives the control */
    struct briq_serve_devices *devices;
    struct briq_open_options open; /* how volumes that are attached later are opened */
    struct briq_log log;
    const char *socket; /* a path or a name; NULL: named by the process */
};

/* Makes the socket; nothing is answered yet. 0 and *ret, or -errno explained in err. */
int briq_serve_control_open(const struct briq_serve_setup *setup, struct briq_error *err,
                            struct briq_serve_control **ret) BRIQ_MUST;

/* Answers from here on, in a thread of its own. After briq_server_start(). */
int briq_serve_control_start(struct briq_serve_control *control, struct briq_error *err) BRIQ_MUST;

/* The path of its socket; "" for NULL. */
const char *briq_serve_control_path(const struct briq_serve_control *control);

/* A descriptor that becomes readable when a client wants the daemon to end; -1 for NULL. */
int briq_serve_control_fd(const struct briq_serve_control *control);

/* Ends all that works on the server or its volumes: before briq_server_close(). NULL is accepted. */
void briq_serve_control_quiesce(struct briq_serve_control *control);

/* Answers who wanted the daemon to end with what briq_server_close() returned, and removes the
 * socket. NULL is accepted. */
void briq_serve_control_close(struct briq_serve_control *control, int outcome);

#endif
