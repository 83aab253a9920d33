/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_page.c - packed map pages: every page comes back as it was, nothing is longer than is
 * promised, and no bytes but those that a page packs to are taken for one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/store/codec.h"
#include "common/store/page.h"
#include "common/store/word.h"

#define ROUNDS 3000u
#define GUARD  0xa5

struct page {
    briq_le64 words[BRIQ_PAGE_WORDS];
};

static uint64_t seed(void)
{
    const char *text = getenv("BRIQ_SEED");
    return text != NULL ? strtoull(text, NULL, 0) : 1;
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* A word as a volume of so many granules has them. */
static briq_word any_word(struct briq_prng *prng, uint64_t granule_end, bool fills)
{
    switch (briq_prng_below(prng, 16)) {
    case 0:
        return fills ? briq_word_fill((uint32_t)briq_prng_next(prng)) : BRIQ_WORD_HOLE;
    case 1:
        return BRIQ_WORD_ZERO;
    default:
        return briq_word_data(briq_prng_below(prng, granule_end),
                              1 + (uint32_t)briq_prng_below(prng, BRIQ_EXTENT_GRANULES_MAX));
    }
}

/* `percent` of the words are there. */
static void make_map_page(struct briq_prng *prng, uint64_t granule_end, unsigned percent,
                          struct page *ret)
{
    bool fills = briq_prng_below(prng, 2) == 0;
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++)
        if (briq_prng_below(prng, 100) < percent)
            ret->words[i] = briq_le64_of(any_word(prng, granule_end, fills));
}

/* Any bits of `vary` over `base`, which need not be a map word. */
static void make_page(struct briq_prng *prng, uint64_t vary, uint64_t base, unsigned percent,
                      struct page *ret)
{
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++)
        if (briq_prng_below(prng, 100) < percent)
            ret->words[i] = briq_le64_of(base | (briq_prng_next(prng) & vary));
}

static unsigned any_percent(struct briq_prng *prng)
{
    static const unsigned percents[] = {0, 1, 10, 50, 99, 100, 100, 100};
    return percents[briq_prng_below(prng, BRIQ_COUNT_OF(percents))];
}

/* Packs into bytes of exactly the right length, so that a step outside is seen. */
static uint8_t *packed(const struct page *page, uint32_t *ret_len)
{
    uint8_t room[BRIQ_PAGE_BYTES + 16];
    memset(room, GUARD, sizeof room);
    *ret_len = briq_page_pack(page->words, room);
    assert_true(*ret_len < BRIQ_PAGE_BYTES);
    for (size_t i = *ret_len == 0 ? BRIQ_PAGE_BYTES : *ret_len; i < sizeof room; i++)
        assert_int_equal(room[i], GUARD);
    uint8_t *bytes = malloc(*ret_len == 0 ? 1 : *ret_len);
    assert_non_null(bytes);
    memcpy(bytes, room, *ret_len);
    return bytes;
}

static uint32_t expect_back(const struct page *page)
{
    uint32_t len;
    struct page back;
    uint8_t *bytes = packed(page, &len);
    if (len != 0) {
        memset(&back, GUARD, sizeof back);
        assert_true(briq_page_unpack(bytes, len, (uint8_t *)&back));
        assert_memory_equal(page, &back, sizeof back);
    }
    free(bytes);
    return len;
}

/* ---- there and back -------------------------------------------------------------------------- */

static void pages_of_map_words_come_back(void **state)
{
    struct briq_prng prng = {.state = seed()};
    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct page page;
        uint64_t end = UINT64_C(1) << (10 + briq_prng_below(&prng, 34));
        uint64_t granules = end / 2 + 1 + briq_prng_below(&prng, end / 2);
        make_map_page(&prng, granules, any_percent(&prng), &page);
        uint32_t len = expect_back(&page), most = briq_page_bytes_max(granules);
        assert_true(len != 0 || most == BRIQ_PAGE_BYTES);
        assert_true(len <= most);
    }
}

static void any_pages_come_back(void **state)
{
    struct briq_prng prng = {.state = seed()};
    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct page page;
        /* Few bits, many, in long runs and short ones. */
        uint64_t vary = briq_prng_next(&prng);
        for (uint64_t n = briq_prng_below(&prng, 5); n > 0; n--)
            vary = n % 2 == 0 ? vary & briq_prng_next(&prng) : vary | vary >> 1;
        if (i % 3 == 0)
            vary = UINT64_MAX >> briq_prng_below(&prng, 64);
        make_page(&prng, vary, briq_prng_next(&prng) & ~vary, any_percent(&prng), &page);
        (void)expect_back(&page);
    }
}

static void every_width_comes_back(void **state)
{
    struct briq_prng prng = {.state = seed()};
    (void)state;
    for (unsigned width = 0; width <= 64; width++)
        for (unsigned shift = 0; shift + width <= 64; shift++) {
            struct page page;
            uint64_t vary = width == 0 ? 0 : UINT64_MAX >> (64 - width) << shift;
            make_page(&prng, vary, ~vary & (UINT64_C(1) << (shift + width) % 64), 100, &page);
            uint32_t len = expect_back(&page);
            assert_true(width < 63 ? len != 0 : true);
        }
}

/* ---- lengths --------------------------------------------------------------------------------- */

static void pages_take_no_more_than_their_words_differ(void **state)
{
    struct briq_prng prng = {.state = seed()};
    struct page page;
    (void)state;
    /* A volume of 1 GiB: 26 bits of place, 8 of length. */
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++)
        page.words[i] = briq_le64_of(briq_word_data(briq_prng_below(&prng, UINT64_C(1) << 26),
                                                    1 + (uint32_t)briq_prng_below(&prng, 256)));
    assert_int_equal(expect_back(&page), 24 + 512 * 34 / 8);

    memset(&page, 0, sizeof page);
    page.words[77] = briq_le64_of(briq_word_data(123456, 70));
    assert_int_equal(expect_back(&page), 24 + 64); /* one block */
    for (unsigned i = 0; i < BRIQ_PAGE_WORDS; i++)
        page.words[i] = briq_le64_of(BRIQ_WORD_ZERO);
    assert_int_equal(expect_back(&page), 24);
    make_page(&prng, UINT64_MAX, 0, 100, &page);
    assert_int_equal(expect_back(&page), 0); /* nothing to gain */
}

static void the_longest_page_of_a_volume_is_known(void **state)
{
    (void)state;
    uint32_t before = 0;
    for (unsigned bits = 1; bits <= 44; bits++) {
        /* All bits of a type, a length and a place or pattern, in all words but one hole. */
        struct page page = {0};
        uint64_t end = UINT64_C(1) << bits;
        for (unsigned i = 1; i < BRIQ_PAGE_WORDS; i++)
            page.words[i] =
                briq_le64_of(i % 2 == 0 ? briq_word_data(end - 1, i % 4 == 0 ? 257 : 256)
                                        : briq_word_fill(i % 4 == 1 ? 0 : UINT32_MAX));
        page.words[1] = briq_le64_of(BRIQ_WORD_ZERO);
        uint32_t len = expect_back(&page), most = briq_page_bytes_max(end - 1);
        assert_int_equal(len, most);
        assert_true(most >= before && most < BRIQ_PAGE_BYTES);
        before = most;
    }
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* Either no page, or one whose packed form these bytes are. */
static void expect_refused_or_right(const uint8_t *bytes, uint32_t len)
{
    struct page page;
    uint8_t again[BRIQ_PAGE_BYTES];
    if (!briq_page_unpack(bytes, len, (uint8_t *)&page))
        return;
    assert_int_equal(briq_page_pack(page.words, again), len);
    assert_memory_equal(bytes, again, len);
}

static void damage(const struct page *page)
{
    uint32_t len;
    struct page back;
    uint8_t *bytes = packed(page, &len);
    assert_true(len != 0);
    for (uint32_t at = 0; at < len; at++)
        for (unsigned flip = 1; flip < 256; flip += at < 24 ? 1 : 37) {
            bytes[at] ^= (uint8_t)flip;
            expect_refused_or_right(bytes, len);
            bytes[at] ^= (uint8_t)flip;
        }
    for (uint32_t cut = 0; cut < len; cut++) {
        uint8_t *shorter = malloc(cut == 0 ? 1 : cut);
        assert_non_null(shorter);
        memcpy(shorter, bytes, cut);
        assert_false(briq_page_unpack(shorter, cut, (uint8_t *)&back));
        free(shorter);
    }
    for (uint32_t more = 1; more <= 64 && len + more < BRIQ_PAGE_BYTES; more++) {
        uint8_t *longer = calloc(1, len + more);
        assert_non_null(longer);
        memcpy(longer, bytes, len);
        assert_false(briq_page_unpack(longer, len + more, (uint8_t *)&back));
        free(longer);
    }
    free(bytes);
}

static void damaged_pages_are_refused(void **state)
{
    static const unsigned percents[] = {0, 1, 30, 100};
    struct briq_prng prng = {.state = seed()};
    (void)state;
    for (unsigned i = 0; i < BRIQ_COUNT_OF(percents); i++) {
        struct page page;
        make_map_page(&prng, 5000000, percents[i], &page);
        damage(&page);
        make_page(&prng, UINT64_C(0xff00f3), UINT64_C(1) << 40, percents[i], &page);
        damage(&page);
    }
}

static void random_bytes_are_refused(void **state)
{
    struct briq_prng prng = {.state = seed()};
    (void)state;
    for (unsigned i = 0; i < 20 * ROUNDS; i++) {
        uint8_t bytes[BRIQ_PAGE_BYTES];
        uint32_t len = (uint32_t)briq_prng_below(&prng, sizeof bytes + 1);
        for (uint32_t at = 0; at < len; at += 8) {
            uint64_t word = briq_prng_next(&prng) & briq_prng_next(&prng) & briq_prng_next(&prng);
            memcpy(bytes + at, &word, len - at < 8 ? len - at : 8);
        }
        expect_refused_or_right(bytes, len);
    }
}

/* Only a map page may be packed: no block and no page above. */
static void packed_extents_are_map_pages(void **state)
{
    struct briq_prng prng = {.state = seed()};
    struct page page;
    uint8_t extent[BRIQ_PAGE_BYTES], back[BRIQ_PAGE_BYTES];
    uint32_t len;
    (void)state;
    make_map_page(&prng, 100000, 100, &page);
    uint8_t *bytes = packed(&page, &len);
    struct briq_payload payload = {
        .kind = BRIQ_PAYLOAD_EXTENT,
        .codec = BRIQ_CODEC_PACKED,
        .len = len,
        .granules = briq_extent_granules(len),
        .bytes = bytes,
        .hash = briq_payload_hash(bytes, len),
    };
    for (unsigned type = 0; type <= BRIQ_REC_SEG_ROOT; type++) {
        uint64_t tag = briq_meta_tag((enum briq_record_type)type, 5);
        (void)briq_extent_write(extent, &payload, tag, 7);
        int r = briq_extent_read(extent, payload.granules, tag, 7, back);
        assert_true((r == 0) == (type == BRIQ_REC_MAP_PAGE));
        assert_int_equal(briq_extent_read(extent, payload.granules, tag, 7, NULL), r);
        assert_true(r < 0 || memcmp(back, &page, sizeof page) == 0);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_map_words_come_back),
        cmocka_unit_test(any_pages_come_back),
        cmocka_unit_test(every_width_comes_back),
        cmocka_unit_test(pages_take_no_more_than_their_words_differ),
        cmocka_unit_test(the_longest_page_of_a_volume_is_known),
        cmocka_unit_test(damaged_pages_are_refused),
        cmocka_unit_test(random_bytes_are_refused),
        cmocka_unit_test(packed_extents_are_map_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
