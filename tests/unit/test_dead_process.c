/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_dead_process.c - what an opening does with a volume whose process died at the worst moment.
 *
 * Each of these moments was found by the simulator (tests/sim/); here they are made by hand.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/store/engine.h"
#include "tests/lib/corpus.h"
#include "tests/lib/fixture.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/temp_dir.h"
#include "tests/lib/wrap_device.h"

#define BLOCK      BRIQ_BLOCK_BYTES
#define BLOCKS     200u
#define DISK_BYTES (UINT64_C(16) << 20)
#define EVENTS     4096u

struct fixture {
    struct test_dir dir, windows;
    struct test_path path;
    struct test_corpus *corpus;
    struct test_disk *disk;
    struct test_watch watch; /* of the last opening */
    struct briq_prng prng;
    struct briq_store *store;
    bool no_windows_file;
};

static void open_store(struct fixture *f)
{
    test_watch_reset(&f->watch);
    struct briq_open_options options = {
        .device = test_wrap_device(test_disk_handle(f->disk), &f->watch),
        .windows_dir = f->windows.path,
        .no_windows_file = f->no_windows_file,
        .streams = 1,
    };
    struct briq_error err = {0};
    if (briq_store_open(f->path.text, &options, &err, &f->store) != 0)
        fail_msg("open: %s", err.text);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct briq_create_options options = {.size_bytes = BLOCKS * BLOCK, .segment_shift = 16};
    assert_non_null(f);
    test_dir_open(&f->dir, TEST_DIR_MEMORY);
    test_dir_open(&f->windows, TEST_DIR_MEMORY);
    f->path = test_dir_file(&f->dir, "volume.briq");
    f->corpus = test_corpus_open();
    f->disk = test_disk_open(DISK_BYTES);
    test_watch_init(&f->watch, EVENTS);
    test_volume_create(f->path.text, &options);
    test_disk_load(f->disk, f->path.text);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    test_volume_close(f->store);
    test_watch_fini(&f->watch);
    test_disk_close(f->disk);
    test_corpus_close(f->corpus);
    test_dir_close(&f->windows);
    test_dir_close(&f->dir);
    free(f);
    return 0;
}

/* The process dies; its windows stay. */
static void die(struct fixture *f)
{
    test_disk_die(f->disk, &f->prng);
    briq_store_latch(f->store, -EIO, "the death");
    assert_int_not_equal(briq_store_close(f->store), 0);
}

static void fill(struct fixture *f, unsigned stamp, uint8_t *bytes, size_t len)
{
    test_corpus_fill(f->corpus, &f->prng, TEST_DATA_RANDOM, stamp, bytes, len);
}

static void write_block(struct fixture *f, unsigned block, uint8_t bytes[BLOCK])
{
    fill(f, block, bytes, BLOCK);
    assert_int_equal(briq_write(f->store, bytes, BLOCK, (uint64_t)block * BLOCK, 0), 0);
}

static void expect_block(struct fixture *f, unsigned block, const uint8_t bytes[BLOCK])
{
    uint8_t got[BLOCK];
    assert_int_equal(briq_read(f->store, got, BLOCK, (uint64_t)block * BLOCK), 0);
    assert_memory_equal(got, bytes, BLOCK);
}

static void expect_sound(struct fixture *f)
{
    struct briq_check_options options = {
        .deep = true, .windows_dir = f->windows.path, .device = test_disk_view(f->disk)};
    struct briq_check_result result;
    struct briq_error err = {0};
    assert_int_equal(briq_check(f->path.text, &options, &result, &err), 0);
    assert_int_equal(result.map_errors + result.segment_errors + result.chunk_errors +
                         result.payload_errors + result.lost_flushed,
                     0);
}

/* A write that gets as far as its first device request, which is returned. */
static struct briq_io begin_write(struct fixture *f, struct briq_op *op, struct briq_ctx *ctx,
                                  uint8_t *bytes, size_t len, uint64_t off)
{
    (void)f;
    briq_op_init(op, BRIQ_OP_WRITE, bytes, len, off, 0);
    assert_int_equal(briq_op_step(ctx, op), BRIQ_STEP_IO);
    assert_int_equal(op->io_count, 1);
    assert_int_equal(op->io[0].kind, BRIQ_IO_WRITE);
    return op->io[0];
}

/* ---- the moments ----------------------------------------------------------------------------- */

/* A power cut in the middle of such a write could destroy what a flush had covered. */
static void what_was_flushed_is_not_written_again(void **state)
{
    struct fixture *f = *state;
    uint8_t flushed[BLOCK], unflushed[BLOCK];
    open_store(f);
    uint64_t begin = briq_space_offset(&f->store->space, f->store->journal.streams[0].seg);
    write_block(f, 1, flushed);
    assert_int_equal(briq_flush(f->store), 0);
    uint64_t end = begin + f->store->journal.streams[0].win->sealed_end;
    write_block(f, 2, unflushed);
    die(f);
    open_store(f);
    unsigned behind = 0;
    for (size_t i = 0; i < f->watch.events_count; i++) {
        const struct test_io_event *event = &f->watch.events[i];
        if (event->kind != TEST_IO_WRITE || event->off + event->len <= begin)
            continue;
        assert_true(event->off >= end);
        behind += event->off == end;
    }
    assert_int_equal(behind, 1); /* the other one was written */
    expect_block(f, 1, flushed);
    expect_block(f, 2, unflushed);
}

/* The write in hand got as far as its record. It was never acknowledged; what it would have
 * overwritten was. */
static void half_a_write_costs_nothing_acknowledged(void **state)
{
    struct fixture *f = *state;
    uint8_t acknowledged[BLOCK], lost[BLOCK];
    struct briq_op op;
    struct briq_ctx *ctx;
    f->no_windows_file = true;
    open_store(f);
    write_block(f, 1, acknowledged);
    fill(f, 99, lost, sizeof lost);
    assert_int_equal(briq_ctx_open(f->store, &ctx), 0);
    struct briq_io io = begin_write(f, &op, ctx, lost, sizeof lost, BLOCK);
    struct briq_device *dev = test_disk_handle(f->disk);
    assert_int_equal(briq_device_write(dev, io.buf, 512, io.off), 0);
    briq_device_close(dev);
    die(f);
    open_store(f);
    expect_block(f, 1, acknowledged);
    expect_sound(f);
}

static void expect_flush_before_write(const struct fixture *f)
{
    bool flushed = false, written = false;
    for (size_t i = 0; i < f->watch.events_count; i++) {
        enum test_io kind = f->watch.events[i].kind;
        flushed = flushed || kind == TEST_IO_FLUSH;
        assert_true(flushed || kind != TEST_IO_WRITE);
        written = written || kind == TEST_IO_WRITE;
    }
    assert_true(flushed && written);
}

/* Its superblock may not be durable yet: it must be before the other copy is written over. */
static void an_opening_flushes_before_it_writes(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[BLOCK];
    open_store(f);
    expect_flush_before_write(f);
    write_block(f, 1, bytes);
    assert_int_equal(briq_flush(f->store), 0);
    die(f);
    open_store(f);
    expect_flush_before_write(f);
}

static bool was_reserved(const struct fixture *f, uint32_t seg)
{
    uint64_t off = briq_space_offset(&f->store->space, seg);
    for (size_t i = 0; i < f->watch.events_count; i++)
        if (f->watch.events[i].kind == TEST_IO_RESERVE && f->watch.events[i].off == off)
            return true;
    return false;
}

/* The stored table is older than the last time that space was given back. */
static void an_opening_asks_again_for_its_space(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[BLOCK];
    unsigned ready = 0;
    open_store(f);
    for (unsigned i = 0; i < BLOCKS; i++)
        write_block(f, i, bytes);
    assert_int_equal(briq_trim(f->store, BLOCKS * BLOCK, 0, 0), 0);
    while (briq_store_maintain(f->store) > 0)
        ;
    assert_int_equal(briq_store_checkpoint(f->store), 0);
    assert_int_equal(briq_store_checkpoint(f->store), 0);
    die(f);
    open_store(f);
    for (uint32_t seg = f->store->space.seg_first; seg < f->store->space.virgin; seg++) {
        if (atomic_load(&f->store->space.segs[seg].state) != BRIQ_SEG_READY)
            continue;
        assert_true(was_reserved(f, seg));
        ready++;
    }
    assert_true(ready > 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        test(what_was_flushed_is_not_written_again),
        test(half_a_write_costs_nothing_acknowledged),
        test(an_opening_flushes_before_it_writes),
        test(an_opening_asks_again_for_its_space),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
