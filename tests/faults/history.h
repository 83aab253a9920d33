/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * history.h - what was done to a volume, in the order of the log, and whether what it holds can be
 * the work of a beginning of it.
 *
 * A deed is what the store does as one: a change inside one 4 KiB block, or of whole blocks by one
 * trim or zero. A request that is more than one deed is written down as several.
 * Thread: one owner.
 */
#ifndef BRIQ_TESTS_FAULTS_HISTORY_H
#define BRIQ_TESTS_FAULTS_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/store/store.h"

#define HISTORY_BLOCKS    96u
#define HISTORY_BLOCKS_UP 128u /* what a resize makes of it */
#define HISTORY_BYTES     (HISTORY_BLOCKS * (uint64_t)BRIQ_BLOCK_BYTES - 512)
#define HISTORY_BYTES_UP  (HISTORY_BLOCKS_UP * (uint64_t)BRIQ_BLOCK_BYTES)
#define HISTORY_DEEDS_MAX 1000u

struct deed {
    uint32_t off, len;
    bool clears;     /* to zeros; else the bytes of `number` */
    uint64_t number; /* never used twice: unlike any other write's bytes */
};

struct history {
    uint8_t base[HISTORY_BYTES_UP]; /* before the first deed */
    uint8_t now[HISTORY_BYTES_UP];  /* after the last that was done */
    struct deed deeds[HISTORY_DEEDS_MAX];
    unsigned count;   /* deeds that were begun */
    unsigned done;    /* of them, acknowledged; those behind may have happened, in their order */
    unsigned flushed; /* of them, covered by an acknowledged flush */
    uint64_t numbers; /* given out */
};

/* What was read back. */
struct finding {
    uint8_t bytes[HISTORY_BYTES_UP];
    bool unreadable[HISTORY_BLOCKS_UP];
    unsigned unreadable_count;
};

/* The bytes that write `number` puts into [off, off+len): of many kinds, most of them unique. */
void history_bytes(uint64_t number, uint64_t off, uint8_t *bytes, uint32_t len);

/* Writes a deed down that is about to be done. */
void history_begin(struct history *h, const struct deed *deed);

/* All that was begun is done. */
void history_done(struct history *h);

/* Deeds that may have happened did not: they are forgotten. */
void history_forget(struct history *h, unsigned count);

/* What was acknowledged and not flushed may be gone. */
void history_doubt(struct history *h);

/* Begins anew with what is there now: it is as durable as can be. */
void history_settle(struct history *h);

/*
 * Looks for the latest N in [least, count] whose first N deeds leave what was found, in every
 * readable block of the first `size` bytes. Returns whether there is one, and sets *ret_n.
 */
bool history_explains(const struct history *h, const struct finding *found, uint64_t size,
                      unsigned least, unsigned *ret_n) BRIQ_MUST;

/*
 * Whether every readable block holds what it held after some number of deeds, or zeros; each block
 * by itself.
 */
bool history_knows(const struct history *h, const struct finding *found, uint64_t size) BRIQ_MUST;

/* Prints what differs from the state after all deeds. */
void history_print(const struct history *h, const struct finding *found, uint64_t size);

#endif
