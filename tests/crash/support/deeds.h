/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deeds.h - what several clients did to a volume at the same time, and whether what is there after
 * the death of the server is what was promised.
 *
 * A sector of 512 bytes carries the number of the write that it comes from. Two operations that are
 * under way at the same time never touch the same 4 KiB block, so the order of those on one sector
 * is the order in which they were sent. One clock counts sending and answers.
 *
 * Promised is, after the death of the process: every operation that was answered is there. After a
 * power cut: every one that was answered before a flush was sent which itself was answered (or a
 * write with FUA; and that write); and no operation is there without all those that were answered
 * before it was sent. In both cases each operation is there as a whole or not at all inside a
 * block.
 */
#ifndef BRIQ_TESTS_CRASH_DEEDS_H
#define BRIQ_TESTS_CRASH_DEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/prng.h"

#define DEEDS_SECTOR_BYTES  512u
#define DEEDS_BLOCK_SECTORS 8u

enum deed_kind { DEED_WRITE, DEED_TRIM, DEED_ZERO, DEED_FLUSH };

struct deed {
    enum deed_kind kind;
    bool fua;
    uint32_t first, count;   /* sectors, of the whole volume; of a flush none */
    uint64_t number;         /* what its sectors carry; a trim or zero leaves 0 */
    uint64_t sent, answered; /* by the clock; 0: not */
};

struct deeds {
    uint32_t sectors;
    uint64_t *base;  /* a sector: the number it carried when all was last looked at */
    uint64_t *found; /* the same now, set by deeds_look() */
    struct deed *list;
    size_t count, max;
    uint64_t clock, numbers;
};

struct deeds_verdict {
    uint64_t answered, flushed;          /* operations that had to be there */
    uint64_t open_there, open_not_there; /* that were not answered */
};

/* Ends the program when memory runs out. */
void deeds_open(struct deeds *deeds, uint32_t sectors);
void deeds_close(struct deeds *deeds);

/* A new one, about to be sent. The pointer is good until the next call. */
size_t deeds_send(struct deeds *deeds, enum deed_kind kind, bool fua, uint32_t first,
                  uint32_t count);
void deeds_answer(struct deeds *deeds, size_t index);

/* The bytes of a sector that carries `number`; 0: zeros. */
void deeds_content(uint64_t number, uint32_t sector, uint8_t bytes[DEEDS_SECTOR_BYTES]);

/* Takes what was read of [first, first+count). False, and a line on stderr, when a sector holds
 * what nobody ever wrote there. */
bool deeds_look(struct deeds *deeds, uint32_t first, uint32_t count,
                const uint8_t *bytes) BRIQ_MUST;

/* Judges what was looked at. False, and a line on stderr, when a promise is broken. Then, or not,
 * it is the new beginning and the list is empty. */
bool deeds_judge(struct deeds *deeds, bool power_cut, struct deeds_verdict *ret) BRIQ_MUST;

#endif
