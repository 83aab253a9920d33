/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stuck_add.c - makes ADD_DEV of the ublk driver a command that never returns, as it is where the
 * driver has crashed in it: what `briq` submits instead is a flush of $STUCK_DEVICE, a suspended
 * device-mapper device. For the kernel that is the same: a thread of the ring is in the middle of
 * it, so it cannot be cancelled, and the process cannot end before it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "ublk-frontend/uapi.h"

typedef int submit_fn(struct io_uring *ring);

static void make_stuck(struct io_uring_sqe *sqe)
{
    uint64_t user_data = sqe->user_data;
    int fd = open(getenv("STUCK_DEVICE"), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        abort();
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_FSYNC;
    sqe->fd = fd;
    sqe->user_data = user_data;
}

__attribute__((visibility("default"))) int io_uring_submit(struct io_uring *ring)
{
    submit_fn *submit = (submit_fn *)(uintptr_t)dlsym(RTLD_NEXT, "io_uring_submit");
    unsigned shift = (ring->flags & IORING_SETUP_SQE128) != 0;
    for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; i++) {
        struct io_uring_sqe *sqe = &ring->sq.sqes[(i & ring->sq.ring_mask) << shift];
        if (sqe->opcode == IORING_OP_URING_CMD && sqe->cmd_op == UBLK_CMD_ADD_DEV)
            make_stuck(sqe);
    }
    return submit(ring);
}
