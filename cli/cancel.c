/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/cancel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/clock.h"

static const int watched[] = {SIGINT, SIGTERM, SIGHUP};

int briq_cancel_open(struct briq_cancel *cancel, struct briq_error *err)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < BRIQ_COUNT_OF(watched); i++)
        sigaddset(&set, watched[i]);

    int r = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (r != 0)
        return briq_error_set(err, -r, "cannot block signals: %s", strerror(r));
    cancel->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (cancel->fd < 0) {
        r = -errno;
        return briq_error_set(err, r, "cannot watch signals: %s", strerror(-r));
    }
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

void briq_cancel_close(struct briq_cancel *cancel)
{
    if (cancel->fd >= 0)
        close(cancel->fd);
    cancel->fd = -1;
}

bool briq_cancel_requested(const struct briq_cancel *cancel)
{
    struct pollfd p = {.fd = cancel->fd, .events = POLLIN};
    return cancel->fd >= 0 && poll(&p, 1, 0) > 0;
}

bool briq_cancel_wait_ns(const struct briq_cancel *cancel, uint64_t at_ns)
{
    struct pollfd p = {.fd = cancel->fd, .events = POLLIN};
    for (uint64_t now = briq_clock_ns(); now < at_ns; now = briq_clock_ns()) {
        uint64_t left = at_ns - now;
        const struct timespec ts = {.tv_sec = (time_t)(left / 1000000000u),
                                    .tv_nsec = (long)(left % 1000000000u)};
        if (ppoll(&p, 1, &ts, NULL) > 0)
            return true;
    }
    return false;
}

int briq_cancel_explain(struct briq_error *err)
{
    sigset_t pending;
    sigpending(&pending);
    for (size_t i = 0; i < BRIQ_COUNT_OF(watched); i++)
        if (sigismember(&pending, watched[i]) == 1)
            return briq_error_set(err, -EINTR, "interrupted by SIG%s", sigabbrev_np(watched[i]));
    return briq_error_set(err, -EINTR, "interrupted");
}

int briq_cancel_wait_fd(const struct briq_cancel *cancel, int fd, short events)
{
    for (;;) {
        struct pollfd p[] = {{.fd = fd, .events = events}, {.fd = cancel->fd, .events = POLLIN}};
        if (poll(p, BRIQ_COUNT_OF(p), -1) < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (p[1].revents != 0)
            return -EINTR;
        if (p[0].revents != 0)
            return 0;
    }
}
