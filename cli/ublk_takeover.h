/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ublk_takeover.h - devices whose servers have died, and the volumes behind them.
 *
 * Thread: any; all block.
 */
#ifndef BRIQ_CLI_UBLK_TAKEOVER_H
#define BRIQ_CLI_UBLK_TAKEOVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/error.h"
#include "ublk-frontend/control.h"
#include "ublk-frontend/record.h"

/* A server that was just killed may be on its way out for so long. */
#define BRIQ_UBLK_DYING_MS 2000

/* Waits for a process to end, or until cancel_fd (-1: none) is readable. 0, or -EBUSY: it lives on.
 */
int briq_ublk_wait_for_end(pid_t pid, int ms, int cancel_fd) BRIQ_MUST;

/*
 * Calls open() until it returns anything but -EBUSY, for 10 s at most: the kernel lets go of a dead
 * server's volume when the last of its requests to the medium has come back, which may be after the
 * process has ended and has no event. Returns what it returned last.
 */
int briq_ublk_open_again(int (*open)(void *opaque, struct briq_error *err), void *opaque,
                         int cancel_fd, struct briq_error *err) BRIQ_MUST;

/*
 * Looks for a device of the volume `source` that waits for a server, or whose server is dying.
 * Returns whether there is one: then its number and record. Where there is no ublk, or no right to
 * it, there is none.
 */
bool briq_ublk_find_orphan(const char *source, uint32_t *ret_id, struct briq_ublk_record *ret);

#endif
