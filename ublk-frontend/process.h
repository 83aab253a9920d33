/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * process.h - what keeps a server of block devices from waiting for itself.
 *
 * When memory runs short the kernel writes dirty pages of file systems and swap out, perhaps to the
 * very device that this process serves. So the process must need no memory that would have to be
 * freed in that way: its threads are marked, its pages locked, it is not to be killed for memory's
 * sake, and it holds no mount of its own device.
 */
#ifndef BRIQ_UBLK_PROCESS_H
#define BRIQ_UBLK_PROCESS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/log.h"

/* Whether the process has CAP_SYS_ADMIN: without it there are only devices of a user, which the
 * kernel keeps apart (features.h). */
bool briq_ublk_is_privileged(void);

/*
 * Marks the calling thread as one that frees memory by its work (PR_SET_IO_FLUSHER): its own
 * requests for memory never wait for I/O. Threads that it creates are marked too. 0 or -errno.
 */
int briq_ublk_mark_flusher(void) BRIQ_MUST;

/*
 * Gives the calling thread the lowest real-time priority; threads that it creates have it too. Why:
 * a volume in memory takes pages for what is swapped out to it, before those are free; the kernel
 * keeps some back that only real-time threads get. 0, or -errno explained in err.
 */
int briq_ublk_use_reserves(struct briq_error *err) BRIQ_MUST;

/*
 * The calling thread gives up CAP_SYS_ADMIN for good, so that START_DEV looks for no partitions
 * (features.c). 0 or -errno. Other threads keep theirs.
 */
int briq_ublk_drop_admin(void) BRIQ_MUST;

/*
 * Locks all memory the process has and will touch, and asks the kernel to kill others first. What
 * cannot be had is told to log as a warning: the device works, and memory pressure may stop it.
 */
void briq_ublk_harden_process(const struct briq_log *log);

/*
 * Puts the process into a mount namespace of its own, which follows the one it leaves: the last one
 * to hold a file system on a device must not be its server. Call it before there are other threads.
 * 0, or -errno explained in err.
 */
int briq_ublk_leave_mounts(struct briq_error *err) BRIQ_MUST;

/* Unmounts in that namespace, and there alone, what is mounted of device `id`, which is about to be
 * taken over. Thread: any, after briq_ublk_leave_mounts() of the first one. Blocks. */
void briq_ublk_drop_mounts(uint32_t id);

/* Where threads run. */
enum briq_ublk_affinity {
    BRIQ_UBLK_AFFINITY_MASK, /* on the processors of their queue */
    BRIQ_UBLK_AFFINITY_ONE,  /* each on one of those */
    BRIQ_UBLK_AFFINITY_NONE,
};

int briq_ublk_affinity_parse(const char *text, struct briq_error *err,
                             enum briq_ublk_affinity *ret) BRIQ_MUST;

/*
 * What the index-th thread of a queue may run on, of the queue's processors `mask`. Returns false
 * when it shall not be bound.
 */
bool briq_ublk_affinity_pick(enum briq_ublk_affinity affinity, const cpu_set_t *mask,
                             unsigned index, cpu_set_t *ret);

#endif
