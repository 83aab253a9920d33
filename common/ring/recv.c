/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/ring/recv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/vmem.h"
#include "common/ring/internal.h"

#define GROUP         0
#define OFFERED_FIRST 8u

/* ---- buffers -----------------------------------------------------------------------------------
 */

static void give_back(struct briq_recv_buf *buf)
{
    struct briq_ring *ring = buf->owner;
    buf->next = ring->recv.free;
    ring->recv.free = buf;
}

static void offer(struct briq_recv_pool *pool, unsigned nth)
{
    struct briq_recv_buf *buf = pool->free;
    pool->free = buf->next;
    io_uring_buf_ring_add(pool->kernel, buf->data, pool->buf_bytes, buf->id,
                          io_uring_buf_ring_mask(pool->entries), (int)nth);
}

void briq_recv_refill(struct briq_ring *ring)
{
    struct briq_recv_pool *pool = &ring->recv;
    unsigned count = 0;
    while (pool->offered + count < pool->offered_max && pool->free != NULL)
        offer(pool, count++);
    if (count > 0)
        io_uring_buf_ring_advance(pool->kernel, (int)count);
    pool->offered += count;
    if (BRIQ_LIKELY(briq_list_empty(&pool->starved)) || pool->offered == 0)
        return;

    struct briq_node *node;
    while ((node = briq_list_pop_front(&pool->starved)) != NULL) {
        struct briq_ring_recv *recv = BRIQ_CONTAINER_OF(node, struct briq_ring_recv, node);
        recv->starved = false;
        briq_recv_start(ring, recv, recv->fd);
    }
}

static int map_kernel_ring(struct briq_ring *ring, struct briq_error *err)
{
    struct briq_recv_pool *pool = &ring->recv;
    pool->kernel_bytes = pool->entries * sizeof(struct io_uring_buf);
    pool->kernel = briq_vmem_map(pool->kernel_bytes);
    if (pool->kernel == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)pool->kernel,
                                   .ring_entries = pool->entries,
                                   .bgid = GROUP};
    int r = io_uring_register_buf_ring(&ring->uring, &reg, 0);
    if (r < 0) {
        briq_vmem_unmap(pool->kernel, pool->kernel_bytes);
        pool->kernel = NULL;
        return briq_error_set(err, r, "io_uring: provided buffers: %s", strerror(-r));
    }
    io_uring_buf_ring_init(pool->kernel);
    return 0;
}

int briq_recv_open(struct briq_ring *ring, uint32_t bytes, uint32_t count, struct briq_error *err)
{
    struct briq_recv_pool *pool = &ring->recv;
    pool->buf_bytes = bytes;
    pool->count = count;
    pool->offered_max = count < OFFERED_FIRST ? count : OFFERED_FIRST;
    for (pool->entries = 1; pool->entries < count; pool->entries *= 2)
        ;
    pool->memory = briq_vmem_map((size_t)bytes * count);
    pool->bufs = calloc(count, sizeof pool->bufs[0]);
    if (pool->memory == NULL || pool->bufs == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    for (uint32_t i = count; i-- > 0;) {
        struct briq_recv_buf *buf = &pool->bufs[i];
        *buf = (struct briq_recv_buf){.data = pool->memory + (size_t)bytes * i,
                                      .id = (uint16_t)i,
                                      .release = give_back,
                                      .owner = ring};
        give_back(buf);
    }
    return map_kernel_ring(ring, err);
}

void briq_recv_close(struct briq_ring *ring)
{
    struct briq_recv_pool *pool = &ring->recv;
    if (pool->kernel != NULL) {
        (void)io_uring_unregister_buf_ring(&ring->uring, GROUP);
        briq_vmem_unmap(pool->kernel, pool->kernel_bytes);
    }
    if (pool->memory != NULL)
        briq_vmem_unmap(pool->memory, (size_t)pool->buf_bytes * pool->count);
    free(pool->bufs);
}

/* ---- receiving ---------------------------------------------------------------------------------
 */

static void starve(struct briq_ring *ring, struct briq_ring_recv *recv)
{
    struct briq_recv_pool *pool = &ring->recv;
    briq_counter_add(&ring->counts.recv_starved, 1);
    recv->starved = true;
    briq_list_push_back(&pool->starved, &recv->node);
    pool->offered_max = 2 * pool->offered_max < pool->count ? 2 * pool->offered_max : pool->count;
}

static struct briq_recv_buf *take_buf(struct briq_ring *ring, int res, unsigned flags)
{
    struct briq_recv_pool *pool = &ring->recv;
    if ((flags & IORING_CQE_F_BUFFER) == 0)
        return NULL;
    struct briq_recv_buf *buf = &pool->bufs[flags >> IORING_CQE_BUFFER_SHIFT];
    pool->offered--;
    buf->refs = 1;
    buf->start = 0;
    buf->end = res > 0 ? (uint32_t)res : 0;
    buf->next = NULL;
    return buf;
}

/* The kernel's request has ended; why, says res. */
static void ended(struct briq_ring *ring, struct briq_ring_recv *recv, int res)
{
    recv->armed = false;
    bool goes_on = res > 0 || res == -ENOBUFS || res == -EINTR || res == -EAGAIN;
    if (recv->wanted && res == -ENOBUFS)
        starve(ring, recv);
    else if (recv->wanted && (goes_on || res == -ECANCELED))
        briq_recv_start(ring, recv, recv->fd); /* also: started again while it was being stopped */
    else {
        bool stopped = !recv->wanted;
        recv->wanted = false;
        recv->got(ring, recv, NULL, stopped && (goes_on || res == 0) ? -ECANCELED : res);
    }
}

static void received(struct briq_ring *ring, struct briq_ring_op *op, int res, unsigned flags)
{
    struct briq_ring_recv *recv = BRIQ_CONTAINER_OF(op, struct briq_ring_recv, op);
    struct briq_recv_buf *buf = take_buf(ring, res, flags);
    if (buf != NULL && res > 0)
        recv->got(ring, recv, buf, res);
    else if (buf != NULL)
        briq_recv_buf_put(buf);
    if ((flags & IORING_CQE_F_MORE) == 0)
        ended(ring, recv, res);
}

void briq_recv_start(struct briq_ring *ring, struct briq_ring_recv *recv, int fd)
{
    recv->wanted = true;
    recv->fd = fd;
    if (recv->armed || recv->starved)
        return;
    recv->armed = true;
    recv->op.done = received;
    struct io_uring_sqe *sqe = briq_ring_sqe(ring, &recv->op);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    sqe->user_data = (uint64_t)(uintptr_t)&recv->op;
}

void briq_recv_stop(struct briq_ring *ring, struct briq_ring_recv *recv)
{
    bool was_wanted = recv->wanted;
    recv->wanted = false;
    if (recv->starved) {
        briq_list_remove(&recv->node);
        recv->starved = false;
    }
    if (recv->armed && was_wanted)
        briq_ring_cancel(ring, &recv->op);
}
