/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check.h - the parts of a check; for check*.c, rebuild.c and repair.c only.
 *
 * A check opens the volume in steps, goes on behind damage, and brings the store in memory to the
 * best state there is:
 *
 *   superblocks - tree (what is lost of it is looked for) - map pages - lost blocks from the
 * records
 *   - accounts as of the checkpoint - journal - accounts again - segments against the map
 *
 * Nothing has been written until then (but for the append windows of a dead server, when repairing:
 * any opening would do that). A repair makes that state the volume: to free segments first, and a
 * superblock that names it last, so that dying in between leaves what was there before.
 *
 * Thread: one.
 */
#ifndef BRIQ_STORE_CHECK_H
#define BRIQ_STORE_CHECK_H

#include <errno.h>

#include "common/store/engine.h"
#include "common/store/scan.h"

/* Of a segment. */
#define BRIQ_CHECK_SEG_LOST     1u /* what the table says of it is lost */
#define BRIQ_CHECK_SEG_SOURCE   2u /* its records tell what was lost elsewhere: not to be reused */
#define BRIQ_CHECK_SEG_UNBACKED 4u /* records that should be in it were not found */
#define BRIQ_CHECK_SEG_BROKEN   8u /* a live payload in it is damaged */

/* Of a map page. */
#define BRIQ_CHECK_PAGE_WANTED 1u /* its place is lost with the node above it */
#define BRIQ_CHECK_PAGE_LOST   2u /* all its words are lost */
#define BRIQ_CHECK_PAGE_HOLED  4u /* some of its words are lost: see lost_blocks */

/* What the map says, counted word by word. */
struct briq_check_tally {
    uint64_t mapped_blocks, fill_blocks, zero_blocks, data_granules, meta_granules;
};

/* A finding that a repair mends, kept until it has. */
struct briq_check_cure {
    struct briq_check_cure *next;
    char line[];
};

struct briq_checker {
    struct briq_store *store;
    const struct briq_check_options *options;
    struct briq_check_result *result;
    struct briq_error *err;
    uint64_t done, total; /* progress, in map pages and segments */

    struct briq_check_cure *cures, **cures_end;
    uint64_t cure_count, incurable;
    bool superblock_only; /* nothing but a copy of the superblock has to be mended */

    uint8_t *seg_flags;    /* one a segment */
    uint32_t *live;        /* one a segment: granules the map refers to */
    uint8_t *page_flags;   /* one a map page */
    uint8_t *lost_blocks;  /* one bit a block */
    uint8_t *backed;       /* one bit a block: its record was found where it should be */
    bool tree_damaged;     /* nodes, roots or parts of the segment table */
    uint64_t pages_wanted; /* map pages whose place is lost */
    uint64_t pages_lost, words_lost;
    uint64_t unreadable; /* places with metadata or journal that the medium failed to read */
    uint64_t strays;     /* readable blocks without a record */
    uint64_t seq;        /* last operation of the state in memory */

    struct briq_scan *scan;
    uint8_t *chunk;  /* as long as a window */
    uint8_t *extent; /* as long as an extent, with room to align */
};

/* ---- findings: check.c ------------------------------------------------------------------------
 */

/* One error: counted in *counter, reported. `cure` says what a repair does about it, NULL: nothing.
 */
void briq_check_error(struct briq_checker *c, uint64_t *counter, const char *cure, const char *fmt,
                      ...) BRIQ_PRINTF(4, 5);

/* One line that is no error. */
void briq_check_note(struct briq_checker *c, const char *fmt, ...) BRIQ_PRINTF(2, 3);

void briq_check_progress(struct briq_checker *c, uint64_t done);

/* ---- what several parts need: check.c ----------------------------------------------------------
 */

static inline bool briq_check_bit(const uint8_t *bits, uint64_t block)
{
    return bits[block / 8] >> block % 8 & 1;
}

static inline void briq_check_set_bit(uint8_t *bits, uint64_t block)
{
    bits[block / 8] |= (uint8_t)(1u << block % 8);
}

/* Reads [off, off+len), which lies in one window, as the recovered volume has it. */
int briq_check_read(struct briq_checker *c, void *buf, size_t len, uint64_t off) BRIQ_MUST;

/* Is the payload of `block` where `word` says? 0, -EBADMSG, -EIO; or another error, to give up. */
int briq_check_payload(struct briq_checker *c, uint64_t block, briq_word word) BRIQ_MUST;

/* Does an error of these functions mean damage of the medium, to be told and passed over? */
static inline bool briq_check_is_damage(int r)
{
    return r == -EBADMSG || r == -EIO || r == -EUCLEAN;
}

/* Makes c->scan ready for segment `seg`, use `segseq` of it (0: any). */
struct briq_scan *briq_check_scan(struct briq_checker *c, uint32_t seg, uint64_t segseq);

/* One behind the last segment that the device can hold anything of. */
uint32_t briq_check_seg_end(const struct briq_checker *c);

static inline enum briq_seg_state briq_check_state(const struct briq_checker *c, uint32_t seg)
{
    return atomic_load(&c->store->space.segs[seg].state);
}

/* ---- parts -------------------------------------------------------------------------------------
 */

/* check_tree.c: loads roots, nodes and the segment table; finds the places of lost pages again. */
int briq_check_tree(struct briq_checker *c) BRIQ_MUST;

/* check_map.c: loads every map page and looks at every word; what is wrong is marked lost. */
int briq_check_map(struct briq_checker *c) BRIQ_MUST;

/* rebuild.c: gives lost blocks the words that the records of all segments tell. */
int briq_check_rebuild(struct briq_checker *c) BRIQ_MUST;

/* check_accounts.c: counts everything anew, reports differences (`what`: of which state) and makes
 * the store's figures exact. */
int briq_check_accounts(struct briq_checker *c, const char *what) BRIQ_MUST;

/* check_segments.c: every record of every segment in use against the map; deep: payloads too. */
int briq_check_segments(struct briq_checker *c) BRIQ_MUST;

/* repair.c: makes the state in memory the volume. */
int briq_check_repair(struct briq_checker *c) BRIQ_MUST;

#endif
