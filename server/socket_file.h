/* SPDX-License-Identifier: BSD-3-Clause */
/* socket_file.h - who may open the file of a Unix socket: its mode and owner. Thread: any. */
#ifndef BRIQ_SERVER_SOCKET_FILE_H
#define BRIQ_SERVER_SOCKET_FILE_H

#include <sys/types.h>
#include <sys/un.h>

#include "common/base/attr.h"
#include "common/base/error.h"

struct briq_socket_file {
    mode_t mode;
    uid_t uid; /* (uid_t)-1: who starts the server */
    gid_t gid; /* (gid_t)-1: likewise */
};

/* Who starts the server alone, whatever the umask. */
#define BRIQ_SOCKET_FILE_DEFAULT                                                                   \
    ((struct briq_socket_file){.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1})

/* "0660", octal, up to 0777. 0, or -EINVAL explained in err. */
int briq_socket_file_mode(const char *text, struct briq_socket_file *file,
                          struct briq_error *err) BRIQ_MUST;
/* "USER", "USER:GROUP" or ":GROUP", names or numbers. 0, or -EINVAL, -ENOENT, explained in err.
 * Blocks. */
int briq_socket_file_owner(const char *text, struct briq_socket_file *file,
                           struct briq_error *err) BRIQ_MUST;

/*
 * Binds fd, with mode and owner as they are to be. The file is never more open than asked for; and
 * nobody can connect before the caller listens. 0, or -errno explained in err, and there is no file.
 */
int briq_socket_file_bind(const struct briq_socket_file *file, int fd,
                          const struct sockaddr_un *address, struct briq_error *err) BRIQ_MUST;

#endif
