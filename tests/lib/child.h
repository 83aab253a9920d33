/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * child.h - running a piece of a test in a process of its own: one that holds a lock and is killed,
 * or whose system calls fail for good.
 *
 * What runs in the child uses plain assert(): cmocka's would jump into the parent's test run.
 */
#ifndef BRIQ_TESTS_LIB_CHILD_H
#define BRIQ_TESTS_LIB_CHILD_H

#include <sys/types.h>

#include "common/base/attr.h"

/* Runs body(arg) in a forked child and waits for its end. Returns its exit status, which is 0 when
 * body returned, or 128 + the signal that ended it. */
int test_in_child(void (*body)(void *arg), void *arg) BRIQ_MUST;

/* A child that runs beside its parent; they wait for each other's words through pipes. */
struct test_child {
    pid_t pid;
    int to_child, from_child; /* the parent's ends */
};

/* What the child has of it. */
struct test_parent {
    int to_parent, from_parent;
};

/* Starts body(parent, arg) in a child. Ends the program when it cannot. */
void test_child_start(struct test_child *child,
                      void (*body)(const struct test_parent *parent, void *arg), void *arg);

/* In the child: tells the parent one number. In the parent: waits for it; 0 when the child ended.
 */
void test_child_tell(const struct test_parent *parent, pid_t number);
pid_t test_child_hear(const struct test_child *child) BRIQ_MUST;

/* In the child: waits until the parent lets it go on, by test_child_release() or by its end. */
void test_child_await(const struct test_parent *parent);

/* Lets the child go on, and waits for its end. Returns as test_in_child(). */
int test_child_release(struct test_child *child) BRIQ_MUST;

/* Kills the child with SIGKILL and waits until it is gone. */
void test_child_kill(struct test_child *child);

/*
 * From now on every call of the system call `number` by this thread and its later children answers
 * `error` (a positive errno; 0: returns 0 and does nothing). Cannot be undone, so: in a child.
 * Returns 0, or -errno when the kernel has no system call filter.
 */
int test_fail_syscall(int number, int error) BRIQ_MUST;

#endif
