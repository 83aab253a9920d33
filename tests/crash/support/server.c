/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/support/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ACTIVATION_FD 3 /* where systemd's socket activation puts it */

static void give_up(const char *what)
{
    perror(what);
    exit(2);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        give_up(path);
    }
    memcpy(address.sun_path, path, strlen(path));
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0)
        give_up(path);
    return fd;
}

static pid_t fork_tied(void)
{
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
        _exit(127);
    return pid;
}

/* In the child. */
static void become_server(int listening, const char *volume, const char *windows_dir)
{
    char pid[16], where[4096];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    snprintf(where, sizeof where, "windows-dir=%s", windows_dir);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", pid, 1);
    if (listening == ACTIVATION_FD ? fcntl(listening, F_SETFD, 0) < 0
                                   : dup2(listening, ACTIVATION_FD) < 0)
        _exit(127);
    execlp("nbdkit", "nbdkit", "briq", where, volume, (char *)NULL);
    _exit(127);
}

void server_start(struct server *server, const char *socket, const char *volume,
                  const char *windows_dir, const struct fuse_handle *fuse)
{
    int listening = listen_at(socket);
    server->socket = socket;
    server->pid = fork_tied();
    if (server->pid == 0) {
        fuse_inherit(fuse);
        become_server(listening, volume, windows_dir);
    }
    close(listening); /* so that a dead server refuses, instead of never accepting */
}

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            give_up("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int server_wait(struct server *server)
{
    return wait_for(server->pid);
}

int server_end(struct server *server, int signal)
{
    kill(server->pid, signal);
    return server_wait(server);
}

void server_kill(struct server *server)
{
    kill(server->pid, SIGKILL);
    (void)wait_for(server->pid);
}

int run_under_fuse(char *const argv[], const char *input, const char *log,
                   const struct fuse_handle *fuse)
{
    pid_t pid = fork_tied();
    if (pid == 0) {
        int in = open(input, O_RDONLY | O_CLOEXEC);
        int out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
            _exit(127);
        fuse_inherit(fuse);
        execvp(argv[0], argv);
        _exit(127);
    }
    return wait_for(pid);
}
