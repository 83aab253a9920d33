/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * protocol.h - a device that knows the format of a volume and finds the first illegal step.
 *
 * A crash shows a broken protocol only when it comes at the right moment and takes the right
 * writes. This device shows it when it happens. It sees every request of the store, and remembers
 * which 4 KiB sectors a flush has covered and what the superblocks, of which one may be all that a
 * power cut leaves, refer to. A superblock that a flush has covered is `durable`; recovery may
 * begin from the newest durable one, or from a newer one that is written and not flushed.
 *
 * Illegal is
 *   a write     that is not made of whole chunks of this volume and opening, in their places;
 *               outside of the segments, or to a segment the host was not asked to hold;
 *               over a page of the map or tree, over an extent, over a record of the journal that
 *               one of those superblocks needs;
 *               to a segment that is used anew before the checkpoint that frees it is durable;
 *               of a chunk that calls operations flushed that are not, or holds operations that a
 *               checkpoint already covers
 *   a superblock written before what it refers to is flushed or where it says; over the only copy
 *               that is sure to be there; whose generation, incarnation, heads or `clean` does not
 *               fit
 *   a discard   of anything that one of those superblocks needs
 *
 * After the death of a process the next opening may write again what had not been flushed.
 *
 * Thread: any, between protocol_wrap() and the close of the device; a write counts as given to the
 * medium when its answer is known.
 */
#ifndef BRIQ_TESTS_SIM_PROTOCOL_H
#define BRIQ_TESTS_SIM_PROTOCOL_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/device/device.h"

struct protocol;

/* The volume, and what is known of it, outlives the devices that are opened on it in turn. illegal
 * is called for each illegal step, before it is carried out, with one line that names it. Ends the
 * program when memory runs out. */
struct protocol *protocol_open(void (*illegal)(void *opaque, const char *line), void *opaque);
void protocol_close(struct protocol *p);

/* Another volume: nothing is known. */
void protocol_reset(struct protocol *p);

/* Takes over `inner`, which holds the volume, for one opening; what it wraps must not be open
 * already. `reader`, taken over too, shows the same bytes to the checker itself; NULL: `inner`
 * does. */
struct briq_device *protocol_wrap(struct protocol *p, struct briq_device *inner,
                                  struct briq_device *reader);

/* ---- crashes, for a simulator ------------------------------------------------------------------
 */

/* The medium is what it is now: what was not flushed is decided. Before the next wrap. */
void protocol_power_cut(struct protocol *p);

/* The next opening comes upon what this one left. */
void protocol_process_death(struct protocol *p);

/* A write that never came through here, and may have been carried out. */
void protocol_in_flight(struct protocol *p, uint64_t off, uint64_t len);

/* Counts the writes that were answered; and: the next flush was asked for when it stood there. */
uint64_t protocol_clock(const struct protocol *p);
void protocol_flush_covers(struct protocol *p, uint64_t clock);

#endif
