/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check_segments.c - the map against the log: everything that the map refers to must have a record
 * in a chunk header where it lies, or garbage collection could not move it.
 *
 * The records of a segment that the map agrees with add up to what is live in it; if they do not, a
 * header is lost. What it described can still be read through the map, and a repair writes it anew.
 * A deep check verifies the payload of every such record on the way, a chunk at a time.
 */
#include <errno.h>
#include <inttypes.h>

#include "common/base/align.h"
#include "common/store/check.h"
#include "common/store/tree.h"

/* What the records of one segment account for. */
struct backing {
    uint32_t seg;
    uint32_t granules, tree_granules;
    bool deep;
    bool chunk_read; /* c->chunk holds the chunk in hand */
    bool overrun;    /* a stream is to go on where something is in use */
    uint64_t broken; /* payloads that failed */
};

static void tell_payload(struct briq_checker *c, uint64_t block, briq_word word, int error)
{
    unsigned long long where = briq_word_granule(word) << BRIQ_GRANULE_SHIFT;
    briq_check_error(c, &c->result->payload_errors, NULL,
                     "block %" PRIu64 " (byte %" PRIu64 " of the volume): its data at 0x%llx %s",
                     block, block << BRIQ_BLOCK_SHIFT, where,
                     error == -EIO ? "cannot be read" : "fails its check");
    c->seg_flags[briq_space_seg_of(&c->store->space, briq_word_granule(word))] |=
        BRIQ_CHECK_SEG_BROKEN;
}

/* ---- one record ------------------------------------------------------------------------------ */

/* From the chunk if that could be read as a whole, else from where it lies. */
static int verify(struct briq_checker *c, const struct backing *b, const struct briq_record *record,
                  briq_word word)
{
    uint8_t content[BRIQ_BLOCK_SIZE];
    if (!b->chunk_read)
        return briq_check_payload(c, record->lba, word);
    return briq_extent_read(c->chunk + (size_t)record->off_granules * BRIQ_GRANULE_BYTES,
                            record->granules, record->lba,
                            briq_space_segseq(&c->store->space, b->seg), content);
}

static int back_block(struct briq_checker *c, struct backing *b, const struct briq_record *record)
{
    struct briq_map *map = &c->store->map;
    uint64_t granule = briq_scan_granule(c->scan, record);
    briq_word word = briq_word_data(granule, record->granules);
    if (record->lba >= briq_store_blocks(c->store) || briq_map_word(map, record->lba) != word ||
        briq_check_bit(c->backed, record->lba))
        return 0;
    b->granules += record->granules;
    briq_check_set_bit(c->backed, record->lba);
    if (!b->deep)
        return 0;
    c->result->payloads_checked++;
    int r = verify(c, b, record, word);
    if (!briq_check_is_damage(r))
        return r;
    b->broken++;
    tell_payload(c, record->lba, word, r);
    return 0;
}

static int back_record(struct briq_checker *c, struct backing *b, const struct briq_record *record)
{
    if (record->type == BRIQ_REC_DATA)
        return back_block(c, b, record);
    uint64_t granule = briq_scan_granule(c->scan, record);
    if (record->type < BRIQ_REC_MAP_PAGE ||
        !briq_tree_is_at(c->store, record->type, record->lba, granule))
        return 0;
    if (record->type == BRIQ_REC_MAP_PAGE)
        b->granules += record->granules;
    else
        b->tree_granules += record->granules;
    return 0;
}

/* ---- one segment ----------------------------------------------------------------------------- */

/* The whole chunk at once; where that fails, each of its payloads is tried alone. */
static int read_chunk(struct briq_checker *c, struct backing *b)
{
    const struct briq_chunk *chunk = &c->scan->chunk;
    b->chunk_read = false;
    if (!b->deep || chunk->kind == BRIQ_KIND_META)
        return 0;
    int r = briq_check_read(c, c->chunk, chunk->len, briq_scan_where(c->scan));
    b->chunk_read = r == 0;
    return r == -EIO ? 0 : r;
}

/* Would a stream of a volume that was closed write over this chunk? */
static bool is_in_the_way(const struct briq_checker *c, const struct briq_scan *scan)
{
    const struct briq_chunk *chunk = &scan->chunk;
    bool found = false;
    for (unsigned i = 0; i < BRIQ_FMT_HEADS && c->store->sb.clean; i++) {
        const struct briq_head *head = &c->store->sb.heads[i];
        found = found || (head->seg == scan->seg && head->segseq == chunk->segseq &&
                          head->off < chunk->off + chunk->len);
    }
    return found;
}

static int back_segment(struct briq_checker *c, struct backing *b)
{
    struct briq_space *space = &c->store->space;
    bool meta = atomic_load(&space->segs[b->seg].kind) == BRIQ_KIND_META;
    /* Of the META stream the table may know an older use than the one that counts. */
    struct briq_scan *scan =
        briq_check_scan(c, b->seg, meta ? 0 : briq_space_segseq(space, b->seg));
    int r;
    while ((r = briq_scan_next(scan)) > 0) {
        uint32_t before = b->granules + b->tree_granules;
        r = read_chunk(c, b);
        for (unsigned i = 0; i < scan->chunk.nrec && r == 0; i++) {
            struct briq_record record;
            if (briq_record_decode(scan->page, &scan->chunk, i, &record))
                r = back_record(c, b, &record);
        }
        if (r < 0)
            return r;
        /* Chunks of which nothing is in use may be of an opening that died at once. */
        bool used = b->granules + b->tree_granules > before;
        b->overrun = b->overrun || (used && is_in_the_way(c, scan));
    }
    return r;
}

static void judge_backing(struct briq_checker *c, const struct backing *b)
{
    if (b->overrun)
        briq_check_error(c, &c->result->segment_errors, "it begins another segment",
                         "segment %" PRIu32 ": a stream is to go on before the end of its data",
                         b->seg);
    uint32_t live = briq_space_live(&c->store->space, b->seg);
    uint32_t backed = b->granules + b->tree_granules;
    if (backed == live)
        return;
    c->seg_flags[b->seg] |= BRIQ_CHECK_SEG_UNBACKED;
    briq_check_error(c, &c->result->chunk_errors, "what can be read of it was written anew",
                     "segment %" PRIu32 ": of %" PRIu32 " live granules %" PRIu32
                     " have no record: a chunk header is damaged or lost; the map still finds "
                     "the data",
                     b->seg, live, live - backed);
}

static void judge_bad(struct briq_checker *c, const struct backing *b)
{
    uint32_t live = briq_space_live(&c->store->space, b->seg);
    uint64_t *counter = &c->result->segment_errors;
    if (live == 0)
        briq_check_error(c, counter, "freed", "segment %" PRIu32 " is marked bad and holds nothing",
                         b->seg);
    else if (b->broken == 0)
        briq_check_error(c, counter, "in use again",
                         "segment %" PRIu32 " is marked bad, but all its data is sound", b->seg);
    else
        briq_check_error(c, counter, NULL,
                         "segment %" PRIu32 " is marked bad: it holds data that cannot be read",
                         b->seg);
}

static bool is_head(const struct briq_store *store, uint32_t seg)
{
    bool head = false;
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        head = head || store->sb.heads[i].seg == seg || store->sb.heads[i].next_seg == seg;
    return head;
}

static int check_segment(struct briq_checker *c, uint32_t seg)
{
    bool bad = briq_check_state(c, seg) == BRIQ_SEG_BAD;
    struct backing b = {.seg = seg, .deep = c->options->deep || bad};
    if (briq_space_live(&c->store->space, seg) > 0) {
        int r = back_segment(c, &b);
        if (r < 0)
            return r;
        judge_backing(c, &b);
    } else if (!bad && !is_head(c->store, seg)) {
        c->result->leaked_segments++;
    }
    if (bad)
        judge_bad(c, &b);
    return 0;
}

/* ---- blocks without a record ----------------------------------------------------------------- */

static int check_stray(struct briq_checker *c, uint64_t block)
{
    briq_word word = briq_map_word(&c->store->map, block);
    if (!briq_word_is_data(word) || briq_check_bit(c->backed, block))
        return 0;
    c->result->payloads_checked++;
    int r = briq_check_payload(c, block, word);
    if (r == 0)
        c->strays++;
    if (!briq_check_is_damage(r))
        return r;
    tell_payload(c, block, word, r);
    return 0;
}

static int check_strays(struct briq_checker *c)
{
    const struct briq_map *map = &c->store->map;
    uint64_t blocks = briq_store_blocks(c->store);
    int r = 0;
    for (uint64_t block = 0; block < blocks && r == 0; block++) {
        if (briq_map_page_is_hole(map, briq_map_page_of(block)))
            block |= BRIQ_PAGE_WORDS - 1;
        else
            r = check_stray(c, block);
    }
    return r;
}

int briq_check_segments(struct briq_checker *c)
{
    struct briq_space *space = &c->store->space;
    bool unbacked = false;
    for (uint32_t seg = space->seg_first; seg < space->virgin; seg++) {
        if (briq_check_state(c, seg) == BRIQ_SEG_BARE)
            continue;
        int r = check_segment(c, seg);
        if (r < 0)
            return r;
        unbacked = unbacked || (c->seg_flags[seg] & BRIQ_CHECK_SEG_UNBACKED) != 0;
        briq_check_progress(c, 1);
    }
    return unbacked ? check_strays(c) : 0;
}
