/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ublk_owner.c - "briq ublk owner": whose device it is, for the udev rules that give it to him. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cli/ublk_devices.h"
#include "cli/verb.h"

struct owner_args {
    const char *device;
};

static int get(const struct owner_args *a, struct ublk_dev_info *ret, struct briq_error *err)
{
    struct briq_ublk_control *control = NULL;
    uint32_t id = 0;
    int r = briq_ublk_parse_id(a->device, err, &id);
    if (r == 0)
        r = briq_ublk_control_open(err, &control);
    if (r < 0)
        return r;
    r = briq_ublk_get_info(control, id, ret);
    briq_ublk_control_close(control);
    if (r < 0)
        return briq_ublk_explain(id, "GET_DEV_INFO", r, err);
    if ((ret->flags & UBLK_F_UNPRIVILEGED_DEV) == 0)
        return briq_error_set(err, -EINVAL, "device %" PRIu32 " is root's", id);
    return 0;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    struct ublk_dev_info info;
    int r = get(args, &info, &err);
    if (r < 0)
        return briq_verb_fail("ublk owner", &err, r);
    printf("%" PRIu32 " %" PRIu32 "\n", info.owner_uid, info.owner_gid);
    return BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_ublk_owner = {
    .name = "ublk owner",
    .summary = "print which user a device belongs to",
    .description =
        (const char *const[]){
            "Prints the numbers of the user and the group that made DEVICE (a number, or a name "
            "like /dev/ublkb0), and fails for a device that was made with CAP_SYS_ADMIN. It is "
            "meant for udev.",
            "Users without CAP_SYS_ADMIN can have devices with `briq ublk add` if they may open "
            "/dev/ublk-control and udev gives them the nodes of their devices; the rules "
            "60-briq-ublk.rules, which come with briq and are to be copied to /etc/udev/rules.d, "
            "do both. The kernel allows as many as "
            "/sys/module/ublk_drv/parameters/ublks_max says. Such a device copies all data "
            "through a buffer for each request, is removed when its server dies or leaves a "
            "request for 30 s, and should not be used as swap: its server cannot lock its memory.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"DEVICE", offsetof(struct owner_args, device), BRIQ_ONCE},
            {0},
        },
    .options = (const struct briq_option[]){{0}},
    .examples =
        (const struct briq_example[]){
            {"briq ublk owner ublkc0", "1000 1000"},
            {0},
        },
    .args_bytes = sizeof(struct owner_args),
    .run = run,
};
