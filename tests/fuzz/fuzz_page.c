/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_page.c - packed map pages. Whatever is unpacked, no byte outside is read or written, and what
 * is taken for a page packs to the same bytes. A page that is packed unpacks to itself.
 *
 *   byte 0: bit 0 the rest is a page (repeated to its length), else a payload; bit 1 the payload's
 *           length is made what its header says, as far as 4096 bytes go.
 */
#include "tests/fuzz/support/fuzz.h"

#include <stdlib.h>

#include "common/store/page.h"

static void there_and_back(const uint8_t *data, size_t len)
{
    briq_le64 *words = malloc(BRIQ_PAGE_BYTES);
    uint8_t packed[BRIQ_PAGE_BYTES], *page = malloc(BRIQ_PAGE_BYTES);
    BRIQ_ASSERT(words != NULL && page != NULL);
    for (size_t i = 0; i < BRIQ_PAGE_BYTES; i++)
        ((uint8_t *)words)[i] = len == 0 ? 0 : data[i % len];
    uint32_t n = briq_page_pack(words, packed);
    BRIQ_ASSERT(n < BRIQ_PAGE_BYTES);
    BRIQ_ASSERT(n == 0 || briq_page_unpack(packed, n, page));
    BRIQ_ASSERT(n == 0 || memcmp(words, page, BRIQ_PAGE_BYTES) == 0);
    free(words);
    free(page);
}

/* The length that the header asks for, however little of it there is. */
static size_t length_told(const uint8_t *data, size_t len)
{
    struct briq_fmt_page header;
    if (len < sizeof header)
        return len;
    memcpy(&header, data, sizeof header);
    size_t used = briq_le16_get(header.used) % (BRIQ_PAGE_WORDS + 1);
    size_t width = (size_t)__builtin_popcountll(briq_le64_get(header.vary));
    return sizeof header + (used < BRIQ_PAGE_WORDS ? BRIQ_PAGE_WORDS / 8 : 0) +
           (used * width + 7) / 8;
}

static void from_medium(const uint8_t *data, size_t len, bool fit)
{
    size_t told = fit ? length_told(data, len) : len;
    told = told > BRIQ_PAGE_BYTES ? BRIQ_PAGE_BYTES : told;
    /* In buffers of exactly the right size, so that a step outside is seen. */
    uint8_t *src = calloc(1, told + (told == 0)), *page = malloc(BRIQ_PAGE_BYTES);
    briq_le64 words[BRIQ_PAGE_WORDS];
    uint8_t again[BRIQ_PAGE_BYTES];
    BRIQ_ASSERT(src != NULL && page != NULL);
    if (len > 0)
        memcpy(src, data, len < told ? len : told);
    if (briq_page_unpack(src, (uint32_t)told, page)) {
        memcpy(words, page, sizeof words);
        BRIQ_ASSERT(briq_page_pack(words, again) == told);
        BRIQ_ASSERT(memcmp(src, again, told) == 0);
    }
    free(src);
    free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    uint64_t how = fuzz_number(&in, 1);
    if ((how & 1) != 0)
        there_and_back(in.at, in.left);
    else
        from_medium(in.at, in.left, (how & 2) != 0);
    return 0;
}
