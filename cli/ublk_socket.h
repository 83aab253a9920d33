/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ublk_socket.h - how a verb asks the running server of a device to do something.
 *
 * A Unix socket beside the device's record, open to its owner alone; one request and one reply a
 * connection, each one line of text: "resize 1073741824" - "ok", or "error why". Neither side waits
 * long for the other. Thread: the main one of each side.
 */
#ifndef BRIQ_CLI_UBLK_SOCKET_H
#define BRIQ_CLI_UBLK_SOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

#define BRIQ_UBLK_MESSAGE_MAX 65536

/* Listens for device `id`. Returns the descriptor, or -errno explained in err. */
int briq_ublk_socket_listen(uint32_t id, struct briq_error *err) BRIQ_MUST;

/*
 * Takes one connection that is waiting: calls `handle` with its request, which is to put the reply
 * (with "ok" or "error" before it) into `reply`. One that says nothing is dropped.
 */
void briq_ublk_socket_serve(int fd,
                            void (*handle)(void *opaque, const char *request, char *reply,
                                           size_t room),
                            void *opaque);

/*
 * Asks the server of device `id`. Returns 0 and what stood behind "ok" in text, or -errno explained
 * in err: no server listens, or it answered with an error.
 */
int briq_ublk_socket_ask(uint32_t id, const char *request, char *text, size_t room,
                         struct briq_error *err) BRIQ_MUST;

#endif
