/* SPDX-License-Identifier: BSD-3-Clause */
/* ublk_devices.h - what the verbs of `briq ublk` do with devices that are there. */
#ifndef BRIQ_CLI_UBLK_DEVICES_H
#define BRIQ_CLI_UBLK_DEVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "ublk-frontend/control.h"

/* "3", "ublkb3", "/dev/ublkb3" (or with a c for the b). 0, or -EINVAL explained in err. */
int briq_ublk_parse_id(const char *text, struct briq_error *err, uint32_t *ret) BRIQ_MUST;

/*
 * The numbers of all devices, rising, in *ret, which is the caller's to free; *ret_count may be 0.
 * -errno explained in err.
 */
int briq_ublk_find_all(struct briq_error *err, uint32_t **ret, size_t *ret_count) BRIQ_MUST;

/* Explains what a command about device `id` was answered, and returns r. */
int briq_ublk_explain(uint32_t id, const char *command, int r, struct briq_error *err);

/*
 * Whether something above would lose what it has not written yet: 0, or -EBUSY explained in err,
 * the device is mounted, or swap, or part of another one. It must have a server: opening it to look
 * would wait for ever.
 */
int briq_ublk_check_unused(uint32_t id, struct briq_error *err) BRIQ_MUST;

/*
 * Who else has a device's nodes open: "mount (312), fio (99)", at most `room` bytes. Returns how
 * many processes.
 */
unsigned briq_ublk_holders(uint32_t id, char *text, size_t room);

/* Whether anybody would miss it: as briq_ublk_check_unused(), and -EBUSY when a program has it open. */
int briq_ublk_check_unheld(uint32_t id, struct briq_error *err) BRIQ_MUST;

/*
 * What its server, which was told to end, does with a device: one that is in use waits for the next
 * server if it can, since nothing is lost that way, and any other is removed. True: it waits. The
 * log is told of one that is in use. It must still be served.
 */
bool briq_ublk_is_to_wait(uint32_t id, bool can_wait, const struct briq_log *log);

#endif
