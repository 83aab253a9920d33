/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space.h - the segments of a volume: which are free, in use, or waiting to be free again.
 *
 *        reserve on host             take                close
 *   BARE --------------> READY -----------> OPEN -------------> USED --+-- (damaged) --> BAD
 *    ^                    ^                                            | verified empty
 *    |  give back         |  no reader left, kept for reuse            v
 *    +--------------------+------ GRACE <------ RELEASED <------ PENDING
 *                                        checkpoint        checkpoint's
 *                                        is durable             cut
 *
 * A segment that garbage collection found empty is not reused before a checkpoint that no longer
 * refers to it is durable (crash safety), and no reader from before is left (epoch.h). A memory
 * volume has no checkpoints: PENDING goes straight to GRACE.
 *
 * `live` counts the granules of a segment that the map refers to. It is exact, if the table on the
 * medium was; nothing is freed on its word alone, see gc.c, and one that is too low is found out.
 *
 * Who may take the last segments is decided by class, so that those who free space always find
 * some: users stop first, then trims, then garbage collection; a checkpoint may take the very last.
 *
 * Thread: any; `lock` is a leaf. live counters: any, no lock.
 */
#ifndef BRIQ_STORE_SPACE_H
#define BRIQ_STORE_SPACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/store/epoch.h"
#include "common/store/format.h"

struct briq_device;

enum briq_seg_state {
    BRIQ_SEG_BARE = 0, /* free, the host holds no space for it (zero: also never touched) */
    BRIQ_SEG_READY,    /* free, and a write to it cannot fail for space */
    BRIQ_SEG_OPEN,     /* a stream writes to it, or has it as its next */
    BRIQ_SEG_USED,
    BRIQ_SEG_PENDING,
    BRIQ_SEG_RELEASED,
    BRIQ_SEG_GRACE,
    BRIQ_SEG_BAD, /* holds damage: kept as it is, never reused */
};

enum briq_seg_class {
    BRIQ_CLASS_USER,
    BRIQ_CLASS_TRIM,
    BRIQ_CLASS_GC,
    BRIQ_CLASS_META,
};

struct briq_seg {
    _Atomic uint64_t segseq; /* which use this is; constant while any word points here */
    uint32_t next;           /* in its list, BRIQ_SEG_NONE ends it; under space->lock */
    _Atomic uint8_t state;   /* enum briq_seg_state; changes under space->lock */
    _Atomic uint8_t kind;    /* enum briq_stream_kind */
    uint8_t on_host;         /* under space->lock */
    _Atomic uint8_t moving;  /* META: its live pages are queued for the next checkpoint; any:
                                the medium fails to read it. Not to be collected */
};

/* A singly linked FIFO through briq_seg.next. */
struct briq_seg_list {
    uint32_t head, tail, count;
};

struct briq_space {
    struct briq_device *dev;
    uint32_t seg_shift;
    uint32_t seg_first;       /* usable segments are [seg_first, seg_end) */
    _Atomic uint32_t seg_end; /* grows, under the lock */
    uint32_t seg_max;         /* what the arrays are reserved for */
    bool keep_all;  /* fixed-size device: everything stays on the host, nothing to reserve */
    bool in_memory; /* no checkpoints */
    struct briq_seg *segs;
    _Atomic uint32_t *live;      /* granules of blocks and map pages */
    uint32_t *live_cut;          /* the same as of the last cut, for the checkpoint to store */
    _Atomic uint32_t *tree_live; /* granules of the pages above: not stored, found at load */
    _Atomic uint8_t *page_dirty; /* per segment page: changed since it was stored */

    pthread_mutex_t lock; /* guards the lists and all that follows */
    struct briq_seg_list ready, bare, pending, released, grace;
    uint64_t grace_tag[2];          /* epoch tags: of the older part of `grace`, and of the newer */
    uint32_t grace_old;             /* how many of `grace` belong to the older part */
    _Atomic uint32_t virgin;        /* first segment that was never used: all behind it are bare */
    uint64_t segseq;                /* last use number given out */
    _Atomic uint32_t ready_count;   /* copy of ready.count, readable without the lock */
    _Atomic uint32_t free_count;    /* ready + bare + virgin */
    _Atomic uint32_t used_count;    /* open, used, bad */
    _Atomic uint32_t pending_count; /* pending + released + grace */
    _Atomic uint32_t returning_count; /* of those, the ones that will be READY */
    _Atomic uint32_t bad_count;
    _Atomic uint32_t user_takes; /* segments taken by user streams: shows that they get on */
    _Atomic uint32_t dead_count; /* used segments whose live count fell to 0: a hint */
    bool host_full; /* the last reserve failed with ENOSPC; cleared when space was given back */
};

/* Arrays for up to seg_max segments. 0 or -ENOMEM. */
int briq_space_init(struct briq_space *space, struct briq_device *dev, uint32_t seg_shift,
                    uint32_t seg_first, uint32_t seg_end, uint32_t seg_max) BRIQ_MUST;
void briq_space_fini(struct briq_space *space);

static inline uint64_t briq_space_seg_bytes(const struct briq_space *space)
{
    return UINT64_C(1) << space->seg_shift;
}

static inline uint64_t briq_space_offset(const struct briq_space *space, uint32_t seg)
{
    return (uint64_t)seg << space->seg_shift;
}

static inline uint32_t briq_space_seg_of(const struct briq_space *space, uint64_t granule)
{
    return (uint32_t)(granule >> (space->seg_shift - BRIQ_GRANULE_SHIFT));
}

static inline uint64_t briq_space_segseq(const struct briq_space *space, uint32_t seg)
{
    return atomic_load_explicit(&space->segs[seg].segseq, memory_order_relaxed);
}

/* True if [granule, granule + granules) lies inside one usable segment. */
bool briq_space_contains(const struct briq_space *space, uint64_t granule, uint32_t granules);

/* ---- live counters: any thread, no lock ------------------------------------------------------ */

void briq_space_live_add(struct briq_space *space, uint64_t granule, uint32_t granules);

/* Returns 0; or -EUCLEAN when so many were not live: the stored table said less than was true. The
 * count is 0 then, and no more to be relied on. */
int briq_space_live_sub(struct briq_space *space, uint64_t granule, uint32_t granules) BRIQ_MUST;

/* A map page was written at (add) or is gone from (sub) a place: counts for the checkpoint in hand
 * too. Errors as above. Thread: the maintainer. */
void briq_space_page_add(struct briq_space *space, uint64_t granule, uint32_t granules);
int briq_space_page_sub(struct briq_space *space, uint64_t granule, uint32_t granules) BRIQ_MUST;

/* The same for pages of the tree above the map pages. Loading one puts its segment in use, whatever
 * the stored table says: it may have been taken after that part of the table was written. */
void briq_space_tree_add(struct briq_space *space, uint64_t granule, uint32_t granules);
void briq_space_tree_sub(struct briq_space *space, uint64_t granule, uint32_t granules);
void briq_space_tree_load(struct briq_space *space, uint64_t granule, uint32_t granules);

/* All that is live in a segment. */
static inline uint32_t briq_space_live(const struct briq_space *space, uint32_t seg)
{
    return atomic_load_explicit(&space->live[seg], memory_order_relaxed) +
           atomic_load_explicit(&space->tree_live[seg], memory_order_relaxed);
}

/* ---- the life of a segment ------------------------------------------------------------------- */

/* Takes a ready segment if more than `floor` are left behind: it becomes OPEN, empty, with a segseq
 * of its own. 0, or -EAGAIN: there is none now. */
int briq_space_take(struct briq_space *space, enum briq_stream_kind kind, uint32_t floor,
                    uint32_t *ret_seg) BRIQ_MUST;

/* An open segment that was never written goes back to READY. */
void briq_space_untake(struct briq_space *space, uint32_t seg);

/* A segment that a cleanly closed volume left partly written is open again. What its stream's head
 * says of it is newer than the stored table. Thread: open. */
void briq_space_reopen(struct briq_space *space, uint32_t seg, enum briq_stream_kind kind,
                       uint64_t segseq);

/* OPEN -> USED: no more is written to it. */
void briq_space_close_seg(struct briq_space *space, uint32_t seg);

/* USED (verified empty by the caller) -> PENDING. */
void briq_space_retire(struct briq_space *space, uint32_t seg);

/* USED -> BAD. */
void briq_space_mark_bad(struct briq_space *space, uint32_t seg);

/* PENDING -> RELEASED, and live_cut := live: under all stream locks. */
void briq_space_cut(struct briq_space *space);

/* RELEASED -> GRACE: the checkpoint is durable. */
void briq_space_release(struct briq_space *space, struct briq_epoch *epoch);

/* GRACE -> READY (BARE, if the host does not hold it) for all that no reader can see any more.
 * Returns how many. */
uint32_t briq_space_reclaim(struct briq_space *space, struct briq_epoch *epoch);

/* The highest use number given out. */
uint64_t briq_space_last_segseq(struct briq_space *space);

/* How many segments only wait for readers to leave. */
uint32_t briq_space_in_grace(struct briq_space *space);

/*
 * Makes READY segments out of BARE ones until there are `want`, asking the host for space. Blocks.
 * Returns 0 also when there are not that many; -ENOSPC when the host is full; or its error.
 */
int briq_space_prepare(struct briq_space *space, uint32_t want);

/* The stored table may say that the host holds segments which were given back since, by an opening
 * that crashed: asks it for all that are READY. What it does not grant is BARE; so will be what is
 * in use and empty, when it is free. Blocks. 0, or the host's error other than -ENOSPC. Thread:
 * open. */
int briq_space_confirm(struct briq_space *space) BRIQ_MUST;

/* READY -> BARE, giving space back to the host, until no more than `keep` are ready. Blocks. */
void briq_space_give_back(struct briq_space *space, uint32_t keep);

/* More segments: seg_end grows. Thread: the maintainer. */
void briq_space_grow(struct briq_space *space, uint32_t seg_end);

/* ---- for open and checkpoints ---------------------------------------------------------------- */

/* Sets what a stored table says of a segment. Before first use only. */
void briq_space_load_seg(struct briq_space *space, uint32_t seg, uint64_t segseq, uint32_t live,
                         uint8_t state, uint8_t kind, bool on_host);

/* After all were loaded, or marked by replay: builds the free lists from the states. */
void briq_space_build_lists(struct briq_space *space);

/* What a checkpoint stores of a segment (state 0 free, 1 used, 2 bad), as of the last cut. */
void briq_space_stored(const struct briq_space *space, uint32_t seg, uint64_t *ret_segseq,
                       uint32_t *ret_live, uint8_t *ret_state, uint8_t *ret_kind,
                       bool *ret_on_host);

/* The used segment, of those for which allowed() holds, with the fewest live granules, scanning
 * all; BRIQ_SEG_NONE if none has less than max_live. */
uint32_t briq_space_emptiest(const struct briq_space *space, uint32_t max_live,
                             bool (*allowed)(void *opaque, uint32_t seg), void *opaque);

#endif
