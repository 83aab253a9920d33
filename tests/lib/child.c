/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/child.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void give_up(const char *what)
{
    perror(what);
    exit(2);
}

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            give_up("waitpid");
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static pid_t fork_quietly(void)
{
    fflush(NULL); /* what is buffered must not be written by both */
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    return pid;
}

int test_in_child(void (*body)(void *arg), void *arg)
{
    pid_t pid = fork_quietly();
    if (pid == 0) {
        body(arg);
        _exit(0);
    }
    return wait_for(pid);
}

void test_child_start(struct test_child *child,
                      void (*body)(const struct test_parent *parent, void *arg), void *arg)
{
    int down[2], up[2];
    if (pipe(down) < 0 || pipe(up) < 0)
        give_up("pipe");

    child->pid = fork_quietly();
    if (child->pid == 0) {
        close(down[1]);
        close(up[0]);
        struct test_parent parent = {.to_parent = up[1], .from_parent = down[0]};
        body(&parent, arg);
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    child->to_child = down[1];
    child->from_child = up[0];
}

void test_child_tell(const struct test_parent *parent, pid_t number)
{
    if (write(parent->to_parent, &number, sizeof number) != sizeof number)
        give_up("write to the parent");
}

pid_t test_child_hear(const struct test_child *child)
{
    pid_t number;
    return read(child->from_child, &number, sizeof number) == sizeof number ? number : 0;
}

void test_child_await(const struct test_parent *parent)
{
    char word;
    if (read(parent->from_parent, &word, 1) < 0)
        give_up("read from the parent");
}

static void close_pipes(struct test_child *child)
{
    close(child->to_child);
    close(child->from_child);
}

int test_child_release(struct test_child *child)
{
    close_pipes(child); /* the end of the pipe is the word to go on */
    return wait_for(child->pid);
}

void test_child_kill(struct test_child *child)
{
    kill(child->pid, SIGKILL);
    (void)wait_for(child->pid);
    close_pipes(child);
}

int test_fail_syscall(int number, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = BRIQ_COUNT_OF(code), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return -errno;
    return 0;
}
