/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cmd_ublk_stop.c - "briq ublk stop" and "briq ublk del": the end of a device.
 *
 * A server whose device is stopped closes its volume, deletes the device and ends. `stop` returns
 * when the device is stopped; `del` sees to it that nothing is left of it, served or not.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/ublk_devices.h"
#include "cli/verb.h"
#include "common/base/clock.h"
#include "ublk-frontend/control.h"
#include "ublk-frontend/record.h"

#define SERVER_END_MS 30000

struct stop_args {
    const char *device;
    bool all, force, async;
};

/* What works on one device. */
typedef int action_fn(struct briq_ublk_control *control, uint32_t id, const struct stop_args *args,
                      struct briq_error *err);

/* A device without a server answers nobody: opening it to look would wait for ever. */
static int check_served(const struct ublk_dev_info *info, bool force, struct briq_error *err)
{
    if (force || info->state != UBLK_STATE_LIVE)
        return 0;
    return briq_ublk_check_unused(info->dev_id, err);
}

static int stop(struct briq_ublk_control *control, uint32_t id, const struct stop_args *args,
                struct briq_error *err)
{
    struct ublk_dev_info info;
    int r = briq_ublk_get_info(control, id, &info);
    if (r < 0)
        return briq_ublk_explain(id, "GET_DEV_INFO", r, err);
    r = check_served(&info, args->force, err);
    if (r < 0)
        return r;
    r = briq_ublk_simple(control, UBLK_CMD_STOP_DEV, id, 0, NULL);
    return r < 0 ? briq_ublk_explain(id, "STOP_DEV", r, err) : 0;
}

/* Until the volume is closed: the next command may want to open it. */
static int wait_for_server(int pidfd, const struct ublk_dev_info *info, struct briq_error *err)
{
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};
    if (pidfd < 0)
        return 0; /* it has ended, or there was none */
    int n = poll(&fd, 1, SERVER_END_MS);
    close(pidfd);
    if (n > 0)
        return 0;
    return briq_error_set(err, -ETIMEDOUT,
                          "device %" PRIu32 " is stopped, but its server (pid %d) has not ended "
                          "within %d s",
                          info->dev_id, (int)info->server_pid, SERVER_END_MS / 1000);
}

static int explain_held(uint32_t id, struct briq_error *err)
{
    char holders[256];
    unsigned count = briq_ublk_holders(id, holders, sizeof holders);
    return briq_error_set(err, -EBUSY, "device %" PRIu32 " is stopped, but not gone: %s%s", id,
                          count > 0 ? "it is held open by " : "something in the kernel holds it",
                          holders);
}

/* Takes what the server has left, or could not do. */
static int delete_rest(struct briq_ublk_control *control, uint32_t id, bool async,
                       struct briq_error *err)
{
    const struct briq_ublk_watch watch = {.fd = -1, .timeout_ms = 10000};
    unsigned op = async ? UBLK_CMD_DEL_DEV_ASYNC : UBLK_CMD_DEL_DEV;
    int r = briq_ublk_simple(control, op, id, 0, &watch);
    if (r == -ETIMEDOUT)
        return explain_held(id, err);
    if (r < 0 && r != -ENODEV)
        return briq_ublk_explain(id, "DEL_DEV", r, err);
    return 0;
}

static int del(struct briq_ublk_control *control, uint32_t id, const struct stop_args *args,
               struct briq_error *err)
{
    struct ublk_dev_info info;
    int r = briq_ublk_get_info(control, id, &info);
    if (r < 0)
        return briq_ublk_explain(id, "GET_DEV_INFO", r, err);
    bool served = info.state == UBLK_STATE_LIVE && info.server_pid > 0;
    int pidfd = served ? (int)syscall(SYS_pidfd_open, info.server_pid, 0) : -1;
    r = stop(control, id, args, err);
    if (r == 0)
        r = wait_for_server(pidfd, &info, err);
    else if (pidfd >= 0)
        close(pidfd);
    if (r == 0)
        r = delete_rest(control, id, args->async, err);
    if (r == 0)
        briq_ublk_record_remove(id);
    return r;
}

/* ---- which ----------------------------------------------------------------------------------- */

static int for_all(struct briq_ublk_control *control, const struct stop_args *args,
                   action_fn *action, struct briq_error *err)
{
    uint32_t *ids = NULL;
    size_t count = 0;
    int r = briq_ublk_find_all(err, &ids, &count);
    for (size_t i = 0; i < count; i++) {
        int one = action(control, ids[i], args, err);
        r = r == 0 ? one : r;
    }
    free(ids);
    return r;
}

static int run_action(const struct stop_args *args, action_fn *action, struct briq_error *err)
{
    struct briq_ublk_control *control = NULL;
    uint32_t id = 0;
    if (args->all == (args->device != NULL))
        return briq_error_set(err, -EINVAL, "give either a DEVICE or --all");
    int r = args->all ? 0 : briq_ublk_parse_id(args->device, err, &id);
    if (r == 0)
        r = briq_ublk_control_open(err, &control);
    if (r < 0)
        return r;
    r = args->all ? for_all(control, args, action, err) : action(control, id, args, err);
    briq_ublk_control_close(control);
    return r;
}

static enum briq_exit run_stop(const void *args)
{
    struct briq_error err = {""};
    int r = run_action(args, stop, &err);
    return r < 0 ? briq_verb_fail("ublk stop", &err, r) : BRIQ_EXIT_OK;
}

static enum briq_exit run_del(const void *args)
{
    struct briq_error err = {""};
    int r = run_action(args, del, &err);
    return r < 0 ? briq_verb_fail("ublk del", &err, r) : BRIQ_EXIT_OK;
}

#define FIELD(name) offsetof(struct stop_args, name)

#define OPTION_ALL                                                                                 \
    {                                                                                              \
        .name = "all", .letter = 'a', .kind = BRIQ_OPTION_FLAG, .offset = FIELD(all),              \
        .help = "Every ublk device, also those of other programs."                                 \
    }
#define OPTION_FORCE                                                                               \
    {                                                                                              \
        .name = "force", .letter = 'f', .kind = BRIQ_OPTION_FLAG, .offset = FIELD(force),          \
        .help = "Also if it is in use: what a file system on it has not written yet is lost."      \
    }

static const struct briq_operand operands[] = {
    {"DEVICE", FIELD(device), BRIQ_MAYBE},
    {0},
};

const struct briq_verb briq_verb_ublk_stop = {
    .name = "ublk stop",
    .summary = "stop a device",
    .description =
        (const char *const[]){
            "Ends DEVICE (a number, or /dev/ublkbN): requests under way are answered, then there "
            "is "
            "no /dev/ublkbN any more. Its server closes the volume and ends. A device that is in "
            "use is refused.",
            NULL,
        },
    .operands = operands,
    .options = (const struct briq_option[]){OPTION_ALL, OPTION_FORCE, {0}},
    .examples =
        (const struct briq_example[]){
            {"briq ublk stop 0", "The end of /dev/ublkb0."},
            {0},
        },
    .args_bytes = sizeof(struct stop_args),
    .run = run_stop,
};

const struct briq_verb briq_verb_ublk_del = {
    .name = "ublk del",
    .summary = "stop a device and wait until nothing is left of it",
    .description =
        (const char *const[]){
            "Does what stop does, waits until the server has closed the volume, and removes what "
            "is "
            "left of DEVICE. Devices without a server, which wait to be recovered, go as well.",
            NULL,
        },
    .operands = operands,
    .options =
        (const struct briq_option[]){
            OPTION_ALL,
            OPTION_FORCE,
            {.name = "async",
             .kind = BRIQ_OPTION_FLAG,
             .offset = FIELD(async),
             .help = "Do not wait for programs that still have the device open (Linux 6.9 or "
                     "newer)."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq ublk del /dev/ublkb0", "Nothing is left of it, and its volume is closed."},
            {0},
        },
    .args_bytes = sizeof(struct stop_args),
    .run = run_del,
};
