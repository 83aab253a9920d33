/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control.h - the control device of the kernel's ublk driver: one command at a time.
 *
 * Thread: the one that opened it, which must serve no queue: some commands wait for requests to be
 * served.
 */
#ifndef BRIQ_UBLK_CONTROL_H
#define BRIQ_UBLK_CONTROL_H

#include <stdbool.h>

#include "common/base/error.h"
#include "ublk-frontend/uapi.h"

struct briq_ublk_control;

/* No command of a kernel that is well takes so long, unless it waits for somebody by design. */
#define BRIQ_UBLK_WATCHDOG_MS 30000

/*
 * Opens /dev/ublk-control. Returns 0 and *ret, for briq_ublk_control_close(), or -errno, explained
 * in err: no driver, no rights, no io_uring.
 */
int briq_ublk_control_open(struct briq_error *err, struct briq_ublk_control **ret) BRIQ_MUST;
/* NULL is accepted. */
void briq_ublk_control_close(struct briq_ublk_control *control);

/* Called while a command takes its time: a descriptor to wait for as well. */
struct briq_ublk_watch {
    int fd;         /* readable: give the command up; -1: none */
    int timeout_ms; /* give up after so long; -1: never */
};

/*
 * Runs one command and waits for its result: what the kernel answered, 0 or above, or -errno. With
 * `watch` (may be NULL: until it is done): -ECANCELED when watch->fd became readable, -ETIMEDOUT
 * when it took too long; both after the kernel was asked to end the command, which it may not do.
 */
int briq_ublk_control_run(struct briq_ublk_control *control, unsigned op,
                          const struct ublk_ctrl_cmd *cmd,
                          const struct briq_ublk_watch *watch) BRIQ_MUST;

/* Whether a command was given up and is still with the kernel: the process may not be able to end.
 */
bool briq_ublk_control_stuck(const struct briq_ublk_control *control);

/* ---- commands in words: 0 or -errno, bare -----------------------------------------------------
 */

int briq_ublk_get_features(struct briq_ublk_control *control, uint64_t *ret) BRIQ_MUST;
int briq_ublk_get_info(struct briq_ublk_control *control, uint32_t id,
                       struct ublk_dev_info *ret) BRIQ_MUST;
/* info: what is wanted, and then what the kernel made of it. -ETIMEDOUT: it does not answer. */
int briq_ublk_add(struct briq_ublk_control *control, struct ublk_dev_info *info) BRIQ_MUST;
int briq_ublk_set_params(struct briq_ublk_control *control, uint32_t id,
                         struct ublk_params *params) BRIQ_MUST;
int briq_ublk_get_params(struct briq_ublk_control *control, uint32_t id,
                         struct ublk_params *ret) BRIQ_MUST;
/* mask: mask_bytes of processor bits, a multiple of 8. */
int briq_ublk_get_affinity(struct briq_ublk_control *control, uint32_t id, unsigned queue,
                           void *mask, size_t mask_bytes) BRIQ_MUST;
/* A command that takes an id and at most a number. */
int briq_ublk_simple(struct briq_ublk_control *control, unsigned op, uint32_t id, uint64_t data,
                     const struct briq_ublk_watch *watch) BRIQ_MUST;

#endif
