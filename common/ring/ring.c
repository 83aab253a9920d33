/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.c - the turn: submit, wait, take all completions off, run them.
 *
 * A send is queued so that it must finish while it is being submitted (MSG_DONTWAIT) and posts a
 * completion only if it did not send everything (CQE_SKIP_SUCCESS with MSG_WAITALL: a short one
 * counts as failed). So when the submission has returned, a send is either in the completion queue
 * as failed, and then its rest is queued again to wait for the peer, or it is done. One system call
 * a turn both sends all replies and waits for the next requests.
 */
#include "common/ring/ring.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/ring/internal.h"

#define ENTRIES_DEFAULT 512u
#define CQ_FACTOR       8u
#define BACKOFF_MAX     64u
/* Marks the completion of a send: the low bit of a pointer that is aligned. */
#define SEND_MARK UINT64_C(1)

/* ---- tasks ----------------------------------------------------------------------------------- */

static void list_init(struct briq_ring_task_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

void briq_ring_defer(struct briq_ring *ring, struct briq_ring_task *task)
{
    if (task->queued)
        return;
    task->queued = true;
    task->next = NULL;
    *ring->deferred.last = task;
    ring->deferred.last = &task->next;
}

/* Tasks put off by these run as well: before a submit nothing may be left to do. */
static void run_deferred(struct briq_ring *ring)
{
    struct briq_ring_task *task;
    while ((task = ring->deferred.first) != NULL) {
        ring->deferred.first = task->next;
        if (task->next == NULL)
            ring->deferred.last = &ring->deferred.first;
        task->queued = false;
        task->run(ring, task);
    }
}

void briq_ring_post(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct briq_ring_task *first = atomic_load_explicit(&ring->posted, memory_order_relaxed);
    atomic_fetch_add(&ring->posting, 1);
    do
        task->next = first;
    while (!atomic_compare_exchange_weak(&ring->posted, &first, task));

    if (atomic_exchange(&ring->asleep, false)) {
        uint64_t one = 1;
        ssize_t n = write(ring->wake_fd, &one, sizeof one);
        BRIQ_ASSERT(n == sizeof one); /* it would take 2^64 posts to fill it */
    }
    atomic_fetch_sub(&ring->posting, 1); /* from here on the ring may be gone */
}

/* In the order in which they were posted. */
static void run_posted(struct briq_ring *ring)
{
    if (atomic_load_explicit(&ring->posted, memory_order_relaxed) == NULL)
        return;
    struct briq_ring_task *newest = atomic_exchange(&ring->posted, NULL), *oldest = NULL;
    while (newest != NULL) {
        struct briq_ring_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct briq_ring_task *next = oldest->next;
        oldest->run(ring, oldest);
        oldest = next;
    }
}

static void arm_wake(struct briq_ring *ring)
{
    briq_ring_read(ring, &ring->wake_op, ring->wake_fd, &ring->wake_value, sizeof ring->wake_value,
                   0);
}

static void woken(struct briq_ring *ring, struct briq_ring_op *op, int res, unsigned flags)
{
    (void)op;
    (void)flags;
    if (res == -ECANCELED)
        return;
    briq_counter_add(&ring->counts.wakes, 1);
    arm_wake(ring);
}

/* ---- timers ---------------------------------------------------------------------------------- */

static struct briq_ring_timer *first_timer(struct briq_ring *ring)
{
    if (briq_list_empty(&ring->timers))
        return NULL;
    return BRIQ_CONTAINER_OF(ring->timers.head.next, struct briq_ring_timer, node);
}

void briq_ring_timer_clear(struct briq_ring *ring, struct briq_ring_timer *timer)
{
    (void)ring;
    if (timer->at_ns != 0)
        briq_list_remove(&timer->node);
    timer->at_ns = 0;
}

/* From the back: timers of one length, set one after the other, go to the end. */
void briq_ring_timer_set(struct briq_ring *ring, struct briq_ring_timer *timer, uint64_t at_ns)
{
    briq_ring_timer_clear(ring, timer);
    struct briq_node *before = ring->timers.head.prev;
    while (before != &ring->timers.head &&
           BRIQ_CONTAINER_OF(before, struct briq_ring_timer, node)->at_ns > at_ns)
        before = before->prev;
    timer->at_ns = at_ns != 0 ? at_ns : 1;
    timer->node.prev = before;
    timer->node.next = before->next;
    before->next->prev = &timer->node;
    before->next = &timer->node;
}

static void fire_timers(struct briq_ring *ring)
{
    struct briq_ring_timer *timer = first_timer(ring);
    if (BRIQ_LIKELY(timer == NULL))
        return;
    uint64_t now = briq_clock_ns();
    for (; timer != NULL && timer->at_ns <= now; timer = first_timer(ring)) {
        briq_ring_timer_clear(ring, timer);
        timer->fire(ring, timer);
    }
}

/* ---- completions ----------------------------------------------------------------------------- */

static void grow_ready(struct briq_ring *ring)
{
    size_t max = 2 * ring->ready_max;
    ring->ready = reallocarray(ring->ready, max, sizeof ring->ready[0]);
    BRIQ_ASSERT(ring->ready != NULL);
    ring->ready_max = max;
}

static void take_send(struct briq_ring *ring, uint64_t data, int res)
{
    struct briq_ring_send *send =
        BRIQ_CONTAINER_OF((void *)(uintptr_t)(data & ~SEND_MARK), struct briq_ring_send, op);
    send->taken = res;
    ring->must_settle = true;
}

static void take_one(struct briq_ring *ring, const struct io_uring_cqe *cqe)
{
    if ((cqe->user_data & SEND_MARK) != 0) {
        take_send(ring, cqe->user_data, cqe->res);
        return;
    }
    if (ring->ready_count == ring->ready_max)
        grow_ready(ring);
    ring->ready[ring->ready_count++] = (struct briq_ring_ready){
        .op = (struct briq_ring_op *)(uintptr_t)cqe->user_data,
        .res = cqe->res,
        .flags = cqe->flags,
    };
}

/* Takes off what the queue holds. Returns how much. */
static unsigned take_completions(struct briq_ring *ring)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&ring->uring, head, cqe)
    {
        take_one(ring, cqe);
        count++;
    }
    io_uring_cq_advance(&ring->uring, count);
    briq_counter_add(&ring->counts.completed, count);
    return count;
}

/* Callbacks may add to the list by filling the submission queue. */
static void run_ready(struct briq_ring *ring)
{
    for (size_t i = 0; i < ring->ready_count; i++) {
        struct briq_ring_ready ready = ring->ready[i];
        if (ready.op != NULL)
            ready.op->done(ring, ready.op, ready.res, ready.flags);
    }
    briq_counter_max(&ring->counts.completed_max, ring->ready_count);
    ring->ready_count = 0;
}

/* ---- submitting ------------------------------------------------------------------------------ */

static void note_result(struct briq_ring *ring, int r)
{
    briq_counter_add(&ring->counts.calls, 1);
    if (r >= 0)
        briq_counter_add(&ring->counts.submitted, (uint64_t)r);
    else if (r != -EINTR && r != -ETIME && r != -EAGAIN && r != -EBUSY)
        ring->broken = r;
}

void briq_ring_submit_now(struct briq_ring *ring)
{
    do {
        note_result(ring, io_uring_submit_and_get_events(&ring->uring));
        /* Whatever kept the kernel from taking more, it is completions that free it. */
        take_completions(ring);
    } while (io_uring_sq_ready(&ring->uring) > 0 && ring->broken == 0);
}

struct io_uring_sqe *briq_ring_sqe(struct briq_ring *ring, struct briq_ring_op *op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    while (BRIQ_UNLIKELY(sqe == NULL)) {
        briq_counter_add(&ring->counts.queue_full, 1);
        briq_ring_submit_now(ring);
        BRIQ_ASSERT(ring->broken == 0);
        sqe = io_uring_get_sqe(&ring->uring);
    }
    memset(sqe, 0, sizeof *sqe);
    sqe->user_data = (uint64_t)(uintptr_t)op;
    return sqe;
}

/* The prep functions of liburing clear user_data on some versions, so it is set behind them. */
static void complete_to(struct io_uring_sqe *sqe, struct briq_ring_op *op)
{
    sqe->user_data = (uint64_t)(uintptr_t)op;
}

void briq_ring_read(struct briq_ring *ring, struct briq_ring_op *op, int fd, void *buf,
                    uint32_t len, uint64_t off)
{
    struct io_uring_sqe *sqe = briq_ring_sqe(ring, op);
    io_uring_prep_read(sqe, fd, buf, len, off);
    complete_to(sqe, op);
}

void briq_ring_write(struct briq_ring *ring, struct briq_ring_op *op, int fd, const void *buf,
                     uint32_t len, uint64_t off)
{
    struct io_uring_sqe *sqe = briq_ring_sqe(ring, op);
    io_uring_prep_write(sqe, fd, buf, len, off);
    complete_to(sqe, op);
}

void briq_ring_datasync(struct briq_ring *ring, struct briq_ring_op *op, int fd)
{
    struct io_uring_sqe *sqe = briq_ring_sqe(ring, op);
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    complete_to(sqe, op);
}

void briq_ring_accept(struct briq_ring *ring, struct briq_ring_op *op, int fd)
{
    struct io_uring_sqe *sqe = briq_ring_sqe(ring, op);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    complete_to(sqe, op);
}

void briq_ring_cancel(struct briq_ring *ring, struct briq_ring_op *op)
{
    struct io_uring_sqe *sqe = briq_ring_sqe(ring, NULL);
    io_uring_prep_cancel(sqe, op, 0);
    complete_to(sqe, NULL);
}

/* ---- sending --------------------------------------------------------------------------------- */

static struct io_uring_sqe *queue_send(struct briq_ring *ring, struct briq_ring_send *send,
                                       unsigned flags)
{
    struct io_uring_sqe *sqe = briq_ring_sqe(ring, &send->op);
    const struct iovec *iov = send->msg->msg_iov;
    flags |= MSG_NOSIGNAL | MSG_WAITALL;
    if (send->msg->msg_iovlen == 1)
        io_uring_prep_send(sqe, send->fd, iov->iov_base, iov->iov_len, (int)flags);
    else
        io_uring_prep_sendmsg(sqe, send->fd, send->msg, flags);
    complete_to(sqe, &send->op);
    return sqe;
}

static size_t message_bytes(const struct msghdr *msg)
{
    size_t bytes = 0;
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        bytes += msg->msg_iov[i].iov_len;
    return bytes;
}

static void drop_sent(struct msghdr *msg, size_t bytes)
{
    while (bytes > 0 && bytes >= msg->msg_iov->iov_len) {
        bytes -= msg->msg_iov->iov_len;
        msg->msg_iov++;
        msg->msg_iovlen--;
    }
    if (bytes > 0) {
        msg->msg_iov->iov_base = (char *)msg->msg_iov->iov_base + bytes;
        msg->msg_iov->iov_len -= bytes;
    }
}

/* What a send of the rest, or the first try, has brought: on with what is left, or the end. */
static void send_progress(struct briq_ring *ring, struct briq_ring_send *send, int res)
{
    if (res == -EINTR || res == -EAGAIN)
        res = 0;
    if (res < 0) {
        send->sent(ring, send, res);
        return;
    }
    send->done += (size_t)res;
    if (send->done == send->len) {
        send->sent(ring, send, (int)send->len);
        return;
    }
    drop_sent(send->msg, (size_t)res);
    (void)queue_send(ring, send, 0);
}

static void rest_sent(struct briq_ring *ring, struct briq_ring_op *op, int res, unsigned flags)
{
    (void)flags;
    send_progress(ring, BRIQ_CONTAINER_OF(op, struct briq_ring_send, op), res);
}

void briq_ring_send(struct briq_ring *ring, struct briq_ring_send *send, int fd)
{
    send->op.done = rest_sent;
    send->fd = fd;
    send->len = message_bytes(send->msg);
    send->done = 0;
    send->taken = INT_MAX;
    struct io_uring_sqe *sqe = queue_send(ring, send, MSG_DONTWAIT);
    sqe->user_data |= SEND_MARK;
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    send->next = ring->sends;
    ring->sends = send;
    ring->must_settle = ring->must_settle || send->urgent;
}

/* Everything queued has been submitted, and what failed was taken off the completion queue. */
static void settle_sends(struct briq_ring *ring)
{
    struct briq_ring_send *send = ring->sends;
    ring->sends = NULL;
    ring->must_settle = false;
    while (send != NULL) {
        struct briq_ring_send *next = send->next;
        bool all = send->taken == INT_MAX;
        briq_counter_add(all ? &ring->counts.sends_settled : &ring->counts.sends_partial, 1);
        send_progress(ring, send, all ? (int)send->len : send->taken);
        send = next;
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool something_came(struct briq_ring *ring)
{
    unsigned flags = IO_URING_READ_ONCE(*ring->uring.sq.kflags);
    return io_uring_cq_ready(&ring->uring) > 0 || (flags & IORING_SQ_TASKRUN) != 0 ||
           atomic_load_explicit(&ring->posted, memory_order_relaxed) != NULL;
}

/* Looks for so long whether something comes. */
static bool spin(struct briq_ring *ring)
{
    uint64_t end = briq_clock_ns() + ring->spin_ns;
    do {
        for (int i = 0; i < 32; i++) {
            if (something_came(ring))
                return true;
            __builtin_ia32_pause();
        }
    } while (briq_clock_ns() < end);
    return false;
}

/* Spins in vain make the next ones rarer, one that hits makes them usual again. */
static bool spin_adaptively(struct briq_ring *ring)
{
    if (ring->spin_skip > 0) {
        ring->spin_skip--;
        return false;
    }
    briq_counter_add(&ring->counts.spins, 1);
    bool hit = spin(ring);
    briq_counter_add(&ring->counts.spin_hits, hit);
    ring->spin_backoff = hit ? 0 : 2 * ring->spin_backoff + 1;
    if (ring->spin_backoff > BACKOFF_MAX)
        ring->spin_backoff = BACKOFF_MAX;
    ring->spin_skip = ring->spin_backoff;
    return hit;
}

static int wait_until(struct briq_ring *ring, const struct briq_ring_timer *timer)
{
    uint64_t now = briq_clock_ns();
    uint64_t left = timer->at_ns > now ? timer->at_ns - now : 0;
    struct __kernel_timespec ts = {.tv_sec = (long long)(left / 1000000000u),
                                   .tv_nsec = (long long)(left % 1000000000u)};
    struct io_uring_cqe *cqe;
    return io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, &ts, NULL);
}

static void submit_and_sleep(struct briq_ring *ring)
{
    atomic_store(&ring->asleep, true);
    if (atomic_load(&ring->posted) != NULL) {
        atomic_store(&ring->asleep, false);
        briq_ring_submit_now(ring);
        return;
    }
    const struct briq_ring_timer *timer = first_timer(ring);
    briq_counter_add(&ring->counts.sleeps, 1);
    note_result(ring, timer != NULL ? wait_until(ring, timer)
                                    : io_uring_submit_and_wait(&ring->uring, 1));
    atomic_store_explicit(&ring->asleep, false, memory_order_relaxed);
}

/* What must not wait for the next completion. */
static bool has_work(const struct briq_ring *ring)
{
    return ring->ready_count > 0 || ring->must_settle;
}

static void submit_and_wait(struct briq_ring *ring)
{
    if (ring->spin_ns > 0 && ring->spin_skip == 0) {
        if (io_uring_sq_ready(&ring->uring) > 0)
            briq_ring_submit_now(ring);
        if (has_work(ring))
            return;
    }
    if (ring->spin_ns > 0 && spin_adaptively(ring))
        briq_ring_submit_now(ring); /* fetches it */
    else
        submit_and_sleep(ring);
}

static void turn(struct briq_ring *ring)
{
    run_deferred(ring);
    if (ring->stopping)
        return;
    briq_recv_refill(ring);
    briq_counter_add(&ring->counts.turns, 1);
    if (io_uring_cq_has_overflow(&ring->uring))
        briq_counter_add(&ring->counts.overflows, 1);
    if (has_work(ring))
        briq_ring_submit_now(ring);
    else
        submit_and_wait(ring);
    take_completions(ring);
    if (io_uring_sq_ready(&ring->uring) > 0)
        briq_ring_submit_now(ring); /* an interrupted or partial submission */
    settle_sends(ring);
    run_ready(ring);
    run_posted(ring);
    fire_timers(ring);
}

int briq_ring_run(struct briq_ring *ring)
{
    ring->stopping = false;
    while (!ring->stopping && ring->broken == 0)
        turn(ring);
    return ring->broken;
}

void briq_ring_stop(struct briq_ring *ring)
{
    ring->stopping = true;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* From the best to what every kernel that has the rest can do. */
static const unsigned setups[] = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
};

static int open_uring(struct briq_ring *ring, unsigned entries, struct briq_error *err)
{
    int r = -EINVAL;
    for (size_t i = 0; i < BRIQ_COUNT_OF(setups) && r == -EINVAL; i++) {
        struct io_uring_params params = {.flags =
                                             setups[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                         .cq_entries = CQ_FACTOR * entries};
        r = io_uring_queue_init_params(entries, &ring->uring, &params);
        ring->setup_flags = setups[i];
    }
    if (r == -ENOSYS)
        return briq_error_set(err, r, "io_uring: this kernel has none");
    if (r == -EPERM || r == -EACCES)
        return briq_error_set(err, r,
                              "io_uring: forbidden here (kernel.io_uring_disabled, or a "
                              "filter of system calls)");
    if (r == -EINVAL)
        return briq_error_set(err, r, "io_uring: this kernel is too old (6.0 is needed)");
    if (r < 0)
        return briq_error_set(err, r, "io_uring: %s", strerror(-r));
    const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
    if ((ring->uring.features & needed) != needed) {
        io_uring_queue_exit(&ring->uring);
        return briq_error_set(err, -ENOTSUP, "io_uring: this kernel is too old (6.0 is needed)");
    }
    (void)io_uring_register_ring_fd(&ring->uring); /* saves a look-up a call, where there is one */
    return 0;
}

static int open_rest(struct briq_ring *ring, struct briq_error *err)
{
    ring->ready_max = ring->uring.cq.ring_entries;
    ring->ready = calloc(ring->ready_max, sizeof ring->ready[0]);
    if (ring->ready == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    ring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (ring->wake_fd < 0) {
        int r = -errno;
        return briq_error_set(err, r, "eventfd: %s", strerror(-r));
    }
    ring->wake_op.done = woken;
    arm_wake(ring);
    return 0;
}

int briq_ring_open(const struct briq_ring_options *options, struct briq_error *err,
                   struct briq_ring **ret)
{
    struct briq_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    ring->wake_fd = -1;
    ring->owner = pthread_self();
    ring->spin_ns = options->spin_ns;
    list_init(&ring->deferred);
    briq_list_init(&ring->timers);
    briq_list_init(&ring->recv.starved);
    int r = open_uring(ring, options->entries != 0 ? options->entries : ENTRIES_DEFAULT, err);
    if (r < 0) {
        free(ring);
        return r;
    }
    r = open_rest(ring, err);
    if (r < 0) {
        briq_ring_close(ring);
        return r;
    }
    *ret = ring;
    return 0;
}

void briq_ring_close(struct briq_ring *ring)
{
    if (ring == NULL)
        return;
    while (atomic_load(&ring->posting) > 0) /* between its last two instructions */
        (void)sched_yield();
    briq_recv_close(ring);
    io_uring_queue_exit(&ring->uring);
    if (ring->wake_fd >= 0)
        close(ring->wake_fd);
    free(ring->ready);
    free(ring);
}

const struct briq_ring_counts *briq_ring_counts(const struct briq_ring *ring)
{
    return &ring->counts;
}

const char *briq_ring_describe(const struct briq_ring *ring, char *text, size_t room)
{
    bool single = (ring->setup_flags & IORING_SETUP_SINGLE_ISSUER) != 0;
    bool defer = (ring->setup_flags & IORING_SETUP_DEFER_TASKRUN) != 0;
    snprintf(text, room, "%s, %s task work", single ? "single issuer" : "any issuer",
             defer ? "deferred" : "cooperative");
    return text;
}
