/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuse_preload.c - counts the calls of a process that change files, and kills it at one of them;
 * see support/fuse.h. Only nbdkit and briq are counted: a shell that starts them is left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/crash/support/fuse.h"

static struct fuse *fuse;

__attribute__((constructor)) static void attach(void)
{
    const char *number = getenv(BRIQ_FUSE_ENV);
    const char *name = program_invocation_short_name;
    if (number == NULL || (strcmp(name, "nbdkit") != 0 && strcmp(name, "briq") != 0))
        return;
    void *base = mmap(NULL, sizeof *fuse, PROT_READ | PROT_WRITE, MAP_SHARED,
                      (int)strtol(number, NULL, 10), 0);
    fuse = base == MAP_FAILED ? NULL : base;
    unsetenv("LD_PRELOAD"); /* what it starts is not meant */
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause(); /* in a thread: until the process is gone */
}

/* Counts a call. True when it is the last one, and may be made in part or as a whole. */
static int is_last(void)
{
    if (fuse == NULL)
        return 0;
    unsigned number = atomic_fetch_add(&fuse->calls, 1) + 1;
    unsigned dies_at = atomic_load(&fuse->dies_at);
    if (dies_at == 0 || number < dies_at)
        return 0;
    if (number > dies_at || atomic_load(&fuse->moment) == FUSE_BEFORE)
        die();
    return 1;
}

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

#define PAGE 4096u

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
    ssize_t (*next)(int, const void *, size_t, off_t);
    *(void **)&next = real("pwrite");
    int last = is_last();
    /* The kernel stops a write of a dying process between pages. */
    if (last && atomic_load(&fuse->moment) == FUSE_MIDDLE)
        len = len / 2 / PAGE * PAGE;
    ssize_t r = next(fd, buf, len, off);
    if (last)
        die();
    return r;
}

/* The other calls: made, or not. */
#define COUNTED(name, parameters, arguments)                                                       \
    int name parameters                                                                            \
    {                                                                                              \
        int(*next) parameters;                                                                     \
        *(void **)&next = real(#name);                                                             \
        int last = is_last();                                                                      \
        if (last && atomic_load(&fuse->moment) == FUSE_MIDDLE)                                     \
            die();                                                                                 \
        int r = next arguments;                                                                    \
        if (last)                                                                                  \
            die();                                                                                 \
        return r;                                                                                  \
    }

COUNTED(fdatasync, (int fd), (fd))
COUNTED(fsync, (int fd), (fd))
COUNTED(ftruncate, (int fd, off_t len), (fd, len))
COUNTED(fallocate, (int fd, int mode, off_t off, off_t len), (fd, mode, off, len))
COUNTED(posix_fallocate, (int fd, off_t off, off_t len), (fd, off, len))
COUNTED(unlink, (const char *path), (path))
