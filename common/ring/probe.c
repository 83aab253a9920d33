/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * probe.c - can this kernel do what the loop relies on? Asked by doing it: a multishot receive into
 * provided buffers, and a send that posts no completion. Version numbers and opcode tables do not
 * tell about flags, and a container's filter does not tell anything.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/ring/internal.h"

#define PROBE_NS UINT64_C(2000000000)

struct probe {
    struct briq_ring_recv recv;
    struct briq_ring_send send;
    struct briq_ring_timer limit;
    int pair[2];
    bool received, sent;
};

static void got(struct briq_ring *ring, struct briq_ring_recv *recv, struct briq_recv_buf *buf,
                int res)
{
    struct probe *probe = BRIQ_CONTAINER_OF(recv, struct probe, recv);
    (void)res;
    if (buf == NULL) {
        briq_ring_stop(ring);
        return;
    }
    briq_recv_buf_put(buf);
    probe->received = true;
    briq_recv_stop(ring, recv);
}

static void sent(struct briq_ring *ring, struct briq_ring_send *send, int res)
{
    (void)ring;
    BRIQ_CONTAINER_OF(send, struct probe, send)->sent = res > 0;
}

static void too_late(struct briq_ring *ring, struct briq_ring_timer *timer)
{
    (void)timer;
    briq_ring_stop(ring);
}

static int exchange(struct briq_ring *ring, struct probe *probe)
{
    struct iovec iov = {.iov_base = (char[]){'x'}, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    probe->recv.got = got;
    probe->send.sent = sent;
    probe->send.msg = &msg;
    probe->limit.fire = too_late;
    briq_ring_timer_set(ring, &probe->limit, briq_clock_ns() + PROBE_NS);
    briq_recv_start(ring, &probe->recv, probe->pair[0]);
    briq_ring_send(ring, &probe->send, probe->pair[1]);
    int r = briq_ring_run(ring);
    briq_ring_timer_clear(ring, &probe->limit);
    return r;
}

static int try_it(struct briq_ring *ring, struct briq_error *err)
{
    struct probe probe = {.received = false};
    int r = briq_recv_open(ring, 4096, 1, err);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, probe.pair) < 0) {
        r = -errno;
        return briq_error_set(err, r, "socketpair: %s", strerror(-r));
    }
    r = exchange(ring, &probe);
    close(probe.pair[0]);
    close(probe.pair[1]);
    if (r < 0)
        return briq_error_set(err, r, "io_uring: %s", strerror(-r));
    if (!probe.received || !probe.sent)
        return briq_error_set(err, -ENOTSUP, "io_uring: no multishot receive (Linux 6.0 has it)");
    return 0;
}

int briq_ring_probe(struct briq_error *err)
{
    const struct briq_ring_options options = {.entries = 8};
    struct briq_ring *ring;
    int r = briq_ring_open(&options, err, &ring);
    if (r < 0)
        return r;
    r = try_it(ring, err);
    briq_ring_close(ring);
    return r;
}
