/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock.h - one writer a volume: advisory locks on the backing file, and who holds them.
 *
 * The lock is flock(2): it belongs to the open file, so it survives a fork of the process that took
 * it (a server that goes into the background) and ends with the last descriptor, also when the
 * process is killed. Readers share it, a writer has it alone.
 */
#ifndef BRIQ_DEVICE_LOCK_H
#define BRIQ_DEVICE_LOCK_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/error.h"

#define BRIQ_LOCK_NAME_MAX 32

/*
 * Locks the open file fd, shared or alone, without waiting; but a writer of a block device waits up
 * to 2 s for readers of it (udev looks at a device whenever a writer closed it). Returns 0; -EBUSY
 * when another open file has a lock that excludes it, then err names the process as far as it can
 * be found out; or what flock(2) said. `path` is used in messages only. Thread: any. Reads /proc
 * after a conflict.
 */
int briq_lock_take(int fd, bool shared, const char *path, struct briq_error *err) BRIQ_MUST;

/*
 * Finds the process that has the file `path` locked for writing, without keeping a lock on it.
 * *ret_pid becomes its pid and name its command's name (cut to fit); 0 and "" when nobody has it;
 * -1 and "" when it is locked by a process that cannot be seen from here. Returns 0, or -errno when
 * the file cannot be looked at; the results are untouched then. Thread: any. Reads /proc.
 */
int briq_lock_owner(const char *path, pid_t *ret_pid, char name[BRIQ_LOCK_NAME_MAX]) BRIQ_MUST;

#endif
