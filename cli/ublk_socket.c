/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/ublk_socket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ublk-frontend/record.h"

#define REQUEST_MAX     256
#define REQUEST_SECONDS 2   /* a request comes with the connection */
#define REPLY_SECONDS   120 /* what is asked for may take its time */
#define BACKLOG         8

static void address_of(uint32_t id, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    briq_ublk_record_socket(id, ret->sun_path, sizeof ret->sun_path);
}

static void limit_time(int fd, int seconds)
{
    const struct timeval limit = {.tv_sec = seconds};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

int briq_ublk_socket_listen(uint32_t id, struct briq_error *err)
{
    struct sockaddr_un address;
    address_of(id, &address);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return briq_error_set(err, -errno, "socket: %s", strerror(errno));
    (void)unlink(address.sun_path); /* of a server that died */
    mode_t old = umask(0077);
    int r = bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    (void)umask(old);
    if (r == 0 && listen(fd, BACKLOG) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return briq_error_set(err, r, "%s: %s", address.sun_path, strerror(-r));
    }
    return fd;
}

void briq_ublk_socket_serve(int fd,
                            void (*handle)(void *opaque, const char *request, char *reply,
                                           size_t room),
                            void *opaque)
{
    char request[REQUEST_MAX];
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (peer < 0)
        return;
    limit_time(peer, REQUEST_SECONDS);
    ssize_t n = recv(peer, request, sizeof request - 1, 0);
    char *reply = n > 0 ? calloc(1, BRIQ_UBLK_MESSAGE_MAX) : NULL;
    if (reply != NULL) {
        request[n] = '\0';
        handle(opaque, request, reply, BRIQ_UBLK_MESSAGE_MAX);
        (void)!send(peer, reply, strlen(reply), MSG_NOSIGNAL);
    }
    free(reply);
    close(peer);
}

static int exchange(int fd, const char *request, char *text, size_t room)
{
    limit_time(fd, REPLY_SECONDS);
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        return -errno;
    ssize_t n = recv(fd, text, room - 1, 0);
    if (n <= 0)
        return n < 0 ? -errno : -ECONNRESET;
    text[n] = '\0';
    return 0;
}

/* Takes the first word off. */
static int read_reply(uint32_t id, char *text, struct briq_error *err)
{
    size_t word = strcspn(text, " ");
    bool ok = word == 2 && memcmp(text, "ok", 2) == 0;
    const char *rest = text[word] == ' ' ? text + word + 1 : text + word;
    if (!ok)
        return briq_error_set(err, -EIO, "device %" PRIu32 ": %s", id, rest);
    memmove(text, rest, strlen(rest) + 1);
    return 0;
}

int briq_ublk_socket_ask(uint32_t id, const char *request, char *text, size_t room,
                         struct briq_error *err)
{
    struct sockaddr_un address;
    address_of(id, &address);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return briq_error_set(err, -errno, "socket: %s", strerror(errno));
    int r = connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    if (r == 0)
        r = exchange(fd, request, text, room);
    close(fd);
    if (r == -ENOENT || r == -ECONNREFUSED)
        return briq_error_set(err, r,
                              "no server of device %" PRIu32 " listens at %s; see `briq ublk list`",
                              id, address.sun_path);
    if (r < 0)
        return briq_error_set(err, r, "%s: %s", address.sun_path, strerror(-r));
    return read_reply(id, text, err);
}
