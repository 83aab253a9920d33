/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page.c - see page.h. The bits that vary in a page lie in a few runs (the place, the length, the
 * type), so that a word is taken apart and put together by a shift and a mask for each run.
 */
#include "common/store/page.h"

#include <string.h>

#define WORD_BITS  64u
#define RUNS_MAX   (WORD_BITS / 2)
#define USED_BYTES (BRIQ_PAGE_WORDS / 8) /* a bit for each word: it is not zero */

/* Of a valid map word, besides a place or a pattern: two bits of type, nine of length. */
#define TYPE_AND_LENGTH_BITS 11u
#define PATTERN_BITS         32u

/* What the header says of a page, and what follows from it. */
struct shape {
    uint64_t vary, base;
    uint32_t used;  /* words that are not zero */
    uint32_t width; /* packed bits of a word */
    uint32_t bits_at, len;
};

/* Bits `from` and on, as far as `mask` has ones, are bits `to` and on of the packed word. */
struct run {
    unsigned from, to;
    uint64_t mask;
};

struct runs {
    unsigned count;
    struct run run[RUNS_MAX];
};

static void shape_finish(struct shape *s)
{
    s->width = (uint32_t)__builtin_popcountll(s->vary);
    s->bits_at = (uint32_t)sizeof(struct briq_fmt_page);
    if (s->used < BRIQ_PAGE_WORDS)
        s->bits_at += USED_BYTES;
    s->len = s->bits_at + (s->used * s->width + 7) / 8;
}

static void find_runs(uint64_t vary, struct runs *ret)
{
    unsigned to = 0;
    ret->count = 0;
    for (unsigned from = 0; from < WORD_BITS && vary >> from != 0;) {
        from += (unsigned)__builtin_ctzll(vary >> from);
        uint64_t rest = ~(vary >> from);
        unsigned bits = rest == 0 ? WORD_BITS : (unsigned)__builtin_ctzll(rest);
        ret->run[ret->count++] = (struct run){from, to, UINT64_MAX >> (WORD_BITS - bits)};
        from += bits;
        to += bits;
    }
}

/* ---- packing --------------------------------------------------------------------------------- */

static void measure(const briq_le64 *words, struct shape *ret)
{
    uint64_t any = 0, all = UINT64_MAX;
    uint32_t used = 0;
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++) {
        uint64_t word = briq_le64_get(words[i]);
        any |= word;
        all &= word == 0 ? UINT64_MAX : word;
        used += word != 0;
    }
    all &= any; /* a page of zeros has none */
    *ret = (struct shape){.vary = any ^ all, .base = all, .used = used};
    shape_finish(ret);
}

static void put_header(const struct shape *s, const briq_le64 *words, uint8_t *dst)
{
    struct briq_fmt_page header = {
        .vary = briq_le64_of(s->vary),
        .base = briq_le64_of(s->base),
        .used = briq_le16_of((uint16_t)s->used),
    };
    memcpy(dst, &header, sizeof header);
    if (s->used == BRIQ_PAGE_WORDS)
        return;
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i += 8) {
        unsigned bits = 0;
        for (unsigned k = 0; k < 8; k++)
            bits |= (unsigned)(briq_le64_get(words[i + k]) != 0) << k;
        dst[sizeof header + i / 8] = (uint8_t)bits;
    }
}

static uint64_t take_apart(uint64_t word, const struct runs *runs)
{
    uint64_t packed = 0;
    for (unsigned i = 0; i < runs->count; i++)
        packed |= (word >> runs->run[i].from & runs->run[i].mask) << runs->run[i].to;
    return packed;
}

static void put_words(const struct shape *s, const briq_le64 *words, uint8_t *dst)
{
    struct runs runs;
    uint64_t filling = 0;
    unsigned bits = 0;
    find_runs(s->vary, &runs);
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++) {
        uint64_t word = briq_le64_get(words[i]);
        if (word == 0)
            continue;
        uint64_t packed = take_apart(word, &runs);
        filling |= packed << bits;
        bits += s->width;
        if (bits < WORD_BITS)
            continue;
        briq_le64 full = briq_le64_of(filling);
        memcpy(dst, &full, sizeof full);
        dst += sizeof full;
        bits -= WORD_BITS;
        /* What did not fit; the width is below 64 here, so the shift is too. */
        filling = bits == 0 ? 0 : packed >> (s->width - bits);
    }
    briq_le64 rest = briq_le64_of(filling);
    memcpy(dst, &rest, (bits + 7) / 8);
}

uint32_t briq_page_pack(const briq_le64 *words, uint8_t *dst)
{
    struct shape s;
    measure(words, &s);
    if (s.len >= BRIQ_PAGE_BYTES)
        return 0;
    put_header(&s, words, dst);
    put_words(&s, words, dst + s.bits_at);
    return s.len;
}

/* ---- unpacking ------------------------------------------------------------------------------- */

/* Everything that can be told before the words are looked at. */
static bool get_shape(const uint8_t *src, uint32_t len, struct shape *ret)
{
    struct briq_fmt_page header;
    if (len < sizeof header || len >= BRIQ_PAGE_BYTES)
        return false;
    memcpy(&header, src, sizeof header);
    *ret = (struct shape){
        .vary = briq_le64_get(header.vary),
        .base = briq_le64_get(header.base),
        .used = briq_le16_get(header.used),
    };
    for (unsigned i = 0; i < BRIQ_COUNT_OF(header.reserved); i++)
        if (briq_le16_get(header.reserved[i]) != 0)
            return false;
    if (ret->used > BRIQ_PAGE_WORDS || (ret->base & ret->vary) != 0)
        return false;
    shape_finish(ret);
    return ret->len == len;
}

/* Which words are not zero: USED_BYTES at ret. False when they are not as many as the header says.
 */
static bool get_used(const struct shape *s, const uint8_t *src, uint8_t *ret)
{
    if (s->used == BRIQ_PAGE_WORDS) {
        memset(ret, 0xff, USED_BYTES);
        return true;
    }
    uint32_t used = 0;
    memcpy(ret, src + sizeof(struct briq_fmt_page), USED_BYTES);
    for (unsigned i = 0; i < USED_BYTES; i++)
        used += (uint32_t)__builtin_popcount(ret[i]);
    return used == s->used;
}

static uint64_t put_together(uint64_t packed, const struct shape *s, const struct runs *runs)
{
    uint64_t word = s->base;
    for (unsigned i = 0; i < runs->count; i++)
        word |= (packed >> runs->run[i].to & runs->run[i].mask) << runs->run[i].from;
    return word;
}

/* The 64 bits from bit `at` on; nine bytes from at / 8 on are there. */
static uint64_t bits_from(const uint8_t *bits, uint32_t at)
{
    briq_le64 low;
    memcpy(&low, bits + at / 8, sizeof low);
    uint64_t high = bits[at / 8 + sizeof low];
    return at % 8 == 0 ? briq_le64_get(low)
                       : briq_le64_get(low) >> at % 8 | high << (WORD_BITS - at % 8);
}

/* The words, of which each is other than zero and all together vary as the header says. */
static bool get_words(const struct shape *s, const uint8_t *used, const uint8_t *bits, uint8_t *dst)
{
    struct runs runs;
    uint64_t any = 0, all = UINT64_MAX;
    uint32_t at = 0;
    bool sound = true;
    find_runs(s->vary, &runs);
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++) {
        uint64_t word = 0;
        if ((used[i / 8] >> i % 8 & 1) != 0) {
            word = put_together(bits_from(bits, at), s, &runs);
            at += s->width;
            any |= word;
            all &= word;
            sound = sound && word != 0;
        }
        briq_le64 raw = briq_le64_of(word);
        memcpy(dst + i * sizeof raw, &raw, sizeof raw);
    }
    all &= any;
    return sound && all == s->base && (any ^ all) == s->vary;
}

bool briq_page_unpack(const uint8_t *src, uint32_t len, uint8_t *dst)
{
    struct shape s;
    uint8_t used[USED_BYTES];
    uint8_t bits[BRIQ_PAGE_BYTES + 2 * sizeof(uint64_t)];
    if (!get_shape(src, len, &s) || !get_used(&s, src, used))
        return false;
    uint32_t bytes = s.len - s.bits_at, tail = s.used * s.width % 8;
    if (tail != 0 && src[len - 1] >> tail != 0)
        return false; /* unused bits of the last byte */
    memcpy(bits, src + s.bits_at, bytes);
    memset(bits + bytes, 0, 2 * sizeof(uint64_t));
    return get_words(&s, used, bits, dst);
}

/* ---- the most it takes ----------------------------------------------------------------------- */

uint32_t briq_page_bytes_max(uint64_t granule_end)
{
    uint32_t place = WORD_BITS - (uint32_t)__builtin_clzll(granule_end);
    struct shape most = {.used = BRIQ_PAGE_WORDS - 1}; /* that many still need to be told apart */
    uint32_t width = TYPE_AND_LENGTH_BITS + (place > PATTERN_BITS ? place : PATTERN_BITS);
    most.vary = UINT64_MAX >> (WORD_BITS - width);
    shape_finish(&most);
    return most.len < BRIQ_PAGE_BYTES ? most.len : BRIQ_PAGE_BYTES;
}
