/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon.h - a process that goes to the background and whose starter returns when it is ready.
 *
 * The starter stays, waits for one message and ends with it: what the user sees of a failure is the
 * same line as in the foreground. Thread: the main one, before there are others.
 */
#ifndef BRIQ_CLI_DAEMON_H
#define BRIQ_CLI_DAEMON_H

#include <stdbool.h>

#include "cli/verb.h"
#include "common/base/log.h"

struct briq_daemon {
    bool background;
    int report_fd; /* to the starter; -1 when it was told, or in the foreground */
};

/*
 * With `background`, forks: the child goes on in a session of its own, with `false`; the starter
 * comes back when the child has reported or died, with `true` and its exit code in *ret_exit, after
 * printing what the child said. Without, just `false`. -errno explained in err: nothing was forked.
 */
int briq_daemon_start(struct briq_daemon *daemon, bool background, const char *verb,
                      struct briq_error *err, bool *ret_starter,
                      enum briq_exit *ret_exit) BRIQ_MUST;

/* It is ready: the starter prints `line` and ends well; from now on lines go to the system log. */
void briq_daemon_ready(struct briq_daemon *daemon, const char *line);

/* It is not going to be: the starter prints the reason. Returns the exit code for this process. */
enum briq_exit briq_daemon_failed(struct briq_daemon *daemon, const char *verb,
                                  const struct briq_error *err, int code);

/* Where its lines go: to standard error, in the background to the system log once it is ready. The
 * daemon must outlive the log. */
struct briq_log briq_daemon_log(struct briq_daemon *daemon);

#endif
