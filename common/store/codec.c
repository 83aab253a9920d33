/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/codec.h"

#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/store/page.h"
#include "common/store/store.h"

int briq_codec_init(struct briq_codec *codec, unsigned accel, bool hashing)
{
    BRIQ_ASSERT(accel >= 1 && accel <= 64);
    codec->state = malloc((size_t)LZ4_sizeofState());
    codec->accel = accel;
    codec->hashing = hashing;
    return codec->state == NULL ? -ENOMEM : 0;
}

void briq_codec_fini(struct briq_codec *codec)
{
    free(codec->state);
    codec->state = NULL;
}

/* A block repeats its first 4 bytes exactly if it equals itself shifted by 4. Real data differ in
 * the first bytes, so this costs nanoseconds there. */
static bool is_filled(const uint8_t *block)
{
    return memcmp(block, block + 4, 16) == 0 && memcmp(block, block + 4, BRIQ_BLOCK_SIZE - 4) == 0;
}

void briq_codec_encode(struct briq_codec *codec, const uint8_t *block, struct briq_payload *ret)
{
    if (is_filled(block)) {
        memcpy(&ret->pattern, block, sizeof ret->pattern);
        ret->pattern = le32toh(ret->pattern);
        ret->kind = ret->pattern == 0 ? BRIQ_PAYLOAD_ZERO : BRIQ_PAYLOAD_FILL;
        ret->granules = 0;
        return;
    }

    int n =
        LZ4_compress_fast_extState(codec->state, (const char *)block, (char *)codec->out,
                                   BRIQ_BLOCK_SIZE, BRIQ_COMPRESSED_BYTES_MAX, (int)codec->accel);
    ret->kind = BRIQ_PAYLOAD_EXTENT;
    ret->codec = n > 0 ? BRIQ_CODEC_LZ4 : BRIQ_CODEC_RAW;
    ret->bytes = n > 0 ? codec->out : block;
    ret->len = n > 0 ? (uint32_t)n : BRIQ_BLOCK_SIZE;
    ret->granules = briq_extent_granules(ret->len);
    ret->hash = codec->hashing ? briq_payload_hash(ret->bytes, ret->len) : 0;
}

uint64_t briq_payload_hash(const uint8_t *bytes, uint32_t len)
{
    return XXH3_64bits(bytes, len);
}

uint32_t briq_extent_check(uint64_t hash, uint64_t tag, uint64_t segseq)
{
    uint64_t x = hash ^ (tag * UINT64_C(0x9e3779b97f4a7c15)) ^
                 (segseq * UINT64_C(0xc2b2ae3d27d4eb4f) + UINT64_C(0x165667b19e3779f9));
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(x >> 32);
}

static void write_body(uint8_t *dst, const struct briq_payload *payload)
{
    uint32_t used = BRIQ_EXTENT_HEADER_BYTES + payload->len;
    memcpy(dst + BRIQ_EXTENT_HEADER_BYTES, payload->bytes, payload->len);
    memset(dst + used, 0, payload->granules * BRIQ_GRANULE_BYTES - used);
}

uint32_t briq_extent_write(uint8_t *dst, const struct briq_payload *payload, uint64_t tag,
                           uint64_t segseq)
{
    uint32_t check = briq_extent_check(payload->hash, tag, segseq);
    struct briq_fmt_extent header = {
        .check = briq_le32_of(check),
        .len = briq_le16_of((uint16_t)payload->len),
        .codec = (uint8_t)payload->codec,
    };
    memcpy(dst, &header, sizeof header);
    write_body(dst, payload);
    return check;
}

/* The payload length that the header claims, or 0 when it cannot be that of `granules`. */
static uint32_t plausible_len(const struct briq_fmt_extent *header, uint32_t granules, uint64_t tag)
{
    uint32_t len = briq_le16_get(header->len);
    if (header->reserved != 0 || len == 0 || briq_extent_granules(len) != granules)
        return 0;
    if (header->codec == BRIQ_CODEC_RAW)
        return len == BRIQ_BLOCK_SIZE ? len : 0;
    if (header->codec == BRIQ_CODEC_PACKED)
        return briq_tag_is_map_page(tag) && len < BRIQ_PAGE_BYTES ? len : 0;
    return header->codec == BRIQ_CODEC_LZ4 && len <= BRIQ_COMPRESSED_BYTES_MAX ? len : 0;
}

static int decode(const uint8_t *payload, uint32_t len, uint8_t codec, uint8_t *dst)
{
    if (codec == BRIQ_CODEC_RAW) {
        memcpy(dst, payload, BRIQ_BLOCK_SIZE);
        return 0;
    }
    if (BRIQ_UNLIKELY(codec == BRIQ_CODEC_PACKED))
        return briq_page_unpack(payload, len, dst) ? 0 : -EBADMSG;
    int n = LZ4_decompress_safe((const char *)payload, (char *)dst, (int)len, BRIQ_BLOCK_SIZE);
    return n == (int)BRIQ_BLOCK_SIZE ? 0 : -EBADMSG;
}

int briq_extent_parse(const uint8_t *src, uint32_t granules, uint64_t tag, uint64_t segseq,
                      struct briq_payload *ret)
{
    struct briq_fmt_extent header;
    memcpy(&header, src, sizeof header);
    uint32_t len = plausible_len(&header, granules, tag);
    if (BRIQ_UNLIKELY(len == 0))
        return -EBADMSG;

    const uint8_t *payload = src + BRIQ_EXTENT_HEADER_BYTES;
    uint64_t hash = briq_payload_hash(payload, len);
    if (BRIQ_UNLIKELY(briq_extent_check(hash, tag, segseq) != briq_le32_get(header.check)))
        return -EBADMSG;
    *ret = (struct briq_payload){
        .kind = BRIQ_PAYLOAD_EXTENT,
        .codec = (enum briq_codec_id)header.codec,
        .len = len,
        .granules = granules,
        .bytes = payload,
        .hash = hash,
    };
    return 0;
}

int briq_extent_read(const uint8_t *src, uint32_t granules, uint64_t tag, uint64_t segseq,
                     uint8_t *dst)
{
    struct briq_payload payload;
    int r = briq_extent_parse(src, granules, tag, segseq, &payload);
    if (r < 0 || dst == NULL)
        return r;
    return decode(payload.bytes, payload.len, (uint8_t)payload.codec, dst);
}

/*
 * Memory volumes: the 8 header bytes are block:40 | payload bytes:16 | codec:8. Nothing outside
 * this process can change them, so there is no check; a segment is walked from header to header and
 * ends at a header of zero (no extent has a length of zero).
 */
void briq_ram_extent_write(uint8_t *dst, const struct briq_payload *payload, uint64_t block)
{
    uint64_t header = block | (uint64_t)payload->len << 40 | (uint64_t)payload->codec << 56;
    memcpy(dst, &header, sizeof header);
    write_body(dst, payload);
}

int briq_ram_extent_read(const uint8_t *src, uint32_t granules, uint8_t *dst)
{
    uint64_t header;
    memcpy(&header, src, sizeof header);
    uint32_t len = (uint32_t)(header >> 40 & 0xffff);
    if (BRIQ_UNLIKELY(briq_extent_granules(len) != granules))
        return -EBADMSG;
    return decode(src + BRIQ_EXTENT_HEADER_BYTES, len, (uint8_t)(header >> 56), dst);
}

bool briq_ram_extent_parse(const uint8_t *src, uint64_t *ret_block, struct briq_payload *ret)
{
    uint64_t header;
    memcpy(&header, src, sizeof header);
    if (header == 0)
        return false;
    *ret_block = header & ((UINT64_C(1) << 40) - 1);
    uint32_t len = (uint32_t)(header >> 40 & 0xffff);
    *ret = (struct briq_payload){
        .kind = BRIQ_PAYLOAD_EXTENT,
        .codec = (enum briq_codec_id)(header >> 56),
        .len = len,
        .granules = briq_extent_granules(len),
        .bytes = src + BRIQ_EXTENT_HEADER_BYTES,
    };
    return true;
}

void briq_fill_block(uint8_t *dst, uint32_t pattern)
{
    uint32_t le = htole32(pattern);
    for (size_t i = 0; i < BRIQ_BLOCK_SIZE; i += sizeof le)
        memcpy(dst + i, &le, sizeof le);
}

const char *briq_lz4_version(void)
{
    return LZ4_versionString();
}
