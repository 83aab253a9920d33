/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal.c - see journal.h. The order of the stores into the window's descriptor is what lets the
 * next process finish the work of one that died here:
 *
 *   open chunk: cap, open_nrec = 0, then open_off. A chunk counts from its first record on.
 *   commit:     record and payload, then open_nrec + 1 (release).
 *   seal:       header into the chunk, then sealed_end, which takes the open chunk out of the
 *               account: it counts only while open_off >= sealed_end.
 */
#include "common/store/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"

#define RECORD_BYTES ((uint32_t)sizeof(struct briq_fmt_record))

static void stream_init(struct briq_stream *stream, unsigned id)
{
    pthread_mutex_init(&stream->lock, NULL);
    stream->id = (uint8_t)id;
    stream->kind = id == BRIQ_HEAD_GC     ? BRIQ_KIND_GC
                   : id == BRIQ_HEAD_META ? BRIQ_KIND_META
                                          : BRIQ_KIND_USER;
    stream->seg = stream->next_seg = BRIQ_SEG_NONE;
    briq_list_init(&stream->filled);
}

int briq_journal_init(struct briq_journal *journal, struct briq_space *space,
                      struct briq_windows *windows, uint32_t user_count)
{
    BRIQ_ASSERT(user_count >= 1 && user_count <= BRIQ_STREAMS_MAX);
    memset(journal, 0, sizeof *journal);
    journal->space = space;
    journal->windows = windows;
    journal->user_count = user_count;
    journal->streams =
        aligned_alloc(BRIQ_CACHELINE_BYTES, BRIQ_FMT_HEADS * sizeof *journal->streams);
    if (journal->streams == NULL)
        return -ENOMEM;
    memset(journal->streams, 0, BRIQ_FMT_HEADS * sizeof *journal->streams);
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        stream_init(&journal->streams[i], i);
    return 0;
}

void briq_journal_fini(struct briq_journal *journal)
{
    if (journal->streams == NULL)
        return;
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        pthread_mutex_destroy(&journal->streams[i].lock);
    free(journal->streams);
    memset(journal, 0, sizeof *journal);
}

/* ---- segments -------------------------------------------------------------------------------- */

static int take_segment(struct briq_journal *journal, struct briq_stream *stream, uint32_t floor,
                        uint32_t *ret_seg)
{
    return briq_space_take(journal->space, stream->kind, floor, ret_seg);
}

/* Only user streams name their next segment ahead: only they are followed by recovery. */
static bool names_next(const struct briq_journal *journal, const struct briq_stream *stream)
{
    return stream->kind == BRIQ_KIND_USER && journal->ram_base == NULL;
}

static void enter_segment(struct briq_journal *journal, struct briq_stream *stream, uint32_t seg)
{
    stream->seg = seg;
    stream->segseq = briq_space_segseq(journal->space, seg);
    stream->seg_off = 0;
    if (journal->ram_base != NULL) {
        stream->ram = journal->ram_base + briq_space_offset(journal->space, seg);
        stream->payload_end = 0;
    }
}

int briq_journal_begin(struct briq_journal *journal, struct briq_stream *stream, uint32_t floor)
{
    uint32_t seg;
    int r = 0;
    /* In this order: use numbers rise along the chain. */
    if (stream->seg == BRIQ_SEG_NONE) {
        r = take_segment(journal, stream, floor, &seg);
        if (r == 0)
            enter_segment(journal, stream, seg);
    }
    if (r == 0 && names_next(journal, stream) && stream->next_seg == BRIQ_SEG_NONE) {
        r = take_segment(journal, stream, floor, &seg);
        if (r == 0)
            stream->next_seg = seg;
    }
    return r;
}

/*
 * The open segment is full: on to the next. The use number of a segment is given when it is named,
 * so it rises along the chain that recovery follows.
 */
static int roll_segment(struct briq_journal *journal, struct briq_stream *stream, uint32_t floor)
{
    uint32_t seg;
    int r = take_segment(journal, stream, floor, &seg);
    if (r < 0)
        return r;
    if (stream->seg != BRIQ_SEG_NONE)
        briq_space_close_seg(journal->space, stream->seg);
    if (names_next(journal, stream)) {
        uint32_t entered = stream->next_seg;
        stream->next_seg = seg;
        seg = entered;
    }
    enter_segment(journal, stream, seg);
    return 0;
}

/* ---- windows --------------------------------------------------------------------------------- */

static void leave_window(struct briq_journal *journal, struct briq_stream *stream)
{
    struct briq_window *w = stream->win;
    briq_journal_seal(journal, stream);
    w->filled = true;
    stream->seg_off = w->base + journal->windows->window_bytes;
    stream->win = NULL;
    if (w->claimed_end < w->sealed_end)
        briq_list_push_back(&stream->filled, &w->node);
    else if (w->inflight == 0 && !w->failed)
        briq_windows_retire(journal->windows, w, briq_journal_where(journal, w));
}

static int enter_window(struct briq_journal *journal, struct briq_stream *stream, uint32_t floor,
                        enum briq_room_need *ret_need)
{
    bool need_segment =
        stream->seg == BRIQ_SEG_NONE || stream->seg_off >= briq_space_seg_bytes(journal->space);
    struct briq_window *w = briq_windows_get(journal->windows);
    if (w == NULL) {
        *ret_need = BRIQ_NEED_WINDOW;
        return -EAGAIN;
    }
    if (need_segment && roll_segment(journal, stream, floor) < 0) {
        briq_windows_put(journal->windows, w);
        *ret_need = BRIQ_NEED_SEGMENT;
        return -EAGAIN;
    }
    uint32_t window_bytes = journal->windows->window_bytes;
    struct briq_window_desc desc = {
        .stream = stream->id,
        .kind = stream->kind,
        .seg = stream->seg,
        .next_seg = stream->next_seg,
        .base = (uint32_t)briq_align_down(stream->seg_off, window_bytes),
        .start = stream->seg_off % window_bytes,
        .segseq = stream->segseq,
    };
    briq_windows_attach(journal->windows, w,
                        briq_space_offset(journal->space, desc.seg) + desc.base, &desc);
    stream->win = w;
    return 0;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/* As many records as recent chunks had and a few more; even, so that payload is granule-aligned. */
static uint32_t choose_cap(const struct briq_stream *stream)
{
    uint32_t cap = (stream->records_expected * 17 / 16 + 3) & ~1u;
    if (cap < BRIQ_CHUNK_CAP_MIN)
        return BRIQ_CHUNK_CAP_MIN;
    return cap > BRIQ_CHUNK_CAP_MAX ? BRIQ_CHUNK_CAP_MAX : cap;
}

/* Opens a chunk with room for `bytes` of payload, if it fits in what is left of the window. */
static bool open_chunk(struct briq_journal *journal, struct briq_stream *stream, uint32_t bytes)
{
    struct briq_window *w = stream->win;
    uint32_t room = journal->windows->window_bytes - w->sealed_end;
    uint32_t cap = choose_cap(stream);
    if (room < briq_chunk_header_bytes(cap) + bytes)
        cap = BRIQ_CHUNK_CAP_MIN;
    if (room < briq_chunk_header_bytes(cap) + bytes)
        return false;

    stream->chunk_off = w->sealed_end;
    stream->chunk_cap = cap;
    stream->chunk_nrec = 0;
    stream->payload_end = stream->chunk_off + briq_chunk_header_bytes(cap);
    w->desc->cap = cap;
    atomic_store_explicit(&w->desc->open_nrec, 0, memory_order_release);
    atomic_store_explicit(&w->desc->open_off, stream->chunk_off, memory_order_release);
    return true;
}

/* Grows at once when a chunk ran out of records, falls by halves when flushes cut chunks short. */
static void learn_records(struct briq_stream *stream)
{
    bool ran_out = stream->chunk_nrec == stream->chunk_cap;
    stream->records_expected =
        ran_out ? stream->chunk_nrec * 2 : (stream->records_expected + stream->chunk_nrec) / 2;
    if (stream->records_expected > BRIQ_CHUNK_CAP_MAX)
        stream->records_expected = BRIQ_CHUNK_CAP_MAX;
}

void briq_journal_seal(struct briq_journal *journal, struct briq_stream *stream)
{
    struct briq_window *w = stream->win;
    if (stream->chunk_cap == 0 || stream->chunk_nrec == 0) {
        stream->chunk_cap = 0;
        return;
    }
    uint8_t *begin = w->mem + stream->chunk_off;
    uint32_t used = briq_chunk_header_bytes(stream->chunk_nrec);
    memset(begin + used, 0, (stream->chunk_cap - stream->chunk_nrec) * RECORD_BYTES);
    uint32_t end = (uint32_t)briq_align_up(stream->payload_end, BRIQ_CHUNK_ALIGN);
    memset(w->mem + stream->payload_end, 0, end - stream->payload_end);

    struct briq_chunk chunk = {
        .cap = (uint16_t)stream->chunk_cap,
        .nrec = (uint16_t)stream->chunk_nrec,
        .uuid_lo = journal->uuid_lo,
        .incarnation = journal->incarnation,
        .stream = stream->id,
        .kind = stream->kind,
        .segseq = stream->segseq,
        .seg = stream->seg,
        .off = w->base + stream->chunk_off,
        .len = end - stream->chunk_off,
        .next_seg = stream->next_seg,
        .durable_seq = atomic_load(&journal->durable_seq),
    };
    briq_chunk_encode(&chunk, begin);
    learn_records(stream);
    stream->chunk_cap = 0;
    w->sealed_end = end;
    atomic_store_explicit(&w->desc->sealed_end, end, memory_order_release);
}

/* ---- room and commit ------------------------------------------------------------------------- */

static bool fits_open_chunk(const struct briq_journal *journal, const struct briq_stream *stream,
                            uint32_t bytes)
{
    return stream->chunk_cap != 0 && stream->chunk_nrec < stream->chunk_cap &&
           stream->payload_end + bytes <= journal->windows->window_bytes;
}

static int room_in_log(struct briq_journal *journal, struct briq_stream *stream, uint32_t bytes,
                       uint32_t floor, enum briq_room_need *ret_need)
{
    if (BRIQ_LIKELY(fits_open_chunk(journal, stream, bytes)))
        return 0;
    if (stream->win != NULL) {
        briq_journal_seal(journal, stream);
        if (open_chunk(journal, stream, bytes))
            return 0;
        leave_window(journal, stream);
    }
    /* A stream that goes on in the middle of a window may find too little left of it. */
    for (unsigned tries = 0; tries < 2; tries++) {
        int r = enter_window(journal, stream, floor, ret_need);
        if (r < 0)
            return r;
        if (open_chunk(journal, stream, bytes))
            return 0;
        leave_window(journal, stream);
    }
    BRIQ_ASSERT(!"an empty window holds any record");
    return -EIO;
}

static int room_in_memory(struct briq_journal *journal, struct briq_stream *stream, uint32_t bytes,
                          uint32_t floor, enum briq_room_need *ret_need)
{
    uint64_t seg_bytes = briq_space_seg_bytes(journal->space);
    if (bytes == 0 || (stream->ram != NULL && stream->payload_end + bytes <= seg_bytes))
        return 0;
    /* The end of a segment is marked, for it may hold older extents behind. */
    if (stream->ram != NULL && stream->payload_end < seg_bytes)
        memset(stream->ram + stream->payload_end, 0, BRIQ_EXTENT_HEADER_BYTES);
    if (roll_segment(journal, stream, floor) == 0)
        return 0;
    *ret_need = BRIQ_NEED_SEGMENT;
    return -EAGAIN;
}

int briq_journal_room(struct briq_journal *journal, struct briq_stream *stream, uint32_t granules,
                      uint32_t floor, struct briq_room *ret, enum briq_room_need *ret_need)
{
    uint32_t bytes = granules * BRIQ_GRANULE_BYTES;
    *ret_need = BRIQ_NEED_NOTHING;
    int r = journal->ram_base != NULL ? room_in_memory(journal, stream, bytes, floor, ret_need)
                                      : room_in_log(journal, stream, bytes, floor, ret_need);
    if (r < 0)
        return r;
    ret->granules = granules;
    ret->segseq = stream->segseq;
    ret->payload = NULL;
    ret->granule = 0;
    if (granules == 0)
        return 0;
    uint64_t base = briq_space_offset(journal->space, stream->seg);
    if (journal->ram_base != NULL) {
        ret->payload = stream->ram + stream->payload_end;
    } else {
        ret->payload = stream->win->mem + stream->payload_end;
        base += stream->win->base;
    }
    ret->granule = (base + stream->payload_end) >> BRIQ_GRANULE_SHIFT;
    return 0;
}

void briq_journal_commit(struct briq_journal *journal, struct briq_stream *stream,
                         const struct briq_room *room, struct briq_record *record)
{
    uint32_t bytes = room->granules * BRIQ_GRANULE_BYTES;
    if (journal->ram_base == NULL) {
        struct briq_window *w = stream->win;
        record->granules = room->granules;
        record->off_granules = (stream->payload_end - stream->chunk_off) >> BRIQ_GRANULE_SHIFT;
        briq_record_encode(record, w->mem + stream->chunk_off +
                                       briq_chunk_header_bytes(stream->chunk_nrec));
        stream->chunk_nrec++;
        atomic_store_explicit(&w->desc->open_nrec, stream->chunk_nrec, memory_order_release);
        briq_counter_add(&stream->counts.records, 1);
    }
    stream->payload_end += bytes;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void claim_window(struct briq_journal *journal, struct briq_stream *stream,
                         struct briq_window *w, struct briq_claim *ret)
{
    *ret = (struct briq_claim){
        .win = w,
        .buf = w->mem + w->claimed_end,
        .where = briq_journal_where(journal, w) + w->claimed_end,
        .len = w->sealed_end - w->claimed_end,
        .phase = atomic_load(&journal->phase),
    };
    w->claimed_end = w->sealed_end;
    w->inflight++;
    atomic_fetch_add(&journal->inflight[ret->phase], 1);
    briq_counter_add(&stream->counts.device_bytes, ret->len);
}

bool briq_journal_claim_filled(struct briq_journal *journal, struct briq_stream *stream,
                               struct briq_claim *ret)
{
    struct briq_node *node = briq_list_pop_front(&stream->filled);
    if (node == NULL)
        return false;
    claim_window(journal, stream, BRIQ_CONTAINER_OF(node, struct briq_window, node), ret);
    return true;
}

bool briq_journal_claim(struct briq_journal *journal, struct briq_stream *stream,
                        struct briq_claim *ret)
{
    if (briq_journal_claim_filled(journal, stream, ret))
        return true;
    struct briq_window *w = stream->win;
    if (w == NULL || w->claimed_end == w->sealed_end)
        return false;
    claim_window(journal, stream, w, ret);
    return true;
}

bool briq_journal_written(struct briq_journal *journal, struct briq_window *w, uint32_t phase,
                          int result)
{
    struct briq_stream *stream = &journal->streams[w->desc->stream];
    pthread_mutex_lock(&stream->lock);
    w->inflight--;
    w->failed = w->failed || result < 0;
    if (w->filled && w->inflight == 0 && w->claimed_end == w->sealed_end && !w->failed)
        briq_windows_retire(journal->windows, w, briq_journal_where(journal, w));
    pthread_mutex_unlock(&stream->lock);
    return atomic_fetch_sub(&journal->inflight[phase], 1) == 1;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

struct briq_head briq_journal_head(const struct briq_stream *stream)
{
    BRIQ_ASSERT(stream->chunk_cap == 0);
    return (struct briq_head){
        .seg = stream->seg,
        .next_seg = stream->next_seg,
        .off = stream->win != NULL ? stream->win->base + stream->win->sealed_end : stream->seg_off,
        .segseq = stream->segseq,
    };
}

void briq_journal_resume(struct briq_stream *stream, const struct briq_head *head)
{
    stream->seg = head->seg;
    stream->next_seg = head->next_seg;
    stream->segseq = head->segseq;
    stream->seg_off = head->off;
}

void briq_journal_end(struct briq_journal *journal, struct briq_stream *stream)
{
    BRIQ_ASSERT(stream->chunk_cap == 0 && briq_list_empty(&stream->filled));
    struct briq_window *w = stream->win;
    if (w != NULL) {
        BRIQ_ASSERT(w->inflight == 0 && w->claimed_end == w->sealed_end);
        stream->seg_off = w->base + w->sealed_end;
        stream->win = NULL;
        briq_windows_retire(journal->windows, w, briq_journal_where(journal, w));
    }
    if (stream->next_seg != BRIQ_SEG_NONE)
        briq_space_untake(journal->space, stream->next_seg);
    stream->next_seg = BRIQ_SEG_NONE;
    if (stream->seg == BRIQ_SEG_NONE)
        return;
    if (stream->seg_off == 0) {
        briq_space_untake(journal->space, stream->seg);
        stream->seg = BRIQ_SEG_NONE;
    } else if (stream->seg_off >= briq_space_seg_bytes(journal->space)) {
        briq_space_close_seg(journal->space, stream->seg);
        stream->seg = BRIQ_SEG_NONE;
    }
}
