/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_protocol.c - the protocol checker finds every illegal step, and none in what the store does.
 *
 * A volume with a checkpoint and a journal behind it is open; then a write is forged that a broken
 * store might do, directly to the device.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/store/engine.h"
#include "common/store/superblock.h"
#include "common/store/tree.h"
#include "tests/lib/corpus.h"
#include "tests/lib/fixture.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/temp_dir.h"
#include "tests/sim/protocol.h"

#define BLOCKS     60u
#define DISK_BYTES (UINT64_C(12) << 20)
#define LIMIT      (UINT64_C(4) << 20 | UINT64_C(40) << 16)

struct fixture {
    struct test_dir dir, windows;
    struct test_path path;
    struct test_corpus *corpus;
    struct test_disk *disk;
    struct protocol *protocol;
    struct briq_device *dev; /* the store's: what is forged goes there */
    struct briq_store *store;
    struct briq_prng prng;
    char lines[8192]; /* what was complained about */
};

static void note(void *opaque, const char *line)
{
    struct fixture *f = opaque;
    size_t used = strlen(f->lines);
    snprintf(f->lines + used, sizeof f->lines - used, "%s\n", line);
}

static void open_store(struct fixture *f)
{
    f->dev = protocol_wrap(f->protocol, test_disk_handle(f->disk), NULL);
    struct briq_open_options options = {
        .device = f->dev, .windows_dir = f->windows.path, .streams = 1};
    struct briq_error err = {0};
    if (briq_store_open(f->path.text, &options, &err, &f->store) != 0)
        fail_msg("open: %s", err.text);
}

static void write_blocks(struct fixture *f, unsigned first, unsigned count)
{
    uint8_t block[BRIQ_BLOCK_BYTES];
    for (unsigned i = first; i < first + count; i++) {
        test_corpus_fill(f->corpus, &f->prng, TEST_DATA_RANDOM, i, block, sizeof block);
        assert_int_equal(briq_write(f->store, block, sizeof block, i * UINT64_C(4096), 0), 0);
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct briq_create_options options = {
        .size_bytes = BLOCKS * BRIQ_BLOCK_BYTES, .limit_bytes = LIMIT, .segment_shift = 16};
    assert_non_null(f);
    f->prng.state = 5;
    test_dir_open(&f->dir, TEST_DIR_MEMORY);
    test_dir_open(&f->windows, TEST_DIR_MEMORY);
    f->path = test_dir_file(&f->dir, "volume.briq");
    f->corpus = test_corpus_open();
    f->disk = test_disk_open(DISK_BYTES);
    f->protocol = protocol_open(note, f);
    test_volume_create(f->path.text, &options);
    test_disk_load(f->disk, f->path.text);
    open_store(f);
    write_blocks(f, 0, 20);
    assert_int_equal(briq_store_checkpoint(f->store), 0);
    write_blocks(f, 20, 3);
    assert_int_equal(briq_flush(f->store), 0);
    assert_string_equal(f->lines, "");
    *state = f;
    return 0;
}

/* Forged writes may have hurt the volume: the disk stops, so that the close does nothing. */
static int tear_down(void **state)
{
    struct fixture *f = *state;
    test_disk_cut(f->disk, &f->prng);
    (void)briq_store_close(f->store);
    protocol_close(f->protocol);
    test_disk_close(f->disk);
    test_corpus_close(f->corpus);
    test_dir_close(&f->windows);
    test_dir_close(&f->dir);
    free(f);
    return 0;
}

static void expect(struct fixture *f, const char *what)
{
    if (strstr(f->lines, what) == NULL)
        fail_msg("not found out: %s; but: %s", what, f->lines);
    f->lines[0] = '\0';
}

/* ---- forging --------------------------------------------------------------------------------- */

static void forge(struct fixture *f, const void *bytes, size_t len, uint64_t off)
{
    assert_int_equal(briq_device_write(f->dev, bytes, len, off), 0);
}

/* Overwrites the sector with zeros. */
static void wipe(struct fixture *f, uint64_t off)
{
    static const uint8_t zeros[4096];
    forge(f, zeros, sizeof zeros, off / 4096 * 4096);
}

static uint64_t segment_at(const struct fixture *f, uint32_t seg)
{
    return (uint64_t)seg << f->store->sb.seg_shift;
}

/* A chunk with one record, as the user stream might write it next. */
static struct briq_chunk next_chunk(const struct fixture *f)
{
    const struct briq_stream *s = &f->store->journal.streams[0];
    return (struct briq_chunk){
        .cap = BRIQ_CHUNK_CAP_MIN,
        .nrec = 1,
        .uuid_lo = f->store->journal.uuid_lo,
        .incarnation = f->store->journal.incarnation,
        .stream = 0,
        .kind = BRIQ_KIND_USER,
        .segseq = s->segseq,
        .seg = s->seg,
        .off = s->win->base + s->win->sealed_end,
        .len = 4096,
        .next_seg = s->next_seg,
        .durable_seq = atomic_load(&f->store->journal.durable_seq),
    };
}

static void forge_chunk(struct fixture *f, const struct briq_chunk *chunk, uint64_t seq,
                        uint64_t where)
{
    uint8_t bytes[4096] = {0};
    struct briq_record record = {
        .seq = seq, .lba = 1, .type = BRIQ_REC_FILL, .pattern = 7, .count = 1};
    briq_record_encode(&record, bytes + briq_chunk_header_bytes(0));
    briq_chunk_encode(chunk, bytes);
    forge(f, bytes, sizeof bytes, where);
}

static void forge_next(struct fixture *f, const struct briq_chunk *chunk)
{
    forge_chunk(f, chunk, atomic_load(&f->store->journal.seq) + 1,
                segment_at(f, chunk->seg) + chunk->off);
}

static struct briq_superblock next_superblock(const struct fixture *f)
{
    struct briq_superblock sb = f->store->sb;
    sb.generation++;
    return sb;
}

static void forge_superblock(struct fixture *f, const struct briq_superblock *sb, unsigned slot)
{
    uint8_t page[BRIQ_SB_BYTES];
    briq_superblock_encode(sb, page);
    forge(f, page, sizeof page, briq_superblock_offset(slot));
}

/* ---- what the store does is legal ------------------------------------------------------------ */

static void a_whole_life_is_legal(void **state)
{
    struct fixture *f = *state;
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 400; i++) {
            write_blocks(f, (unsigned)briq_prng_below(&f->prng, BLOCKS), 1);
            if (i % 20 == 0)
                assert_int_equal(briq_flush(f->store), 0);
            if (i % 7 == 0)
                assert_true(briq_store_maintain(f->store) >= 0);
        }
        assert_int_equal(briq_store_compact(f->store, NULL, NULL), 0);
        assert_int_equal(briq_store_close(f->store), 0);
        open_store(f);
    }
    assert_string_equal(f->lines, "");
}

static void what_a_legal_next_chunk_looks_like(void **state)
{
    struct fixture *f = *state;
    struct briq_chunk chunk = next_chunk(f);
    forge_next(f, &chunk);
    assert_string_equal(f->lines, "");
}

static void what_a_legal_superblock_looks_like(void **state)
{
    struct fixture *f = *state;
    struct briq_superblock sb = next_superblock(f);
    forge_superblock(f, &sb, f->store->sb_slot);
    assert_int_equal(briq_device_flush(f->dev), 0);
    forge_superblock(f, &sb, 1 - f->store->sb_slot);
    assert_string_equal(f->lines, "");
}

/* ---- writes to segments ---------------------------------------------------------------------- */

static void a_page_overwritten_in_place(void **state)
{
    struct fixture *f = *state;
    const struct briq_superblock *sb = &f->store->sb;
    wipe(f, briq_tree_granule(sb->map_roots[0]) << BRIQ_GRANULE_SHIFT);
    expect(f, "over a page of the map");
    wipe(f, briq_tree_granule(sb->seg_roots[0]) << BRIQ_GRANULE_SHIFT);
    expect(f, "over a page of the map");
    wipe(f, briq_word_granule(briq_map_page_place(&f->store->map, 0)) << BRIQ_GRANULE_SHIFT);
    expect(f, "over a page of the map");
}

static void an_extent_overwritten(void **state)
{
    struct fixture *f = *state;
    wipe(f, briq_word_granule(briq_map_word(&f->store->map, 3)) << BRIQ_GRANULE_SHIFT);
    expect(f, "over an extent of the map");
}

static void a_record_of_the_journal_overwritten(void **state)
{
    struct fixture *f = *state;
    const struct briq_head *head = &f->store->sb.heads[0];
    wipe(f, segment_at(f, head->seg) + head->off);
    expect(f, "over a record of the journal");
}

static void a_segment_used_again_before_the_checkpoint(void **state)
{
    struct fixture *f = *state;
    struct briq_chunk chunk = next_chunk(f);
    chunk.segseq += 100;
    forge_next(f, &chunk);
    expect(f, "is written again");
}

static void a_segment_used_twice_since_the_checkpoint(void **state)
{
    struct fixture *f = *state;
    struct briq_chunk chunk = next_chunk(f);
    chunk.seg = chunk.next_seg;
    chunk.off = 0;
    chunk.kind = BRIQ_KIND_GC;
    chunk.segseq++;
    forge_next(f, &chunk);
    assert_string_equal(f->lines, "");
    chunk.segseq++;
    chunk.off = 4096;
    forge_next(f, &chunk);
    expect(f, "it was taken since");
}

static void chunks_that_do_not_belong(void **state)
{
    struct fixture *f = *state;
    struct briq_chunk right = next_chunk(f), wrong = right;
    uint64_t where = segment_at(f, right.seg) + right.off;
    uint64_t seq = atomic_load(&f->store->journal.seq) + 1;
    wrong.off += 4096;
    forge_chunk(f, &wrong, seq, where);
    expect(f, "belongs elsewhere");
    wrong = right;
    wrong.uuid_lo++;
    forge_chunk(f, &wrong, seq, where);
    expect(f, "is of another volume");
    wrong = right;
    wrong.incarnation--;
    forge_chunk(f, &wrong, seq, where);
    expect(f, "is of another opening");
    wrong = right;
    wrong.len = 8192;
    forge_chunk(f, &wrong, seq, where);
    expect(f, "reaches out of its window");
}

static void what_is_no_chunk(void **state)
{
    struct fixture *f = *state;
    struct briq_chunk chunk = next_chunk(f);
    wipe(f, segment_at(f, chunk.seg) + chunk.off);
    expect(f, "is no chunk");
}

static void a_write_outside_of_the_segments(void **state)
{
    struct fixture *f = *state;
    wipe(f, UINT64_C(2) << 20);
    expect(f, "where neither segment nor superblock is");
    wipe(f, LIMIT);
    expect(f, "where neither segment nor superblock is");
}

static void a_write_to_space_that_was_not_asked_for(void **state)
{
    struct fixture *f = *state;
    struct briq_chunk chunk = next_chunk(f);
    chunk.seg = f->store->sb.seg_end - 1;
    chunk.off = 0;
    chunk.segseq += 100;
    forge_next(f, &chunk);
    expect(f, "the host was not asked for it");
}

static void a_flush_that_never_was(void **state)
{
    struct fixture *f = *state;
    struct briq_chunk chunk = next_chunk(f);
    chunk.durable_seq++;
    forge_next(f, &chunk);
    expect(f, "flushed, and only those");
}

static void an_operation_behind_its_checkpoint(void **state)
{
    struct fixture *f = *state;
    struct briq_chunk chunk = next_chunk(f);
    forge_chunk(f, &chunk, f->store->sb.checkpoint_seq, segment_at(f, chunk.seg) + chunk.off);
    expect(f, "behind the checkpoint that covers it");
}

static void a_discard_of_what_is_needed(void **state)
{
    struct fixture *f = *state;
    uint64_t seg_bytes = briq_space_seg_bytes(&f->store->space);
    briq_device_discard(f->dev, segment_at(f, f->store->sb.heads[0].seg), seg_bytes);
    expect(f, "a discard");
}

/* ---- superblocks ----------------------------------------------------------------------------- */

static void a_superblock_before_the_flush(void **state)
{
    struct fixture *f = *state;
    struct briq_superblock sb = next_superblock(f);
    uint8_t bytes[8192];
    /* The map root again, elsewhere, and not flushed. */
    struct briq_chunk chunk = next_chunk(f);
    uint64_t where = segment_at(f, chunk.seg) + chunk.off;
    uint64_t granule = briq_tree_granule(sb.map_roots[0]);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(briq_device_read(f->dev, bytes + 512, BRIQ_META_GRANULES * BRIQ_GRANULE_BYTES,
                                      granule << BRIQ_GRANULE_SHIFT),
                     0);
    forge(f, bytes, sizeof bytes, where);
    expect(f, "is no chunk"); /* that is not what this is about */
    sb.map_roots[0] += ((where + 512) >> BRIQ_GRANULE_SHIFT) - granule;
    forge_superblock(f, &sb, f->store->sb_slot);
    expect(f, "before the flush that makes map root 0 durable");
}

static void a_superblock_that_names_what_is_not_there(void **state)
{
    struct fixture *f = *state;
    struct briq_superblock sb = next_superblock(f);
    sb.map_roots[0]++;
    forge_superblock(f, &sb, f->store->sb_slot);
    expect(f, "map root 0 is not there");
    sb.generation++;
    sb.map_roots[0] = 5;
    forge_superblock(f, &sb, f->store->sb_slot);
    expect(f, "outside of the segments");
}

static void a_superblock_over_the_only_durable_copy(void **state)
{
    struct fixture *f = *state;
    struct briq_superblock sb = next_superblock(f);
    forge_superblock(f, &sb, f->store->sb_slot);
    forge_superblock(f, &sb, 1 - f->store->sb_slot); /* without a flush in between */
    expect(f, "the only one that is sure to hold");
}

static void superblocks_with_wrong_numbers(void **state)
{
    struct fixture *f = *state;
    struct briq_superblock sb = next_superblock(f);
    sb.generation++;
    forge_superblock(f, &sb, f->store->sb_slot);
    expect(f, "generation does not follow");
    sb.generation++;
    sb.incarnation++;
    forge_superblock(f, &sb, f->store->sb_slot);
    expect(f, "incarnation is not of this opening");
    sb.incarnation--;
    sb.generation++;
    sb.checkpoint_seq--;
    forge_superblock(f, &sb, f->store->sb_slot);
    expect(f, "checkpoint is older");
}

static void two_copies_that_differ(void **state)
{
    struct fixture *f = *state;
    struct briq_superblock sb = next_superblock(f);
    forge_superblock(f, &sb, f->store->sb_slot);
    assert_int_equal(briq_device_flush(f->dev), 0);
    sb.accel++;
    forge_superblock(f, &sb, 1 - f->store->sb_slot);
    expect(f, "differs from its other copy");
}

static void a_head_that_passes_over_the_journal(void **state)
{
    struct fixture *f = *state;
    struct briq_superblock sb = next_superblock(f);
    struct briq_chunk chunk = next_chunk(f);
    assert_int_equal(sb.heads[0].seg, chunk.seg);
    sb.heads[0].off = chunk.off;
    forge_superblock(f, &sb, f->store->sb_slot);
    expect(f, "which its map does not have");
}

static void a_clean_volume_with_a_journal(void **state)
{
    struct fixture *f = *state;
    struct briq_superblock sb = next_superblock(f);
    sb.clean = true;
    memset(sb.boot_id, 0, sizeof sb.boot_id);
    forge_superblock(f, &sb, f->store->sb_slot);
    expect(f, "is clean, and its map does not have");
}

/* ---- after a death --------------------------------------------------------------------------- */

/* Only what was not flushed may be written again. */
static void the_recovery_of_a_process(void **state)
{
    struct fixture *f = *state;
    struct briq_head head = f->store->sb.heads[0];
    struct briq_chunk lost = next_chunk(f);
    uint64_t where = segment_at(f, lost.seg) + lost.off;
    forge_next(f, &lost);
    test_disk_die(f->disk, &f->prng);
    protocol_process_death(f->protocol);
    struct briq_device *dev = protocol_wrap(f->protocol, test_disk_handle(f->disk), NULL);
    uint8_t sector[4096];
    assert_int_equal(briq_device_read(dev, sector, sizeof sector, where), 0);
    assert_int_equal(briq_device_write(dev, sector, sizeof sector, where), 0);
    assert_string_equal(f->lines, "");
    where = segment_at(f, head.seg) + head.off;
    assert_int_equal(briq_device_read(dev, sector, sizeof sector, where), 0);
    assert_int_equal(briq_device_write(dev, sector, sizeof sector, where), 0);
    expect(f, "over a record of the journal");
    briq_device_close(dev);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        test(a_whole_life_is_legal),
        test(what_a_legal_next_chunk_looks_like),
        test(what_a_legal_superblock_looks_like),
        test(a_page_overwritten_in_place),
        test(an_extent_overwritten),
        test(a_record_of_the_journal_overwritten),
        test(a_segment_used_again_before_the_checkpoint),
        test(a_segment_used_twice_since_the_checkpoint),
        test(chunks_that_do_not_belong),
        test(what_is_no_chunk),
        test(a_write_outside_of_the_segments),
        test(a_write_to_space_that_was_not_asked_for),
        test(a_flush_that_never_was),
        test(an_operation_behind_its_checkpoint),
        test(a_discard_of_what_is_needed),
        test(a_superblock_before_the_flush),
        test(a_superblock_that_names_what_is_not_there),
        test(a_superblock_over_the_only_durable_copy),
        test(superblocks_with_wrong_numbers),
        test(two_copies_that_differ),
        test(a_head_that_passes_over_the_journal),
        test(a_clean_volume_with_a_journal),
        test(the_recovery_of_a_process),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
