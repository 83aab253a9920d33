/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/encode.h"

#include <string.h>
#include <xxhash.h>

#include "common/store/store.h"

#define LBA_BITS 40
#define OFF_BITS 20

static struct briq_fmt_head head_encode(const struct briq_head *head)
{
    return (struct briq_fmt_head){
        .seg = briq_le32_of(head->seg),
        .next_seg = briq_le32_of(head->next_seg),
        .off = briq_le32_of(head->off),
        .segseq = briq_le64_of(head->segseq),
    };
}

static struct briq_head head_decode(const struct briq_fmt_head *raw)
{
    return (struct briq_head){
        .seg = briq_le32_get(raw->seg),
        .next_seg = briq_le32_get(raw->next_seg),
        .off = briq_le32_get(raw->off),
        .segseq = briq_le64_get(raw->segseq),
    };
}

static void superblock_encode_counters(const struct briq_superblock *sb,
                                       struct briq_fmt_superblock *raw)
{
    raw->mapped_blocks = briq_le64_of(sb->mapped_blocks);
    raw->fill_blocks = briq_le64_of(sb->fill_blocks);
    raw->zero_blocks = briq_le64_of(sb->zero_blocks);
    raw->data_granules = briq_le64_of(sb->data_granules);
    raw->meta_granules = briq_le64_of(sb->meta_granules);
}

static void superblock_encode_roots(const struct briq_superblock *sb,
                                    struct briq_fmt_superblock *raw)
{
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        raw->heads[i] = head_encode(&sb->heads[i]);
    for (unsigned i = 0; i < BRIQ_MAP_ROOTS; i++)
        raw->map_roots[i] = briq_le64_of(sb->map_roots[i]);
    for (unsigned i = 0; i < BRIQ_SEG_ROOTS; i++)
        raw->seg_roots[i] = briq_le64_of(sb->seg_roots[i]);
}

void briq_superblock_encode(const struct briq_superblock *sb, void *dst)
{
    struct briq_fmt_superblock *raw = dst;
    memset(raw, 0, sizeof *raw);
    memcpy(raw->magic, BRIQ_FMT_MAGIC, sizeof raw->magic);
    raw->version = briq_le32_of(sb->version);
    raw->bytes = briq_le32_of(BRIQ_SB_BYTES);
    raw->features_compat = briq_le64_of(sb->features_compat);
    raw->features_ro = briq_le64_of(sb->features_ro);
    raw->features_incompat = briq_le64_of(sb->features_incompat);
    memcpy(raw->uuid, sb->uuid, sizeof raw->uuid);
    raw->generation = briq_le64_of(sb->generation);
    raw->incarnation = briq_le64_of(sb->incarnation);
    raw->block_shift = BRIQ_BLOCK_SHIFT;
    raw->granule_shift = BRIQ_GRANULE_SHIFT;
    raw->seg_shift = sb->seg_shift;
    raw->window_shift = sb->window_shift;
    raw->streams = sb->streams;
    raw->clean = sb->clean;
    raw->preallocated = sb->preallocated;
    raw->accel = sb->accel;
    raw->logical_bytes = briq_le64_of(sb->logical_bytes);
    raw->limit_bytes = briq_le64_of(sb->limit_bytes);
    raw->seg_first = briq_le32_of(sb->seg_first);
    raw->seg_end = briq_le32_of(sb->seg_end);
    raw->checkpoint_seq = briq_le64_of(sb->checkpoint_seq);
    raw->segseq = briq_le64_of(sb->segseq);
    memcpy(raw->boot_id, sb->boot_id, sizeof raw->boot_id);
    raw->windows_in_file = sb->windows_in_file;
    superblock_encode_counters(sb, raw);
    superblock_encode_roots(sb, raw);
    raw->xxh64 = briq_le64_of(XXH3_64bits(raw, offsetof(struct briq_fmt_superblock, xxh64)));
}

static void superblock_decode_all(const struct briq_fmt_superblock *raw,
                                  struct briq_superblock *ret)
{
    ret->generation = briq_le64_get(raw->generation);
    ret->incarnation = briq_le64_get(raw->incarnation);
    ret->seg_shift = raw->seg_shift;
    ret->window_shift = raw->window_shift;
    ret->streams = raw->streams;
    ret->clean = raw->clean == 1;
    ret->preallocated = raw->preallocated == 1;
    ret->accel = raw->accel;
    ret->logical_bytes = briq_le64_get(raw->logical_bytes);
    ret->limit_bytes = briq_le64_get(raw->limit_bytes);
    ret->seg_first = briq_le32_get(raw->seg_first);
    ret->seg_end = briq_le32_get(raw->seg_end);
    ret->checkpoint_seq = briq_le64_get(raw->checkpoint_seq);
    ret->segseq = briq_le64_get(raw->segseq);
    memcpy(ret->boot_id, raw->boot_id, sizeof ret->boot_id);
    ret->windows_in_file = raw->windows_in_file == 1;
    ret->mapped_blocks = briq_le64_get(raw->mapped_blocks);
    ret->fill_blocks = briq_le64_get(raw->fill_blocks);
    ret->zero_blocks = briq_le64_get(raw->zero_blocks);
    ret->data_granules = briq_le64_get(raw->data_granules);
    ret->meta_granules = briq_le64_get(raw->meta_granules);
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        ret->heads[i] = head_decode(&raw->heads[i]);
    for (unsigned i = 0; i < BRIQ_MAP_ROOTS; i++)
        ret->map_roots[i] = briq_le64_get(raw->map_roots[i]);
    for (unsigned i = 0; i < BRIQ_SEG_ROOTS; i++)
        ret->seg_roots[i] = briq_le64_get(raw->seg_roots[i]);
}

static bool head_plausible(const struct briq_superblock *sb, const struct briq_head *head)
{
    if (head->seg == BRIQ_SEG_NONE)
        return true;
    return head->seg >= sb->seg_first && head->seg < sb->seg_end &&
           head->off <= 1u << sb->seg_shift && head->off % BRIQ_CHUNK_ALIGN == 0 &&
           (head->next_seg == BRIQ_SEG_NONE ||
            (head->next_seg >= sb->seg_first && head->next_seg < sb->seg_end));
}

/* Limits that every writer keeps; a sound checksum over anything else is damage all the same. */
static bool superblock_plausible(const struct briq_fmt_superblock *raw,
                                 const struct briq_superblock *sb)
{
    bool ok = briq_le32_get(raw->bytes) == BRIQ_SB_BYTES && raw->block_shift == BRIQ_BLOCK_SHIFT &&
              raw->granule_shift == BRIQ_GRANULE_SHIFT && sb->seg_shift >= BRIQ_SEG_SHIFT_MIN &&
              sb->seg_shift <= BRIQ_SEG_SHIFT_MAX && sb->window_shift <= sb->seg_shift &&
              sb->window_shift >= BRIQ_SEG_SHIFT_MIN && sb->window_shift <= BRIQ_WINDOW_SHIFT_MAX &&
              sb->streams <= BRIQ_STREAMS_MAX && sb->accel >= 1 && sb->accel <= 64 &&
              sb->logical_bytes > 0 && sb->logical_bytes <= BRIQ_VOLUME_BYTES_MAX &&
              sb->logical_bytes % 512 == 0 && sb->seg_first < sb->seg_end &&
              (uint64_t)sb->seg_first << sb->seg_shift >= BRIQ_DATA_OFFSET;
    if (!ok ||
        (uint64_t)sb->seg_end > (uint64_t)BRIQ_SEG_ROOTS * BRIQ_PAGE_WORDS * BRIQ_SEGS_PER_PAGE)
        return false;
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        ok = ok && head_plausible(sb, &sb->heads[i]);
    return ok;
}

enum briq_sb_state briq_superblock_decode(const void *src, struct briq_superblock *ret)
{
    const struct briq_fmt_superblock *raw = src;
    if (memcmp(raw->magic, BRIQ_FMT_MAGIC, sizeof raw->magic) != 0)
        return BRIQ_SB_NOT_BRIQ;
    if (briq_le64_get(raw->xxh64) != XXH3_64bits(raw, offsetof(struct briq_fmt_superblock, xxh64)))
        return BRIQ_SB_DAMAGED;

    memset(ret, 0, sizeof *ret);
    ret->version = briq_le32_get(raw->version);
    ret->features_compat = briq_le64_get(raw->features_compat);
    ret->features_ro = briq_le64_get(raw->features_ro);
    ret->features_incompat = briq_le64_get(raw->features_incompat);
    memcpy(ret->uuid, raw->uuid, sizeof ret->uuid);
    if (ret->version != BRIQ_FMT_VERSION ||
        (ret->features_incompat & ~BRIQ_FEATURE_UNFINISHED) != 0)
        return BRIQ_SB_TOO_NEW;
    superblock_decode_all(raw, ret);
    return superblock_plausible(raw, ret) ? BRIQ_SB_OK : BRIQ_SB_DAMAGED;
}

/* The header's own checksum field counts as zero, and unused record slots do not count. */
static uint64_t chunk_hash(const void *src, uint32_t nrec)
{
    struct briq_fmt_chunk header;
    memcpy(&header, src, sizeof header);
    header.xxh64 = briq_le64_of(0);
    uint64_t seed = XXH3_64bits(&header, sizeof header);
    const uint8_t *records = (const uint8_t *)src + sizeof header;
    return XXH3_64bits_withSeed(records, nrec * sizeof(struct briq_fmt_record), seed);
}

void briq_chunk_encode(const struct briq_chunk *chunk, void *dst)
{
    BRIQ_ASSERT(chunk->nrec <= chunk->cap);
    BRIQ_ASSERT(chunk->len % BRIQ_CHUNK_ALIGN == 0);
    struct briq_fmt_chunk raw = {
        .magic = briq_le32_of(BRIQ_CHUNK_MAGIC),
        .cap = briq_le16_of(chunk->cap),
        .nrec = briq_le16_of(chunk->nrec),
        .uuid_lo = briq_le64_of(chunk->uuid_lo),
        .incarnation = briq_le32_of(chunk->incarnation),
        .stream = chunk->stream,
        .kind = chunk->kind,
        .segseq = briq_le64_of(chunk->segseq),
        .seg = briq_le32_of(chunk->seg),
        .off = briq_le32_of(chunk->off),
        .len = briq_le32_of(chunk->len),
        .next_seg = briq_le32_of(chunk->next_seg),
        .durable_seq = briq_le64_of(chunk->durable_seq),
    };
    memcpy(dst, &raw, sizeof raw);
    raw.xxh64 = briq_le64_of(chunk_hash(dst, chunk->nrec));
    memcpy(dst, &raw, sizeof raw);
}

static bool chunk_plausible(const struct briq_fmt_chunk *raw, const struct briq_chunk *chunk)
{
    return briq_le16_get(raw->reserved) == 0 && chunk->cap <= BRIQ_CHUNK_CAP_MAX &&
           chunk->nrec <= chunk->cap && chunk->nrec > 0 && chunk->kind >= BRIQ_KIND_USER &&
           chunk->kind <= BRIQ_KIND_META && chunk->len % BRIQ_CHUNK_ALIGN == 0 &&
           chunk->len >= briq_chunk_header_bytes(chunk->cap) &&
           chunk->len <= 1u << BRIQ_WINDOW_SHIFT_MAX;
}

bool briq_chunk_decode(const void *src, size_t avail, struct briq_chunk *ret, size_t *ret_need)
{
    *ret_need = 0;
    struct briq_fmt_chunk raw;
    if (avail < sizeof raw)
        return *ret_need = sizeof raw, false;
    memcpy(&raw, src, sizeof raw);
    if (briq_le32_get(raw.magic) != BRIQ_CHUNK_MAGIC)
        return false;

    *ret = (struct briq_chunk){
        .cap = briq_le16_get(raw.cap),
        .nrec = briq_le16_get(raw.nrec),
        .uuid_lo = briq_le64_get(raw.uuid_lo),
        .incarnation = briq_le32_get(raw.incarnation),
        .stream = raw.stream,
        .kind = raw.kind,
        .segseq = briq_le64_get(raw.segseq),
        .seg = briq_le32_get(raw.seg),
        .off = briq_le32_get(raw.off),
        .len = briq_le32_get(raw.len),
        .next_seg = briq_le32_get(raw.next_seg),
        .durable_seq = briq_le64_get(raw.durable_seq),
    };
    if (!chunk_plausible(&raw, ret))
        return false;
    size_t need = briq_chunk_header_bytes(ret->nrec);
    if (avail < need)
        return *ret_need = need, false;
    return chunk_hash(src, ret->nrec) == briq_le64_get(raw.xxh64);
}

static uint32_t record_arg(const struct briq_record *record)
{
    if (briq_record_has_payload(record->type))
        return record->off_granules | (record->granules - 1) << OFF_BITS;
    return record->type == BRIQ_REC_FILL ? record->pattern : record->count;
}

void briq_record_encode(const struct briq_record *record, void *dst)
{
    BRIQ_ASSERT(record->lba < UINT64_C(1) << LBA_BITS);
    struct briq_fmt_record raw = {
        .seq = briq_le64_of(record->seq),
        .where = briq_le64_of(record->lba | (uint64_t)record->type << 56),
        .arg = briq_le32_of(record_arg(record)),
        .check = briq_le32_of(record->check),
    };
    memcpy(dst, &raw, sizeof raw);
}

static bool record_payload_decode(const struct briq_chunk *chunk, uint32_t arg,
                                  struct briq_record *ret)
{
    ret->count = 1;
    ret->off_granules = arg & ((1u << OFF_BITS) - 1);
    ret->granules = (arg >> OFF_BITS) + 1;
    uint64_t begin = (uint64_t)ret->off_granules * BRIQ_GRANULE_BYTES;
    uint64_t end = begin + (uint64_t)ret->granules * BRIQ_GRANULE_BYTES;
    return begin >= briq_chunk_header_bytes(chunk->cap) && end <= chunk->len &&
           ret->granules <= BRIQ_EXTENT_GRANULES_MAX;
}

static bool record_range_decode(uint32_t arg, struct briq_record *ret)
{
    ret->count = arg;
    return arg >= 1 && arg <= BRIQ_PAGE_WORDS &&
           ret->lba / BRIQ_PAGE_WORDS == (ret->lba + arg - 1) / BRIQ_PAGE_WORDS;
}

bool briq_record_decode(const void *src, const struct briq_chunk *chunk, unsigned index,
                        struct briq_record *ret)
{
    BRIQ_ASSERT(index < chunk->nrec);
    struct briq_fmt_record raw;
    memcpy(&raw, (const uint8_t *)src + briq_chunk_header_bytes(index), sizeof raw);
    uint64_t where = briq_le64_get(raw.where);
    uint32_t arg = briq_le32_get(raw.arg);
    memset(ret, 0, sizeof *ret);
    ret->seq = briq_le64_get(raw.seq);
    ret->lba = where & ((UINT64_C(1) << LBA_BITS) - 1);
    ret->type = (enum briq_record_type)(where >> 56 & 0xf);
    ret->check = briq_le32_get(raw.check);
    if (where >> 60 != 0 || (where >> LBA_BITS & 0xffff) != 0)
        return false; /* another unit or volume: not of this version */

    switch (ret->type) {
    case BRIQ_REC_FILL:
        ret->pattern = arg;
        ret->count = 1;
        return true;
    case BRIQ_REC_TRIM:
    case BRIQ_REC_ZERO:
        return record_range_decode(arg, ret);
    case BRIQ_REC_DATA:
    case BRIQ_REC_MAP_PAGE:
    case BRIQ_REC_MAP_NODE:
    case BRIQ_REC_MAP_ROOT:
    case BRIQ_REC_SEG_PAGE:
    case BRIQ_REC_SEG_ROOT:
        return record_payload_decode(chunk, arg, ret);
    }
    return false;
}

void briq_segment_encode(const struct briq_segment_entry *entry, void *dst)
{
    struct briq_fmt_segment raw = {
        .segseq = briq_le64_of(entry->segseq),
        .live = briq_le32_of(entry->live),
        .state = entry->state,
        .kind = entry->kind,
        .on_host = entry->on_host,
    };
    memcpy(dst, &raw, sizeof raw);
}

void briq_segment_decode(const void *src, struct briq_segment_entry *ret)
{
    struct briq_fmt_segment raw;
    memcpy(&raw, src, sizeof raw);
    *ret = (struct briq_segment_entry){
        .segseq = briq_le64_get(raw.segseq),
        .live = briq_le32_get(raw.live),
        .state = raw.state,
        .kind = raw.kind,
        .on_host = raw.on_host == 1,
    };
}
