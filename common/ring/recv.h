/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recv.h - receiving from sockets into buffers that the kernel picks when data comes.
 *
 * An idle connection holds no buffer. One request to the kernel serves a connection until it is
 * stopped (multishot); each completion brings one buffer, which is the receiver's until it is put
 * back. Few buffers are with the kernel at a time and those that came back last go there first, so
 * that the ones in use stay in the processor's cache; a shortage raises their number up to the
 * pool's limit. A receive that finds no buffer goes on by itself when one comes back.
 *
 * Thread: the ring's.
 */
#ifndef BRIQ_RING_RECV_H
#define BRIQ_RING_RECV_H

#include "common/base/list.h"
#include "common/ring/ring.h"

struct io_uring_buf_ring;

/* Received bytes [start, end) of data. Whoever holds a reference may read and change them. */
struct briq_recv_buf {
    uint8_t *data;
    uint32_t start, end;
    uint32_t refs;
    uint16_t id;
    struct briq_recv_buf *next; /* the holder's, and the pool's while it is free */
    /* Called when the last reference is put. */
    void (*release)(struct briq_recv_buf *buf);
    void *owner;
};

static inline void briq_recv_buf_ref(struct briq_recv_buf *buf)
{
    buf->refs++;
}

static inline void briq_recv_buf_put(struct briq_recv_buf *buf)
{
    BRIQ_ASSERT(buf->refs > 0);
    if (--buf->refs == 0)
        buf->release(buf);
}

/* Private to the ring. */
struct briq_recv_pool {
    struct io_uring_buf_ring *kernel; /* what is offered to it */
    size_t kernel_bytes;
    uint8_t *memory; /* of all buffers; pages are taken on first use */
    uint32_t buf_bytes;
    uint32_t count, entries;       /* buffers, and slots of the kernel's ring */
    uint32_t offered, offered_max; /* with the kernel now; how many there should be */
    struct briq_recv_buf *bufs, *free;
    struct briq_list starved;
};

struct briq_ring_recv {
    /*
     * buf != NULL: its bytes arrived; one reference is the callee's. NULL: nothing more comes
     * until the next start, because res is 0 (end of file), -ECANCELED (it was stopped) or another
     * -errno; the ring has forgotten about recv.
     */
    void (*got)(struct briq_ring *ring, struct briq_ring_recv *recv, struct briq_recv_buf *buf,
                int res);
    /* private */
    struct briq_ring_op op;
    struct briq_node node; /* in starved */
    int fd;
    bool wanted;  /* started and not stopped */
    bool armed;   /* the kernel has it */
    bool starved; /* waits for a buffer */
};

/*
 * Gives the ring `count` buffers of `bytes` each (a multiple of 4096), at most 32768. Address space
 * is taken now, memory as it is used. 0, or -errno explained in err.
 */
int briq_recv_open(struct briq_ring *ring, uint32_t bytes, uint32_t count,
                   struct briq_error *err) BRIQ_MUST;

/* Receives from fd until stopped; started already: nothing. got must be set. */
void briq_recv_start(struct briq_ring *ring, struct briq_ring_recv *recv, int fd);

/* Stops. What has arrived meanwhile still comes, then got(NULL, -ECANCELED), unless it is idle. */
void briq_recv_stop(struct briq_ring *ring, struct briq_ring_recv *recv);

/* The ring refers to recv: it must not go away. */
static inline bool briq_recv_busy(const struct briq_ring_recv *recv)
{
    return recv->armed || recv->starved;
}

#endif
