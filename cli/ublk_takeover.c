/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/ublk_takeover.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cli/ublk_devices.h"
#include "cli/volume.h"
#include "common/base/clock.h"
#include "common/exports/source.h"

#define RELEASE_MS 10000
#define RETRY_MS   50

int briq_ublk_wait_for_end(pid_t pid, int ms, int cancel_fd)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return errno == ESRCH ? 0 : -errno;
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
    int n = poll(fds, 2, ms);
    bool ended = n > 0 && fds[0].revents != 0;
    close(fd);
    return ended ? 0 : -EBUSY;
}

int briq_ublk_open_again(int (*open)(void *opaque, struct briq_error *err), void *opaque,
                         int cancel_fd, struct briq_error *err)
{
    uint64_t end = briq_clock_ns() + RELEASE_MS * UINT64_C(1000000);
    struct pollfd cancel = {.fd = cancel_fd, .events = POLLIN};
    int r;
    do {
        err->text[0] = '\0';
        r = open(opaque, err);
    } while (r == -EBUSY && briq_clock_ns() < end && poll(&cancel, 1, RETRY_MS) == 0);
    return r;
}

/* Whether the device has no server that will go on; that of a volume which nobody can open beside it
 * may have been killed a moment ago, and is waited for. */
static bool is_orphan(struct briq_ublk_control *control, uint32_t id, bool read_only)
{
    struct ublk_dev_info info;
    if (briq_ublk_get_info(control, id, &info) < 0 || (info.flags & UBLK_F_USER_RECOVERY) == 0 ||
        info.state == UBLK_STATE_DEAD)
        return false;
    return info.state != UBLK_STATE_LIVE || info.server_pid <= 0 ||
           briq_ublk_wait_for_end(info.server_pid, read_only ? 0 : BRIQ_UBLK_DYING_MS, -1) == 0;
}

static bool is_of(struct briq_ublk_control *control, uint32_t id, const char *source,
                  struct briq_ublk_record *ret)
{
    struct briq_error ignored = {""};
    return briq_ublk_record_read(id, ret, &ignored) == 0 && ret->volume[0] != '\0' &&
           briq_volume_same_file(ret->volume, source) && is_orphan(control, id, ret->read_only);
}

bool briq_ublk_find_orphan(const char *source, uint32_t *ret_id, struct briq_ublk_record *ret)
{
    struct briq_error ignored = {""};
    struct briq_ublk_control *control = NULL;
    uint32_t *ids = NULL;
    size_t count = 0;
    bool found = false;
    if (briq_source_in_memory(source) || briq_ublk_find_all(&ignored, &ids, &count) < 0)
        return false;
    if (count > 0 && briq_ublk_control_open(&ignored, &control) == 0)
        for (size_t i = 0; i < count && !found; i++) {
            found = is_of(control, ids[i], source, ret);
            *ret_id = ids[i];
        }
    briq_ublk_control_close(control);
    free(ids);
    return found;
}
