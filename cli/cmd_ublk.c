/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_ublk.c - "briq ublk": the verbs for block devices of the kernel over volumes. */
#include "cli/verb.h"

static const struct briq_verb *const members[] = {
    &briq_verb_ublk_add,    &briq_verb_ublk_list,
    &briq_verb_ublk_stat,   &briq_verb_ublk_stop,
    &briq_verb_ublk_del,    &briq_verb_ublk_recover,
    &briq_verb_ublk_resize, &briq_verb_ublk_features,
    &briq_verb_ublk_owner,  NULL,
};

const struct briq_verb briq_verb_ublk = {
    .name = "ublk",
    .summary = "serve volumes as block devices /dev/ublkbN",
    .description =
        (const char *const[]){
            "Makes block devices of the running kernel out of volumes, with several hardware "
            "queues, through the kernel's ublk driver (Linux 6.5 or newer, module ublk_drv). "
            "Each device has a server, a process of its own. Without root there are slower devices "
            "that last as long as their server, where the administrator allows them: see `briq "
            "ublk "
            "owner --help`.",
            "A device whose server has died is not lost: requests wait, and `briq ublk recover` "
            "goes on where it stopped with everything that was acknowledged.",
            NULL,
        },
    .examples =
        (const struct briq_example[]){
            {"briq ublk add disk.briq", "Serve a volume; the device's name is printed."},
            {"briq ublk del 0", "Stop /dev/ublkb0 and close its volume."},
            {0},
        },
    .members = members,
};
