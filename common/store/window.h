/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * window.h - append windows: the memory image of 256 KiB of a segment that is being written.
 *
 * What was acknowledged but not yet written to the device lives only here. So the windows lie in a
 * shared-memory file (tmpfs), which outlives the process: the next opening in the same boot finds
 * them and finishes the work. The file is named by the volume's uuid, incarnation and backing file;
 * its first page repeats them and the boot it belongs to, so that neither a copy of the volume nor
 * a volume from before a power cut ever takes it for its own.
 *
 *   free -> attached (a stream appends; readers find it by segment and offset)
 *        -> detached (all of it is on the device; readers may still be looking)
 *        -> free again when no reader of that time is left (epoch.h)
 *
 * The descriptor of a window stands in the file too. A process can die between any two stores, so
 * the order of stores matters and is stated at each of them; a store is never reordered behind one
 * that is released later.
 *
 * Without such a file (no tmpfs, none wanted) the same pool lives in private memory.
 *
 * Thread: any; `lock` is a leaf.
 */
#ifndef BRIQ_STORE_WINDOW_H
#define BRIQ_STORE_WINDOW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/error.h"
#include "common/base/list.h"
#include "common/store/epoch.h"
#include "common/store/waitq.h"

#define BRIQ_WINDOWS_MAGIC UINT64_C(0x32736e6957717242) /* "BrqWins2" */
#ifndef BRIQ_WINDOWS_MAX
#define BRIQ_WINDOWS_MAX 1024u
#endif
/* With its end; a directory whose files would need more is refused. */
#define BRIQ_WINDOWS_PATH_MAX 256

/* The file's first page. Host byte order: it never leaves this boot of this machine. */
struct briq_windows_header {
    uint64_t magic;
    uint8_t uuid[16];
    uint64_t incarnation;
    uint8_t boot_id[16];
    uint64_t host_dev, host_ino; /* the volume's backing file */
    uint32_t window_bytes, window_count;
};

/* One window, in the file. */
struct briq_window_desc {
    /* Not 0: what follows and the bytes are valid. Then it is the check of all up to segseq, which
     * is constant meanwhile: a window that went to a wrong place would destroy what is there. */
    _Atomic uint32_t active;
    uint32_t stream, kind;
    uint32_t seg, next_seg;
    uint32_t base;  /* byte offset of the window in the segment */
    uint32_t start; /* offset in the window where its first chunk begins */
    uint32_t reserved;
    uint64_t segseq;
    _Atomic uint32_t sealed_end; /* offset in the window behind the last sealed chunk */
    _Atomic uint32_t open_off;   /* offset of the open chunk; it counts if it is sealed_end */
    _Atomic uint32_t open_nrec;  /* its records that are whole: acknowledged, or about to be */
    uint32_t cap;                /* records the open chunk has room for; stored before open_off */
} BRIQ_ALIGNED(BRIQ_CACHELINE_BYTES);

/* Of what is constant while the window is attached; never 0. */
uint32_t briq_window_desc_check(const struct briq_window_desc *desc);

struct briq_window {
    struct briq_window_desc *desc;
    uint8_t *mem;
    uint32_t id;    /* 1 .. count: what the finder stores */
    uint32_t start; /* as in desc: what lies before is on the device only */
    uint32_t end;   /* what lies behind is, too: of an adopted window; else that of the window */
    /* the rest under the lock of the stream it belongs to */
    uint32_t seg, base;
    uint32_t sealed_end;              /* as in desc */
    uint32_t claimed_end;             /* [start, claimed_end) was handed out to be written */
    uint32_t inflight;                /* writes handed out and not finished */
    bool filled;                      /* the stream has moved on */
    bool failed;                      /* a write failed: stays attached, so that reads stay right */
    struct briq_node node;            /* in the stream's list of filled windows */
    struct briq_window *next_retired; /* under the pool's lock */
    uint64_t epoch_tag;
};

struct briq_windows {
    uint32_t count, window_bytes, window_shift;
    struct briq_window *windows;
    _Atomic uint16_t *finder; /* by window number on the device: id of the attached window, or 0 */
    uint64_t finder_count;
    void *file_base; /* mapping of the file, or private memory */
    size_t file_bytes;
    int fd; /* -1: private memory */
    bool adopts;
    char path[BRIQ_WINDOWS_PATH_MAX];
    struct briq_epoch *epoch;
    struct briq_waitq *waitq; /* woken when a window is free that somebody asked for in vain */
    pthread_mutex_t lock;     /* guards what follows */
    bool starved;             /* somebody asked in vain since the last wake-up */
    struct briq_window **free_stack;
    uint32_t free_count;
    uint32_t usable; /* windows that have memory behind them: grows to count on demand */
    struct briq_window *retired_head, *retired_tail; /* in the order of their tags */
};

struct briq_windows_options {
    const char *dir; /* NULL: private memory */
    uint8_t uuid[16];
    uint64_t incarnation;
    uint8_t boot_id[16];
    uint64_t host_dev, host_ino;
    uint32_t count, initial; /* windows at most; backed by memory from the start */
    bool adopts;             /* private, and filled by briq_windows_adopt(): no memory of its own */
    uint32_t window_shift;
    uint64_t device_bytes_max; /* addresses the finder must cover */
};

/* Makes the pool. With dir: -EEXIST, -ENOSPC, -EACCES ... when the file cannot be had (err says
 * which); the caller may try again with dir NULL. */
int briq_windows_init(struct briq_windows *pool, const struct briq_windows_options *options,
                      struct briq_epoch *epoch, struct briq_waitq *waitq,
                      struct briq_error *err) BRIQ_MUST;

/* Frees the pool; `unlink_file`: nothing in it is needed any more. */
void briq_windows_fini(struct briq_windows *pool, bool unlink_file);

/* A free window, or NULL: none is free now, and the wait queue is woken when one is. Its bytes are
 * what they were. */
struct briq_window *briq_windows_get(struct briq_windows *pool);

/* Gives back a window that was never attached. */
void briq_windows_put(struct briq_windows *pool, struct briq_window *w);

/*
 * Attaches w as the window at byte `base` of segment `seg`, filled from `start` on, and lets
 * readers find it. `where` is the byte address of the window on the device.
 */
void briq_windows_attach(struct briq_windows *pool, struct briq_window *w, uint64_t where,
                         const struct briq_window_desc *desc);

/* All of w is on the device: readers stop finding it, and once the present ones are gone it is
 * free. */
void briq_windows_retire(struct briq_windows *pool, struct briq_window *w, uint64_t where);

/* Frees retired windows whose readers are gone, and wakes those who asked for one in vain. */
void briq_windows_reclaim(struct briq_windows *pool);

/* The bytes at device address `where` if an attached window holds them, else NULL. Inside an epoch.
 */
static inline uint8_t *briq_windows_find(const struct briq_windows *pool, uint64_t where)
{
    uint16_t id =
        atomic_load_explicit(&pool->finder[where >> pool->window_shift], memory_order_acquire);
    if (BRIQ_LIKELY(id == 0))
        return NULL;
    const struct briq_window *w = &pool->windows[id - 1];
    uint32_t off = (uint32_t)where & (pool->window_bytes - 1);
    return off < w->start || off >= w->end ? NULL : w->mem + off;
}

/* Is a window attached there? */
static inline bool briq_windows_attached(const struct briq_windows *pool, uint64_t where)
{
    return atomic_load(&pool->finder[where >> pool->window_shift]) != 0;
}

/* Lets readers find [start, end) of mem, whole chunks and not the pool's, in the window at device
 * address `where`. For volumes opened read-only. -ENOMEM when the pool has no window left. */
int briq_windows_adopt(struct briq_windows *pool, uint64_t where, uint8_t *mem, uint32_t start,
                       uint32_t end) BRIQ_MUST;

/* ---- what a dead process left ---------------------------------------------------------------- */

enum briq_leftover {
    BRIQ_LEFTOVER_NONE,    /* no file of that name */
    BRIQ_LEFTOVER_FOUND,   /* ours: same volume file, same boot, same incarnation */
    BRIQ_LEFTOVER_FOREIGN, /* of another boot, or of another file with the same uuid: not for us */
};

/* Windows of a dead process, mapped copy-on-write: changes here do not reach the file. */
struct briq_windows_left {
    void *base;
    size_t bytes;
    const struct briq_windows_header *header;
    struct briq_window_desc *descs;
    uint8_t *mem; /* window i at i * window_bytes */
    char path[BRIQ_WINDOWS_PATH_MAX];
};

/* Looks for the file of (uuid, incarnation, backing file) of options. -EACCES when it belongs to
 * somebody else. */
int briq_windows_left_open(const struct briq_windows_options *options,
                           struct briq_windows_left *left, enum briq_leftover *ret,
                           struct briq_error *err) BRIQ_MUST;
void briq_windows_left_close(struct briq_windows_left *left, bool unlink_file);

#endif
