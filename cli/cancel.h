/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cancel.h - notices that the user wants a long job to end (SIGINT, SIGTERM, SIGHUP), without a
 * signal handler.
 *
 * The signals stay blocked in every thread and are never taken: that one of them is pending is the
 * flag, which any thread can ask for and wait for (poll the descriptor for POLLIN).
 */
#ifndef BRIQ_CLI_CANCEL_H
#define BRIQ_CLI_CANCEL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct briq_cancel {
    int fd; /* a signalfd, readable from the request on; -1 when not watching */
};

/* A watch that never reports anything: the signals do what they always do. */
#define BRIQ_CANCEL_NONE ((struct briq_cancel){.fd = -1})

/*
 * Blocks the signals in the calling thread, and so in all that it creates later; call it before
 * creating any. Also ignores SIGPIPE: a reader that went away is an error of write(2) then.
 * The signals stay blocked until the process ends. Returns 0, or -errno explained in err.
 */
int briq_cancel_open(struct briq_cancel *cancel, struct briq_error *err) BRIQ_MUST;
void briq_cancel_close(struct briq_cancel *cancel);

/* Thread: any. Does not block. */
bool briq_cancel_requested(const struct briq_cancel *cancel);

/* Waits until a time of briq_clock_ns(). True: the end of the job was requested before. */
bool briq_cancel_wait_ns(const struct briq_cancel *cancel, uint64_t at_ns);

/* Sets err to "interrupted by SIGTERM" (or whatever is pending) and returns -EINTR. */
int briq_cancel_explain(struct briq_error *err) BRIQ_MUST;

/*
 * Waits until `fd` is ready for `events` (POLLIN, POLLOUT). Returns 0, -EINTR when the end of the
 * job was requested, or another -errno. Thread: any.
 */
int briq_cancel_wait_fd(const struct briq_cancel *cancel, int fd, short events) BRIQ_MUST;

#endif
