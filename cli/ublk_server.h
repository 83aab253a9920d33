/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ublk_server.h - the process that serves one block device: what `briq ublk add` and `recover` have
 * in common once they know what is to be served.
 */
#ifndef BRIQ_CLI_UBLK_SERVER_H
#define BRIQ_CLI_UBLK_SERVER_H

#include "cli/verb.h"
#include "ublk-frontend/device.h"
#include "ublk-frontend/record.h"

struct briq_ublk_job {
    const char *verb;
    bool foreground;
    bool swap;                    /* it must get on when there is no memory left */
    bool recover;                 /* take over options.id instead of making a device */
    bool replace;                 /* recover: ask a server that lives to leave */
    struct briq_ublk_record what; /* the volume and how it is opened */
    struct briq_ublk_options options;
};

/* Serves until the device ends or the process is told to. Returns the exit code. */
enum briq_exit briq_ublk_server_run(struct briq_ublk_job *job);

#endif
