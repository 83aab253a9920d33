/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_crash_cases.c - states after a crash that a random one hardly ever leaves, each made on
 * purpose: several streams around one FUA, a trim between two checkpoints, a chunk that another
 * opening wrote, append windows of another boot or of an earlier opening.
 *
 * A process death is a child that ends without closing; the machine stays up, and the windows are
 * there. A power cut is a simulated disk's, or the same with the windows taken away.
 */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/boot_id.h"
#include "common/store/encode.h"
#include "common/store/window.h"
#include "tests/lib/child.h"
#include "tests/lib/fixture.h"
#include "tests/lib/image.h"
#include "tests/lib/ledger.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/steps.h"
#include "tests/lib/temp_dir.h"
#include "tests/lib/wrap_device.h"

#define BLOCKS      200u
#define STREAMS     3u
#define DISK_BYTES  (UINT64_C(8) << 20)
#define RECORDS_MAX 4096u
/* Few segments of 64 KiB: what is written is soon written over. */
#define LIMIT_BYTES (UINT64_C(4) << 20 | UINT64_C(34) << 16)

struct scene {
    struct test_dir dir, windows;
    struct test_path path;
    struct test_ledger *ledger;
};

static void set_up(struct scene *scene)
{
    struct briq_create_options options = {
        .size_bytes = BLOCKS * BRIQ_BLOCK_BYTES, .limit_bytes = LIMIT_BYTES, .segment_shift = 16};
    test_dir_open(&scene->dir, TEST_DIR_MEMORY);
    test_dir_open(&scene->windows, TEST_DIR_MEMORY);
    scene->path = test_dir_file(&scene->dir, "volume.briq");
    test_volume_create(scene->path.text, &options);
    scene->ledger = test_ledger_open(BLOCKS, 1 << 14);
}

static void tear_down(struct scene *scene)
{
    test_ledger_close(scene->ledger);
    test_dir_close(&scene->dir);
    test_dir_close(&scene->windows);
}

static struct briq_store *open_volume(const struct scene *scene)
{
    struct briq_open_options options = {.windows_dir = scene->windows.path, .streams = 1};
    return test_volume_open(scene->path.text, &options);
}

/* Which operation wrote the block; the volume must be able to tell. */
static uint64_t number_in(struct briq_store *store, uint32_t block)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    uint64_t off = (uint64_t)block * BRIQ_BLOCK_BYTES;
    int r = briq_read(store, bytes, sizeof bytes, off);
    if (r != 0)
        fail_msg("block %" PRIu32 ": %s", block, strerror(-r));
    return test_ledger_number(bytes, block);
}

static void write_number(struct briq_store *store, uint32_t block, uint64_t number)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    test_ledger_content(number, block, bytes);
    assert(briq_write(store, bytes, sizeof bytes, (uint64_t)block * BRIQ_BLOCK_BYTES, 0) == 0);
}

/* ---- several streams ------------------------------------------------------------------------- */

static struct briq_store *open_disk(const struct scene *scene, struct test_disk *disk)
{
    struct briq_open_options options = {
        .device = test_disk_handle(disk), .windows_dir = scene->windows.path, .streams = STREAMS};
    return test_volume_open(scene->path.text, &options);
}

/* Writes block i with a context of its own, the last of them with FUA. What comes then may go. */
static void write_on_every_stream(struct briq_store *store)
{
    struct briq_ctx *ctxs[STREAMS];
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    for (uint32_t i = 0; i < STREAMS; i++) {
        unsigned flags = i == STREAMS - 1 ? BRIQ_OP_FUA : 0;
        test_ledger_content(i + 1, i, bytes);
        assert_int_equal(briq_ctx_open(store, &ctxs[i]), 0);
        assert_int_equal(test_step_run(store, ctxs[i], BRIQ_OP_WRITE, bytes, sizeof bytes,
                                       (uint64_t)i * sizeof bytes, flags),
                         0);
    }
    for (uint32_t i = 0; i < STREAMS; i++)
        briq_ctx_close(ctxs[i]);
    write_number(store, STREAMS, STREAMS + 1);
}

/* Whatever stream they went to: all operations before one that is durable are durable. */
static void fua_covers_what_other_streams_wrote_before(void **state)
{
    (void)state;
    struct scene scene;
    struct briq_prng prng = {.state = test_seed("build/tests/unit/test_crash_cases")};
    set_up(&scene);
    struct test_disk *disk = test_disk_open(DISK_BYTES);
    test_disk_load(disk, scene.path.text);
    struct briq_store *store = open_disk(&scene, disk);
    write_on_every_stream(store);
    test_disk_cut(disk, &prng);
    (void)briq_store_close(store); /* its disk is gone: it can only fail */
    test_dir_empty(&scene.windows);

    store = open_disk(&scene, disk);
    assert_false(briq_store_read_only(store));
    for (uint32_t i = 0; i < STREAMS; i++)
        if (number_in(store, i) != i + 1)
            fail_msg("operation %" PRIu32 " of %u, the last of them FUA, is lost", i + 1, STREAMS);
    test_volume_close(store);
    test_disk_close(disk);
    tear_down(&scene);
}

/* ---- a trim and nothing else between two checkpoints ----------------------------------------- */

static void trim_between_checkpoints(void *opaque)
{
    struct scene *scene = opaque;
    struct briq_store *store = open_volume(scene);
    write_number(store, 5, 1);
    assert(briq_store_checkpoint(store) == 0);
    assert(briq_trim(store, BRIQ_BLOCK_BYTES, 5 * BRIQ_BLOCK_BYTES, 0) == 0);
    assert(briq_store_checkpoint(store) == 0);
}

static void a_trim_is_in_the_next_checkpoint(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene);
    assert_int_equal(test_in_child(trim_between_checkpoints, &scene), 0);
    struct briq_store *store = open_volume(&scene);
    if (number_in(store, 5) != 0)
        fail_msg("a block that was trimmed before the checkpoint is back");
    test_volume_close(store);
    tear_down(&scene);
}

/* ---- a chunk of another opening -------------------------------------------------------------- */

static void write_and_flush_five(void *opaque)
{
    struct scene *scene = opaque;
    struct briq_store *store = open_volume(scene);
    for (uint64_t number = 1; number <= 5; number++) {
        write_number(store, (uint32_t)number, number);
        assert(briq_flush(store) == 0);
    }
}

/* The chunk with the last operation gets the incarnation before; all else about it stays right. */
static void backdate_last_chunk(const struct scene *scene)
{
    struct test_image image;
    struct test_found *found = calloc(RECORDS_MAX, sizeof *found), *last = NULL;
    uint8_t page[BRIQ_CHUNK_ALIGN];
    assert_non_null(found);
    test_image_open(&image, scene->path.text);
    size_t count = test_image_records(&image, found, RECORDS_MAX);
    for (size_t i = 0; i < count; i++)
        if (found[i].header.kind == BRIQ_KIND_USER && found[i].record.seq == 5)
            last = &found[i];
    assert_non_null(last);
    memcpy(page, image.bytes + last->chunk, sizeof page);
    last->header.incarnation--;
    briq_chunk_encode(&last->header, page);
    test_image_write(&image, last->chunk, page, sizeof page);
    test_image_close(&image);
    free(found);
}

static void a_chunk_of_another_opening_does_not_count(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene);
    assert_int_equal(test_in_child(write_and_flush_five, &scene), 0);
    test_dir_empty(&scene.windows);
    backdate_last_chunk(&scene);
    struct briq_store *store = open_volume(&scene);
    for (uint64_t number = 1; number <= 4; number++)
        assert_int_equal(number_in(store, (uint32_t)number), number);
    if (number_in(store, 5) != 0)
        fail_msg("a chunk that another opening wrote was believed");
    test_volume_close(store);
    tear_down(&scene);
}

/* ---- append windows -------------------------------------------------------------------------- */

/* The only file in the directory. */
static struct test_path windows_file(const struct scene *scene)
{
    struct test_path path = {{0}};
    DIR *dir = opendir(scene->windows.path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(path.text[0], '\0');
        path = test_dir_file(&scene->windows, entry->d_name);
    }
    closedir(dir);
    assert_int_not_equal(path.text[0], '\0');
    return path;
}

static void flush_some_and_leave_some(void *opaque)
{
    struct scene *scene = opaque;
    struct briq_prng prng = {.state = 11};
    struct briq_store *store = open_volume(scene);
    for (unsigned i = 0; i < 20; i++)
        assert(test_ledger_act(scene->ledger, store, &prng, 0) == 0);
    assert(test_ledger_flush(scene->ledger, store) == 0);
    for (unsigned i = 0; i < 20; i++)
        assert(test_ledger_act(scene->ledger, store, &prng, 0) == 0);
}

/* Makes the windows those of another boot. */
static void put_boot_id_of_windows(const struct scene *scene, const uint8_t boot_id[16])
{
    struct test_path path = windows_file(scene);
    int fd = open(path.text, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    off_t where = offsetof(struct briq_windows_header, boot_id);
    assert_int_equal(pwrite(fd, boot_id, 16, where), 16);
    close(fd);
}

/*
 * What a file that a power cut overtook may look like: parts of it never got to the medium. Here
 * every other 2 KiB of each window: records are there, and not all that they speak of.
 */
static void lose_half_of_windows(const struct scene *scene)
{
    static const uint8_t zeros[2048];
    struct briq_windows_header header;
    struct test_path path = windows_file(scene);
    int fd = open(path.text, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &header, sizeof header, 0), sizeof header);
    off_t size = lseek(fd, 0, SEEK_END);
    off_t windows = (off_t)header.window_count * header.window_bytes;
    assert_true(size > windows);
    for (off_t at = size - windows + (off_t)sizeof zeros; at < size; at += 2 * sizeof zeros)
        assert_int_equal(pwrite(fd, zeros, sizeof zeros, at), sizeof zeros);
    close(fd);
}

/* Opens the volume in the boot `boot_id`; NULL: in this one. */
static void expect_a_prefix_without_windows(struct scene *scene, const uint8_t *boot_id)
{
    uint64_t n, flushed = atomic_load(&scene->ledger->flushed);
    struct briq_stats stats;
    struct briq_open_options options = {
        .windows_dir = scene->windows.path, .streams = 1, .boot_id = boot_id};
    struct briq_store *store = test_volume_open(scene->path.text, &options);
    if (!test_ledger_check(scene->ledger, store, flushed, &n))
        fail_msg("windows that are not this opening's were replayed: not a prefix");
    briq_store_stats(store, &stats);
    if (stats.recovered_from_windows != 0)
        fail_msg("windows that are not this opening's were replayed");
    test_ledger_settle(scene->ledger, n);
    test_volume_close(store);
}

static void other_boot_id(uint8_t boot_id[16])
{
    assert_int_equal(briq_boot_id(boot_id), 0);
    boot_id[3] ^= 0x40;
}

/* The machine went down; the windows lay in a file that came up again, half of it. */
static void windows_from_before_a_reboot_do_not_count(void **state)
{
    (void)state;
    struct scene scene;
    uint8_t boot_id[16];
    set_up(&scene);
    assert_int_equal(test_in_child(flush_some_and_leave_some, &scene), 0);
    other_boot_id(boot_id);
    lose_half_of_windows(&scene);
    expect_a_prefix_without_windows(&scene, boot_id);
    tear_down(&scene);
}

/* The volume died in this boot, and the windows that bear its name are of another. */
static void windows_of_another_boot_do_not_count(void **state)
{
    (void)state;
    struct scene scene;
    uint8_t boot_id[16];
    set_up(&scene);
    assert_int_equal(test_in_child(flush_some_and_leave_some, &scene), 0);
    other_boot_id(boot_id);
    put_boot_id_of_windows(&scene, boot_id);
    lose_half_of_windows(&scene);
    expect_a_prefix_without_windows(&scene, NULL);
    tear_down(&scene);
}

/* Goes round the whole medium several times, and flushes. */
static void turn_everything_over(void *opaque)
{
    struct scene *scene = opaque;
    struct briq_prng prng = {.state = 12};
    struct briq_store *store = open_volume(scene);
    for (unsigned i = 0; i < 4000; i++)
        assert(test_ledger_act(scene->ledger, store, &prng, 0) == 0);
    assert(test_ledger_flush(scene->ledger, store) == 0);
}

/* Places that an earlier opening had in its windows belong to others by now. */
static void windows_of_an_earlier_opening_do_not_count(void **state)
{
    (void)state;
    struct scene scene;
    set_up(&scene);
    assert_int_equal(test_in_child(flush_some_and_leave_some, &scene), 0);
    struct test_path name = windows_file(&scene), kept = test_dir_file(&scene.dir, "kept");
    test_file_copy(name.text, kept.text);
    assert_int_equal(test_in_child(turn_everything_over, &scene), 0);
    test_dir_empty(&scene.windows);
    test_file_copy(kept.text, name.text);
    expect_a_prefix_without_windows(&scene, NULL);
    tear_down(&scene);
}

/* ---- half a superblock ----------------------------------------------------------------------- */

static void garble(const struct scene *scene, uint64_t at)
{
    uint8_t bytes[512];
    int fd = open(scene->path.text, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    memset(bytes, 0xe7, sizeof bytes);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, (off_t)at), sizeof bytes);
    close(fd);
}

/* The n-th request that changes the medium, flushes among them. */
static const struct test_io_event *change(const struct test_watch *watch, unsigned n)
{
    for (size_t i = 0; i < watch->events_count; i++)
        if (watch->events[i].kind != TEST_IO_READ && n-- == 0)
            return &watch->events[i];
    fail_msg("there were fewer requests");
    return NULL;
}

/*
 * All of a superblock but one sector, which is the same in each, was written when the power went. If
 * the next write of that copy wrote just that sector before the power goes again, it would be whole:
 * as of a checkpoint of which the opening between the two knows nothing, and may have written over.
 */
static void a_torn_superblock_cannot_come_back(void **state)
{
    (void)state;
    static const uint64_t copies[] = {BRIQ_SB_A_OFFSET, BRIQ_SB_B_OFFSET};
    for (unsigned i = 0; i < BRIQ_COUNT_OF(copies); i++) {
        struct scene scene;
        struct test_watch watch;
        set_up(&scene);
        assert_int_equal(test_in_child(flush_some_and_leave_some, &scene), 0);
        test_dir_empty(&scene.windows);
        garble(&scene, copies[i] + 2048);
        test_watch_init(&watch, 64);
        struct briq_open_options options = {.windows_dir = scene.windows.path, .streams = 1};
        assert_int_equal(test_wrap_file(scene.path.text, 0, &watch, NULL, &options.device), 0);
        test_volume_close(test_volume_open(scene.path.text, &options));
        /* The other copy may not have been on the medium; then this one must be, before all else. */
        bool mended =
            change(&watch, 0)->kind == TEST_IO_FLUSH && change(&watch, 1)->kind == TEST_IO_WRITE &&
            change(&watch, 1)->off == copies[i] && change(&watch, 1)->len == BRIQ_SB_BYTES &&
            change(&watch, 2)->kind == TEST_IO_FLUSH;
        if (!mended) {
            test_watch_print(&watch);
            fail_msg("a damaged copy of the superblock was not mended first");
        }
        test_watch_fini(&watch);
        tear_down(&scene);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fua_covers_what_other_streams_wrote_before),
        cmocka_unit_test(a_trim_is_in_the_next_checkpoint),
        cmocka_unit_test(a_chunk_of_another_opening_does_not_count),
        cmocka_unit_test(windows_from_before_a_reboot_do_not_count),
        cmocka_unit_test(windows_of_another_boot_do_not_count),
        cmocka_unit_test(windows_of_an_earlier_opening_do_not_count),
        cmocka_unit_test(a_torn_superblock_cannot_come_back),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
