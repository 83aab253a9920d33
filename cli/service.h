/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * service.h - what a program that runs for long has to do with whoever started it: a service
 * manager (systemd's two protocols, spoken directly), a shell, or a terminal it goes away from.
 *
 * Thread: the main one.
 */
#ifndef BRIQ_CLI_SERVICE_H
#define BRIQ_CLI_SERVICE_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/error.h"

#define BRIQ_SERVICE_FD_FIRST 3

/*
 * How many sockets were handed over ($LISTEN_FDS), as descriptors from BRIQ_SERVICE_FD_FIRST on;
 * they are made close-on-exec, and the variables are taken out of the environment. 0: none.
 * -EINVAL, explained in err: the variables make no sense.
 */
int briq_service_sockets(struct briq_error *err) BRIQ_MUST;

/* Tells the service manager, if there is one: "READY=1", "STOPPING=1". Failures are not told. */
void briq_service_tell(const char *state);

/* A program that goes to the background: the parent waits until the child is ready. */
struct briq_daemon {
    int ready_fd; /* the child's; -1: not a daemon */
};

#define BRIQ_DAEMON_NONE ((struct briq_daemon){.ready_fd = -1})

/*
 * Forks. The parent does not return: it ends with 0 when the child is ready, or with the child's
 * exit code when it failed or ended before that. The child has a session of its own. No threads may
 * run yet.
 */
int briq_daemon_begin(struct briq_daemon *daemon, struct briq_error *err) BRIQ_MUST;
/* The child will not be ready and has said why: lets the terminal go and the parent end with `code`,
 * whether the child itself can end or is held by the kernel. Nothing without a parent that waits. */
void briq_daemon_fail(struct briq_daemon *daemon, int code);
/* The child is ready: lets the parent end, and the terminal go. */
void briq_daemon_ready(struct briq_daemon *daemon);

/* Writes the process id, a line, to the file `path`. 0, or -errno explained in err. */
int briq_pid_file_write(const char *path, struct briq_error *err) BRIQ_MUST;

/*
 * Starts `sh -c command` with $uri in its environment and all signals as usual. Returns a
 * descriptor that is readable when it has ended (a pidfd) and sets *ret_pid, or -errno explained in
 * err.
 */
int briq_command_start(const char *command, const char *uri, pid_t *ret_pid,
                       struct briq_error *err) BRIQ_MUST;
/* Its exit code as a shell gives it; with `end` it is sent SIGTERM first. Blocks. */
int briq_command_wait(pid_t pid, bool end);

#endif
