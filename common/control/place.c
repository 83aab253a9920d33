/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * place.c - control sockets in the file system.
 *
 * Whoever makes a socket and whoever removes a dead one hold a lock on the directory, so that a
 * daemon that has bound its socket and does not listen yet is never taken for a dead one.
 */
#include "common/control/place.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG         64
#define CONNECT_SECONDS 5

/* ---- the directory --------------------------------------------------------------------------- */

static int too_long(const char *path, struct briq_error *err)
{
    return briq_error_set(err, -ENAMETOOLONG,
                          "%s: too long for a socket: at most %d bytes; give a shorter --control",
                          path, BRIQ_CONTROL_PATH_MAX - 1);
}

int briq_control_dir(char path[BRIQ_CONTROL_PATH_MAX], struct briq_error *err)
{
    const char *own = getenv("BRIQ_RUN_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
    int n;
    if (own != NULL && own[0] == '/')
        n = snprintf(path, BRIQ_CONTROL_PATH_MAX, "%s", own);
    else if (geteuid() == 0)
        n = snprintf(path, BRIQ_CONTROL_PATH_MAX, "/run/briq");
    else if (xdg != NULL && xdg[0] == '/')
        n = snprintf(path, BRIQ_CONTROL_PATH_MAX, "%s/briq", xdg);
    else
        n = snprintf(path, BRIQ_CONTROL_PATH_MAX, "/tmp/briq-%u", (unsigned)geteuid());
    return n < BRIQ_CONTROL_PATH_MAX ? 0 : too_long(path, err);
}

int briq_control_dir_check(const char *path, struct briq_error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return briq_error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0)
        return briq_error_set(
            err, -EPERM, "%s: not a directory of this user that nobody else can write to", path);
    return 0;
}

int briq_control_dir_make(char path[BRIQ_CONTROL_PATH_MAX], struct briq_error *err)
{
    int r = briq_control_dir(path, err);
    if (r < 0)
        return r;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return briq_error_set(err, -errno, "%s: cannot make it: %s", path, strerror(errno));
    return briq_control_dir_check(path, err);
}

int briq_control_path(const char *name, char path[BRIQ_CONTROL_PATH_MAX], struct briq_error *err)
{
    char dir[BRIQ_CONTROL_PATH_MAX];
    int n;
    if (name[0] == '\0' || name[0] == '.')
        return briq_error_set(err, -EINVAL, "--control: \"%s\" is no name and no path", name);
    if (strchr(name, '/') != NULL) {
        n = snprintf(path, BRIQ_CONTROL_PATH_MAX, "%s", name);
        return n < BRIQ_CONTROL_PATH_MAX ? 0 : too_long(name, err);
    }
    int r = briq_control_dir(dir, err);
    if (r < 0)
        return r;
    n = snprintf(path, BRIQ_CONTROL_PATH_MAX, "%s/%s%s", dir, name, BRIQ_CONTROL_SUFFIX);
    return n < BRIQ_CONTROL_PATH_MAX ? 0 : too_long(path, err);
}

/* The directory of a socket, locked until it is closed; -1 where that cannot be. One that is not
 * ours is not locked: others could hold its lock for ever. */
static int lock_dir(const char *path)
{
    char copy[BRIQ_CONTROL_PATH_MAX];
    struct stat st;
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid())
        return fd;
    while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    return fd;
}

static void unlock_dir(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* ---- sockets --------------------------------------------------------------------------------- */

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

int briq_control_connect(const char *path)
{
    const struct sockaddr_un address = address_of(path);
    const struct timeval limit = {.tv_sec = CONNECT_SECONDS};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* It also limits a connect() to a daemon that takes no connections. */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    int r;
    do
        r = connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    while (r == -EINTR);
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

/* Nobody listens there, and it is a socket. */
static bool is_dead(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = briq_control_connect(path);
    if (fd >= 0)
        close(fd);
    return fd == -ECONNREFUSED;
}

void briq_control_clean_up(const char *path)
{
    int dir = lock_dir(path);
    if (dir >= 0 && is_dead(path))
        (void)unlink(path);
    unlock_dir(dir);
}

/* Under the lock. */
static int bind_and_listen(int fd, const char *path)
{
    const struct sockaddr_un address = address_of(path);
    if (is_dead(path))
        (void)unlink(path);
    /* The mode that the socket file will have, from its first moment on. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    if (listen(fd, BACKLOG) == 0)
        return 0;
    int r = -errno;
    (void)unlink(path);
    return r;
}

int briq_control_bind(const char *path, struct briq_error *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return briq_error_set(err, -errno, "socket: %s", strerror(errno));
    int dir = lock_dir(path);
    int r = bind_and_listen(fd, path);
    unlock_dir(dir);
    if (r == 0)
        return fd;
    close(fd);
    if (r == -EADDRINUSE)
        return briq_error_set(err, r, "%s: exists, and is not the socket of a daemon that has died",
                              path);
    return briq_error_set(err, r, "%s: cannot listen there: %s", path, strerror(-r));
}
