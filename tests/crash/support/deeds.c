/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/support/deeds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"

#define TAG UINT64_C(0x6b69636b65642121)

/* Begins a written sector. */
struct stamp {
    uint64_t tag, number, sector;
};

/* Deeds on each sector: a list through `next`, in the order of sending. */
struct history {
    uint32_t *first; /* a sector: index + 1 of the first touch, 0: none */
    uint32_t *last;
    struct touch {
        uint32_t deed, next;
    } * touches;
    size_t count, max;
};

/* What a sector tells of the deeds on it: those up to `there` have happened, those from `missing`
 * on have not; in between nobody can tell. Ordinals, from 1. */
struct evidence {
    uint32_t there, missing;
};

static void *need_memory(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return memory;
}

void deeds_open(struct deeds *deeds, uint32_t sectors)
{
    *deeds = (struct deeds){.sectors = sectors};
    deeds->base = need_memory(calloc(sectors, sizeof *deeds->base));
    deeds->found = need_memory(calloc(sectors, sizeof *deeds->found));
}

void deeds_close(struct deeds *deeds)
{
    free(deeds->base);
    free(deeds->found);
    free(deeds->list);
}

size_t deeds_send(struct deeds *deeds, enum deed_kind kind, bool fua, uint32_t first,
                  uint32_t count)
{
    if (deeds->count == deeds->max) {
        deeds->max = deeds->max == 0 ? 1024 : 2 * deeds->max;
        deeds->list = need_memory(realloc(deeds->list, deeds->max * sizeof *deeds->list));
    }
    deeds->list[deeds->count] = (struct deed){
        .kind = kind,
        .fua = fua,
        .first = first,
        .count = kind == DEED_FLUSH ? 0 : count,
        .number = kind == DEED_WRITE ? ++deeds->numbers : 0,
        .sent = ++deeds->clock,
    };
    return deeds->count++;
}

void deeds_answer(struct deeds *deeds, size_t index)
{
    deeds->list[index].answered = ++deeds->clock;
}

/* Half of it compresses. */
void deeds_content(uint64_t number, uint32_t sector, uint8_t bytes[DEEDS_SECTOR_BYTES])
{
    memset(bytes, 0, DEEDS_SECTOR_BYTES);
    if (number == 0)
        return;
    struct stamp stamp = {.tag = TAG, .number = number, .sector = sector};
    struct briq_prng prng = {.state = number << 20 ^ sector};
    memcpy(bytes, &stamp, sizeof stamp);
    for (size_t at = sizeof stamp; at + 16 <= DEEDS_SECTOR_BYTES; at += 16) {
        uint64_t word = briq_prng_next(&prng);
        memcpy(bytes + at, &word, sizeof word);
    }
}

bool deeds_look(struct deeds *deeds, uint32_t first, uint32_t count, const uint8_t *bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t wanted[DEEDS_SECTOR_BYTES];
        struct stamp stamp;
        const uint8_t *sector = bytes + (size_t)i * DEEDS_SECTOR_BYTES;
        memcpy(&stamp, sector, sizeof stamp);
        uint64_t number = stamp.tag == TAG ? stamp.number : 0;
        deeds_content(number, first + i, wanted);
        if (memcmp(sector, wanted, sizeof wanted) != 0) {
            fprintf(stderr, "sector %" PRIu32 " holds what nobody wrote there\n", first + i);
            return false;
        }
        deeds->found[first + i] = number;
    }
    return true;
}

/* ---- who touched what --------------------------------------------------------------------------
 */

static void add_touch(struct history *h, uint32_t sector, uint32_t deed)
{
    if (h->count == h->max) {
        h->max = h->max == 0 ? 4096 : 2 * h->max;
        h->touches = need_memory(realloc(h->touches, h->max * sizeof *h->touches));
    }
    h->touches[h->count++] = (struct touch){.deed = deed};
    uint32_t at = (uint32_t)h->count;
    if (h->first[sector] == 0)
        h->first[sector] = at;
    else
        h->touches[h->last[sector] - 1].next = at;
    h->last[sector] = at;
}

static void make_history(const struct deeds *deeds, struct history *h)
{
    *h = (struct history){0};
    h->first = need_memory(calloc(deeds->sectors, sizeof *h->first));
    h->last = need_memory(calloc(deeds->sectors, sizeof *h->last));
    for (size_t i = 0; i < deeds->count; i++)
        for (uint32_t s = 0; s < deeds->list[i].count; s++)
            add_touch(h, deeds->list[i].first + s, (uint32_t)i);
}

static void free_history(struct history *h)
{
    free(h->first);
    free(h->last);
    free(h->touches);
}

/* False when no deed explains the sector. */
static bool weigh(const struct deeds *deeds, const struct history *h, uint32_t sector,
                  struct evidence *ret)
{
    uint64_t found = deeds->found[sector];
    bool any = deeds->base[sector] == found;
    uint32_t ordinal = 0;
    *ret = (struct evidence){.there = 0, .missing = 1};
    for (uint32_t at = h->first[sector]; at != 0; at = h->touches[at - 1].next) {
        ordinal++;
        if (deeds->list[h->touches[at - 1].deed].number != found)
            continue;
        if (!any)
            ret->there = ordinal;
        any = true;
        ret->missing = ordinal + 1;
    }
    if (!any)
        fprintf(stderr,
                "sector %" PRIu32 " carries write %" PRIu64 ", which nobody sent there now\n",
                sector, found);
    return any;
}

/* ---- judging -----------------------------------------------------------------------------------
 */

enum fate { UNKNOWN, THERE, MISSING, TORN };

struct trial {
    const struct deeds *deeds;
    struct history history;
    enum fate *fates; /* a deed: in the block that was looked at last, and then of all */
    uint32_t *block;  /* that block + 1 */
    bool *missing;    /* a deed: some of it surely is */
    bool *there;
};

static bool note_fate(struct trial *t, uint32_t deed, uint32_t sector, enum fate fate)
{
    uint32_t block = sector / DEEDS_BLOCK_SECTORS + 1;
    if (t->block[deed] != block) {
        t->block[deed] = block;
        t->fates[deed] = UNKNOWN;
    }
    t->missing[deed] = t->missing[deed] || fate == MISSING;
    t->there[deed] = t->there[deed] || fate == THERE;
    if (t->fates[deed] != UNKNOWN && t->fates[deed] != fate) {
        fprintf(stderr, "block %" PRIu32 ": deed %" PRIu32 " is there in part\n", block - 1, deed);
        return false;
    }
    t->fates[deed] = fate;
    return true;
}

/* long ranges go from block to block: sectors are visited in rising order */
static bool gather(struct trial *t)
{
    for (uint32_t sector = 0; sector < t->deeds->sectors; sector++) {
        struct evidence e;
        uint32_t ordinal = 0;
        if (!weigh(t->deeds, &t->history, sector, &e))
            return false;
        for (uint32_t at = t->history.first[sector]; at != 0;
             at = t->history.touches[at - 1].next) {
            uint32_t deed = t->history.touches[at - 1].deed;
            ordinal++;
            if (ordinal <= e.there && !note_fate(t, deed, sector, THERE))
                return false;
            if (ordinal >= e.missing && !note_fate(t, deed, sector, MISSING))
                return false;
        }
    }
    return true;
}

/* The latest moment up to which everything answered was flushed. */
static uint64_t flushed_until(const struct deeds *deeds)
{
    uint64_t until = 0;
    for (size_t i = 0; i < deeds->count; i++) {
        const struct deed *d = &deeds->list[i];
        if (d->answered != 0 && (d->fua || d->kind == DEED_FLUSH))
            until = briq_max_u64(until, d->sent);
    }
    return until;
}

static uint64_t newest_there(const struct trial *t)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < t->deeds->count; i++)
        if (t->there[i])
            newest = briq_max_u64(newest, t->deeds->list[i].sent);
    return newest;
}

static bool lost(size_t index, const struct deed *d, const char *why)
{
    static const char *const kinds[] = {"write", "trim", "zero", "flush"};
    fprintf(stderr,
            "deed %zu (%s of %" PRIu32 " sectors at %" PRIu32 ", sent %" PRIu64
            ", answered %" PRIu64 ") is lost, and %s\n",
            index, kinds[d->kind], d->count, d->first, d->sent, d->answered, why);
    return false;
}

static bool judge(const struct trial *t, bool power_cut, struct deeds_verdict *ret)
{
    uint64_t flushed = flushed_until(t->deeds), newest = newest_there(t);
    for (size_t i = 0; i < t->deeds->count; i++) {
        const struct deed *d = &t->deeds->list[i];
        if (d->count == 0)
            continue;
        bool answered = d->answered != 0;
        bool covered = answered && (d->fua || d->answered < flushed);
        ret->answered += answered;
        ret->flushed += covered;
        ret->open_there += !answered && t->there[i];
        ret->open_not_there += !answered && t->missing[i];
        if (!t->missing[i] || !answered)
            continue;
        if (!power_cut)
            return lost(i, d, "it was answered");
        if (covered)
            return lost(i, d, "a flush covered it");
        if (d->answered < newest)
            return lost(i, d, "one that was sent after it was answered is there");
    }
    return true;
}

bool deeds_judge(struct deeds *deeds, bool power_cut, struct deeds_verdict *ret)
{
    struct trial t = {.deeds = deeds};
    make_history(deeds, &t.history);
    t.fates = need_memory(calloc(deeds->count + 1, sizeof *t.fates));
    t.block = need_memory(calloc(deeds->count + 1, sizeof *t.block));
    t.missing = need_memory(calloc(deeds->count + 1, sizeof *t.missing));
    t.there = need_memory(calloc(deeds->count + 1, sizeof *t.there));
    bool well = gather(&t) && judge(&t, power_cut, ret);
    free_history(&t.history);
    free(t.fates);
    free(t.block);
    free(t.missing);
    free(t.there);
    memcpy(deeds->base, deeds->found, deeds->sectors * sizeof *deeds->base);
    deeds->count = 0;
    return well;
}
