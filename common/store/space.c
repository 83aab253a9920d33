/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/space.h"

#include <errno.h>
#include <string.h>

#include "common/base/align.h"
#include "common/base/vmem.h"
#include "common/device/device.h"

int briq_space_init(struct briq_space *space, struct briq_device *dev, uint32_t seg_shift,
                    uint32_t seg_first, uint32_t seg_end, uint32_t seg_max)
{
    BRIQ_ASSERT(seg_first < seg_end && seg_end <= seg_max);
    memset(space, 0, sizeof *space);
    space->dev = dev;
    space->seg_shift = seg_shift;
    space->seg_first = seg_first;
    space->seg_end = seg_end;
    space->seg_max = seg_max;
    space->virgin = seg_first;
    space->segs = briq_vmem_map(seg_max * sizeof *space->segs);
    space->live = briq_vmem_map(seg_max * sizeof *space->live);
    space->live_cut = briq_vmem_map(seg_max * sizeof *space->live_cut);
    space->tree_live = briq_vmem_map(seg_max * sizeof *space->tree_live);
    space->page_dirty = briq_vmem_map(briq_div_up(seg_max, BRIQ_SEGS_PER_PAGE));
    pthread_mutex_init(&space->lock, NULL);
    if (space->segs && space->live && space->live_cut && space->tree_live && space->page_dirty)
        return 0;
    briq_space_fini(space);
    return -ENOMEM;
}

void briq_space_fini(struct briq_space *space)
{
    if (space->seg_max == 0)
        return;
    briq_vmem_unmap(space->segs, space->seg_max * sizeof *space->segs);
    briq_vmem_unmap(space->live, space->seg_max * sizeof *space->live);
    briq_vmem_unmap(space->live_cut, space->seg_max * sizeof *space->live_cut);
    briq_vmem_unmap(space->tree_live, space->seg_max * sizeof *space->tree_live);
    briq_vmem_unmap(space->page_dirty, briq_div_up(space->seg_max, BRIQ_SEGS_PER_PAGE));
    pthread_mutex_destroy(&space->lock);
    memset(space, 0, sizeof *space);
}

bool briq_space_contains(const struct briq_space *space, uint64_t granule, uint32_t granules)
{
    uint64_t first = granule >> (space->seg_shift - BRIQ_GRANULE_SHIFT);
    uint64_t last = (granule + granules - 1) >> (space->seg_shift - BRIQ_GRANULE_SHIFT);
    return first == last && first >= space->seg_first && first < space->seg_end;
}

/* ---- live counters --------------------------------------------------------------------------- */

static void note_change(struct briq_space *space, uint32_t seg)
{
    _Atomic uint8_t *flag = &space->page_dirty[seg / BRIQ_SEGS_PER_PAGE];
    if (atomic_load_explicit(flag, memory_order_relaxed) == 0)
        atomic_store_explicit(flag, 1, memory_order_relaxed);
}

void briq_space_live_add(struct briq_space *space, uint64_t granule, uint32_t granules)
{
    uint32_t seg = briq_space_seg_of(space, granule);
    atomic_fetch_add_explicit(&space->live[seg], granules, memory_order_relaxed);
    note_change(space, seg);
}

int briq_space_live_sub(struct briq_space *space, uint64_t granule, uint32_t granules)
{
    /* The place is what a map word from the medium says. */
    if (BRIQ_UNLIKELY(!briq_space_contains(space, granule, granules)))
        return -EUCLEAN;
    uint32_t seg = briq_space_seg_of(space, granule);
    uint32_t before = atomic_fetch_sub_explicit(&space->live[seg], granules, memory_order_relaxed);
    if (BRIQ_UNLIKELY(before < granules)) {
        atomic_store_explicit(&space->live[seg], 0, memory_order_relaxed);
        return -EUCLEAN;
    }
    if (before == granules &&
        atomic_load_explicit(&space->segs[seg].state, memory_order_relaxed) == BRIQ_SEG_USED)
        atomic_fetch_add_explicit(&space->dead_count, 1, memory_order_relaxed);
    note_change(space, seg);
    return 0;
}

void briq_space_page_add(struct briq_space *space, uint64_t granule, uint32_t granules)
{
    briq_space_live_add(space, granule, granules);
    space->live_cut[briq_space_seg_of(space, granule)] += granules;
}

int briq_space_page_sub(struct briq_space *space, uint64_t granule, uint32_t granules)
{
    uint32_t seg = briq_space_seg_of(space, granule);
    if (space->live_cut[seg] < granules)
        return -EUCLEAN;
    space->live_cut[seg] -= granules;
    return briq_space_live_sub(space, granule, granules);
}

void briq_space_tree_add(struct briq_space *space, uint64_t granule, uint32_t granules)
{
    atomic_fetch_add(&space->tree_live[briq_space_seg_of(space, granule)], granules);
}

void briq_space_tree_sub(struct briq_space *space, uint64_t granule, uint32_t granules)
{
    uint32_t seg = briq_space_seg_of(space, granule);
    uint32_t before = atomic_fetch_sub(&space->tree_live[seg], granules);
    BRIQ_ASSERT(before >= granules);
    if (briq_space_live(space, seg) == 0)
        atomic_fetch_add_explicit(&space->dead_count, 1, memory_order_relaxed);
}

void briq_space_tree_load(struct briq_space *space, uint64_t granule, uint32_t granules)
{
    uint32_t seg = briq_space_seg_of(space, granule);
    briq_space_tree_add(space, granule, granules);
    if (atomic_load(&space->segs[seg].state) == BRIQ_SEG_BARE)
        briq_space_load_seg(space, seg, briq_space_segseq(space, seg), 0, 1, BRIQ_KIND_META, true);
}

/* ---- lists; under space->lock ---------------------------------------------------------------- */

static void list_push(struct briq_space *space, struct briq_seg_list *list, uint32_t seg)
{
    space->segs[seg].next = BRIQ_SEG_NONE;
    if (list->count++ == 0)
        list->head = seg;
    else
        space->segs[list->tail].next = seg;
    list->tail = seg;
}

static uint32_t list_pop(struct briq_space *space, struct briq_seg_list *list)
{
    if (list->count == 0)
        return BRIQ_SEG_NONE;
    uint32_t seg = list->head;
    list->head = space->segs[seg].next;
    list->count--;
    return seg;
}

static void set_state(struct briq_space *space, uint32_t seg, enum briq_seg_state state)
{
    atomic_store_explicit(&space->segs[seg].state, (uint8_t)state, memory_order_relaxed);
    note_change(space, seg);
}

static enum briq_seg_state get_state(const struct briq_space *space, uint32_t seg)
{
    return atomic_load_explicit(&space->segs[seg].state, memory_order_relaxed);
}

static bool is_on_host(const struct briq_space *space, uint32_t seg)
{
    return space->keep_all || space->segs[seg].on_host != 0;
}

static void publish_counts(struct briq_space *space)
{
    uint32_t unused = space->seg_end - space->virgin;
    atomic_store(&space->ready_count, space->ready.count);
    atomic_store(&space->free_count, space->ready.count + space->bare.count + unused);
    atomic_store(&space->pending_count,
                 space->pending.count + space->released.count + space->grace.count);
}

static void move_all(struct briq_space *space, struct briq_seg_list *from, struct briq_seg_list *to,
                     enum briq_seg_state state)
{
    uint32_t seg;
    while ((seg = list_pop(space, from)) != BRIQ_SEG_NONE) {
        set_state(space, seg, state);
        list_push(space, to, seg);
    }
}

/* ---- the life of a segment ------------------------------------------------------------------- */

int briq_space_take(struct briq_space *space, enum briq_stream_kind kind, uint32_t floor,
                    uint32_t *ret_seg)
{
    int r = -EAGAIN;
    pthread_mutex_lock(&space->lock);
    if (space->ready.count > floor) {
        uint32_t seg = list_pop(space, &space->ready);
        atomic_store_explicit(&space->segs[seg].segseq, ++space->segseq, memory_order_relaxed);
        atomic_store_explicit(&space->segs[seg].kind, (uint8_t)kind, memory_order_relaxed);
        atomic_store_explicit(&space->segs[seg].moving, 0, memory_order_relaxed);
        set_state(space, seg, BRIQ_SEG_OPEN);
        atomic_fetch_add(&space->used_count, 1);
        atomic_fetch_add(&space->user_takes, kind == BRIQ_KIND_USER);
        publish_counts(space);
        *ret_seg = seg;
        r = 0;
    }
    pthread_mutex_unlock(&space->lock);
    return r;
}

void briq_space_untake(struct briq_space *space, uint32_t seg)
{
    pthread_mutex_lock(&space->lock);
    BRIQ_ASSERT(get_state(space, seg) == BRIQ_SEG_OPEN);
    BRIQ_ASSERT(briq_space_live(space, seg) == 0);
    set_state(space, seg, BRIQ_SEG_READY);
    list_push(space, &space->ready, seg);
    atomic_fetch_sub(&space->used_count, 1);
    publish_counts(space);
    pthread_mutex_unlock(&space->lock);
}

void briq_space_reopen(struct briq_space *space, uint32_t seg, enum briq_stream_kind kind,
                       uint64_t segseq)
{
    pthread_mutex_lock(&space->lock);
    BRIQ_ASSERT(get_state(space, seg) == BRIQ_SEG_USED);
    atomic_store_explicit(&space->segs[seg].segseq, segseq, memory_order_relaxed);
    atomic_store_explicit(&space->segs[seg].kind, (uint8_t)kind, memory_order_relaxed);
    set_state(space, seg, BRIQ_SEG_OPEN);
    pthread_mutex_unlock(&space->lock);
}

void briq_space_close_seg(struct briq_space *space, uint32_t seg)
{
    pthread_mutex_lock(&space->lock);
    BRIQ_ASSERT(get_state(space, seg) == BRIQ_SEG_OPEN);
    set_state(space, seg, BRIQ_SEG_USED);
    if (atomic_load_explicit(&space->live[seg], memory_order_relaxed) == 0)
        atomic_fetch_add_explicit(&space->dead_count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&space->lock);
}

void briq_space_retire(struct briq_space *space, uint32_t seg)
{
    pthread_mutex_lock(&space->lock);
    BRIQ_ASSERT(get_state(space, seg) == BRIQ_SEG_USED);
    BRIQ_ASSERT(briq_space_live(space, seg) == 0);
    set_state(space, seg, BRIQ_SEG_PENDING);
    list_push(space, &space->pending, seg);
    atomic_fetch_sub(&space->used_count, 1);
    atomic_fetch_add(&space->returning_count, is_on_host(space, seg));
    publish_counts(space);
    pthread_mutex_unlock(&space->lock);
}

void briq_space_mark_bad(struct briq_space *space, uint32_t seg)
{
    pthread_mutex_lock(&space->lock);
    if (get_state(space, seg) == BRIQ_SEG_USED) {
        set_state(space, seg, BRIQ_SEG_BAD);
        atomic_fetch_add(&space->bad_count, 1);
    }
    pthread_mutex_unlock(&space->lock);
}

void briq_space_cut(struct briq_space *space)
{
    pthread_mutex_lock(&space->lock);
    move_all(space, &space->pending, &space->released, BRIQ_SEG_RELEASED);
    /* Nothing behind the first virgin segment was ever live. */
    if (!space->in_memory)
        for (uint32_t seg = space->seg_first; seg < space->virgin; seg++)
            space->live_cut[seg] = atomic_load_explicit(&space->live[seg], memory_order_relaxed);
    publish_counts(space);
    pthread_mutex_unlock(&space->lock);
}

void briq_space_release(struct briq_space *space, struct briq_epoch *epoch)
{
    pthread_mutex_lock(&space->lock);
    uint64_t tag = briq_epoch_tag(epoch);
    if (space->grace.count == 0) {
        space->grace_old = space->released.count;
        space->grace_tag[0] = tag;
    }
    space->grace_tag[1] = tag;
    move_all(space, &space->released, &space->grace, BRIQ_SEG_GRACE);
    publish_counts(space);
    pthread_mutex_unlock(&space->lock);
}

uint32_t briq_space_reclaim(struct briq_space *space, struct briq_epoch *epoch)
{
    uint32_t freed = 0;
    pthread_mutex_lock(&space->lock);
    while (space->grace.count > 0 && briq_epoch_passed(epoch, space->grace_tag[0])) {
        for (; space->grace_old > 0; space->grace_old--, freed++) {
            uint32_t seg = list_pop(space, &space->grace);
            bool on_host = is_on_host(space, seg);
            set_state(space, seg, on_host ? BRIQ_SEG_READY : BRIQ_SEG_BARE);
            list_push(space, on_host ? &space->ready : &space->bare, seg);
            atomic_fetch_sub(&space->returning_count, on_host);
        }
        space->grace_old = space->grace.count;
        space->grace_tag[0] = space->grace_tag[1];
    }
    publish_counts(space);
    pthread_mutex_unlock(&space->lock);
    return freed;
}

uint64_t briq_space_last_segseq(struct briq_space *space)
{
    pthread_mutex_lock(&space->lock);
    uint64_t segseq = space->segseq;
    pthread_mutex_unlock(&space->lock);
    return segseq;
}

uint32_t briq_space_in_grace(struct briq_space *space)
{
    pthread_mutex_lock(&space->lock);
    uint32_t count = space->grace.count;
    pthread_mutex_unlock(&space->lock);
    return count;
}

/* A free segment without space on the host, off its list. */
static uint32_t pop_bare(struct briq_space *space)
{
    uint32_t seg = list_pop(space, &space->bare);
    if (seg == BRIQ_SEG_NONE && space->virgin < space->seg_end)
        seg = space->virgin++;
    return seg;
}

static int make_ready(struct briq_space *space, uint32_t seg)
{
    int r = 0;
    if (!space->keep_all)
        r = briq_device_reserve(space->dev, briq_space_offset(space, seg),
                                briq_space_seg_bytes(space));
    pthread_mutex_lock(&space->lock);
    space->segs[seg].on_host = r == 0;
    set_state(space, seg, r == 0 ? BRIQ_SEG_READY : BRIQ_SEG_BARE);
    list_push(space, r == 0 ? &space->ready : &space->bare, seg);
    space->host_full = r == -ENOSPC;
    publish_counts(space);
    pthread_mutex_unlock(&space->lock);
    return r;
}

int briq_space_prepare(struct briq_space *space, uint32_t want)
{
    for (;;) {
        pthread_mutex_lock(&space->lock);
        uint32_t seg = space->ready.count < want ? pop_bare(space) : BRIQ_SEG_NONE;
        pthread_mutex_unlock(&space->lock);
        if (seg == BRIQ_SEG_NONE)
            return 0;
        int r = make_ready(space, seg);
        if (r < 0)
            return r;
    }
}

int briq_space_confirm(struct briq_space *space)
{
    int r = 0;
    if (space->keep_all)
        return 0;
    for (uint32_t seg = space->seg_first; seg < space->virgin; seg++)
        if (get_state(space, seg) == BRIQ_SEG_USED && briq_space_live(space, seg) == 0)
            space->segs[seg].on_host = 0;
    for (uint32_t left = space->ready.count; left > 0 && (r == 0 || r == -ENOSPC); left--) {
        pthread_mutex_lock(&space->lock);
        uint32_t seg = list_pop(space, &space->ready);
        pthread_mutex_unlock(&space->lock);
        r = make_ready(space, seg);
    }
    return r == -ENOSPC ? 0 : r;
}

void briq_space_give_back(struct briq_space *space, uint32_t keep)
{
    if (space->keep_all)
        return;
    for (;;) {
        pthread_mutex_lock(&space->lock);
        uint32_t seg = space->ready.count > keep ? list_pop(space, &space->ready) : BRIQ_SEG_NONE;
        publish_counts(space);
        pthread_mutex_unlock(&space->lock);
        if (seg == BRIQ_SEG_NONE)
            return;
        /* A host that cannot punch holes keeps the space: nothing is lost by that. */
        (void)briq_device_discard(space->dev, briq_space_offset(space, seg),
                                  briq_space_seg_bytes(space));
        pthread_mutex_lock(&space->lock);
        space->segs[seg].on_host = 0;
        space->host_full = false;
        set_state(space, seg, BRIQ_SEG_BARE);
        list_push(space, &space->bare, seg);
        publish_counts(space);
        pthread_mutex_unlock(&space->lock);
    }
}

void briq_space_grow(struct briq_space *space, uint32_t seg_end)
{
    pthread_mutex_lock(&space->lock);
    BRIQ_ASSERT(seg_end >= space->seg_end && seg_end <= space->seg_max);
    space->seg_end = seg_end;
    publish_counts(space);
    pthread_mutex_unlock(&space->lock);
}

/* ---- open and checkpoints -------------------------------------------------------------------- */

void briq_space_load_seg(struct briq_space *space, uint32_t seg, uint64_t segseq, uint32_t live,
                         uint8_t state, uint8_t kind, bool on_host)
{
    static const enum briq_seg_state states[] = {BRIQ_SEG_BARE, BRIQ_SEG_USED, BRIQ_SEG_BAD};
    struct briq_seg *s = &space->segs[seg];
    atomic_store_explicit(&s->segseq, segseq, memory_order_relaxed);
    atomic_store_explicit(&s->kind, kind, memory_order_relaxed);
    atomic_store_explicit(&s->state, (uint8_t)states[state], memory_order_relaxed);
    s->on_host = on_host;
    atomic_store_explicit(&space->live[seg], live, memory_order_relaxed);
    if (seg >= space->virgin && (state != 0 || on_host))
        space->virgin = seg + 1;
}

void briq_space_build_lists(struct briq_space *space)
{
    for (uint32_t seg = space->seg_first; seg < space->virgin; seg++) {
        bool on_host = is_on_host(space, seg);
        switch (get_state(space, seg)) {
        case BRIQ_SEG_BAD:
            space->bad_count++;
            space->used_count++;
            break;
        case BRIQ_SEG_BARE:
            set_state(space, seg, on_host ? BRIQ_SEG_READY : BRIQ_SEG_BARE);
            list_push(space, on_host ? &space->ready : &space->bare, seg);
            break;
        default:
            space->used_count++;
            space->dead_count += atomic_load(&space->live[seg]) == 0;
            break;
        }
    }
    publish_counts(space);
}

void briq_space_stored(const struct briq_space *space, uint32_t seg, uint64_t *ret_segseq,
                       uint32_t *ret_live, uint8_t *ret_state, uint8_t *ret_kind, bool *ret_on_host)
{
    enum briq_seg_state state = get_state(space, seg);
    bool in_use = state == BRIQ_SEG_OPEN || state == BRIQ_SEG_USED || state == BRIQ_SEG_PENDING;
    *ret_state = state == BRIQ_SEG_BAD ? 2 : in_use;
    *ret_segseq = briq_space_segseq(space, seg);
    *ret_live = *ret_state == 0 ? 0 : space->live_cut[seg];
    *ret_kind =
        *ret_state == 0 ? 0 : atomic_load_explicit(&space->segs[seg].kind, memory_order_relaxed);
    *ret_on_host = space->segs[seg].on_host;
}

uint32_t briq_space_emptiest(const struct briq_space *space, uint32_t max_live,
                             bool (*allowed)(void *opaque, uint32_t seg), void *opaque)
{
    uint32_t best = BRIQ_SEG_NONE;
    for (uint32_t seg = space->seg_first; seg < space->virgin; seg++) {
        if (get_state(space, seg) != BRIQ_SEG_USED)
            continue;
        uint32_t live = briq_space_live(space, seg);
        if (live < max_live && allowed(opaque, seg)) {
            best = seg;
            max_live = live;
        }
    }
    return best;
}
