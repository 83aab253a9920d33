/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * maintain.c - what is done when, in order of urgency:
 *
 *   1. free what no reader sees any more; keep a stock of ready segments
 *   2. somebody waits for space: collect, checkpoint, or find that there is no more to be had
 *   3. the journal is long enough: checkpoint
 *   4. free segments are few, or too much of the used space is garbage: collect
 *   5. more is free than will be needed soon: give it back to the host
 */
#include "common/store/maintain.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/base/align.h"
#include "common/base/clock.h"
#include "common/base/vmem.h"
#include "common/store/sleeper.h"
#include "common/store/tree.h"

/* A checkpoint is due when the journal since the last one is this long. Recovery of so much takes
 * about three seconds; the map pages written for it are a small part of it. */
#define CHECKPOINT_BYTES_MIN   (UINT64_C(1) << 30)
#define CHECKPOINT_BYTES_MAX   (UINT64_C(32) << 30)
#define CHECKPOINT_RECORDS_MAX UINT64_C(4000000)
#define CHECKPOINT_IDLE_NS     UINT64_C(30000000000)
#define IDLE_LOOK_S            5

/* What the smallest checkpoint needs. */
#define CHECKPOINT_SEGMENTS_MIN 2u

/* The segment that metadata goes to, and two with what the last checkpoints made garbage. */
#define META_SEGMENTS 3u

/* Used space that is not live is worth collecting above these shares (in percent), even if there is
 * space: memory is dear, a sparse file less so. */
#define LIVE_PERCENT_MEMORY 70
#define LIVE_PERCENT_FILE   50
#define SLACK_SEGMENTS      16u

int briq_maintain_init(struct briq_store *store)
{
    struct briq_maintain *m = &store->maintain;
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->kick_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->kick_cond, &attr);
    pthread_condattr_destroy(&attr);
    m->checkpoint_ns = briq_clock_ns();
    m->segment = briq_vmem_map(briq_space_seg_bytes(&store->space));
    if (m->segment == NULL)
        return -ENOMEM;
    return briq_ctx_open(store, &m->ctx);
}

void briq_maintain_fini(struct briq_store *store)
{
    struct briq_maintain *m = &store->maintain;
    briq_ctx_close(m->ctx);
    briq_vmem_unmap(m->segment, briq_space_seg_bytes(&store->space));
    pthread_cond_destroy(&m->kick_cond);
    pthread_mutex_destroy(&m->kick_lock);
    pthread_mutex_destroy(&m->lock);
}

/* ---- device work of the maintainer ----------------------------------------------------------- */

int briq_maintain_write_claim(struct briq_store *store, const struct briq_claim *claim)
{
    int r = briq_device_write(store->dev, claim->buf, claim->len, claim->where);
    if (r < 0)
        briq_store_latch(store, r, "writing to the volume");
    if (briq_journal_written(&store->journal, claim->win, claim->phase, r))
        briq_flush_drained(store);
    briq_counter_add(&store->maintain.ctx->counts.device_writes, 1);
    briq_waitq_wake(&store->waitq);
    return r;
}

int briq_maintain_write(struct briq_store *store, struct briq_stream *stream, bool seal)
{
    for (;;) {
        struct briq_claim claim;
        pthread_mutex_lock(&stream->lock);
        if (seal)
            briq_journal_seal(&store->journal, stream);
        bool any = seal ? briq_journal_claim(&store->journal, stream, &claim)
                        : briq_journal_claim_filled(&store->journal, stream, &claim);
        pthread_mutex_unlock(&stream->lock);
        if (!any)
            return 0;
        int r = briq_maintain_write_claim(store, &claim);
        if (r < 0)
            return r;
    }
}

int briq_maintain_flush(struct briq_store *store, bool force)
{
    return briq_run_flush(store, store->maintain.ctx, force);
}

void briq_maintain_wait(struct briq_store *store, uint64_t ticket)
{
    briq_sleep_on(store, ticket);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/*
 * What is kept from garbage collection: the checkpoint that is due, and the next one, which alone
 * gives back what the first one replaced. Not that, when the first one gives back enough itself, and
 * is sure of its own space, even if every map page should get dirty.
 */
static uint32_t checkpoint_floor(struct briq_store *store, enum briq_seg_class class)
{
    uint32_t two = 2 * briq_checkpoint_segments_now(store) + 1;
    if (class != BRIQ_CLASS_GC)
        return two;
    uint64_t pages = briq_div_up(briq_store_blocks(store), BRIQ_PAGE_WORDS);
    uint32_t largest = briq_checkpoint_segments(store, pages);
    if (atomic_load(&store->space.returning_count) < 2 * largest + 1)
        return two;
    return (uint32_t)briq_min_u64(two, largest + 1);
}

/*
 * What must stay free, from the most needed up:
 *   a checkpoint            see checkpoint_floor()
 *   garbage collection      one to move to, beyond that
 *   recovery after a crash  a checkpoint, then two segments for each user stream, then collection
 *   trims                   may go down to there, for they lead to free space
 *   writes                  leave trims one segment for each stream
 */
uint32_t briq_store_floor(struct briq_store *store, enum briq_seg_class class)
{
    uint32_t users = store->journal.user_count;
    uint32_t checkpoint = 0, recovery = 0;
    if (class == BRIQ_CLASS_META)
        return 0;
    if (!store->in_memory) {
        checkpoint = checkpoint_floor(store, class);
        recovery = CHECKPOINT_SEGMENTS_MIN + 2 * users;
    }
    if (class == BRIQ_CLASS_GC)
        return checkpoint;
    uint32_t trims = checkpoint + 1 + recovery;
    return class == BRIQ_CLASS_TRIM ? trims : trims + users;
}

uint64_t briq_store_live(struct briq_store *store)
{
    uint64_t granules = atomic_load_explicit(&store->maintain.meta_granules, memory_order_relaxed);
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        granules += briq_counter_get(&store->journal.streams[i].counts.data_granules);
    return briq_counter_sum(granules);
}

uint64_t briq_store_live_max(struct briq_store *store)
{
    uint32_t total = store->space.seg_end - store->space.seg_first;
    uint32_t users = store->journal.user_count;
    /* The floor of a volume at rest: a limit that moved with the dirty pages would refuse today
     * what it took yesterday. Then what the streams have open, and their next. */
    uint32_t kept = 1 + users + 2 * users + 2;
    if (!store->in_memory)
        kept += 3 * CHECKPOINT_SEGMENTS_MIN + 1 + 2 * users + META_SEGMENTS;
    if (total <= kept)
        return 0;
    /* The rest may be filled to 92 %: chunk headers take 2 or 3, and collection needs some garbage
     * to live on. */
    return (uint64_t)(total - kept) * briq_seg_granules(store) / 100 * 92;
}

void briq_store_latch(struct briq_store *store, int error, const char *what)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&store->latched, &none, error))
        briq_log_line(&store->options.log, BRIQ_LOG_ERROR,
                      "%s: %s failed: %s; the volume is read-only until it is opened again%s",
                      store->name, what, strerror(-error),
                      error == -EUCLEAN ? ": run briq check --repair first" : "");
}

/* ---- what is due ----------------------------------------------------------------------------- */

static uint32_t ready_wanted(struct briq_store *store)
{
    return briq_store_floor(store, BRIQ_CLASS_USER) + store->journal.user_count + 2;
}

void briq_store_update_tight(struct briq_store *store)
{
    bool tight = briq_store_live(store) >= briq_store_live_max(store);
    if (tight != atomic_load_explicit(&store->tight, memory_order_relaxed))
        atomic_store_explicit(&store->tight, tight, memory_order_relaxed);
}

/* User log bytes or records since the last checkpoint. */
static uint64_t user_log(struct briq_store *store, bool records)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < store->journal.user_count; i++) {
        struct briq_journal_counts *c = &store->journal.streams[i].counts;
        sum += briq_counter_get(records ? &c->records : &c->device_bytes);
    }
    return sum - (records ? store->maintain.checkpoint_records : store->maintain.checkpoint_bytes);
}

static bool checkpoint_is_due(struct briq_store *store)
{
    if (store->in_memory)
        return false;
    uint64_t records = user_log(store, true);
    uint64_t dirty_bytes = atomic_load(&store->map.dirty_count) * BRIQ_PAGE_BYTES;
    uint64_t limit = briq_max_u64(8 * dirty_bytes, CHECKPOINT_BYTES_MIN);
    uint64_t pending_bytes = (uint64_t)atomic_load(&store->space.pending_count)
                             << store->space.seg_shift;
    return records >= CHECKPOINT_RECORDS_MAX ||
           user_log(store, false) >= briq_min_u64(limit, CHECKPOINT_BYTES_MAX) ||
           pending_bytes >= CHECKPOINT_BYTES_MIN / 8;
}

static bool idle_checkpoint_is_due(struct briq_store *store)
{
    return !store->in_memory &&
           briq_clock_ns() - store->maintain.checkpoint_ns >= CHECKPOINT_IDLE_NS &&
           (user_log(store, true) > 0 || atomic_load(&store->space.pending_count) > 0);
}

/* With less than this live a segment is worth collecting. */
static uint32_t worth_collecting(const struct briq_store *store, unsigned percent)
{
    return (uint32_t)((uint64_t)briq_seg_granules(store) * percent / 100);
}

static uint32_t collection_target(struct briq_store *store)
{
    struct briq_space *space = &store->space;
    uint32_t total = space->seg_end - space->seg_first;
    uint32_t spare = atomic_load(&space->free_count) + atomic_load(&space->pending_count);
    if (spare < ready_wanted(store) + briq_max_u64(4, total / 64) || space->host_full)
        return worth_collecting(store, 90);
    if (atomic_load(&space->dead_count) > 1)
        return 1; /* only what is wholly dead: it is read, and nothing is moved */
    if (space->keep_all)
        return 0;
    uint64_t used = (uint64_t)atomic_load(&space->used_count) * briq_seg_granules(store);
    uint64_t percent = store->in_memory ? LIVE_PERCENT_MEMORY : LIVE_PERCENT_FILE;
    uint64_t slack = (uint64_t)SLACK_SEGMENTS * briq_seg_granules(store);
    bool wasteful = used * percent / 100 > briq_store_live(store) + slack;
    return wasteful ? worth_collecting(store, (unsigned)percent) : 0;
}

/* Collects the emptiest segment with less than max_live granules. 1, or 0: there is none, or no
 * segment to move it to. */
static int collect_one(struct briq_store *store, uint32_t max_live)
{
    uint32_t seg = max_live == 0 ? BRIQ_SEG_NONE : briq_gc_pick(store, max_live);
    if (seg == BRIQ_SEG_NONE) {
        atomic_store(&store->space.dead_count, 0);
        return 0;
    }
    store->maintain.moved_since_checkpoint = true;
    int r = briq_gc_segment(store, seg);
    return r == 0 ? 1 : r == -EAGAIN ? 0 : r;
}

static int do_checkpoint(struct briq_store *store)
{
    store->maintain.checkpoint_bytes += user_log(store, false);
    store->maintain.checkpoint_records += user_log(store, true);
    /* Old metadata that is garbage by now comes back with this checkpoint. */
    while (atomic_load(&store->space.dead_count) > 0)
        if (collect_one(store, 1) <= 0)
            break;
    store->maintain.moved_since_checkpoint = false;
    int r = briq_checkpoint(store, false);
    return r < 0 ? r : 1;
}

/* ---- somebody waits for space ---------------------------------------------------------------- */

static void wake_waiting(struct briq_store *store)
{
    atomic_store(&store->maintain.want_space, false);
    briq_waitq_wake(&store->waitq);
}

static int declare_full(struct briq_store *store)
{
    briq_store_update_tight(store);
    atomic_fetch_add(&store->maintain.full_rounds, 1);
    store->maintain.attempts = 0;
    wake_waiting(store);
    return 0;
}

/* Segments that the host has no room for are no hope, however many more the volume may have. */
uint64_t briq_maintain_attempts_max(const struct briq_store *store)
{
    const struct briq_space *space = &store->space;
    return 4 * ((uint64_t)atomic_load(&space->used_count) + atomic_load(&space->pending_count) +
                atomic_load(&space->ready_count)) +
           16;
}

static bool has_tried_all(struct briq_store *store)
{
    uint32_t takes = atomic_load(&store->space.user_takes);
    if (takes != store->maintain.attempts_takes)
        store->maintain.attempts = 0; /* others take what becomes free: that is progress */
    store->maintain.attempts_takes = takes;
    return ++store->maintain.attempts > briq_maintain_attempts_max(store);
}

/* A checkpoint frees what is pending, and empties the segments whose metadata was made dirty. */
static bool checkpoint_would_help(struct briq_store *store)
{
    struct briq_maintain *m = &store->maintain;
    if (store->in_memory)
        return false;
    bool changed = m->moved_since_checkpoint || atomic_load(&store->space.pending_count) > 0 ||
                   atomic_load(&store->map.dirty_count) > 0;
    return changed;
}

static int make_space(struct briq_store *store)
{
    struct briq_space *space = &store->space;
    if (atomic_load(&space->ready_count) > briq_store_floor(store, BRIQ_CLASS_USER)) {
        store->maintain.attempts = 0;
        wake_waiting(store);
        return 1;
    }
    if (briq_space_in_grace(space) > 0)
        return 0; /* free when its last reader leaves; he will kick us */
    if (has_tried_all(store))
        return declare_full(store);
    bool room = atomic_load(&space->ready_count) > briq_store_floor(store, BRIQ_CLASS_GC);
    /* What is wholly dead needs no segment to move to. */
    int r = collect_one(store, room ? worth_collecting(store, 97) : 1);
    if (r != 0)
        return r;
    if (checkpoint_would_help(store))
        return do_checkpoint(store);
    return declare_full(store);
}

/* ---- one unit -------------------------------------------------------------------------------- */

static void refill(struct briq_store *store)
{
    struct briq_space *space = &store->space;
    /* First the wish, then the look: a reader that leaves in between sees the wish. */
    atomic_store(&store->maintain.watch_readers, true);
    briq_space_reclaim(space, &store->epoch);
    if (briq_space_in_grace(space) == 0)
        atomic_store(&store->maintain.watch_readers, false);
    uint32_t want = ready_wanted(store);
    bool was_full = space->host_full;
    if (atomic_load(&space->ready_count) < want && briq_space_prepare(space, want) == -ENOSPC &&
        !was_full)
        briq_log_line(&store->options.log, BRIQ_LOG_WARNING,
                      "%s: the host is out of space; going on with what the volume has",
                      store->name);
}

/* More is free than the next seconds will need. */
static bool give_back(struct briq_store *store)
{
    struct briq_space *space = &store->space;
    uint32_t keep = ready_wanted(store) + 8 + atomic_load(&space->used_count) / 16;
    if (space->keep_all || atomic_load(&space->ready_count) <= keep)
        return false;
    briq_space_give_back(space, keep);
    return true;
}

static int do_unit(struct briq_store *store)
{
    refill(store);
    briq_store_update_tight(store);
    if (atomic_load(&store->maintain.want_space))
        return make_space(store);
    if (checkpoint_is_due(store))
        return do_checkpoint(store);
    int r = collect_one(store, collection_target(store));
    if (r != 0)
        return r;
    return give_back(store);
}

/* Whoever waits for what maintenance could not do would wait for ever: a failure is for good. */
static int one_unit(struct briq_store *store)
{
    if (store->opened_read_only)
        return 0;
    int r = atomic_load(&store->latched);
    if (r == 0)
        r = do_unit(store);
    if (r < 0) {
        briq_store_latch(store, r, "maintenance");
        wake_waiting(store);
    }
    return r;
}

int briq_store_maintain(struct briq_store *store)
{
    pthread_mutex_lock(&store->maintain.lock);
    int r = one_unit(store);
    pthread_mutex_unlock(&store->maintain.lock);
    return r;
}

int briq_maintain_try(struct briq_store *store)
{
    if (pthread_mutex_trylock(&store->maintain.lock) != 0)
        return 0;
    int r = one_unit(store);
    pthread_mutex_unlock(&store->maintain.lock);
    return r;
}

int briq_store_checkpoint(struct briq_store *store)
{
    if (store->in_memory)
        return 0;
    if (store->opened_read_only)
        return -EROFS;
    pthread_mutex_lock(&store->maintain.lock);
    int r = do_checkpoint(store);
    pthread_mutex_unlock(&store->maintain.lock);
    return r < 0 ? -EIO : 0;
}

/* ---- the thread ------------------------------------------------------------------------------ */

void briq_maintain_kick(struct briq_store *store)
{
    struct briq_maintain *m = &store->maintain;
    pthread_mutex_lock(&m->kick_lock);
    m->kicked = true;
    pthread_cond_signal(&m->kick_cond);
    pthread_mutex_unlock(&m->kick_lock);
}

void briq_maintain_note_trim(struct briq_store *store)
{
    if (atomic_load_explicit(&store->space.dead_count, memory_order_relaxed) > 1)
        briq_maintain_kick(store);
}

/* Waits for a kick or for the time to look for idleness. False: stop. */
static bool rest(struct briq_store *store)
{
    struct briq_maintain *m = &store->maintain;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_LOOK_S;
    pthread_mutex_lock(&m->kick_lock);
    int r = 0;
    while (!m->kicked && !m->stop && r == 0)
        r = pthread_cond_timedwait(&m->kick_cond, &m->kick_lock, &until);
    m->kicked = false;
    bool go_on = !m->stop;
    pthread_mutex_unlock(&m->kick_lock);
    return go_on;
}

static void idle_work(struct briq_store *store)
{
    pthread_mutex_lock(&store->maintain.lock);
    if (!store->opened_read_only && !briq_store_is_latched(store) && idle_checkpoint_is_due(store))
        (void)do_checkpoint(store); /* a failure has latched the store and been logged */
    pthread_mutex_unlock(&store->maintain.lock);
}

static void *maintain_thread(void *opaque)
{
    struct briq_store *store = opaque;
    do {
        while (briq_store_maintain(store) > 0 && !store->maintain.stop_soon)
            ;
        idle_work(store);
    } while (rest(store));
    return NULL;
}

int briq_store_start(struct briq_store *store)
{
    struct briq_maintain *m = &store->maintain;
    BRIQ_ASSERT(!m->running);
    int r = pthread_create(&m->thread, NULL, maintain_thread, store);
    m->running = r == 0;
    return -r;
}

void briq_maintain_stop(struct briq_store *store)
{
    struct briq_maintain *m = &store->maintain;
    if (!m->running)
        return;
    pthread_mutex_lock(&m->kick_lock);
    m->stop = true;
    pthread_cond_signal(&m->kick_cond);
    pthread_mutex_unlock(&m->kick_lock);
    atomic_store(&m->stop_soon, true);
    pthread_join(m->thread, NULL);
    m->running = false;
}

/* ---- compaction ------------------------------------------------------------------------------ */

/* One segment less with garbage in it. 1, 0 when there are none, or an error. */
static int compact_one(struct briq_store *store)
{
    refill(store);
    int r = collect_one(store, worth_collecting(store, 95));
    if (r == 0 && !store->in_memory && atomic_load(&store->space.pending_count) > 0) {
        r = do_checkpoint(store);
        if (r > 0)
            r = collect_one(store, worth_collecting(store, 95));
    }
    return r;
}

static int compact_finish(struct briq_store *store)
{
    /* The second and third free the metadata that the one before replaced. */
    int r = 0;
    for (unsigned i = 0; i < 3 && !store->in_memory && r >= 0; i++) {
        refill(store);
        if (atomic_load(&store->space.ready_count) > briq_checkpoint_segments_now(store))
            r = do_checkpoint(store);
    }
    briq_space_reclaim(&store->space, &store->epoch);
    briq_space_give_back(&store->space, ready_wanted(store));
    return r < 0 ? r : 0;
}

int briq_store_compact(struct briq_store *store, bool (*progress)(void *opaque, uint64_t, uint64_t),
                       void *opaque)
{
    if (store->opened_read_only)
        return -EROFS;
    uint64_t total = atomic_load(&store->space.used_count), done = 0;
    int r = 1;
    while (r > 0 && done < 4 * total + 64) { /* bounded, should writers make garbage as fast */
        pthread_mutex_lock(&store->maintain.lock);
        r = briq_store_is_latched(store) ? -EIO : compact_one(store);
        pthread_mutex_unlock(&store->maintain.lock);
        done += r > 0;
        if (progress != NULL && !progress(opaque, briq_min_u64(done, total), total))
            break;
    }
    if (r < 0)
        return -EIO;
    pthread_mutex_lock(&store->maintain.lock);
    r = compact_finish(store);
    pthread_mutex_unlock(&store->maintain.lock);
    return r < 0 ? -EIO : 0;
}
