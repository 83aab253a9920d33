/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format.h - every structure of a volume as it lies on the medium; nothing else.
 *
 * The specification is docs/format.md; the names are the same there. All integers are little
 * endian, reserved fields are zero, every structure is covered by an xxHash of its own.
 *
 * A granule is 16 bytes, the unit of every address on the medium; granule g is byte 16 * g of the
 * device. Segments are aligned to their own size: segment i begins at byte i << seg_shift.
 */
#ifndef BRIQ_STORE_FORMAT_H
#define BRIQ_STORE_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "common/base/le.h"

#define BRIQ_FMT_MAGIC   "BRIQVOL\n"
#define BRIQ_FMT_VERSION 2u

/* Bits of features_incompat that this version knows. */
#define BRIQ_FEATURE_UNFINISHED UINT64_C(1) /* being filled by who made it: not to be used yet */

#define BRIQ_SB_BYTES    4096u
#define BRIQ_SB_A_OFFSET UINT64_C(0)
#define BRIQ_SB_B_OFFSET (UINT64_C(1) << 20)
#define BRIQ_DATA_OFFSET (UINT64_C(4) << 20) /* the first segment begins here or behind */

#define BRIQ_BLOCK_SHIFT      12
#define BRIQ_GRANULE_SHIFT    4
#define BRIQ_GRANULE_BYTES    (1u << BRIQ_GRANULE_SHIFT)
#define BRIQ_WINDOW_SHIFT_MAX 18
#define BRIQ_SEG_SHIFT_MIN    16
#define BRIQ_SEG_SHIFT_MAX    22
#define BRIQ_CHUNK_ALIGN      4096u
#define BRIQ_PAGE_BYTES       4096u
#define BRIQ_PAGE_WORDS       512u /* 64-bit words in a map, node or segment page */
#define BRIQ_SEGS_PER_PAGE    256u /* 16-byte entries in a segment page */

#define BRIQ_STREAMS_MAX 8  /* user streams */
#define BRIQ_FMT_HEADS   16 /* slots for stream heads in the superblock */
#define BRIQ_HEAD_GC     14 /* the last two belong to garbage collection ... */
#define BRIQ_HEAD_META   15 /* ... and to checkpoints */
#define BRIQ_MAP_ROOTS   32
#define BRIQ_SEG_ROOTS   64
#define BRIQ_SEG_NONE    UINT32_MAX /* no segment */

/* Where a stream goes on: the next chunk begins at `off` in `seg`; behind it comes `next_seg`. */
struct briq_fmt_head {
    briq_le32 seg; /* BRIQ_SEG_NONE: the stream has not begun */
    briq_le32 next_seg;
    briq_le32 off; /* bytes from the start of seg, multiple of 4096, up to the segment's size */
    briq_le32 reserved;
    briq_le64 segseq; /* which use of seg this is */
};

/* One 4 KiB sector, in two copies. */
struct briq_fmt_superblock {
    char magic[8];
    briq_le32 version;
    briq_le32 bytes;             /* 4096 */
    briq_le64 features_compat;   /* an unknown bit may be ignored */
    briq_le64 features_ro;       /* an unknown bit: read-only at most */
    briq_le64 features_incompat; /* an unknown bit: do not open */
    uint8_t uuid[16];
    briq_le64 generation;  /* counts superblock writes; the higher valid copy is the volume */
    briq_le64 incarnation; /* counts openings for writing; lower 32 bits are in every chunk */
    uint8_t block_shift;   /* 12 */
    uint8_t granule_shift; /* 4 */
    uint8_t seg_shift;     /* 16 .. 22 */
    uint8_t window_shift;  /* min(18, seg_shift) */
    uint8_t streams;       /* user streams in `heads` */
    uint8_t clean;         /* 1: closed cleanly, nothing to replay */
    uint8_t preallocated;  /* 1: all space was taken at creation and is never given back */
    uint8_t accel;         /* LZ4 acceleration 1 .. 64 */
    briq_le64 logical_bytes;
    briq_le64 limit_bytes;    /* 0, or what creation was asked to stay below */
    briq_le32 seg_first;      /* first usable segment */
    briq_le32 seg_end;        /* one behind the last */
    briq_le64 checkpoint_seq; /* the map below holds exactly the operations up to this one */
    briq_le64 segseq;         /* highest segment use number given out */
    uint8_t boot_id[16];      /* boot of the host in which it was opened for writing; 0 if clean */
    uint8_t windows_in_file;  /* 1: append windows live in a shared-memory file */
    uint8_t reserved0[7];
    briq_le64 mapped_blocks; /* counters as of the checkpoint */
    briq_le64 fill_blocks;
    briq_le64 zero_blocks;
    briq_le64 data_granules;
    briq_le64 meta_granules;
    uint8_t base_uuid[16]; /* reserved for clones: the base image, zero = none */
    briq_le64 base_path_hash;
    briq_le32 volume_id; /* reserved for several volumes in one store */
    briq_le32 reserved1;
    struct briq_fmt_head heads[BRIQ_FMT_HEADS];
    briq_le64 map_roots[BRIQ_MAP_ROOTS]; /* pointers: granule and check (tree.h), 0 = all holes */
    briq_le64 seg_roots[BRIQ_SEG_ROOTS]; /* the same over the segment pages, 0 = none */
    uint8_t reserved2[2720];
    briq_le64 xxh64; /* XXH3-64 of all bytes before */
};

/* Begins every chunk. Behind it: `cap` records, of which `nrec` are used; then payload. */
struct briq_fmt_chunk {
    briq_le32 magic;
    briq_le16 cap;
    briq_le16 nrec;
    briq_le64 uuid_lo; /* first 8 bytes of the volume's uuid */
    briq_le32 incarnation;
    uint8_t stream; /* index in `heads` */
    uint8_t kind;   /* enum briq_stream_kind */
    briq_le16 reserved;
    briq_le64 segseq;
    briq_le32 seg;
    briq_le32 off; /* bytes from the start of the segment */
    briq_le32 len; /* bytes of header, records and payload, multiple of 4096 */
    briq_le32 next_seg;
    briq_le64 durable_seq; /* highest sequence number known to be flushed when this was sealed */
    briq_le64 xxh64;       /* XXH3-64 of the nrec records; its seed: of the header with 0 here */
};

#define BRIQ_CHUNK_MAGIC   0x6b6e6843u /* "Chnk" */
#define BRIQ_CHUNK_CAP_MIN 8u
#define BRIQ_CHUNK_CAP_MAX 168u

enum briq_stream_kind {
    BRIQ_KIND_USER = 1,
    BRIQ_KIND_GC = 2,
    BRIQ_KIND_META = 3,
};

enum briq_record_type {
    BRIQ_REC_DATA = 1,     /* one block with payload */
    BRIQ_REC_FILL = 2,     /* one block of a repeated 32-bit pattern */
    BRIQ_REC_TRIM = 3,     /* `count` blocks become unmapped; never crosses a map page */
    BRIQ_REC_ZERO = 4,     /* `count` blocks become explicit zeros; never crosses a map page */
    BRIQ_REC_MAP_PAGE = 8, /* META stream only; lba = page number */
    BRIQ_REC_MAP_NODE = 9,
    BRIQ_REC_MAP_ROOT = 10,
    BRIQ_REC_SEG_PAGE = 11,
    BRIQ_REC_SEG_ROOT = 12,
};

struct briq_fmt_record {
    briq_le64 seq;   /* global order; GC keeps the original's; META: 0 */
    briq_le64 where; /* lba:40 | volume:16 << 40 | type:4 << 56 | unit:4 << 60 */
    briq_le32 arg;   /* with payload: offset in the chunk in granules:20 | granules - 1:12 << 20;
                        fill: the pattern; trim, zero: count */
    briq_le32 check; /* with payload: the extent's check; else 0 */
};

/* Begins every extent (the payload of one record), aligned to a granule. */
struct briq_fmt_extent {
    briq_le32 check; /* payload, block address and use of the segment, hashed: see codec.h */
    briq_le16 len;   /* payload bytes behind this header, above 0 */
    uint8_t codec;   /* enum briq_codec_id */
    uint8_t reserved;
};

enum briq_codec_id {
    BRIQ_CODEC_RAW = 0,
    BRIQ_CODEC_LZ4 = 1,
    BRIQ_CODEC_PACKED = 2, /* map pages only: struct briq_fmt_page */
};

#define BRIQ_EXTENT_HEADER_BYTES 8u
#define BRIQ_EXTENT_GRANULES_MAX 257u /* a raw 4 KiB block: 4096 + 8 bytes */

/* Begins the payload of a packed map page; a bit for each word, whether it is not zero (unless all
 * are not), and their varying bits follow. */
struct briq_fmt_page {
    briq_le64 vary; /* bits in which the words that are not zero differ */
    briq_le64 base; /* what they have in the others; 0 in those that vary */
    briq_le16 used; /* how many words are not zero */
    briq_le16 reserved[3];
};

/* One segment in a segment page. */
struct briq_fmt_segment {
    briq_le64 segseq;
    briq_le32 live;  /* live granules, without map nodes, segment pages and roots */
    uint8_t state;   /* 0 free, 1 in use, 2 bad: kept, never reused */
    uint8_t kind;    /* enum briq_stream_kind, 0 if free */
    uint8_t on_host; /* 1: the host has given space to it */
    uint8_t reserved;
};

static_assert(sizeof(struct briq_fmt_head) == 24, "head");
static_assert(sizeof(struct briq_fmt_superblock) == BRIQ_SB_BYTES, "superblock");
static_assert(offsetof(struct briq_fmt_superblock, uuid) == 40, "uuid");
static_assert(offsetof(struct briq_fmt_superblock, block_shift) == 72, "block_shift");
static_assert(offsetof(struct briq_fmt_superblock, logical_bytes) == 80, "logical_bytes");
static_assert(offsetof(struct briq_fmt_superblock, checkpoint_seq) == 104, "checkpoint_seq");
static_assert(offsetof(struct briq_fmt_superblock, boot_id) == 120, "boot_id");
static_assert(offsetof(struct briq_fmt_superblock, mapped_blocks) == 144, "mapped_blocks");
static_assert(offsetof(struct briq_fmt_superblock, base_uuid) == 184, "base_uuid");
static_assert(offsetof(struct briq_fmt_superblock, heads) == 216, "heads");
static_assert(offsetof(struct briq_fmt_superblock, map_roots) == 600, "map_roots");
static_assert(offsetof(struct briq_fmt_superblock, seg_roots) == 856, "seg_roots");
static_assert(offsetof(struct briq_fmt_superblock, reserved2) == 1368, "reserved2");
static_assert(offsetof(struct briq_fmt_superblock, xxh64) == 4088, "xxh64");
static_assert(sizeof(struct briq_fmt_chunk) == 64, "chunk");
static_assert(offsetof(struct briq_fmt_chunk, segseq) == 24, "chunk segseq");
static_assert(offsetof(struct briq_fmt_chunk, xxh64) == 56, "chunk xxh64");
static_assert(sizeof(struct briq_fmt_record) == 24, "record");
static_assert(sizeof(struct briq_fmt_extent) == BRIQ_EXTENT_HEADER_BYTES, "extent");
static_assert(sizeof(struct briq_fmt_page) == 24, "packed page");
static_assert(sizeof(struct briq_fmt_segment) == 16, "segment");
static_assert(BRIQ_SEGS_PER_PAGE * sizeof(struct briq_fmt_segment) == BRIQ_PAGE_BYTES, "seg page");
/* A compressed block with the smallest header fits one device sector: a lone write is 4 KiB. */
static_assert(64 + BRIQ_CHUNK_CAP_MIN * 24 + BRIQ_EXTENT_HEADER_BYTES + 3584 <= BRIQ_CHUNK_ALIGN,
              "a lone compressed block is one sector");

#endif
