/* SPDX-License-Identifier: BSD-3-Clause */
#include "ublk-frontend/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ublk-frontend/features.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

bool briq_ublk_is_privileged(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capget, &header, data) == 0 &&
           (data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN)) != 0;
}

int briq_ublk_mark_flusher(void)
{
    return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int briq_ublk_use_reserves(struct briq_error *err)
{
    const struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_RR)};
    if (sched_setscheduler(0, SCHED_RR, &lowest) == 0)
        return 0;
    return briq_error_set(err, -errno, "real-time priority: %s; CAP_SYS_NICE is needed",
                          strerror(errno));
}

/* By the system call and not through libcap: that would change every thread of the process. */
int briq_ublk_drop_admin(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective &= ~CAP_TO_MASK(CAP_SYS_ADMIN);
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int write_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = write(fd, "-1000", 5) < 0 ? -errno : 0;
    close(fd);
    return r;
}

void briq_ublk_harden_process(const struct briq_log *log)
{
    /* Only what is touched: the store reserves far more address space than it uses. */
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
        briq_log_line(log, BRIQ_LOG_WARNING,
                      "memory cannot be locked (%s): swap on this device may stop it",
                      strerror(errno));
    int r = write_score();
    if (r < 0)
        briq_log_line(log, BRIQ_LOG_WARNING,
                      "oom_score_adj cannot be set (%s): this server may be killed for want of "
                      "memory",
                      strerror(-r));
}

/* ---- mounts ---------------------------------------------------------------------------------- */

/* One of the mounts of block device `dev`, as /proc/self/mountinfo lists them. */
static bool find_mount(dev_t dev, char *path, size_t room)
{
    char *line = NULL, where[4096];
    size_t line_room = 0;
    bool found = false;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (mounts == NULL)
        return false;
    while (!found && getline(&line, &line_room, mounts) > 0) {
        unsigned major_nr, minor_nr;
        if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major_nr, &minor_nr, where) == 3)
            found = makedev(major_nr, minor_nr) == dev;
    }
    free(line);
    fclose(mounts);
    return found && (size_t)snprintf(path, room, "%s", where) < room;
}

void briq_ublk_drop_mounts(uint32_t id)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "/dev/ublkb%u", id);
    if (stat(path, &st) < 0)
        return;
    while (find_mount(st.st_rdev, path, sizeof path))
        if (umount2(path, MNT_DETACH) < 0)
            return;
}

int briq_ublk_leave_mounts(struct briq_error *err)
{
    /* A slave: what the host unmounts goes here too, so that nothing is held that it let go. */
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) {
        int r = -errno;
        return briq_error_set(err, r, "a mount namespace: %s", strerror(-r));
    }
    return 0;
}

/* ---- processors ------------------------------------------------------------------------------ */

int briq_ublk_affinity_parse(const char *text, struct briq_error *err, enum briq_ublk_affinity *ret)
{
    static const char *const names[] = {
        [BRIQ_UBLK_AFFINITY_MASK] = "mask",
        [BRIQ_UBLK_AFFINITY_ONE] = "one",
        [BRIQ_UBLK_AFFINITY_NONE] = "none",
    };
    int r = briq_ublk_word("affinity", text, names, BRIQ_COUNT_OF(names), err);
    if (r < 0)
        return r;
    *ret = (enum briq_ublk_affinity)r;
    return 0;
}

bool briq_ublk_affinity_pick(enum briq_ublk_affinity affinity, const cpu_set_t *mask,
                             unsigned index, cpu_set_t *ret)
{
    unsigned count = (unsigned)CPU_COUNT(mask);
    if (affinity == BRIQ_UBLK_AFFINITY_NONE || count == 0)
        return false;
    if (affinity == BRIQ_UBLK_AFFINITY_MASK) {
        *ret = *mask;
        return true;
    }
    unsigned skip = index % count;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, mask) || skip-- > 0)
            continue;
        CPU_ZERO(ret);
        CPU_SET(cpu, ret);
        return true;
    }
    return false;
}
