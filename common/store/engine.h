/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.h - struct briq_store: the parts of one open volume. For the store's own files only.
 *
 * Reading order: format.h, word.h (what there is) - map.h, space.h, window.h, journal.h (the parts
 * that hold state) - put.c (the one place where a change happens) - op.h and op_*.c (requests) -
 * flush.h, checkpoint.c, gc.c, maintain.c (care) - open.c, recover.c (life) - check.h, check*.c,
 * rebuild.c, repair.c, dump.c.
 *
 * Locks, outer to inner:
 *   maintain.lock > streams by rising id > map stripe > leaves (space, windows, iobufs, waitq,
 *   map copies, flusher, kick_lock, ctx_lock). op->wake may be called under a stream's lock: it takes
 *   no lock under which anybody calls the store.
 */
#ifndef BRIQ_STORE_ENGINE_H
#define BRIQ_STORE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/device/device.h"
#include "common/store/cache.h"
#include "common/store/codec.h"
#include "common/base/counter.h"
#include "common/store/epoch.h"
#include "common/store/flush.h"
#include "common/store/iobuf.h"
#include "common/store/journal.h"
#include "common/store/map.h"
#include "common/store/recovery.h"
#include "common/store/space.h"
#include "common/store/store.h"
#include "common/store/waitq.h"
#include "common/store/window.h"

/* Here and below: a build that opens volumes thousands of times a second may set a smaller one. */
#ifndef BRIQ_IOBUF_COUNT
#define BRIQ_IOBUF_COUNT 128u
#endif

/* Figures of one context; the thread that uses it writes, anybody reads. */
struct briq_ctx_counts {
    briq_counter reads, read_bytes, writes, write_bytes, trims, trim_bytes, zeroes, zero_bytes;
    briq_counter flushes, fua_writes, rmw_blocks, rmw_retries;
    briq_counter compressed_blocks, incompressible_blocks, compressed_bytes;
    briq_counter device_reads, device_read_bytes, device_writes, device_flushes, window_reads;
    briq_counter payload_errors, metadata_errors;
    briq_counter enospc, waits_space, waits_window, waits_buffer;
};

/* What a thread needs to step operations. */
struct briq_ctx {
    struct briq_store *store;
    struct briq_stream *stream; /* where it appends */
    unsigned index;             /* spreads epoch slots and streams */
    struct briq_codec codec;
    uint8_t block[BRIQ_BLOCK_SIZE]; /* a block being put together from old and new bytes */
    struct briq_ctx_counts counts;
    struct briq_ctx *next_free;
} BRIQ_ALIGNED(BRIQ_CACHELINE_BYTES);

/* Where a thread leaves the context that it borrowed, for its next call. */
struct briq_ctx_park {
    _Atomic(struct briq_ctx *) ctx;
} BRIQ_ALIGNED(BRIQ_CACHELINE_BYTES);

#define BRIQ_CTX_PARKS 64u

/* maintain.c: garbage collection and checkpoints, one unit at a time under `lock`. */
struct briq_maintain {
    pthread_mutex_t lock;           /* one maintainer at a time; guards all but the atomics */
    struct briq_ctx *ctx;           /* for its own flushes */
    uint8_t *segment;               /* a segment being collected, as it lies on the medium */
    _Atomic bool want_space;        /* somebody waits for a segment */
    _Atomic bool watch_readers;     /* free segments wait for a reader to leave: he kicks */
    _Atomic bool waits_for_readers; /* a checkpoint does: wake it when one leaves */
    _Atomic uint64_t full_rounds;   /* times it was found that nothing more can be freed */
    uint64_t checkpoint_ns;         /* when the last checkpoint ended */
    uint64_t checkpoint_bytes;      /* user log bytes and records it covered */
    uint64_t checkpoint_records;
    uint64_t attempts;               /* units of work for space since somebody got some */
    uint32_t attempts_takes;         /* space.user_takes at the last of them */
    bool moved_since_checkpoint;     /* garbage collection has made something dirty or pending */
    _Atomic bool stop_soon;          /* the thread ends after the unit in hand */
    _Atomic uint64_t checkpoint_seq; /* copy of sb.checkpoint_seq for anybody to read */
    _Atomic uint64_t meta_granules;  /* live metadata */
    briq_counter gc_segments, gc_moved_blocks, gc_moved_bytes;
    briq_counter checkpoints, checkpoint_ns_last, checkpoint_ns_max, checkpoint_pages;
    briq_counter metadata_errors, payload_errors;

    pthread_mutex_t kick_lock; /* guards the rest; a leaf */
    pthread_cond_t kick_cond;
    bool kicked, stop, running;
    pthread_t thread;
};

/* tree.c: the upper levels of the map and of the segment table, as they stand on the medium. */
struct briq_tree {
    uint64_t *map_nodes; /* granule of each node: 512 map pages */
    uint8_t *map_node_dirty;
    uint64_t *seg_pages;                 /* granule of each page of the segment table */
    uint64_t map_node_max, seg_page_max; /* what the arrays are reserved for */
    bool map_root_dirty[BRIQ_MAP_ROOTS], seg_root_dirty[BRIQ_SEG_ROOTS];
};

struct briq_store {
    struct briq_device *dev;
    char *name;
    struct briq_journal journal;
    struct briq_map map;
    struct briq_space space;
    struct briq_windows windows;
    struct briq_epoch epoch;
    struct briq_iobufs iobufs;
    struct briq_waitq waitq; /* for a window, a segment, a page copy, a buffer */
    struct briq_flusher flusher;
    struct briq_cache *cache;
    struct briq_tree tree;
    struct briq_maintain maintain;
    bool maintain_ready;
    struct briq_recovery recovery; /* old windows that are still needed */

    struct briq_superblock sb; /* as last written; Thread: open, maintenance */
    unsigned sb_slot;          /* the copy that the next generation is written to first */
    bool sb_damaged;           /* that copy is; Thread: open */
    _Atomic uint64_t logical_bytes;
    _Atomic int latched;   /* 0, or the first fatal -errno: no more changes */
    _Atomic int tight;     /* 1: live data is at its limit, nothing may grow */
    bool opened_read_only; /* asked for, or the medium lost flushed data */
    bool in_memory;
    bool push_before_ack; /* no windows file: write before acknowledging */
    uint8_t boot_id[16];  /* of this boot; zeros when it cannot be known */
    uint32_t align;       /* of device reads: 1, or 4096 with direct I/O */
    unsigned accel;
    struct briq_open_options options;

    pthread_mutex_t ctx_lock; /* guards the contexts' list */
    pthread_cond_t ctx_cond;  /* one was given back */
    struct briq_ctx *ctxs[BRIQ_CTX_MAX];
    unsigned ctx_count;
    struct briq_ctx *ctx_free;
    _Atomic unsigned ctx_waiters; /* threads that look for one under the lock, or wait */
    struct briq_ctx_park ctx_parks[BRIQ_CTX_PARKS];

    uint64_t recovered_records, recovered_from_windows, discarded_records, lost_flushed, open_ns;
};

/* ---- small things every file needs ----------------------------------------------------------- */

static inline uint64_t briq_store_blocks(const struct briq_store *store)
{
    return (atomic_load_explicit(&store->logical_bytes, memory_order_relaxed) + BRIQ_BLOCK_SIZE -
            1) >>
           BRIQ_BLOCK_SHIFT;
}

static inline bool briq_store_is_latched(const struct briq_store *store)
{
    return BRIQ_UNLIKELY(atomic_load_explicit(&store->latched, memory_order_acquire) != 0);
}

/* The first fatal error wins; says so in the log. Thread: any. */
void briq_store_latch(struct briq_store *store, int error, const char *what);

/* Segments that must stay behind when `class` takes one. Thread: any. */
uint32_t briq_store_floor(struct briq_store *store, enum briq_seg_class class);

/* Live granules that all data and metadata may take, and do take. Thread: any. */
uint64_t briq_store_live_max(struct briq_store *store);
uint64_t briq_store_live(struct briq_store *store);

/* Looks whether live data has reached its limit, and sets or clears `tight`. Thread: any. */
void briq_store_update_tight(struct briq_store *store);

/* Frees all contexts. Thread: close. */
void briq_ctxs_fini(struct briq_store *store);
/* ctx.c: a context for one call, and back from the same thread. Waits when all are in use, which is
 * back-pressure. 0 or -ENOMEM. */
int briq_ctx_borrow(struct briq_store *store, struct briq_ctx **ret) BRIQ_MUST;
void briq_ctx_return(struct briq_ctx *ctx);

/* Wakes the maintenance thread. Thread: any. */
void briq_maintain_kick(struct briq_store *store);

#endif
