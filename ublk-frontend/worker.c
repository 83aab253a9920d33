/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.c - requests in, pieces through the store, answers out.
 *
 * A request that the store can carry out at once (from memory, or into a window) is answered in the
 * turn in which it came, and all answers of a turn go out with the system call that waits for the
 * next requests. One that needs the device waits in the ring like everything else, so it delays
 * nobody. Pieces of a large one go to helpers as well, while those have nothing to do. A slot's memory
 * is reused for ever; nothing is allocated after the start.
 */
#include "ublk-frontend/worker.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/ring/ring.h"
#include "common/ring/store_op.h"
#include "ublk-frontend/helper.h"
#include "ublk-frontend/payload.h"

#define HELP_BYTES_MIN (32u << 10) /* less is done sooner than handed over */

/* A tag and what is done for it. */
struct slot {
    struct briq_ring_op command; /* the fetch, or the answer with the next fetch */
    struct briq_ring_task next_piece;
    struct briq_ublk_worker *worker;
    uint16_t tag;
    enum briq_ublk_tag_state state;
    uint8_t *buffer;
    struct briq_ublk_request request;
    bool at_work; /* this thread has a piece, or is about to take one */
    struct briq_ublk_piece piece;
    struct briq_store_op op;
};

struct briq_ublk_worker {
    struct briq_ublk_shared *shared;
    unsigned queue, index;
    bool bound;
    cpu_set_t cpus;
    pthread_t thread;
    bool joined;

    /* of the thread */
    struct briq_ring *ring;
    struct briq_ctx *ctx;
    const struct ublk_io_desc *descs;
    size_t descs_bytes;
    struct briq_ublk_payload payload;
    struct slot *slots;
    unsigned slot_count;
    unsigned owned;            /* requests under way */
    bool ending;               /* the kernel brings nothing more: what is under way is answered */
    bool leaving;              /* nothing more is begun or answered */
    struct briq_ring_task end; /* ends the loop a turn after it was posted first */
    bool end_posted;
    unsigned end_turns;
    int refused; /* the first -errno of a command */
    struct briq_ublk_counts counts;

    /* between the threads */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started;  /* `error` says how it went */
    bool has_ring; /* the ring may be posted to */
    bool abandoned;
    struct briq_ring_task abandon;
    struct briq_error err;
    _Atomic bool ended;
    _Atomic int error;
};

/* ---- requests -------------------------------------------------------------------------------- */

static void send_command(struct slot *slot, unsigned op, int result)
{
    struct briq_ublk_worker *worker = slot->worker;
    struct io_uring_sqe *sqe = briq_ring_sqe(worker->ring, &slot->command);
    const struct ublk_io_cmd cmd = {
        .queue_id = (uint16_t)worker->queue,
        .tag = slot->tag,
        .result = result,
        .addr = briq_ublk_payload_address(&worker->payload, (unsigned)(slot - worker->slots)),
    };
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = worker->shared->fd;
    sqe->cmd_op = op;
    memcpy(sqe->cmd, &cmd, sizeof cmd);
    slot->state = BRIQ_UBLK_TAG_ARMED;
}

/* The answers of this turn are still to be submitted, so the loop ends in the next one. */
static void run_end(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct briq_ublk_worker *worker = BRIQ_CONTAINER_OF(task, struct briq_ublk_worker, end);
    if (worker->end_turns++ == 0)
        briq_ring_post(ring, task);
    else
        briq_ring_stop(ring);
}

static void end_if_idle(struct briq_ublk_worker *worker)
{
    bool over = worker->ending || worker->leaving;
    if (!over || worker->owned > 0 || worker->end_posted)
        return;
    worker->end_posted = true;
    briq_ring_post(worker->ring, &worker->end);
}

/* Whether this thread takes a processor, for who wants to know how many are left. */
static void note_requests(struct briq_ublk_worker *worker)
{
    const struct briq_ublk_shared *shared = worker->shared;
    if (shared->helpers != NULL)
        briq_ublk_helpers_note(shared->helpers,
                               worker->queue * shared->threads_per_queue + worker->index,
                               worker->owned > 0);
}

static void answer(struct slot *slot, int result)
{
    struct briq_ublk_worker *worker = slot->worker;
    if (slot->buffer != NULL)
        briq_ublk_payload_put(&worker->payload, slot->buffer);
    slot->buffer = NULL;
    if (--worker->owned == 0)
        note_requests(worker);
    end_if_idle(worker);
    if (worker->leaving)
        return; /* the next server will be asked again */
    if (result < 0)
        briq_counter_add(&worker->counts.errors, 1);
    else if (slot->request.wants_data)
        briq_counter_add(&worker->counts.read_bytes, (uint64_t)result);
    else if (slot->request.brings_data)
        briq_counter_add(&worker->counts.written_bytes, (uint64_t)result);
    send_command(slot, UBLK_IO_COMMIT_AND_FETCH, result);
}

static void limits_of(const struct briq_ublk_worker *worker, struct briq_ublk_limits *ret)
{
    *ret = (struct briq_ublk_limits){
        .sectors = atomic_load_explicit(&worker->shared->sectors, memory_order_acquire),
        .max_io_bytes = worker->shared->max_io_bytes,
        .piece_bytes = worker->shared->piece_bytes,
    };
}

static void help_done(struct briq_ring *ring, struct briq_ring_task *task);

/* Pieces for as many helpers as have nothing to do. */
static void spread(struct slot *slot, const struct briq_ublk_limits *limits)
{
    struct briq_ublk_worker *worker = slot->worker;
    struct briq_ublk_request *request = &slot->request;
    struct briq_ublk_help *help;
    if (worker->shared->helpers == NULL)
        return;
    while (request->len - request->begun >= HELP_BYTES_MIN &&
           briq_ublk_request_has_piece(request, limits) &&
           (help = briq_ublk_helpers_claim(worker->shared->helpers)) != NULL) {
        help->request = request;
        help->piece = briq_ublk_request_take(request, limits);
        help->queue = worker->queue;
        help->tag = slot->tag;
        help->at = briq_ublk_payload_at(&worker->payload, slot->buffer, help->piece.position);
        help->ring = worker->ring;
        help->done.run = help_done;
        help->opaque = slot;
        briq_ublk_help_begin(help);
    }
}

/* A piece is finished, by whomever. Other requests that have come meanwhile get their turn before
 * this thread takes the next one. */
static void go_on(struct slot *slot, const struct briq_ublk_piece *piece, int result)
{
    struct briq_ublk_worker *worker = slot->worker;
    struct briq_ublk_limits limits;
    int reply = 0;
    if (briq_ublk_request_advance(&slot->request, piece, result, &reply)) {
        answer(slot, reply);
        return;
    }
    limits_of(worker, &limits);
    spread(slot, &limits);
    if (slot->at_work || !briq_ublk_request_has_piece(&slot->request, &limits))
        return;
    slot->at_work = true;
    briq_ring_post(worker->ring, &slot->next_piece);
}

static void help_done(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct briq_ublk_help *help = BRIQ_CONTAINER_OF(task, struct briq_ublk_help, done);
    struct slot *slot = help->opaque;
    const struct briq_ublk_piece piece = help->piece;
    int result = help->result;
    (void)ring;
    briq_counter_add(&slot->worker->counts.helped, 1);
    briq_ublk_help_release(help);
    go_on(slot, &piece, result);
}

/* The store has done a piece; what it read goes to the client. */
static void piece_done(struct slot *slot, int result)
{
    struct briq_ublk_worker *worker = slot->worker;
    const struct briq_ublk_piece *piece = &slot->piece;
    if (result == 0 && slot->request.wants_data)
        result = briq_ublk_payload_supply(
            &worker->payload, slot->tag,
            briq_ublk_payload_at(&worker->payload, slot->buffer, piece->position),
            (size_t)piece->len, piece->position);
    slot->at_work = false;
    go_on(slot, piece, result);
}

static void store_done(struct briq_store_op *op)
{
    struct slot *slot = BRIQ_CONTAINER_OF(op, struct slot, op);
    piece_done(slot, op->op.result);
}

static void run_in_store(struct slot *slot, uint8_t *at)
{
    struct briq_ublk_worker *worker = slot->worker;
    const struct briq_ublk_piece *piece = &slot->piece;
    if (worker->shared->store == NULL) {
        piece_done(slot, 0);
        return;
    }
    briq_op_init(&slot->op.op, slot->request.kind, at, piece->len, piece->off, piece->flags);
    if (briq_store_op_run(&slot->op))
        piece_done(slot, slot->op.op.result);
    else
        briq_counter_add(&worker->counts.waits, 1);
}

/* The first one, or one that is there now. The rest is for the helpers, who begin at once. */
static void start_piece(struct slot *slot, const struct briq_ublk_limits *limits)
{
    struct briq_ublk_worker *worker = slot->worker;
    uint8_t *at = NULL;
    int r = 0;
    slot->at_work = true;
    slot->piece = briq_ublk_request_take(&slot->request, limits);
    if (slot->buffer != NULL)
        at = briq_ublk_payload_at(&worker->payload, slot->buffer, slot->piece.position);
    spread(slot, limits);
    if (slot->request.brings_data)
        r = briq_ublk_payload_fetch(&worker->payload, slot->tag, at, (size_t)slot->piece.len,
                                    slot->piece.position);
    if (r < 0)
        piece_done(slot, r);
    else
        run_in_store(slot, at);
}

static void run_next_piece(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct slot *slot = BRIQ_CONTAINER_OF(task, struct slot, next_piece);
    struct briq_ublk_limits limits;
    (void)ring;
    limits_of(slot->worker, &limits);
    slot->at_work = briq_ublk_request_has_piece(&slot->request, &limits); /* helpers were faster */
    if (!slot->at_work)
        return;
    briq_counter_add(&slot->worker->counts.pieces, 1);
    start_piece(slot, &limits);
}

static void count_request(struct briq_ublk_worker *worker, unsigned op_flags)
{
    unsigned op = op_flags & UBLK_OP_MASK;
    unsigned last = BRIQ_COUNT_OF(worker->counts.requests) - 1;
    briq_counter_add(&worker->counts.requests[op <= last ? op : 4], 1);
}

static void start_request(struct slot *slot)
{
    struct briq_ublk_worker *worker = slot->worker;
    /* The kernel wrote it before it brought the request, and leaves it alone until the answer. */
    const struct ublk_io_desc desc = worker->descs[slot->tag];
    struct briq_ublk_limits limits;
    limits_of(worker, &limits);
    if (worker->owned++ == 0)
        note_requests(worker);
    count_request(worker, desc.op_flags);
    slot->request = (struct briq_ublk_request){.len = 0};
    int r = briq_ublk_request_read(&desc, &limits, &slot->request);
    if (r < 0) {
        answer(slot, briq_ublk_answer_of(r));
        return;
    }
    if (slot->request.brings_data || slot->request.wants_data)
        slot->buffer = briq_ublk_payload_get(&worker->payload, (unsigned)(slot - worker->slots));
    start_piece(slot, &limits);
}

static void tell_control(struct briq_ublk_worker *worker)
{
    uint64_t one = 1;
    ssize_t n = write(worker->shared->event_fd, &one, sizeof one);
    BRIQ_ASSERT(n == sizeof one);
}

/* A stop ends every tag, but a quiesce only those that are armed: one is enough to know. */
static void tag_is_over(struct briq_ublk_worker *worker, int error)
{
    if (error == 0) {
        worker->ending = true;
        end_if_idle(worker);
    } else if (worker->refused == 0) {
        worker->refused = error;
        atomic_store(&worker->error, error);
        tell_control(worker);
    }
}

static void arrived(struct briq_ring *ring, struct briq_ring_op *op, int res, unsigned flags)
{
    struct slot *slot = BRIQ_CONTAINER_OF(op, struct slot, command);
    (void)ring;
    (void)flags;
    int error = 0;
    slot->state = briq_ublk_tag_arrived(res, &error);
    if (slot->state == BRIQ_UBLK_TAG_OVER)
        tag_is_over(slot->worker, error);
    else if (!slot->worker->leaving)
        start_request(slot);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int open_slots(struct briq_ublk_worker *worker)
{
    const struct briq_ublk_shared *shared = worker->shared;
    unsigned stride = shared->threads_per_queue;
    worker->slot_count = (shared->depth - worker->index + stride - 1) / stride;
    worker->slots = calloc(worker->slot_count, sizeof worker->slots[0]);
    if (worker->slots == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < worker->slot_count; i++) {
        struct slot *slot = &worker->slots[i];
        slot->worker = worker;
        slot->tag = (uint16_t)(worker->index + i * stride);
        slot->command.done = arrived;
        slot->next_piece.run = run_next_piece;
        slot->op.ring = worker->ring;
        slot->op.store = shared->store;
        slot->op.ctx = worker->ctx;
        slot->op.done = store_done;
        briq_store_op_init(&slot->op);
    }
    size_t bytes = shared->user_copy ? shared->piece_bytes : shared->max_io_bytes;
    return briq_ublk_payload_open(&worker->payload, shared->user_copy, shared->fd, worker->queue,
                                  worker->slot_count, bytes);
}

static int map_descs(struct briq_ublk_worker *worker, struct briq_error *err)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    worker->descs_bytes = ublk_desc_bytes(worker->shared->depth, page);
    void *map = mmap(NULL, worker->descs_bytes, PROT_READ, MAP_SHARED | MAP_POPULATE,
                     worker->shared->fd, (off_t)ublk_desc_offset(worker->queue, page));
    if (map == MAP_FAILED) {
        int r = -errno;
        return briq_error_set(err, r, "the requests of queue %u cannot be mapped: %s",
                              worker->queue, strerror(-r));
    }
    worker->descs = map;
    return 0;
}

/* What the kernel keeps for a thread: where it runs, what it may do. */
static int prepare_thread(struct briq_ublk_worker *worker, struct briq_error *err)
{
    char name[16];
    snprintf(name, sizeof name, "ublk-q%u.%u", worker->queue, worker->index);
    (void)pthread_setname_np(pthread_self(), name);
    if (worker->bound)
        (void)sched_setaffinity(0, sizeof worker->cpus, &worker->cpus);
    int r = worker->shared->unprivileged ? 0 : briq_ublk_mark_flusher();
    if (r < 0)
        return briq_error_set(err, r, "PR_SET_IO_FLUSHER: %s; CAP_SYS_RESOURCE is needed",
                              strerror(-r));
    r = worker->shared->drop_admin ? briq_ublk_drop_admin() : 0;
    if (r < 0)
        return briq_error_set(err, r, "giving up CAP_SYS_ADMIN: %s", strerror(-r));
    return 0;
}

static int open_worker(struct briq_ublk_worker *worker, struct briq_error *err)
{
    const struct briq_ring_options options = {.entries = worker->shared->depth + 64,
                                              .spin_ns = worker->shared->spin_ns};
    int r = prepare_thread(worker, err);
    if (r == 0)
        r = briq_ring_open(&options, err, &worker->ring);
    if (r == 0 && worker->shared->store != NULL)
        r = briq_ctx_open(worker->shared->store, &worker->ctx);
    if (r == 0)
        r = open_slots(worker);
    if (r == 0)
        r = map_descs(worker, err);
    return r < 0 ? briq_error_set(err, r, "queue %u: %s", worker->queue, strerror(-r)) : 0;
}

/* All but the ring, which the device's thread may be about to post to. */
static void close_worker(struct briq_ublk_worker *worker)
{
    if (worker->descs != NULL)
        munmap((void *)(uintptr_t)worker->descs, worker->descs_bytes);
    briq_ctx_close(worker->ctx);
    briq_ublk_payload_close(&worker->payload);
    free(worker->slots);
}

static void tell_started(struct briq_ublk_worker *worker, int error)
{
    pthread_mutex_lock(&worker->lock);
    atomic_store(&worker->error, error);
    worker->started = true;
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
}

/* What the store is doing is seen to its end, since it refers to slots and buffers. */
static void abandon(struct briq_ring *ring, struct briq_ring_task *task)
{
    struct briq_ublk_worker *worker = BRIQ_CONTAINER_OF(task, struct briq_ublk_worker, abandon);
    (void)ring;
    worker->leaving = true;
    end_if_idle(worker);
}

static int serve(struct briq_ublk_worker *worker)
{
    worker->end.run = run_end;
    worker->abandon.run = abandon;
    worker->has_ring = true;
    for (unsigned i = 0; i < worker->slot_count; i++)
        send_command(&worker->slots[i], UBLK_IO_FETCH, 0);
    tell_started(worker, 0);
    return briq_ring_run(worker->ring);
}

static void *worker_main(void *arg)
{
    struct briq_ublk_worker *worker = arg;
    int r = open_worker(worker, &worker->err);
    if (r < 0) {
        close_worker(worker);
        tell_started(worker, r);
        return NULL;
    }
    r = serve(worker);
    pthread_mutex_lock(&worker->lock);
    worker->has_ring = false;
    pthread_mutex_unlock(&worker->lock);
    if (r < 0) /* requests may be under way: what they use stays until the process ends */
        atomic_store(&worker->error, r);
    else
        close_worker(worker);
    atomic_store(&worker->ended, true);
    tell_control(worker);
    return NULL;
}

/* ---- for the control thread ------------------------------------------------------------------ */

static int wait_started(struct briq_ublk_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    while (!worker->started)
        pthread_cond_wait(&worker->changed, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
    return atomic_load(&worker->error);
}

int briq_ublk_worker_start(struct briq_ublk_shared *shared, unsigned queue, unsigned index,
                           const cpu_set_t *cpus, struct briq_error *err,
                           struct briq_ublk_worker **ret)
{
    struct briq_ublk_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    worker->shared = shared;
    worker->queue = queue;
    worker->index = index;
    worker->bound = briq_ublk_affinity_pick(shared->affinity, cpus, index, &worker->cpus);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    int r = -pthread_create(&worker->thread, NULL, worker_main, worker);
    if (r < 0) {
        free(worker);
        return briq_error_set(err, r, "a thread for queue %u: %s", queue, strerror(-r));
    }
    r = wait_started(worker);
    if (r < 0) {
        r = briq_error_set(err, r, "%s", worker->err.text);
        briq_ublk_worker_free(worker);
        return r;
    }
    *ret = worker;
    return 0;
}

bool briq_ublk_worker_ended(const struct briq_ublk_worker *worker, int *ret_error)
{
    *ret_error = atomic_load(&worker->error);
    return atomic_load(&worker->ended);
}

void briq_ublk_worker_abandon(struct briq_ublk_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    if (worker->has_ring && !worker->abandoned)
        briq_ring_post(worker->ring, &worker->abandon);
    worker->abandoned = true;
    pthread_mutex_unlock(&worker->lock);
}

void briq_ublk_worker_join(struct briq_ublk_worker *worker)
{
    if (!worker->joined)
        pthread_join(worker->thread, NULL);
    worker->joined = true;
}

void briq_ublk_worker_free(struct briq_ublk_worker *worker)
{
    if (worker == NULL)
        return;
    briq_ublk_worker_join(worker);
    briq_ring_close(worker->ring);
    pthread_mutex_destroy(&worker->lock);
    pthread_cond_destroy(&worker->changed);
    free(worker);
}

const struct briq_ublk_counts *briq_ublk_worker_counts(const struct briq_ublk_worker *worker)
{
    return &worker->counts;
}
