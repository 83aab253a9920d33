/* SPDX-License-Identifier: BSD-3-Clause */
/* listener.h - the sockets that clients connect to. */
#ifndef BRIQ_SERVER_LISTENER_H
#define BRIQ_SERVER_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/error.h"
#include "server/socket_file.h"

#define BRIQ_LISTENERS_MAX 16u

/* One listening socket. */
struct briq_listener {
    int fd;
    bool made;  /* by us: a socket file is removed in the end */
    char *path; /* of a Unix socket, absolute; NULL for others. Owned */
    char *uri;  /* "nbd+unix:///%s?socket=..." or "nbd://host:port/%s". Owned */
    dev_t dev;  /* of the socket file: it is removed only if it is still this one */
    ino_t ino;
};

/*
 * Binds and listens at "unix:PATH" or "tcp:HOST:PORT", in up to `max` sockets (a name may mean
 * several addresses) put into list; file is what a Unix socket's file is to be like. Returns how
 * many, or -errno explained in err.
 */
int briq_listener_open(const char *address, const struct briq_socket_file *file,
                       struct briq_listener *list, unsigned max, struct briq_error *err) BRIQ_MUST;

/* A socket that somebody else has made. 0, or -errno explained in err. */
int briq_listener_adopt(int fd, struct briq_listener *ret, struct briq_error *err) BRIQ_MUST;

/* No more connections: closes the socket and removes its file. */
void briq_listener_close(struct briq_listener *listener);

/* Writes the URI of the export `name` there, escaped; tls: one that clients take TLS from. Returns
 * its length, as snprintf. */
int briq_listener_uri(const struct briq_listener *listener, const char *name, bool tls, char *text,
                      size_t room);

/* Sets what an accepted socket should have: buffers (0: as they are), and for TCP no delay and
 * keep-alive. Failures cost speed alone and are not told. */
void briq_socket_tune(int fd, int send_bytes, int recv_bytes);

#endif
