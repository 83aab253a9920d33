/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * encode.h - between the structures of format.h and the host's, with every check that needs no
 * other knowledge than the bytes themselves. Pure functions: no I/O, no allocation, any thread; any
 * input bytes are safe.
 */
#ifndef BRIQ_STORE_ENCODE_H
#define BRIQ_STORE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/error.h"
#include "common/store/format.h"

struct briq_head {
    uint32_t seg; /* BRIQ_SEG_NONE: not begun */
    uint32_t next_seg;
    uint32_t off;
    uint64_t segseq;
};

/* The superblock in host order; field meanings as in format.h. */
struct briq_superblock {
    uint32_t version;
    uint64_t features_compat, features_ro, features_incompat;
    uint8_t uuid[16];
    uint64_t generation, incarnation;
    uint8_t seg_shift, window_shift, streams, accel;
    bool clean, preallocated, windows_in_file;
    uint64_t logical_bytes, limit_bytes;
    uint32_t seg_first, seg_end;
    uint64_t checkpoint_seq, segseq;
    uint8_t boot_id[16];
    uint64_t mapped_blocks, fill_blocks, zero_blocks, data_granules, meta_granules;
    struct briq_head heads[BRIQ_FMT_HEADS];
    uint64_t map_roots[BRIQ_MAP_ROOTS];
    uint64_t seg_roots[BRIQ_SEG_ROOTS];
};

/* Whether it is still being filled by who made it, and no volume to be used yet. */
static inline bool briq_superblock_unfinished(const struct briq_superblock *sb)
{
    return (sb->features_incompat & BRIQ_FEATURE_UNFINISHED) != 0;
}

/* Writes the 4096 bytes at dst. The caller sees to it that sb is sound. */
void briq_superblock_encode(const struct briq_superblock *sb, void *dst);

enum briq_sb_state {
    BRIQ_SB_OK,
    BRIQ_SB_NOT_BRIQ, /* no magic: something else, or nothing */
    BRIQ_SB_DAMAGED,  /* magic, but checksum or fields are wrong */
    BRIQ_SB_TOO_NEW,  /* sound, but a version or incompatible feature this build does not know */
};

/* Reads 4096 bytes. ret is valid for OK; for TOO_NEW version and features are. */
enum briq_sb_state briq_superblock_decode(const void *src, struct briq_superblock *ret);

/* A chunk header in host order. */
struct briq_chunk {
    uint16_t cap, nrec;
    uint64_t uuid_lo;
    uint32_t incarnation;
    uint8_t stream, kind;
    uint64_t segseq;
    uint32_t seg, off, len, next_seg;
    uint64_t durable_seq;
};

static inline uint32_t briq_chunk_header_bytes(uint32_t cap)
{
    return (uint32_t)sizeof(struct briq_fmt_chunk) + cap * (uint32_t)sizeof(struct briq_fmt_record);
}

/* Writes the 64-byte header at dst, over chunk->nrec records that stand behind it already. */
void briq_chunk_encode(const struct briq_chunk *chunk, void *dst);

/*
 * Reads a header whose records may reach up to `avail` bytes from src. Returns true when it is a
 * whole, sound header: magic, limits, checksum. When more bytes than avail are needed to tell,
 * returns false and sets *ret_need to how many (else 0).
 */
bool briq_chunk_decode(const void *src, size_t avail, struct briq_chunk *ret, size_t *ret_need);

/* A record in host order. */
struct briq_record {
    uint64_t seq;
    uint64_t lba;
    enum briq_record_type type;
    uint32_t off_granules, granules; /* with payload: where in the chunk */
    uint32_t pattern;                /* fill */
    uint32_t count;                  /* trim, zero: blocks; else 1 */
    uint32_t check;
};

void briq_record_encode(const struct briq_record *record, void *dst);

/* Record `index` of the chunk at src. Returns false when it is none this version writes, or reaches
 * out of the chunk. */
bool briq_record_decode(const void *src, const struct briq_chunk *chunk, unsigned index,
                        struct briq_record *ret);

static inline bool briq_record_has_payload(enum briq_record_type type)
{
    return type == BRIQ_REC_DATA || type >= BRIQ_REC_MAP_PAGE;
}

struct briq_segment_entry {
    uint64_t segseq;
    uint32_t live;
    uint8_t state, kind;
    bool on_host;
};

void briq_segment_encode(const struct briq_segment_entry *entry, void *dst);
void briq_segment_decode(const void *src, struct briq_segment_entry *ret);

#endif
