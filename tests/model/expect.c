/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/model/expect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"

#define SHOWN_BYTES 16u

void expect_init(struct expect *expect, struct report *report, uint64_t base, uint64_t size,
                 uint64_t size_max)
{
    uint64_t blocks = briq_div_up(size_max, TEST_BLOCK_BYTES);
    *expect = (struct expect){.report = report, .base = base, .size = size, .size_max = size_max};
    expect->bytes = calloc(blocks, TEST_BLOCK_BYTES);
    expect->types = malloc(blocks);
    if (expect->bytes == NULL || expect->types == NULL)
        report_fail(report, "the test itself is out of memory");
    memset(expect->types, 1u << BRIQ_EXTENT_HOLE, blocks);
}

void expect_fini(struct expect *expect)
{
    free(expect->bytes);
    free(expect->types);
    *expect = (struct expect){0};
}

void expect_blocks(const struct expect *expect, uint64_t off, uint64_t len, uint64_t *ret_first,
                   uint64_t *ret_end)
{
    uint64_t from = off - expect->base;
    *ret_first = from / TEST_BLOCK_BYTES;
    *ret_end = len == 0 ? *ret_first : briq_div_up(from + len, TEST_BLOCK_BYTES);
}

static enum test_effect_kind effect_kind(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_WRITE:
        return TEST_EFFECT_WRITE;
    case REQUEST_TRIM:
        return TEST_EFFECT_TRIM;
    case REQUEST_ZERO:
        return TEST_EFFECT_ZERO;
    default:
        return TEST_EFFECT_READ;
    }
}

struct test_effect expect_effect(const struct expect *expect, const struct request *request,
                                 uint64_t block, const uint8_t *data, bool failed)
{
    uint64_t start = expect->base + block * TEST_BLOCK_BYTES;
    uint64_t lo = briq_max_u64(request->off, start);
    uint64_t hi = briq_min_u64(request->off + request->len, start + TEST_BLOCK_BYTES);
    uint64_t valid = briq_min_u64(TEST_BLOCK_BYTES, expect->base + expect->size - start);
    enum test_effect_kind kind = effect_kind(request->kind);
    bool carries = kind == TEST_EFFECT_READ || kind == TEST_EFFECT_WRITE;
    return (struct test_effect){
        .kind = kind,
        .may_trim = (request->flags & BRIQ_OP_MAY_TRIM) != 0,
        .optional = failed,
        .lo = (uint16_t)(lo - start),
        .hi = (uint16_t)(hi - start),
        .valid = (uint16_t)valid,
        .data = carries ? data + (lo - request->off) : NULL,
    };
}

struct test_block expect_get(const struct expect *expect, uint64_t block)
{
    return (struct test_block){.bytes = expect->bytes + block * TEST_BLOCK_BYTES,
                               .types = expect->types[block]};
}

void expect_put(struct expect *expect, uint64_t block, struct test_block view)
{
    expect->types[block] = view.types;
}

static void hex(char *text, size_t text_len, const uint8_t *bytes, size_t len)
{
    text[0] = '\0';
    for (size_t i = 0, used = 0; i < len && used + 4 < text_len; i++)
        used += (size_t)snprintf(text + used, text_len - used, "%02x ", bytes[i]);
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t i = 0;
    while (i < len && a[i] == b[i])
        i++;
    return i;
}

void expect_check_block(const struct expect *expect, const struct request *request, uint64_t block,
                        const struct test_effect *effect)
{
    struct test_block view = expect_get(expect, block);
    if (test_effect_agrees(effect, &view))
        return;

    size_t len = effect->hi - effect->lo;
    const uint8_t *want = view.bytes + effect->lo;
    size_t at = first_difference(want, effect->data, len);
    size_t shown = briq_min_u64(SHOWN_BYTES, len - at);
    char want_text[3 * SHOWN_BYTES + 4], got_text[3 * SHOWN_BYTES + 4];
    hex(want_text, sizeof want_text, want + at, shown);
    hex(got_text, sizeof got_text, effect->data + at, shown);
    report_fail(expect->report,
                "op %" PRIu64 " (%s offset %" PRIu64 " length %" PRIu64
                "): wrong bytes at offset %" PRIu64 " (block %" PRIu64 "+%zu)\n"
                "  expected %s\n  got      %s",
                request->number, request_name(request->kind), request->off, request->len,
                expect->base + block * TEST_BLOCK_BYTES + effect->lo + at,
                expect->base / TEST_BLOCK_BYTES + block, effect->lo + at, want_text, got_text);
}

void expect_check_read(const struct expect *expect, const struct request *request,
                       const uint8_t *data)
{
    uint64_t first, end;
    expect_blocks(expect, request->off, request->len, &first, &end);
    for (uint64_t block = first; block < end; block++) {
        struct test_effect effect = expect_effect(expect, request, block, data, false);
        expect_check_block(expect, request, block, &effect);
    }
}

static void check_extent(const struct expect *expect, const struct request *request, uint64_t off,
                         struct briq_extent extent, bool (*unsure)(void *opaque, uint64_t block),
                         void *opaque)
{
    static const char *const names[] = {"data", "zero", "hole"};
    uint64_t first, end;
    expect_blocks(expect, off, extent.len_bytes, &first, &end);
    for (uint64_t block = first; block < end; block++) {
        if (unsure != NULL && unsure(opaque, block))
            continue;
        if (!(expect->types[block] & (1u << extent.type)))
            report_fail(expect->report,
                        "op %" PRIu64 " (status offset %" PRIu64 " length %" PRIu64
                        "): block %" PRIu64 " is reported as %s; possible are%s%s%s",
                        request->number, request->off, request->len,
                        expect->base / TEST_BLOCK_BYTES + block, names[extent.type],
                        expect->types[block] & 1u << BRIQ_EXTENT_DATA ? " data" : "",
                        expect->types[block] & 1u << BRIQ_EXTENT_ZERO ? " zero" : "",
                        expect->types[block] & 1u << BRIQ_EXTENT_HOLE ? " hole" : "");
    }
}

uint64_t expect_check_status(const struct expect *expect, const struct request *request,
                             const struct briq_extent *extents, unsigned count,
                             bool (*unsure)(void *opaque, uint64_t block), void *opaque)
{
    unsigned max = request->flags & BRIQ_OP_ONE ? 1 : request->extents_max;
    if (count == 0 || count > max)
        report_fail(expect->report, "op %" PRIu64 " (status): %u extents, allowed are 1 .. %u",
                    request->number, count, max);
    uint64_t done = 0;
    for (unsigned i = 0; i < count; i++) {
        if (extents[i].len_bytes == 0 || extents[i].len_bytes > request->len - done ||
            extents[i].type > BRIQ_EXTENT_HOLE || (i > 0 && extents[i].type == extents[i - 1].type))
            report_fail(expect->report,
                        "op %" PRIu64 " (status offset %" PRIu64 " length %" PRIu64
                        "): extent %u of %u is malformed: length %" PRIu64 " type %d",
                        request->number, request->off, request->len, i, count, extents[i].len_bytes,
                        (int)extents[i].type);
        check_extent(expect, request, request->off + done, extents[i], unsure, opaque);
        done += extents[i].len_bytes;
    }
    return done;
}
