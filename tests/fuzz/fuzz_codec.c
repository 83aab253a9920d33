/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_codec.c - extents. What comes from a medium is refused, or is what its check says, and
 * decoding never touches a byte outside its buffers, whatever the payload is: LZ4 data with a right
 * check is decoded too. A block that is encoded decodes to itself.
 *
 *   byte 0: bit 0 the rest is a block (repeated to its length), else the rest is a payload; bit 1
 * its check is made right; bit 2 raw; bits 3-4 granules more than the payload needs, bit 5 two
 * less; bit 6 also as an extent of a memory volume; bit 7 a raw payload is as long as the input.
 */
#include "tests/fuzz/support/fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/store/codec.h"

#define TAG UINT64_C(0x123456)
#define USE (UINT64_C(7) << 32 | 3)

/* In buffers of exactly the right size, so that a step outside is seen. */
struct extent {
    uint8_t *bytes;
    uint32_t granules;
};

static struct extent extent_new(uint32_t granules)
{
    struct extent e = {calloc(granules, BRIQ_GRANULE_BYTES), granules};
    BRIQ_ASSERT(e.bytes != NULL);
    return e;
}

/* ---- a block there and back --------------------------------------------------------------------
 */

static void expect_block(const struct briq_payload *payload, const uint8_t *block, uint8_t *decoded)
{
    if (payload->kind != BRIQ_PAYLOAD_EXTENT) {
        briq_fill_block(decoded, payload->kind == BRIQ_PAYLOAD_ZERO ? 0 : payload->pattern);
        BRIQ_ASSERT(memcmp(decoded, block, BRIQ_BLOCK_SIZE) == 0);
        return;
    }
    BRIQ_ASSERT(payload->granules <= BRIQ_EXTENT_GRANULES_MAX);
    struct extent e = extent_new(payload->granules);
    (void)briq_extent_write(e.bytes, payload, TAG, USE);
    BRIQ_ASSERT(briq_extent_read(e.bytes, e.granules, TAG, USE, decoded) == 0);
    BRIQ_ASSERT(memcmp(decoded, block, BRIQ_BLOCK_SIZE) == 0);
    BRIQ_ASSERT(briq_extent_read(e.bytes, e.granules, TAG + 1, USE, decoded) == -EBADMSG);
    BRIQ_ASSERT(briq_extent_read(e.bytes, e.granules, TAG, USE + 1, decoded) == -EBADMSG);

    uint64_t number;
    struct briq_payload parsed;
    briq_ram_extent_write(e.bytes, payload, TAG);
    BRIQ_ASSERT(briq_ram_extent_read(e.bytes, e.granules, decoded) == 0);
    BRIQ_ASSERT(memcmp(decoded, block, BRIQ_BLOCK_SIZE) == 0);
    BRIQ_ASSERT(briq_ram_extent_parse(e.bytes, &number, &parsed));
    BRIQ_ASSERT(number == TAG && parsed.granules == payload->granules);
    free(e.bytes);
}

static void there_and_back(struct briq_codec *codec, const uint8_t *data, size_t len)
{
    uint8_t *block = malloc(BRIQ_BLOCK_SIZE), *decoded = malloc(BRIQ_BLOCK_SIZE);
    struct briq_payload payload;
    BRIQ_ASSERT(block != NULL && decoded != NULL);
    for (size_t i = 0; i < BRIQ_BLOCK_SIZE; i++)
        block[i] = len == 0 ? 0 : data[i % len];
    briq_codec_encode(codec, block, &payload);
    expect_block(&payload, block, decoded);
    free(block);
    free(decoded);
}

/* ---- anything as an extent ---------------------------------------------------------------------
 */

static void from_memory_volume(const struct extent *e, uint8_t *decoded)
{
    struct briq_fmt_extent header;
    memcpy(&header, e->bytes, sizeof header);
    uint64_t raw = TAG | (uint64_t)briq_le16_get(header.len) << 40 | (uint64_t)header.codec << 56;
    memcpy(e->bytes, &raw, sizeof raw);
    /* Only a raw payload may be shorter than it says: memory volumes are never given such. */
    if (header.codec == BRIQ_CODEC_LZ4)
        BRIQ_ASSERT(briq_ram_extent_read(e->bytes, e->granules, decoded) <= 0);
}

static void read_extent(struct extent *e, bool seal, uint8_t *decoded)
{
    struct briq_fmt_extent header;
    memcpy(&header, e->bytes, sizeof header);
    uint32_t len = briq_le16_get(header.len);
    bool fits = len + BRIQ_EXTENT_HEADER_BYTES <= e->granules * BRIQ_GRANULE_BYTES;
    uint64_t hash = fits ? briq_payload_hash(e->bytes + BRIQ_EXTENT_HEADER_BYTES, len) : 0;
    uint32_t check = briq_extent_check(hash, TAG, USE);
    if (seal) {
        header.check = briq_le32_of(check);
        memcpy(e->bytes, &header, sizeof header);
    }
    struct briq_payload payload;
    int r = briq_extent_read(e->bytes, e->granules, TAG, USE, decoded);
    int parsed = briq_extent_parse(e->bytes, e->granules, TAG, USE, &payload);
    BRIQ_ASSERT(r == 0 || r == -EBADMSG);
    BRIQ_ASSERT(r < 0 || (fits && briq_le32_get(header.check) == check));
    BRIQ_ASSERT(r < 0 || parsed == 0);
    BRIQ_ASSERT(parsed < 0 || (payload.len == len && payload.granules == e->granules));
    BRIQ_ASSERT(briq_extent_read(e->bytes, e->granules, TAG, USE, NULL) == parsed);
}

static void from_medium(uint64_t how, const uint8_t *data, size_t len)
{
    uint8_t *decoded = malloc(BRIQ_BLOCK_SIZE);
    BRIQ_ASSERT(decoded != NULL);
    bool raw = (how & 4) != 0;
    len = len > BRIQ_BLOCK_SIZE ? BRIQ_BLOCK_SIZE : len;
    /* A raw payload is short only when it is wrong: bit 7. */
    uint32_t claimed = raw && (how & 0x80) == 0 ? BRIQ_BLOCK_SIZE : (uint32_t)len;
    uint32_t granules = briq_extent_granules(claimed) + (uint32_t)(how >> 3 & 3);
    granules -= (how & 0x20) != 0 && granules > 2 ? 2 : 0;
    struct extent e = extent_new(granules);
    struct briq_fmt_extent header = {.len = briq_le16_of((uint16_t)claimed),
                                     .codec = raw ? BRIQ_CODEC_RAW : BRIQ_CODEC_LZ4};
    size_t room = granules * BRIQ_GRANULE_BYTES - sizeof header;
    memcpy(e.bytes, &header, sizeof header);
    if (len > 0)
        memcpy(e.bytes + sizeof header, data, len < room ? len : room);
    read_extent(&e, (how & 2) != 0, decoded);
    if ((how & 0x40) != 0)
        from_memory_volume(&e, decoded);
    free(e.bytes);
    free(decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct briq_codec codec;
    if (codec.state == NULL)
        BRIQ_ASSERT(briq_codec_init(&codec, 1, true) == 0);
    struct fuzz_input in = {data, size};
    uint64_t how = fuzz_number(&in, 1);
    if ((how & 1) != 0)
        there_and_back(&codec, in.at, in.left);
    else
        from_medium(how, in.at, in.left);
    return 0;
}
