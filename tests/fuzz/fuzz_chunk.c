/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_chunk.c - chunks and records in a segment of 64 KiB, patched as the input says, their
 * checksums made right or not: every record that is taken lies inside its chunk and within the
 * limits of the format, encodes to what it was, and the two ways of going through a segment (walk.h
 * and scan.h) find the same chunks.
 *
 *   byte 0: bit 0 all chunks are sealed after the patches; bits 1-3 how many bytes a header may
 *   reach (0: all); then patches of the whole segment.
 */
#include "tests/fuzz/support/fuzz.h"

#include <stdlib.h>
#include <xxhash.h>

#include "common/store/codec.h"
#include "common/store/scan.h"
#include "common/store/walk.h"

#define SEG          5u
#define SEG_SHIFT    16u
#define SEG_BYTES    (1u << SEG_SHIFT)
#define UUID_LO      UINT64_C(0x6b63756265766977)
#define USE          (UINT64_C(2) << 32 | 9)
#define CHUNKS       4u
#define CHUNKS_MAX   (SEG_BYTES / BRIQ_CHUNK_ALIGN)
#define WINDOW_BYTES (SEG_BYTES / 2)

struct segment {
    uint8_t bytes[SEG_BYTES];
};

/* One record of each type, the ones with payload behind each other. */
static uint32_t make_records(uint8_t *at, unsigned cap, unsigned nrec)
{
    static const enum briq_record_type types[] = {BRIQ_REC_DATA, BRIQ_REC_FILL, BRIQ_REC_TRIM,
                                                  BRIQ_REC_ZERO, BRIQ_REC_MAP_PAGE};
    uint32_t end = briq_chunk_header_bytes(cap);
    for (unsigned i = 0; i < nrec; i++) {
        struct briq_record record = {
            .seq = i + 1, .lba = i * 3, .type = types[i % BRIQ_COUNT_OF(types)], .count = 2};
        if (briq_record_has_payload(record.type)) {
            record.off_granules = end / BRIQ_GRANULE_BYTES;
            record.granules = record.type == BRIQ_REC_DATA ? 20 + i : BRIQ_EXTENT_GRANULES_MAX;
            end += record.granules * BRIQ_GRANULE_BYTES;
        }
        briq_record_encode(&record, at + briq_chunk_header_bytes(i));
    }
    return end;
}

/* Chunks of 8, 20 ... records; the third begins the second window. */
static void make_segment(struct segment *seg)
{
    static const uint32_t offs[CHUNKS] = {0, 12288, WINDOW_BYTES, WINDOW_BYTES + 16384};
    memset(seg, 0, sizeof *seg);
    for (unsigned i = 0; i < CHUNKS; i++) {
        unsigned cap = 8 + 4 * i, nrec = 4 + i;
        uint8_t *at = seg->bytes + offs[i];
        uint32_t end = make_records(at, cap, nrec);
        struct briq_chunk chunk = {
            .cap = (uint16_t)cap,
            .nrec = (uint16_t)nrec,
            .uuid_lo = UUID_LO,
            .incarnation = 2,
            .kind = i % 2 == 0 ? BRIQ_KIND_USER : BRIQ_KIND_META,
            .segseq = USE,
            .seg = SEG,
            .off = offs[i],
            .len = (end + BRIQ_CHUNK_ALIGN - 1) / BRIQ_CHUNK_ALIGN * BRIQ_CHUNK_ALIGN,
            .next_seg = SEG + 1,
        };
        briq_chunk_encode(&chunk, at);
    }
}

static void seal_all(struct segment *seg)
{
    for (uint32_t off = 0; off < SEG_BYTES; off += BRIQ_CHUNK_ALIGN) {
        uint8_t *at = seg->bytes + off;
        struct briq_fmt_chunk header;
        memcpy(&header, at, sizeof header);
        uint32_t nrec = briq_le16_get(header.nrec);
        if (briq_le32_get(header.magic) != BRIQ_CHUNK_MAGIC || nrec > BRIQ_CHUNK_CAP_MAX)
            continue;
        header.xxh64 = briq_le64_of(0);
        uint64_t seed = XXH3_64bits(&header, sizeof header);
        header.xxh64 = briq_le64_of(
            XXH3_64bits_withSeed(at + sizeof header, nrec * sizeof(struct briq_fmt_record), seed));
        memcpy(at, &header, sizeof header);
    }
}

/* ---- what must hold ----------------------------------------------------------------------------
 */

static void expect_record(const struct briq_chunk *chunk, const struct briq_record *record,
                          const uint8_t *raw)
{
    uint8_t again[sizeof(struct briq_fmt_record)];
    BRIQ_ASSERT(record->lba < UINT64_C(1) << 40);
    if (briq_record_has_payload(record->type)) {
        BRIQ_ASSERT(record->granules >= 1 && record->granules <= BRIQ_EXTENT_GRANULES_MAX);
        BRIQ_ASSERT(record->off_granules * 16u >= briq_chunk_header_bytes(chunk->cap));
        BRIQ_ASSERT((record->off_granules + record->granules) * 16u <= chunk->len);
    } else {
        BRIQ_ASSERT(record->count >= 1 && record->count <= BRIQ_PAGE_WORDS);
        BRIQ_ASSERT(record->lba % BRIQ_PAGE_WORDS + record->count <= BRIQ_PAGE_WORDS);
    }
    briq_record_encode(record, again);
    BRIQ_ASSERT(memcmp(again, raw, sizeof again) == 0);
}

static void expect_chunk(const uint8_t *at, size_t avail, const struct briq_chunk *chunk)
{
    BRIQ_ASSERT(chunk->nrec >= 1 && chunk->nrec <= chunk->cap && chunk->cap <= BRIQ_CHUNK_CAP_MAX);
    BRIQ_ASSERT(briq_chunk_header_bytes(chunk->nrec) <= avail);
    BRIQ_ASSERT(briq_chunk_header_bytes(chunk->cap) <= chunk->len);
    BRIQ_ASSERT(chunk->len % BRIQ_CHUNK_ALIGN == 0 && chunk->len <= 1u << BRIQ_WINDOW_SHIFT_MAX);
    for (unsigned i = 0; i < chunk->nrec; i++) {
        struct briq_record record;
        if (briq_record_decode(at, chunk, i, &record))
            expect_record(chunk, &record, at + briq_chunk_header_bytes(i));
    }
}

/* A header alone, of which only `avail` bytes may be looked at: they stand at the very end. */
static void decode_alone(const struct segment *seg, size_t avail)
{
    struct briq_chunk chunk;
    size_t more;
    uint8_t *alone = malloc(avail);
    BRIQ_ASSERT(alone != NULL);
    memcpy(alone, seg->bytes, avail);
    if (briq_chunk_decode(alone, avail, &chunk, &more)) {
        BRIQ_ASSERT(more == 0);
        expect_chunk(alone, avail, &chunk);
    } else {
        BRIQ_ASSERT(more == 0 || more > avail);
    }
    free(alone);
}

static unsigned walk(const struct segment *seg, uint32_t offs[CHUNKS_MAX])
{
    struct briq_walk w = {.bytes = seg->bytes,
                          .seg = SEG,
                          .seg_bytes = SEG_BYTES,
                          .window_bytes = WINDOW_BYTES,
                          .uuid_lo = UUID_LO,
                          .segseq = USE};
    unsigned count = 0;
    while (briq_walk_next(&w)) {
        BRIQ_ASSERT(count < CHUNKS_MAX && w.at == seg->bytes + w.chunk.off);
        BRIQ_ASSERT(w.chunk.off + w.chunk.len <= SEG_BYTES && w.chunk.segseq == USE);
        expect_chunk(w.at, SEG_BYTES - w.chunk.off, &w.chunk);
        offs[count++] = w.chunk.off;
    }
    return count;
}

static int read_segment(void *opaque, void *buf, size_t len, uint64_t off)
{
    const struct segment *seg = opaque;
    uint64_t base = (uint64_t)SEG << SEG_SHIFT;
    BRIQ_ASSERT(off >= base && off - base + len <= SEG_BYTES);
    memcpy(buf, seg->bytes + (off - base), len);
    return 0;
}

static unsigned scan(struct segment *seg, struct briq_scan *s, uint32_t offs[CHUNKS_MAX])
{
    *s = (struct briq_scan){.read = read_segment,
                            .opaque = seg,
                            .seg = SEG,
                            .seg_shift = SEG_SHIFT,
                            .window_bytes = WINDOW_BYTES,
                            .uuid_lo = UUID_LO,
                            .segseq = USE};
    unsigned count = 0;
    int r;
    while ((r = briq_scan_next(s)) > 0) {
        BRIQ_ASSERT(count < CHUNKS_MAX);
        expect_chunk(s->page, sizeof s->page, &s->chunk);
        offs[count++] = s->chunk.off;
    }
    BRIQ_ASSERT(r == 0);
    return count;
}

/* Read from the medium chunk by chunk or walked through in memory: it is the same segment. */
static void expect_same_chunks(struct segment *seg, struct briq_scan *s)
{
    uint32_t walked[CHUNKS_MAX], scanned[CHUNKS_MAX];
    unsigned walk_count = walk(seg, walked), scan_count = scan(seg, s, scanned);
    BRIQ_ASSERT(walk_count == scan_count);
    BRIQ_ASSERT(memcmp(walked, scanned, walk_count * sizeof *walked) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct segment *sound, *seg;
    static struct briq_scan *s;
    if (sound == NULL) {
        sound = malloc(sizeof *sound);
        seg = malloc(sizeof *seg);
        s = aligned_alloc(4096, sizeof *s);
        BRIQ_ASSERT(sound != NULL && seg != NULL && s != NULL);
        make_segment(sound);
    }
    struct fuzz_input in = {data, size};
    uint64_t how = fuzz_number(&in, 1);
    memcpy(seg, sound, sizeof *seg);
    fuzz_patch(&in, seg->bytes, SEG_BYTES);
    if ((how & 1) != 0)
        seal_all(seg);
    decode_alone(seg, (how >> 1 & 7) == 0 ? BRIQ_CHUNK_ALIGN : (how >> 1 & 7) * 40);
    expect_same_chunks(seg, s);
    return 0;
}
