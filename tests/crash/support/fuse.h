/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuse.h - kills another process at its n-th call that changes a file: shared memory between the
 * test and preload/fuse_preload.c, which is loaded into that process and counts.
 *
 * So a process dies between any two of its writes, flushes and removals, or in the middle of a
 * write, and the same seed kills it at the same call. The descriptor of the memory is inherited;
 * its number stands in the environment.
 */
#ifndef BRIQ_TESTS_CRASH_FUSE_H
#define BRIQ_TESTS_CRASH_FUSE_H

#include <stdatomic.h>

#define BRIQ_FUSE_ENV "BRIQ_FUSE_FD"

/* What happens to the call at which the process dies. */
enum fuse_moment {
    FUSE_BEFORE, /* it is not made */
    FUSE_AFTER,
    FUSE_MIDDLE, /* of a write the first part is; of anything else as FUSE_BEFORE */
};
#define FUSE_MOMENT_COUNT 3u

struct fuse {
    atomic_uint calls;   /* made so far */
    atomic_uint dies_at; /* the number of the call that is the last; 0: none */
    atomic_uint moment;  /* enum fuse_moment */
};

struct fuse_handle {
    struct fuse *fuse; /* shared */
    int fd;
};

/* Memory for one or several processes after each other. Ends the program when it cannot. */
void fuse_open(struct fuse_handle *handle);

/* No call has been made; the process that comes dies at call `dies_at`, 0: it does not. */
void fuse_set(struct fuse_handle *handle, unsigned dies_at, enum fuse_moment moment);

/* The process that is running dies at the `more`-th call from now. */
void fuse_light(struct fuse_handle *handle, unsigned more, enum fuse_moment moment);

/* In a child before exec: what it becomes is under the fuse. */
void fuse_inherit(const struct fuse_handle *handle);

/* Whether this build can preload into others at all: a sanitizer's library wants to be first. */
int fuse_works(void);

#endif
