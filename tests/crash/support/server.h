/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.h - an nbdkit that serves one volume, to be killed.
 *
 * It is given a socket that listens already, so a client can connect at once and waits until the
 * server is ready, or finds it dead: nobody polls. It dies with its parent.
 */
#ifndef BRIQ_TESTS_CRASH_SERVER_H
#define BRIQ_TESTS_CRASH_SERVER_H

#include <sys/types.h>

#include "common/base/attr.h"
#include "tests/crash/support/fuse.h"

struct server {
    pid_t pid;
    const char *socket; /* path */
};

/* Starts it with the append windows in `windows_dir`, under the fuse. Ends the program when that
 * cannot be done. */
void server_start(struct server *server, const char *socket, const char *volume,
                  const char *windows_dir, const struct fuse_handle *fuse);

/* Sends it a signal, and waits for its end. Returns its exit status, or 128 + the signal. */
int server_end(struct server *server, int signal) BRIQ_MUST;

/* Waits for its end alone. */
int server_wait(struct server *server) BRIQ_MUST;

/* The same with SIGKILL, when nobody wants to know how it ended. */
void server_kill(struct server *server);

/* Runs a program under the fuse and waits for its end; what it says goes to the file `log`. Returns
 * as above. */
int run_under_fuse(char *const argv[], const char *input, const char *log,
                   const struct fuse_handle *fuse) BRIQ_MUST;

#endif
