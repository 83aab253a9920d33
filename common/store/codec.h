/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * codec.h - from a 4 KiB block to what is stored of it, and back.
 *
 * A block is one of: zero, a repeated 32-bit pattern, or an extent = 8-byte header + LZ4 data (or
 * the raw block, where LZ4 gains less than 12.5 %), padded to 16-byte granules. Metadata pages are
 * extents too; map pages are packed, see page.h.
 *
 * The check in the header hashes the payload together with the block's address and the use of the
 * segment it lies in, so that a write that was lost or went astray is found by the reader, who
 * knows both: an older extent at the same place, or another block's, never passes. In memory
 * volumes the place of the check holds the block's address instead (see codec_ram).
 *
 * Thread: a codec belongs to one thread at a time; the decoders are pure.
 */
#ifndef BRIQ_STORE_CODEC_H
#define BRIQ_STORE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/store/format.h"

#define BRIQ_BLOCK_SIZE 4096u
/* LZ4 must gain 12.5 %, else the block is stored raw: reading it back then costs no decoding. */
#define BRIQ_COMPRESSED_BYTES_MAX 3584u

enum briq_payload_kind {
    BRIQ_PAYLOAD_ZERO,
    BRIQ_PAYLOAD_FILL,
    BRIQ_PAYLOAD_EXTENT,
};

/* What encode found. `bytes` points into the codec or at the block itself: valid until either
 * changes. `hash` is of the payload alone. */
struct briq_payload {
    enum briq_payload_kind kind;
    uint32_t pattern; /* FILL */
    enum briq_codec_id codec;
    uint32_t len;      /* payload bytes without the header */
    uint32_t granules; /* of the whole extent */
    const uint8_t *bytes;
    uint64_t hash;
};

struct briq_codec {
    void *state; /* LZ4's, owned */
    unsigned accel;
    bool hashing; /* false: memory volume, payload hashes are not needed */
    uint8_t out[BRIQ_COMPRESSED_BYTES_MAX];
};

/* Allocates the LZ4 state. accel 1 .. 64. Returns 0 or -ENOMEM. */
int briq_codec_init(struct briq_codec *codec, unsigned accel, bool hashing) BRIQ_MUST;
void briq_codec_fini(struct briq_codec *codec);

/* Compresses one block. Cannot fail. Does not allocate. */
void briq_codec_encode(struct briq_codec *codec, const uint8_t *block, struct briq_payload *ret);

/* `tag` names what the extent belongs to: the block address for data, see briq_meta_tag(). */
uint32_t briq_extent_check(uint64_t hash, uint64_t tag, uint64_t segseq);

/* The hash that briq_codec_encode() computes, of `len` payload bytes. */
uint64_t briq_payload_hash(const uint8_t *bytes, uint32_t len);

/* Writes header, payload and zero padding to dst (payload->granules granules). Returns the check.
 */
uint32_t briq_extent_write(uint8_t *dst, const struct briq_payload *payload, uint64_t tag,
                           uint64_t segseq);

/*
 * Verifies the extent of `granules` granules at src and decodes it to dst (4096 bytes; dst NULL:
 * only verify). Any input bytes are safe. Returns 0 or -EBADMSG, then dst is undefined.
 */
int briq_extent_read(const uint8_t *src, uint32_t granules, uint64_t tag, uint64_t segseq,
                     uint8_t *dst) BRIQ_MUST;

/* Verifies as briq_extent_read() does, and describes the payload in place instead of decoding it.
 */
int briq_extent_parse(const uint8_t *src, uint32_t granules, uint64_t tag, uint64_t segseq,
                      struct briq_payload *ret) BRIQ_MUST;

/* The same for memory volumes: the header names the block and carries no check. */
void briq_ram_extent_write(uint8_t *dst, const struct briq_payload *payload, uint64_t block);
int briq_ram_extent_read(const uint8_t *src, uint32_t granules, uint8_t *dst) BRIQ_MUST;

/* Walks a memory segment: true, the block and the payload of the extent at src; false at its end.
 */
bool briq_ram_extent_parse(const uint8_t *src, uint64_t *ret_block, struct briq_payload *ret);

static inline uint32_t briq_extent_granules(uint32_t payload_bytes)
{
    return (payload_bytes + BRIQ_EXTENT_HEADER_BYTES + BRIQ_GRANULE_BYTES - 1) / BRIQ_GRANULE_BYTES;
}

/* Tags of metadata pages never equal a block address. */
static inline uint64_t briq_meta_tag(enum briq_record_type type, uint64_t index)
{
    return (uint64_t)type << 56 | index;
}

static inline bool briq_tag_is_map_page(uint64_t tag)
{
    return tag >> 56 == BRIQ_REC_MAP_PAGE;
}

/* Fills 4096 bytes with the repeated pattern (host order of the 32-bit value). */
void briq_fill_block(uint8_t *dst, uint32_t pattern);

#endif
