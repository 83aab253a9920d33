/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/service.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKETS_MAX 64

/* ---- service manager ------------------------------------------------------------------------- */

static bool variable(const char *name, long *ret)
{
    const char *text = getenv(name);
    char *end = NULL;
    if (text == NULL)
        return false;
    *ret = strtol(text, &end, 10);
    return end != text && *end == '\0';
}

int briq_service_sockets(struct briq_error *err)
{
    long pid, count;
    bool ours = variable("LISTEN_PID", &pid) && pid == (long)getpid();
    bool good = variable("LISTEN_FDS", &count) && count >= 0 && count <= SOCKETS_MAX;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (!ours)
        return 0;
    if (!good)
        return briq_error_set(err, -EINVAL, "LISTEN_FDS is not a number up to %d", SOCKETS_MAX);
    for (int fd = BRIQ_SERVICE_FD_FIRST; fd < BRIQ_SERVICE_FD_FIRST + count; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
            return briq_error_set(err, -EBADF, "LISTEN_FDS=%ld, but descriptor %d is not open",
                                  count, fd);
    return (int)count;
}

void briq_service_tell(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* a name without a file */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
    close(fd);
}

/* ---- background ------------------------------------------------------------------------------ */

/* The child tells its exit code (0: it is ready), or ends without a word. */
static void wait_for_child(int fd, pid_t pid)
{
    unsigned char byte;
    int status = 0;
    ssize_t n;
    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(byte);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int briq_daemon_begin(struct briq_daemon *daemon, struct briq_error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return briq_error_set(err, -errno, "pipe: %s", strerror(errno));
    fflush(NULL); /* or it would be written twice */
    pid_t pid = fork();
    if (pid < 0) {
        int r = -errno;
        close(ends[0]);
        close(ends[1]);
        return briq_error_set(err, r, "fork: %s", strerror(-r));
    }
    if (pid > 0) {
        close(ends[1]);
        wait_for_child(ends[0], pid);
    }
    close(ends[0]);
    (void)setsid();
    daemon->ready_fd = ends[1];
    return 0;
}

/* Nobody reads on for what this process, which may stay, could still write. */
static void let_terminal_go(void)
{
    fflush(NULL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2 && null >= 0; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        close(null);
}

/* Nothing without a parent that waits. */
static void let_parent_go(struct briq_daemon *daemon, int code)
{
    const unsigned char byte = (unsigned char)code;
    if (daemon->ready_fd < 0)
        return;
    let_terminal_go();
    (void)!write(daemon->ready_fd, &byte, 1);
    close(daemon->ready_fd);
    daemon->ready_fd = -1;
}

void briq_daemon_ready(struct briq_daemon *daemon)
{
    /* It stays where it was started: names of sockets, windows and later volumes may be relative. */
    let_parent_go(daemon, 0);
}

void briq_daemon_fail(struct briq_daemon *daemon, int code)
{
    let_parent_go(daemon, code);
}

int briq_pid_file_write(const char *path, struct briq_error *err)
{
    FILE *file = fopen(path, "we");
    bool good = file != NULL && fprintf(file, "%ld\n", (long)getpid()) > 0;
    int r = good ? 0 : -errno;
    if (file != NULL && fclose(file) != 0 && r == 0)
        r = -errno;
    return r < 0 ? briq_error_set(err, r, "%s: %s", path, strerror(-r)) : 0;
}

/* ---- a command ------------------------------------------------------------------------------- */

static void __attribute__((noreturn)) run_command(const char *command, const char *uri)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    (void)sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){.sched_priority = 0});
    if (setenv("uri", uri, 1) == 0)
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    fprintf(stderr, "briq serve: /bin/sh: %s\n", strerror(errno));
    _exit(127);
}

int briq_command_start(const char *command, const char *uri, pid_t *ret_pid, struct briq_error *err)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return briq_error_set(err, -errno, "fork: %s", strerror(errno));
    if (pid == 0)
        run_command(command, uri);
    int fd = pidfd_open(pid, 0);
    if (fd < 0) {
        int r = -errno;
        (void)briq_command_wait(pid, true);
        return briq_error_set(err, r, "pidfd_open: %s", strerror(-r));
    }
    *ret_pid = pid;
    return fd;
}

int briq_command_wait(pid_t pid, bool end)
{
    int status = 0;
    if (end)
        kill(pid, SIGTERM);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
