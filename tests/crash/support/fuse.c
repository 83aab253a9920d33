/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/support/fuse.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FUSE_FD_MIN 100

static void give_up(const char *what)
{
    perror(what);
    exit(2);
}

void fuse_open(struct fuse_handle *handle)
{
    int fd = memfd_create("fuse", MFD_CLOEXEC);
    handle->fd = fcntl(fd, F_DUPFD, FUSE_FD_MIN); /* is inherited, and in nobody's way */
    close(fd);
    if (handle->fd < 0 || ftruncate(handle->fd, sizeof *handle->fuse) < 0)
        give_up("memfd_create");
    handle->fuse =
        mmap(NULL, sizeof *handle->fuse, PROT_READ | PROT_WRITE, MAP_SHARED, handle->fd, 0);
    if (handle->fuse == MAP_FAILED)
        give_up("mmap");
}

void fuse_set(struct fuse_handle *handle, unsigned dies_at, enum fuse_moment moment)
{
    atomic_store(&handle->fuse->calls, 0);
    atomic_store(&handle->fuse->moment, moment);
    atomic_store(&handle->fuse->dies_at, dies_at);
}

void fuse_light(struct fuse_handle *handle, unsigned more, enum fuse_moment moment)
{
    atomic_store(&handle->fuse->moment, moment);
    atomic_store(&handle->fuse->dies_at, atomic_load(&handle->fuse->calls) + more);
}

int fuse_works(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0;
#else
    return 1;
#endif
}

void fuse_inherit(const struct fuse_handle *handle)
{
    char number[16], library[4096];
    const char *build = getenv("BRIQ_BUILD");
    if (!fuse_works())
        return;
    snprintf(number, sizeof number, "%d", handle->fd);
    snprintf(library, sizeof library, "%s/tests/crash/fuse_preload.so",
             build != NULL ? build : "build");
    setenv(BRIQ_FUSE_ENV, number, 1);
    setenv("LD_PRELOAD", library, 1);
}
