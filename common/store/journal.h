/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal.h - streams: where new data is appended, and how it gets to the device.
 *
 * A stream owns an open segment and, named in advance, the one after it. It fills the segment
 * window by window, and a window chunk by chunk:
 *
 *   window  | chunk | chunk | open chunk: header, cap records, payload ->     |
 *           0    claimed_end   sealed_end                                 window end
 *
 *  - room   makes space for one record and its payload in the open chunk; opens chunk, window and
 *           segment as needed.
 *  - commit makes the record count. Before it, nothing has happened.
 *  - seal   closes the open chunk: checksum, padding to 4 KiB. Sealed bytes never change.
 *  - claim  hands out sealed bytes that nobody was asked to write yet; every claim is written by
 *           whoever got it and then reported with briq_journal_written().
 *
 * In a memory volume the segment's own memory is the window, extents follow each other without
 * chunks, and there is nothing to seal or claim.
 *
 * Which claims a flush has to wait for: each is counted in one of two phases. A flush claims all it
 * can, turns the phase, and waits until the old one has drained (flush.h).
 *
 * Thread: every function on a stream needs stream->lock, unless it says otherwise. Lock order:
 * streams by rising id, then stripes, then leaves (space, windows).
 */
#ifndef BRIQ_STORE_JOURNAL_H
#define BRIQ_STORE_JOURNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/list.h"
#include "common/base/counter.h"
#include "common/store/encode.h"
#include "common/store/space.h"
#include "common/store/window.h"

/* What a stream's changes did to the volume's figures; signed sums, wrap-around included. */
struct briq_journal_counts {
    briq_counter mapped_blocks, fill_blocks, zero_blocks, data_granules;
    briq_counter device_bytes; /* claimed to be written */
    briq_counter records;
};

struct briq_stream {
    pthread_mutex_t lock;
    uint8_t id;   /* index of its head in the superblock */
    uint8_t kind; /* enum briq_stream_kind */
    uint32_t seg; /* BRIQ_SEG_NONE: not begun */
    uint32_t next_seg;
    uint64_t segseq;
    uint32_t seg_off;               /* where the next window begins when win is NULL */
    struct briq_window *win;        /* the one being filled */
    struct briq_list filled;        /* windows the stream has left, not yet claimed */
    uint8_t *ram;                   /* memory volume: the segment */
    uint32_t chunk_off;             /* open chunk, from the start of the window */
    uint32_t chunk_cap, chunk_nrec; /* cap 0: no chunk is open */
    uint32_t payload_end;           /* from the start of the window (memory: of the segment) */
    uint32_t records_expected;      /* moving average of records in a chunk: decides cap */
    struct briq_journal_counts counts;
} BRIQ_ALIGNED(BRIQ_CACHELINE_BYTES);

struct briq_journal {
    struct briq_space *space;
    struct briq_windows *windows;
    uint8_t *ram_base; /* memory volume, else NULL */
    uint64_t uuid_lo;
    uint32_t incarnation;
    uint32_t user_count;         /* streams[0 .. user_count) */
    struct briq_stream *streams; /* BRIQ_FMT_HEADS of them, GC and META at their fixed places */
    _Atomic uint64_t seq BRIQ_ALIGNED(BRIQ_CACHELINE_BYTES); /* last sequence number given out */
    _Atomic uint64_t durable_seq;                            /* all up to it were flushed */
    _Atomic uint32_t phase; /* 0 or 1: which counter new claims use */
    _Atomic uint32_t inflight[2];
};

int briq_journal_init(struct briq_journal *journal, struct briq_space *space,
                      struct briq_windows *windows, uint32_t user_count) BRIQ_MUST;
void briq_journal_fini(struct briq_journal *journal);

static inline struct briq_stream *briq_journal_gc(struct briq_journal *journal)
{
    return &journal->streams[BRIQ_HEAD_GC];
}

static inline struct briq_stream *briq_journal_meta(struct briq_journal *journal)
{
    return &journal->streams[BRIQ_HEAD_META];
}

/* Room for one record: where its payload goes and what it will be called. */
struct briq_room {
    uint8_t *payload; /* granules * 16 bytes; NULL without payload */
    uint64_t granule; /* its address on the device */
    uint64_t segseq;
    uint32_t granules;
};

enum briq_room_need {
    BRIQ_NEED_NOTHING,
    BRIQ_NEED_WINDOW,  /* wait until a window is free */
    BRIQ_NEED_SEGMENT, /* wait until a segment is free */
};

/*
 * Makes room for one record with a payload of `granules` (0: none). Segments are taken only while
 * more than `floor` stay behind. Returns 0, or -EAGAIN and what it waits for; then the stream is as
 * before, but for a window that may have been filled up.
 */
int briq_journal_room(struct briq_journal *journal, struct briq_stream *stream, uint32_t granules,
                      uint32_t floor, struct briq_room *ret,
                      enum briq_room_need *ret_need) BRIQ_MUST;

/* The record that belongs to the room just made (its off_granules and granules are set here) counts
 * from now on; its payload has been written. Memory volume: record may be NULL. */
void briq_journal_commit(struct briq_journal *journal, struct briq_stream *stream,
                         const struct briq_room *room, struct briq_record *record);

/* Closes the open chunk, if it has records. */
void briq_journal_seal(struct briq_journal *journal, struct briq_stream *stream);

/* A part of a window that must be written to the device. */
struct briq_claim {
    struct briq_window *win;
    uint8_t *buf;
    uint64_t where; /* byte offset on the device */
    uint32_t len;
    uint32_t phase;
};

/* Sealed bytes of the stream that nobody has claimed. False when there are none. */
bool briq_journal_claim(struct briq_journal *journal, struct briq_stream *stream,
                        struct briq_claim *ret);

/* As briq_journal_claim(), but only of windows that the stream has left: they should be written
 * now. */
bool briq_journal_claim_filled(struct briq_journal *journal, struct briq_stream *stream,
                               struct briq_claim *ret);

/* A claim of `win` in `phase` was written (result 0) or not (-errno: the window stays attached,
 * reads stay right). Takes the stream's lock. Returns true when it was the last of its phase. */
bool briq_journal_written(struct briq_journal *journal, struct briq_window *win, uint32_t phase,
                          int result);

/* Where the stream goes on, for a superblock. Nothing may be open in it (seal first). */
struct briq_head briq_journal_head(const struct briq_stream *stream);

/* Continues where a cleanly closed volume stopped; next_seg may be BRIQ_SEG_NONE. */
void briq_journal_resume(struct briq_stream *stream, const struct briq_head *head);

/*
 * Gives the stream what it needs to begin or go on: a segment and, for user streams, the next one.
 * Thread: open, maintenance. 0, or -EAGAIN: no ready segments.
 */
int briq_journal_begin(struct briq_journal *journal, struct briq_stream *stream,
                       uint32_t floor) BRIQ_MUST;

/* Ends the stream: untouched segments go back; a partly written one stays open for
 * briq_journal_head(), or is closed if nothing more fits. All must be sealed and written. Thread:
 * close. */
void briq_journal_end(struct briq_journal *journal, struct briq_stream *stream);

/* Device byte offset of a window. */
static inline uint64_t briq_journal_where(const struct briq_journal *journal,
                                          const struct briq_window *w)
{
    return briq_space_offset(journal->space, w->seg) + w->base;
}

#endif
