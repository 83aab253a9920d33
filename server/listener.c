/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/exports/source.h"

#define BACKLOG 128
/* A listening server has greeted by then. */
#define GREETING_MS 2000

/* ---- URIs ------------------------------------------------------------------------------------ */

static bool is_plain(unsigned char c, const char *also)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(also, c) != NULL);
}

/* Adds text, with %XX for what has a meaning in URIs. Room is left for the final 0. */
static size_t escape(const char *text, const char *also, char *to, size_t room)
{
    size_t len = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        char part[4] = {(char)*c, '\0'};
        if (!is_plain(*c, also))
            snprintf(part, sizeof part, "%%%02X", *c);
        for (const char *p = part; *p != '\0'; p++, len++)
            if (len + 1 < room)
                to[len] = *p;
    }
    if (room > 0)
        to[len < room ? len : room - 1] = '\0';
    return len;
}

int briq_listener_uri(const struct briq_listener *listener, const char *name, bool tls, char *text,
                      size_t room)
{
    const char *scheme = tls ? "nbds" : "nbd";
    char escaped[3 * BRIQ_EXPORT_NAME_MAX + 1], path[3 * sizeof(struct sockaddr_un) + 1];
    escape(name, "-._~", escaped, sizeof escaped);
    if (listener->path == NULL)
        return snprintf(text, room, "%s://%s/%s", scheme, listener->uri, escaped);
    escape(listener->path, "-._~/", path, sizeof path);
    return snprintf(text, room, "%s+unix:///%s?socket=%s", scheme, escaped, path);
}

/* ---- Unix sockets ---------------------------------------------------------------------------- */

static int unix_address(const char *path, struct sockaddr_un *address, struct briq_error *err)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (path[0] == '\0')
        return briq_error_set(err, -EINVAL, "unix: needs a path: unix:/run/briq.sock");
    if (strlen(path) >= sizeof address->sun_path)
        return briq_error_set(err, -ENAMETOOLONG,
                              "%s: the path of a Unix socket has at most %zu bytes", path,
                              sizeof address->sun_path - 1);
    memcpy(address->sun_path, path, strlen(path) + 1);
    return 0;
}

enum answer {
    ANSWER_NONE,   /* nobody listens */
    ANSWER_SPOKEN, /* somebody does */
    ANSWER_HANGUP, /* the connection was taken, and closed without a word */
};

/* A server that listens greets at once; one that keeps silent so long is another kind of server. */
static enum answer listen_for_greeting(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char byte;
    int r;
    do
        r = poll(&p, 1, GREETING_MS);
    while (r < 0 && errno == EINTR);
    return r <= 0 || recv(fd, &byte, 1, MSG_DONTWAIT) > 0 ? ANSWER_SPOKEN : ANSWER_HANGUP;
}

static enum answer call(const struct sockaddr_un *address)
{
    enum answer answer = ANSWER_SPOKEN;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return answer;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        answer = listen_for_greeting(fd);
    else if (errno == ECONNREFUSED)
        answer = ANSWER_NONE;
    close(fd);
    return answer;
}

/*
 * A process that was killed with a ring may be gone for a moment before its sockets are: the kernel
 * takes its requests back in the background. A connection made then is closed as they go, and the
 * next one is refused. A server that has too many connections closes them all.
 */
static bool is_listened_on(const struct sockaddr_un *address)
{
    enum answer answer = ANSWER_HANGUP;
    for (unsigned tries = 0; tries < 3 && answer == ANSWER_HANGUP; tries++)
        answer = call(address);
    return answer != ANSWER_NONE;
}

/* Makes way: a socket that nobody listens on is removed, anything else stays. */
static int remove_stale(const struct sockaddr_un *address, struct briq_error *err)
{
    struct stat st;
    const char *path = address->sun_path;
    if (lstat(path, &st) < 0)
        return 0; /* bind() tells what is wrong, if anything is */
    if (!S_ISSOCK(st.st_mode))
        return briq_error_set(err, -EEXIST, "%s: exists and is no socket; it is left alone", path);
    if (is_listened_on(address))
        return briq_error_set(err, -EADDRINUSE, "%s: another server listens there", path);
    if (unlink(path) < 0) {
        int r = -errno;
        return briq_error_set(err, r, "%s: removing what a dead server left: %s", path,
                              strerror(-r));
    }
    return 0;
}

static int listen_on(int fd, const struct sockaddr *address, socklen_t len)
{
    if (bind(fd, address, len) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return 0;
}

static int remember_file(struct briq_listener *listener, const char *path)
{
    struct stat st;
    listener->path = briq_source_absolute(path);
    listener->made = true;
    if (listener->path == NULL)
        return -ENOMEM;
    if (stat(listener->path, &st) < 0)
        return -errno;
    listener->dev = st.st_dev;
    listener->ino = st.st_ino;
    return 0;
}

static int open_unix(const char *path, const struct briq_socket_file *file,
                     struct briq_listener *ret, struct briq_error *err)
{
    struct sockaddr_un address;
    int r = unix_address(path, &address, err);
    if (r == 0)
        r = remove_stale(&address, err);
    if (r < 0)
        return r;
    *ret = (struct briq_listener){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    r = ret->fd < 0 ? briq_error_set(err, -errno, "%s: no socket: %s", path, strerror(errno))
                    : briq_socket_file_bind(file, ret->fd, &address, err);
    if (r == 0 && (r = remember_file(ret, path)) < 0) {
        unlink(path);
        r = briq_error_set(err, r, "%s: %s", path, strerror(-r));
    }
    if (r == 0 && listen(ret->fd, BACKLOG) < 0)
        r = briq_error_set(err, -errno, "%s: cannot listen there: %s", path, strerror(errno));
    if (r == 0)
        return 1;
    briq_listener_close(ret);
    return r;
}

/* ---- TCP ------------------------------------------------------------------------------------- */

static int remember_address(struct briq_listener *listener)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(listener->fd, (struct sockaddr *)&address, &len) < 0)
        return -errno;
    if (getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -EINVAL;
    bool six = strchr(host, ':') != NULL;
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    if (asprintf(&listener->uri, "%s%s%s:%s", six && !any ? "[" : "", any ? "localhost" : host,
                 six && !any ? "]" : "", port) < 0) {
        listener->uri = NULL;
        return -ENOMEM;
    }
    return 0;
}

static int open_one(const struct addrinfo *info, struct briq_listener *ret)
{
    int yes = 1;
    *ret = (struct briq_listener){
        .fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, info->ai_protocol)};
    if (ret->fd < 0)
        return -errno;
    (void)setsockopt(ret->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (info->ai_family == AF_INET6)
        (void)setsockopt(ret->fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
    int r = listen_on(ret->fd, info->ai_addr, info->ai_addrlen);
    if (r == 0)
        r = remember_address(ret);
    if (r < 0)
        briq_listener_close(ret);
    return r;
}

/* "host:port", "[v6]:port", ":port". */
static int split(const char *text, char host[NI_MAXHOST], const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] == '\0')
        return -EINVAL;
    const char *begin = text, *end = colon;
    if (*begin == '[' && end > begin + 1 && end[-1] == ']') {
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin)) != NULL) {
        return -EINVAL;
    }
    if ((size_t)(end - begin) >= NI_MAXHOST)
        return -EINVAL;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *ret_port = colon + 1;
    return 0;
}

static int open_all(const struct addrinfo *info, const char *what, struct briq_listener *list,
                    unsigned max, struct briq_error *err)
{
    int count = 0, r = -EADDRNOTAVAIL;
    for (; info != NULL && (unsigned)count < max; info = info->ai_next) {
        r = open_one(info, &list[count]);
        if (r == 0)
            count++;
        else if (r != -EAFNOSUPPORT && r != -EADDRNOTAVAIL)
            break;
    }
    if (count > 0 && (r == 0 || r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL))
        return count;
    while (count > 0)
        briq_listener_close(&list[--count]);
    return briq_error_set(err, r, "tcp:%s: cannot listen there: %s", what, strerror(-r));
}

static int open_tcp(const char *text, struct briq_listener *list, unsigned max,
                    struct briq_error *err)
{
    char host[NI_MAXHOST];
    const char *port;
    if (split(text, host, &port) < 0)
        return briq_error_set(err, -EINVAL,
                              "tcp:%s: write tcp:HOST:PORT, such as tcp:localhost:10809 or "
                              "tcp:[::1]:10809",
                              text);
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *info;
    int r = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &info);
    if (r != 0)
        return briq_error_set(err, -EINVAL, "tcp:%s: %s", text, gai_strerror(r));
    r = open_all(info, text, list, max, err);
    freeaddrinfo(info);
    return r;
}

/* ---- both ------------------------------------------------------------------------------------ */

int briq_listener_open(const char *address, const struct briq_socket_file *file,
                       struct briq_listener *list, unsigned max, struct briq_error *err)
{
    if (max == 0)
        return briq_error_set(err, -E2BIG, "%s: more than %u sockets", address, BRIQ_LISTENERS_MAX);
    if (strncmp(address, "unix:", 5) == 0)
        return open_unix(address + 5, file, list, err);
    if (strncmp(address, "tcp:", 4) == 0)
        return open_tcp(address + 4, list, max, err);
    return briq_error_set(err, -EINVAL, "%s: no address; write unix:PATH or tcp:HOST:PORT",
                          address);
}

int briq_listener_adopt(int fd, struct briq_listener *ret, struct briq_error *err)
{
    int listening = 0;
    socklen_t len = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening)
        return briq_error_set(err, -ENOTSOCK, "descriptor %d is not a socket that listens", fd);
    struct sockaddr_un address = {0};
    len = sizeof address;
    *ret = (struct briq_listener){.fd = fd};
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return briq_error_set(err, -errno, "descriptor %d: %s", fd, strerror(errno));
    int r;
    if (address.sun_family == AF_UNIX) {
        ret->path = strndup(address.sun_path, sizeof address.sun_path);
        r = ret->path == NULL ? -ENOMEM : 0;
    } else {
        r = remember_address(ret);
    }
    return r < 0 ? briq_error_set(err, r, "descriptor %d: %s", fd, strerror(-r)) : 0;
}

void briq_listener_close(struct briq_listener *listener)
{
    struct stat st;
    if (listener->made && listener->path != NULL && stat(listener->path, &st) == 0 &&
        st.st_dev == listener->dev && st.st_ino == listener->ino)
        unlink(listener->path);
    if (listener->fd >= 0)
        close(listener->fd);
    free(listener->path);
    free(listener->uri);
    *listener = (struct briq_listener){.fd = -1};
}

void briq_socket_tune(int fd, int send_bytes, int recv_bytes)
{
    int yes = 1;
    if (send_bytes > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    if (recv_bytes > 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &recv_bytes, sizeof recv_bytes);
    /* Both fail on other sockets than TCP's. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
}
