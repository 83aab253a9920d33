/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control.c - a small ring of its own with 128-byte submissions, and commands over it.
 *
 * The ring is the plainest there is, so that poll() can wait for it beside other descriptors.
 */
#include "ublk-frontend/control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

#define ENTRIES         4
#define CANCEL_GRACE_MS 2000
#define CANCEL_DATA     UINT64_C(0)
#define PATH_BYTES      32
#define BUFFER_BYTES    (PATH_BYTES + 1024) /* a mask of 8192 processors */

struct briq_ublk_control {
    int fd;
    struct io_uring ring;
    uint64_t last;  /* number of the last command: what its completion carries */
    unsigned stuck; /* commands given up that have not come back */
    /* The device that commands were last about, and whether those need its path. */
    uint32_t device;
    bool by_path;
    /* What commands point to. Not on the stack: one that was given up may still write here. */
    uint64_t buffer[BUFFER_BYTES / 8];
};

/* ---- opening --------------------------------------------------------------------------------- */

static int explain_open(struct briq_error *err, int r)
{
    switch (r) {
    case -ENOENT:
    case -ENXIO:
    case -ENODEV:
        return briq_error_set(err, r,
                              UBLK_CONTROL_PATH ": there is no ublk driver; load it with `modprobe "
                                                "ublk_drv` (kernel option CONFIG_BLK_DEV_UBLK, "
                                                "Linux 6.5 or newer)");
    case -EACCES:
    case -EPERM:
        return briq_error_set(err, r,
                              UBLK_CONTROL_PATH
                              ": permission denied; run it as root, or have udev give it to "
                              "everybody (60-briq-ublk.rules)");
    default:
        return briq_error_set(err, r, UBLK_CONTROL_PATH ": %s", strerror(-r));
    }
}

static int explain_ring(struct briq_error *err, int r)
{
    switch (r) {
    case -EPERM:
    case -EACCES:
        return briq_error_set(
            err, r,
            "io_uring is forbidden here: see the sysctl kernel.io_uring_disabled, "
            "and the system call filter if this is a container");
    case -ENOSYS:
        return briq_error_set(err, r, "io_uring: this kernel has none (CONFIG_IO_URING)");
    default:
        return briq_error_set(err, r, "io_uring: %s", strerror(-r));
    }
}

int briq_ublk_control_open(struct briq_error *err, struct briq_ublk_control **ret)
{
    int fd = open(UBLK_CONTROL_PATH, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return explain_open(err, -errno);

    struct briq_ublk_control *control = calloc(1, sizeof *control);
    if (control == NULL) {
        close(fd);
        return briq_error_set(err, -ENOMEM, "out of memory");
    }
    control->fd = fd;
    control->device = UBLK_ANY_ID;
    int r = io_uring_queue_init(ENTRIES, &control->ring, IORING_SETUP_SQE128);
    if (r < 0) {
        close(fd);
        free(control);
        return explain_ring(err, r);
    }
    *ret = control;
    return 0;
}

void briq_ublk_control_close(struct briq_ublk_control *control)
{
    if (control == NULL)
        return;
    io_uring_queue_exit(&control->ring);
    close(control->fd);
    if (control->stuck == 0)
        free(control);
}

bool briq_ublk_control_stuck(const struct briq_ublk_control *control)
{
    return control->stuck > 0;
}

/* ---- one command ----------------------------------------------------------------------------- */

static int submit(struct briq_ublk_control *control)
{
    int r;
    do
        r = io_uring_submit(&control->ring);
    while (r == -EINTR);
    return r < 0 ? r : 0;
}

static int send_command(struct briq_ublk_control *control, unsigned op,
                        const struct ublk_ctrl_cmd *cmd)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&control->ring);
    if (sqe == NULL)
        return -EBUSY;
    memset(sqe, 0, 2 * sizeof *sqe);
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = control->fd;
    sqe->cmd_op = op;
    sqe->user_data = ++control->last;
    memcpy(sqe->cmd, cmd, sizeof *cmd);
    return submit(control);
}

/* Takes completions off until that of the last command is among them. */
static bool take_result(struct briq_ublk_control *control, int *ret)
{
    struct io_uring_cqe *cqe;
    bool found = false;
    while (io_uring_peek_cqe(&control->ring, &cqe) == 0) {
        if (cqe->user_data == control->last) {
            *ret = cqe->res;
            found = true;
        } else if (cqe->user_data != CANCEL_DATA) {
            control->stuck--; /* one that was given up has ended after all */
        }
        io_uring_cqe_seen(&control->ring, cqe);
    }
    return found;
}

/* 0: the result is in *ret_result. */
static int await(struct briq_ublk_control *control, const struct briq_ublk_watch *watch,
                 int *ret_result)
{
    uint64_t end_ms = briq_clock_ns() / 1000000 + (uint64_t)watch->timeout_ms;
    while (!take_result(control, ret_result)) {
        struct pollfd fds[2] = {{.fd = control->ring.ring_fd, .events = POLLIN},
                                {.fd = watch->fd, .events = POLLIN}};
        uint64_t now_ms = briq_clock_ns() / 1000000;
        if (watch->timeout_ms >= 0 && now_ms >= end_ms)
            return -ETIMEDOUT;
        int n = poll(fds, 2, watch->timeout_ms < 0 ? -1 : (int)(end_ms - now_ms));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && fds[1].revents != 0 && fds[0].revents == 0)
            return -ECANCELED;
    }
    return 0;
}

/* Asks the kernel to end the last command. True: it did. */
static bool cancel(struct briq_ublk_control *control)
{
    const struct briq_ublk_watch grace = {.fd = -1, .timeout_ms = CANCEL_GRACE_MS};
    struct io_uring_sqe *sqe = io_uring_get_sqe(&control->ring);
    int ignored;
    if (sqe == NULL)
        return false;
    memset(sqe, 0, 2 * sizeof *sqe);
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->addr = control->last;
    sqe->user_data = CANCEL_DATA;
    return submit(control) == 0 && await(control, &grace, &ignored) == 0;
}

int briq_ublk_control_run(struct briq_ublk_control *control, unsigned op,
                          const struct ublk_ctrl_cmd *cmd, const struct briq_ublk_watch *watch)
{
    const struct briq_ublk_watch forever = {.fd = -1, .timeout_ms = -1};
    int result = 0;
    int r = send_command(control, op, cmd);
    if (r < 0)
        return r;
    r = await(control, watch != NULL ? watch : &forever, &result);
    if (r < 0 && !cancel(control))
        control->stuck++;
    return r < 0 ? r : result;
}

/* ---- commands -------------------------------------------------------------------------------- */

static const struct briq_ublk_watch soon = {.fd = -1, .timeout_ms = BRIQ_UBLK_WATCHDOG_MS};

/* With control->by_path what `buf` holds follows the path. */
static int run_on(struct briq_ublk_control *control, unsigned op, uint32_t id, uint64_t data,
                  void *buf, size_t len, const struct briq_ublk_watch *watch)
{
    size_t path_len = control->by_path ? PATH_BYTES : 0;
    char *at = (char *)control->buffer + path_len;
    struct ublk_ctrl_cmd cmd = {.dev_id = id,
                                .queue_id = UBLK_NO_QUEUE,
                                .dev_path_len = (uint16_t)path_len,
                                .addr = (uint64_t)(uintptr_t)control->buffer,
                                .len = (uint16_t)(path_len + len),
                                .data = data};
    if (path_len + len > sizeof control->buffer)
        return -EINVAL;
    if (control->stuck > 0 && cmd.len > 0)
        return -EBUSY;
    if (control->by_path)
        snprintf((char *)control->buffer, PATH_BYTES, "/dev/ublkc%" PRIu32, id);
    if (len > 0)
        memcpy(at, buf, len);
    int r = briq_ublk_control_run(control, op, &cmd, watch);
    if (r >= 0 && len > 0)
        memcpy(buf, at, len);
    return r < 0 ? r : 0;
}

static void remember(struct briq_ublk_control *control, uint32_t id, bool by_path)
{
    control->device = id;
    control->by_path = by_path;
}

/* Without a path the kernel tells about the devices of root, and answers -EINVAL for others. */
int briq_ublk_get_info(struct briq_ublk_control *control, uint32_t id, struct ublk_dev_info *ret)
{
    struct ublk_dev_info info = {0};
    remember(control, UBLK_ANY_ID, false);
    int r = run_on(control, UBLK_CMD_GET_DEV_INFO, id, 0, &info, sizeof info, &soon);
    if (r == -EINVAL) {
        control->by_path = true;
        r = run_on(control, UBLK_CMD_GET_DEV_INFO2, id, 0, &info, sizeof info, &soon);
    }
    if (r < 0)
        return r;
    remember(control, id, control->by_path);
    *ret = info;
    return 0;
}

/* A command about a device, of which it must be known whose kind it is. */
static int run_about(struct briq_ublk_control *control, unsigned op, uint32_t id, uint64_t data,
                     void *buf, size_t len, const struct briq_ublk_watch *watch)
{
    struct ublk_dev_info ignored;
    int r = id == control->device ? 0 : briq_ublk_get_info(control, id, &ignored);
    return r < 0 ? r : run_on(control, op, id, data, buf, len, watch);
}

int briq_ublk_get_features(struct briq_ublk_control *control, uint64_t *ret)
{
    uint64_t features = 0;
    remember(control, UBLK_ANY_ID, false);
    int r =
        run_on(control, UBLK_CMD_GET_FEATURES, UBLK_ANY_ID, 0, &features, sizeof features, &soon);
    if (r == 0)
        *ret = features;
    return r;
}

int briq_ublk_set_params(struct briq_ublk_control *control, uint32_t id, struct ublk_params *params)
{
    params->len = sizeof *params;
    return run_about(control, UBLK_CMD_SET_PARAMS, id, 0, params, sizeof *params, &soon);
}

int briq_ublk_get_params(struct briq_ublk_control *control, uint32_t id, struct ublk_params *ret)
{
    struct ublk_params params = {.len = sizeof params};
    int r = run_about(control, UBLK_CMD_GET_PARAMS, id, 0, &params, sizeof params, &soon);
    if (r == 0)
        *ret = params;
    return r;
}

int briq_ublk_add(struct briq_ublk_control *control, struct ublk_dev_info *info)
{
    remember(control, UBLK_ANY_ID, false);
    int r = run_on(control, UBLK_CMD_ADD_DEV, info->dev_id, 0, info, sizeof *info, &soon);
    if (r == 0)
        remember(control, info->dev_id, (info->flags & UBLK_F_UNPRIVILEGED_DEV) != 0);
    return r;
}

int briq_ublk_get_affinity(struct briq_ublk_control *control, uint32_t id, unsigned queue,
                           void *mask, size_t mask_bytes)
{
    return run_about(control, UBLK_CMD_GET_QUEUE_AFFINITY, id, queue, mask, mask_bytes, &soon);
}

int briq_ublk_simple(struct briq_ublk_control *control, unsigned op, uint32_t id, uint64_t data,
                     const struct briq_ublk_watch *watch)
{
    return run_about(control, op, id, data, NULL, 0, watch);
}
