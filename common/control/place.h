/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * place.h - where the control sockets of a user's daemons lie.
 *
 *     $BRIQ_RUN_DIR           when it is set
 *     /run/briq               of root
 *     $XDG_RUNTIME_DIR/briq   of everybody else
 *     /tmp/briq-UID           where there is no such variable
 *
 * A socket there is NAME.control; a daemon that was given no name takes its process id. The
 * directory must belong to the user, and nobody else may write there: who could would decide which
 * daemon a verb talks to.
 */
#ifndef BRIQ_CONTROL_PLACE_H
#define BRIQ_CONTROL_PLACE_H

#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/error.h"

#define BRIQ_CONTROL_SUFFIX ".control"
/* With the final 0: what the address of a Unix socket holds. */
#define BRIQ_CONTROL_PATH_MAX 108

/* The directory's name, whether it is there or not. 0, or -ENAMETOOLONG explained in err. */
int briq_control_dir(char path[BRIQ_CONTROL_PATH_MAX], struct briq_error *err) BRIQ_MUST;

/* The same; makes it, 0700, when it is not there. -errno, -EPERM: it is not ours alone. */
int briq_control_dir_make(char path[BRIQ_CONTROL_PATH_MAX], struct briq_error *err) BRIQ_MUST;

/* 0, -ENOENT: it is not there, or -EPERM explained in err: it is not ours alone. */
int briq_control_dir_check(const char *path, struct briq_error *err) BRIQ_MUST;

/*
 * The path of a socket: `name` itself when there is a slash in it, else NAME.control in the
 * directory. 0, or -EINVAL, -ENAMETOOLONG explained in err.
 */
int briq_control_path(const char *name, char path[BRIQ_CONTROL_PATH_MAX],
                      struct briq_error *err) BRIQ_MUST;

/*
 * Listens at `path`, 0600, replacing a socket that nobody listens on. Returns the descriptor, not
 * blocking, or -errno explained in err: -EADDRINUSE.
 */
int briq_control_bind(const char *path, struct briq_error *err) BRIQ_MUST;

/* A descriptor connected to `path`, or -errno: -ECONNREFUSED, when nobody listens. Blocks for at
 * most 5 s, and so does each send of it. */
int briq_control_connect(const char *path) BRIQ_MUST;

/* Removes the socket of a daemon that has died, unless there is a new one by now. */
void briq_control_clean_up(const char *path);

#endif
