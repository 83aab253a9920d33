/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * maintain.h - the care a volume needs while it is in use: space made ready, garbage collected,
 * checkpoints written. One maintainer at a time (maintain.lock); it blocks on the device.
 */
#ifndef BRIQ_STORE_MAINTAIN_H
#define BRIQ_STORE_MAINTAIN_H

#include "common/store/engine.h"

int briq_maintain_init(struct briq_store *store) BRIQ_MUST;
void briq_maintain_fini(struct briq_store *store);
void briq_maintain_stop(struct briq_store *store);

/* As briq_store_maintain(), but does nothing (0) while somebody else is at it. */
int briq_maintain_try(struct briq_store *store);

/* How many units are enough to collect every segment once and write a checkpoint after each: who still
 * has no space then will get none. */
uint64_t briq_maintain_attempts_max(const struct briq_store *store);

/* A trim or zero gave live space back: perhaps whole segments are empty now. Thread: any. */
void briq_maintain_note_trim(struct briq_store *store);

/*
 * checkpoint.c: writes an exact image of the map and the segment table and makes it the one to
 * recover from. `clean`: the volume is being closed, nothing is left in the journal. 0 or the error
 * that latched the store. Thread: the maintainer.
 */
int briq_checkpoint(struct briq_store *store, bool clean) BRIQ_MUST;

/* Segments that a checkpoint takes which writes so many map pages, at the most; and one that comes
 * now. Thread: any. */
uint32_t briq_checkpoint_segments(struct briq_store *store, uint64_t map_pages);

static inline uint32_t briq_checkpoint_segments_now(struct briq_store *store)
{
    return briq_checkpoint_segments(store, atomic_load(&store->map.dirty_count));
}

/*
 * gc.c: empties the given USED segment: live extents move to the GC stream, live metadata pages
 * become dirty. If nothing of it is left, it is retired; if something cannot be moved because it is
 * damaged, it is marked bad and kept. 0, -EAGAIN (no segment to move to), or an I/O error. Thread:
 * the maintainer.
 */
int briq_gc_segment(struct briq_store *store, uint32_t seg) BRIQ_MUST;

/* The segment with the least live data that may be collected, with less than max_live granules. */
uint32_t briq_gc_pick(struct briq_store *store, uint32_t max_live);

/* Writes what the GC or META stream has claimed or sealed; blocking. Thread: the maintainer. */
int briq_maintain_write(struct briq_store *store, struct briq_stream *stream, bool seal) BRIQ_MUST;
int briq_maintain_write_claim(struct briq_store *store, const struct briq_claim *claim) BRIQ_MUST;

/* Waits until something was woken since `ticket`. Holds no lock but maintain.lock. */
void briq_maintain_wait(struct briq_store *store, uint64_t ticket);

/* Runs one flush round and waits for it. Thread: the maintainer. */
int briq_maintain_flush(struct briq_store *store, bool force) BRIQ_MUST;

/* A segment of data: how many granules it can hold. */
static inline uint32_t briq_seg_granules(const struct briq_store *store)
{
    return (uint32_t)(briq_space_seg_bytes(&store->space) >> BRIQ_GRANULE_SHIFT);
}

#endif
