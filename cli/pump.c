/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pump.c - plan, work, watch.
 *
 * The plan (one mutex) cuts the source into pieces: data of at most 1 MiB that does not cross a
 * 1 MiB boundary, small holes included, and long ranges of zeros, which cost nothing when the sink
 * reads as zeros anyway. A stream is read inside the plan's mutex, since its order is the plan.
 * A worker takes a piece, reads it, cuts out zeros the source did not tell of, and hands the rest
 * to the sink; for an ordered sink it waits until all before its piece is written. The calling
 * thread sleeps until a worker ends, a picture of the progress is due, or the job is cancelled.
 *
 * Locks: `plan` and `turn` are never held together; `lock` is a leaf.
 */
#include "cli/pump.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cli/zeros.h"
#include "common/base/align.h"

#define BLOCK_BYTES      4096
#define ZERO_PIECE_BYTES (UINT64_C(64) << 20) /* at most, so that a cancelled job ends soon */
#define WAITING_THREADS  4

/* A build that copies thousands of times a second may set smaller ones. */
#ifndef BRIQ_PUMP_PIECE_BYTES
#define BRIQ_PUMP_PIECE_BYTES (UINT64_C(1) << 20)
#endif
#define PIECE_BYTES      BRIQ_PUMP_PIECE_BYTES
#define GROW_PIECE_BYTES (16 * PIECE_BYTES) /* a resize is durable, so not too many of them */
#define HOLE_BYTES_MIN   (PIECE_BYTES / 16) /* a shorter one is cheaper read than skipped */

struct piece {
    uint64_t off, len;
    bool zero;   /* reads as zeros, and nothing is in the buffer */
    bool loaded; /* the data is in the buffer already */
};

struct extent {
    uint64_t end;
    bool zero;
};

struct pump {
    struct briq_source *source;
    struct briq_sink *sink;
    const struct briq_pump_options *options;
    uint64_t buffer_bytes;

    pthread_mutex_t plan;
    uint64_t plan_pos;         /* everything before it was given out */
    struct extent extent;      /* of plan_pos, when that is before its end */
    struct extent next_extent; /* begins where that ends, or has no more to tell */
    bool stream_ended;

    pthread_mutex_t turn;
    pthread_cond_t turn_changed;
    uint64_t turn_off; /* an ordered sink has everything before it */

    pthread_mutex_t lock;
    int result; /* the first failure */
    struct briq_error *err;

    atomic_bool stop;
    atomic_uint running;
    atomic_uint_fast64_t done, written;
    int event_fd; /* a worker has ended, or failed */
};

struct worker {
    struct pump *pump;
    unsigned number;
    void *buffer;
    pthread_t thread;
    struct briq_error err;
};

static void wake_watcher(struct pump *pump)
{
    uint64_t one = 1;
    while (write(pump->event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void stop_workers(struct pump *pump)
{
    atomic_store(&pump->stop, true);
    if (pump->source->ops->interrupt != NULL)
        pump->source->ops->interrupt(pump->source);
    if (pump->sink->ops->interrupt != NULL)
        pump->sink->ops->interrupt(pump->sink);
    pthread_mutex_lock(&pump->turn);
    pthread_cond_broadcast(&pump->turn_changed);
    pthread_mutex_unlock(&pump->turn);
}

/* The first failure counts: those that come after it may only be its consequences. */
static void fail(struct pump *pump, int code, const struct briq_error *err)
{
    pthread_mutex_lock(&pump->lock);
    if (pump->result == 0) {
        pump->result = code;
        if (err->text[0] != '\0')
            *pump->err = *err;
    }
    pthread_mutex_unlock(&pump->lock);
    stop_workers(pump);
    wake_watcher(pump);
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* What the source says of the bytes from `off` on. */
static int ask_extent(struct worker *w, uint64_t off, struct extent *ret)
{
    struct pump *pump = w->pump;
    uint64_t len = 0;
    int r = pump->source->ops->extent(pump->source, w->number, off, pump->source->size_bytes - off,
                                      &len, &ret->zero, &w->err);
    ret->end = off + len;
    return r;
}

/* Whether nobody has asked yet what comes behind `extent`. */
static bool next_is_unknown(const struct pump *pump)
{
    return pump->next_extent.end <= pump->extent.end && pump->extent.end < pump->source->size_bytes;
}

/*
 * Makes `extent` describe plan_pos. A hole may be told of in many small parts, which would each be
 * too short to be skipped: they are put together until they are long enough. The data that ends the
 * search is kept for a later call.
 */
static int load_extent(struct worker *w)
{
    struct pump *pump = w->pump;
    int r = 0;
    if (pump->plan_pos >= pump->extent.end) {
        if (pump->plan_pos < pump->next_extent.end)
            pump->extent = pump->next_extent;
        else
            r = ask_extent(w, pump->plan_pos, &pump->extent);
    }
    while (r == 0 && pump->extent.zero && next_is_unknown(pump) &&
           pump->extent.end - pump->plan_pos < HOLE_BYTES_MIN + BLOCK_BYTES) {
        r = ask_extent(w, pump->extent.end, &pump->next_extent);
        if (r == 0 && pump->next_extent.zero)
            pump->extent.end = pump->next_extent.end;
    }
    return r;
}

static bool sink_needs_zeros(const struct pump *pump)
{
    return pump->sink->ops->zero != NULL;
}

/*
 * The length of the zeros at plan_pos that are worth a piece of their own, else 0. They begin and
 * end between blocks, so that no block is copied in two parts.
 */
static uint64_t hole_length(const struct pump *pump)
{
    uint64_t end = pump->extent.end;
    if (!pump->extent.zero || pump->plan_pos % BLOCK_BYTES != 0)
        return 0;
    if (end < pump->source->size_bytes)
        end = briq_align_down(end, BLOCK_BYTES);
    return end >= pump->plan_pos + HOLE_BYTES_MIN ? end - pump->plan_pos : 0;
}

/* Takes zeros from the front of the plan: a piece, or nothing when the sink can do without. */
static void take_zeros(struct pump *pump, uint64_t len, struct piece *piece)
{
    if (sink_needs_zeros(pump)) {
        len = briq_min_u64(len, ZERO_PIECE_BYTES);
        *piece = (struct piece){.off = pump->plan_pos, .len = len, .zero = true};
    } else {
        atomic_fetch_add(&pump->done, len);
    }
    pump->plan_pos += len;
}

/* Adds what comes next to a piece of data, up to the next boundary `unit`. */
static void take_data(struct pump *pump, uint64_t unit, struct piece *piece)
{
    uint64_t boundary = briq_align_down(pump->plan_pos, unit) + unit;
    uint64_t len = briq_min_u64(pump->extent.end, boundary) - pump->plan_pos;
    if (piece->len == 0)
        piece->off = pump->plan_pos;
    piece->len += len;
    pump->plan_pos += len;
}

/*
 * The next piece of a source with a known size; piece->len stays 0 at the end. Data grows over
 * neighbouring extents up to the next 1 MiB boundary; a long hole ends it.
 */
static int take_range(struct worker *w, struct piece *piece)
{
    struct pump *pump = w->pump;
    while (pump->plan_pos < pump->source->size_bytes && !atomic_load(&pump->stop)) {
        int r = load_extent(w);
        if (r < 0)
            return r;
        uint64_t hole = hole_length(pump);
        if (hole == 0) {
            /* zeros that do not begin between blocks may do so behind the present block */
            take_data(pump, pump->extent.zero ? BLOCK_BYTES : PIECE_BYTES, piece);
            if (pump->plan_pos % PIECE_BYTES == 0)
                return 0;
            continue;
        }
        if (piece->len == 0)
            take_zeros(pump, hole, piece);
        if (piece->len != 0)
            return 0;
    }
    return 0;
}

static int check_limit(struct worker *w, uint64_t end)
{
    struct pump *pump = w->pump;
    if (pump->options->limit_bytes == 0 || end <= pump->options->limit_bytes)
        return 0;
    return briq_error_set(&w->err, -EFBIG,
                          "%s does not end at --size (%" PRIu64 " bytes): give a larger one",
                          pump->source->name, pump->options->limit_bytes);
}

/* The next piece of a stream, read into the worker's buffer; piece->len stays 0 at the end. */
static int take_next(struct worker *w, struct piece *piece)
{
    struct pump *pump = w->pump;
    size_t len = 0;
    if (pump->stream_ended || atomic_load(&pump->stop))
        return 0;
    int r = pump->source->ops->next(pump->source, w->buffer, pump->buffer_bytes, &len, &w->err);
    if (r == 0)
        r = check_limit(w, pump->plan_pos + len);
    if (r == 0 && len > 0 && pump->options->limit_bytes == 0)
        r = pump->sink->ops->grow(pump->sink, pump->plan_pos + len, &w->err);
    if (r < 0)
        return r;
    pump->stream_ended = len < pump->buffer_bytes;
    *piece = (struct piece){.off = pump->plan_pos, .len = len, .loaded = true};
    pump->plan_pos += len;
    return 0;
}

static int take_piece(struct worker *w, struct piece *piece)
{
    struct pump *pump = w->pump;
    *piece = (struct piece){0};
    pthread_mutex_lock(&pump->plan);
    int r = pump->source->ops->next != NULL ? take_next(w, piece) : take_range(w, piece);
    pthread_mutex_unlock(&pump->plan);
    return r;
}

/* ---- the workers ----------------------------------------------------------------------------- */

static int put_data(struct worker *w, const void *data, size_t len, uint64_t off)
{
    struct pump *pump = w->pump;
    atomic_fetch_add(&pump->written, len);
    return pump->sink->ops->write(pump->sink, w->number, data, len, off, &w->err);
}

/* Hands data on, and in place of the zeros in it what the sink wants for them. */
static int put_runs(struct worker *w, const struct piece *piece)
{
    struct pump *pump = w->pump;
    const unsigned char *data = w->buffer;
    uint64_t pos = 0;
    int r = 0;
    while (pos < piece->len && r == 0) {
        bool zero = false;
        size_t len = briq_zeros_run(data + pos, piece->len - pos, pump->sink->zero_bytes, &zero);
        if (!zero)
            r = put_data(w, data + pos, len, piece->off + pos);
        else if (sink_needs_zeros(pump))
            r = pump->sink->ops->zero(pump->sink, w->number, len, piece->off + pos, &w->err);
        pos += len;
    }
    return r;
}

static int put_piece(struct worker *w, const struct piece *piece)
{
    struct pump *pump = w->pump;
    if (piece->zero)
        return pump->sink->ops->zero(pump->sink, w->number, piece->len, piece->off, &w->err);
    if (pump->sink->zero_bytes == 0)
        return put_data(w, w->buffer, piece->len, piece->off);
    return put_runs(w, piece);
}

/* False when the turn will not come, because the job has ended early. */
static bool wait_for_turn(struct pump *pump, const struct piece *piece)
{
    pthread_mutex_lock(&pump->turn);
    while (pump->turn_off != piece->off && !atomic_load(&pump->stop))
        pthread_cond_wait(&pump->turn_changed, &pump->turn);
    bool mine = pump->turn_off == piece->off;
    pthread_mutex_unlock(&pump->turn);
    return mine;
}

static void pass_turn(struct pump *pump, const struct piece *piece)
{
    pthread_mutex_lock(&pump->turn);
    pump->turn_off = piece->off + piece->len;
    pthread_cond_broadcast(&pump->turn_changed);
    pthread_mutex_unlock(&pump->turn);
}

static int copy_piece(struct worker *w, const struct piece *piece)
{
    struct pump *pump = w->pump;
    int r = 0;
    if (!piece->zero && !piece->loaded)
        r = pump->source->ops->read(pump->source, w->number, w->buffer, piece->len, piece->off,
                                    &w->err);
    if (r == 0 && pump->sink->ordered && !wait_for_turn(pump, piece))
        return 0;
    if (r == 0)
        r = put_piece(w, piece);
    if (r == 0 && pump->sink->ordered)
        pass_turn(pump, piece);
    if (r == 0)
        atomic_fetch_add(&pump->done, piece->len);
    return r;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct piece piece;
    int r = 0;
    while (!atomic_load(&w->pump->stop)) {
        r = take_piece(w, &piece);
        if (r < 0 || piece.len == 0)
            break;
        r = copy_piece(w, &piece);
        if (r < 0)
            break;
    }
    if (r < 0)
        fail(w->pump, r, &w->err);
    atomic_fetch_sub(&w->pump->running, 1);
    wake_watcher(w->pump);
    return NULL;
}

/* ---- the watcher ----------------------------------------------------------------------------- */

static int start_worker(struct worker *w)
{
    int r = posix_memalign(&w->buffer, BLOCK_BYTES, w->pump->buffer_bytes);
    if (r == 0) {
        atomic_fetch_add(&w->pump->running, 1);
        r = pthread_create(&w->thread, NULL, work, w);
        if (r == 0)
            return 0;
        atomic_fetch_sub(&w->pump->running, 1);
        free(w->buffer);
    }
    return briq_error_set(&w->err, -r, "cannot start a thread: %s", strerror(r));
}

static void clear_event(const struct pump *pump)
{
    uint64_t count;
    if (read(pump->event_fd, &count, sizeof count) < 0)
        BRIQ_ASSERT(errno == EAGAIN || errno == EINTR);
}

static void stop_if_cancelled(struct pump *pump)
{
    struct briq_error err = {""};
    if (!atomic_load(&pump->stop) && briq_cancel_requested(pump->options->cancel))
        fail(pump, briq_cancel_explain(&err), &err);
}

static void watch(struct pump *pump)
{
    while (atomic_load(&pump->running) > 0) {
        struct pollfd p[] = {
            {.fd = pump->event_fd, .events = POLLIN},
            /* once noticed, the request stays pending and must not wake us again */
            {.fd = atomic_load(&pump->stop) ? -1 : pump->options->cancel->fd, .events = POLLIN},
        };
        (void)poll(p, BRIQ_COUNT_OF(p), briq_progress_interval_ms(pump->options->progress));
        if (p[0].revents != 0)
            clear_event(pump);
        stop_if_cancelled(pump);
        briq_progress_update(pump->options->progress, atomic_load(&pump->done));
    }
}

static void run_workers(struct pump *pump, struct worker *workers)
{
    unsigned started = 0;
    stop_if_cancelled(pump); /* then the workers find nothing to do */
    for (; started < pump->options->threads; started++) {
        struct worker *w = &workers[started];
        *w = (struct worker){.pump = pump, .number = started};
        int r = start_worker(w);
        if (r < 0) {
            fail(pump, r, &w->err);
            break;
        }
    }
    watch(pump);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        free(workers[i].buffer);
    }
}

static uint64_t buffer_size(const struct briq_source *source, uint64_t limit_bytes)
{
    bool growing = source->ops->next != NULL && limit_bytes == 0;
    return growing ? GROW_PIECE_BYTES : PIECE_BYTES;
}

int briq_pump(struct briq_source *source, struct briq_sink *sink,
              const struct briq_pump_options *options, struct briq_pump_result *ret,
              struct briq_error *err)
{
    BRIQ_ASSERT(options->threads >= 1 && options->threads <= BRIQ_PUMP_THREADS_MAX);
    struct worker workers[BRIQ_PUMP_THREADS_MAX];
    struct pump pump = {
        .source = source,
        .sink = sink,
        .options = options,
        .buffer_bytes = buffer_size(source, options->limit_bytes),
        .plan = PTHREAD_MUTEX_INITIALIZER,
        .turn = PTHREAD_MUTEX_INITIALIZER,
        .turn_changed = PTHREAD_COND_INITIALIZER,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .err = err,
        .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
    };
    if (pump.event_fd < 0)
        return briq_error_set(err, -errno, "cannot make an eventfd: %s", strerror(errno));

    run_workers(&pump, workers);
    briq_progress_end(options->progress);
    close(pump.event_fd);
    *ret = (struct briq_pump_result){
        .copied_bytes = atomic_load(&pump.done),
        .written_bytes = atomic_load(&pump.written),
    };
    return pump.result;
}

unsigned briq_pump_threads(uint64_t wanted, bool waits)
{
    if (wanted != 0)
        return (unsigned)briq_min_u64(wanted, BRIQ_PUMP_THREADS_MAX);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t threads = processors > 0 ? (uint64_t)processors : 1;
    if (waits)
        threads = briq_max_u64(threads, WAITING_THREADS);
    return (unsigned)briq_min_u64(threads, BRIQ_PUMP_THREADS_MAX);
}
