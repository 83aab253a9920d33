/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_open_time.c - what it takes to open the largest volume, and one with a long log to replay.
 *
 * Memory is asserted; times are printed, for a machine that does nothing else:
 *   test_open_time 4000000    (or BRIQ_TEST_RECORDS) replays a log of so many records
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/lib/fixture.h"
#include "tests/lib/temp_dir.h"

#define RECORDS_DEFAULT    20000u
#define RESIDENT_BYTES_MAX (UINT64_C(64) << 20)
#define SAMPLES            1000u

static uint64_t milliseconds_since(uint64_t start)
{
    return (briq_clock_ns() - start) / 1000000;
}

/* Small once compressed, and unlike every other block. */
static void make_block(uint8_t bytes[BRIQ_BLOCK_BYTES], uint64_t number)
{
    memset(bytes, 'b', BRIQ_BLOCK_BYTES);
    memcpy(bytes + 100, &number, sizeof number);
}

static void write_block(struct briq_store *store, uint64_t block, uint64_t number)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    make_block(bytes, number);
    assert_int_equal(briq_write(store, bytes, sizeof bytes, block * BRIQ_BLOCK_BYTES, 0), 0);
}

static void expect_block(struct briq_store *store, uint64_t block, uint64_t number)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES], wanted[BRIQ_BLOCK_BYTES];
    make_block(wanted, number);
    assert_int_equal(briq_read(store, bytes, sizeof bytes, block * BRIQ_BLOCK_BYTES), 0);
    assert_memory_equal(bytes, wanted, sizeof wanted);
}

/* Blocks spread over the whole of the volume, so that the map has pages everywhere. */
static uint64_t spread(uint64_t i)
{
    return BRIQ_VOLUME_BYTES_MAX / BRIQ_BLOCK_BYTES / SAMPLES * i;
}

static void a_clean_volume_of_4_tib_opens_in_little_memory(void **state)
{
    (void)state;
    struct test_dir dir;
    test_dir_open(&dir, TEST_DIR_MEMORY);
    struct test_path path = test_dir_file(&dir, "large.briq");
    struct briq_create_options options = {.size_bytes = BRIQ_VOLUME_BYTES_MAX};
    test_volume_create(path.text, &options);
    struct briq_store *store = test_volume_open(path.text, NULL);
    for (uint64_t i = 0; i < SAMPLES; i++)
        write_block(store, spread(i), i);
    test_volume_close(store);

    uint64_t before = test_resident_bytes(), start = briq_clock_ns();
    store = test_volume_open(path.text, NULL);
    uint64_t took = milliseconds_since(start), after = test_resident_bytes();
    uint64_t grown = after > before ? after - before : 0;
    printf("a clean volume of 4 TiB: opened in %" PRIu64 " ms, %" PRIu64 " KiB resident\n", took,
           grown >> 10);
    if (grown >= RESIDENT_BYTES_MAX)
        fail_msg("opening took %" PRIu64 " bytes of memory", grown);
    for (uint64_t i = 0; i < SAMPLES; i++)
        expect_block(store, spread(i), i);
    test_volume_close(store);
    test_dir_close(&dir);
}

static uint64_t records_wanted(void)
{
    const char *text = getenv("BRIQ_TEST_RECORDS");
    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 0) : RECORDS_DEFAULT;
}

/* Writes that many blocks and dies. */
static void write_and_die(const char *path, uint64_t records)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct briq_store *store = test_volume_open(path, NULL);
        for (uint64_t i = 0; i < records; i++)
            write_block(store, i, i);
        if (briq_flush(store) != 0)
            _exit(1);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_long_log_is_replayed(void **state)
{
    (void)state;
    struct test_dir dir;
    uint64_t records = records_wanted();
    test_dir_open(&dir, TEST_DIR_MEMORY);
    struct test_path path = test_dir_file(&dir, "crashed.briq");
    struct briq_create_options options = {.size_bytes = UINT64_C(64) << 30};
    test_volume_create(path.text, &options);
    write_and_die(path.text, records);

    uint64_t start = briq_clock_ns();
    struct briq_store *store = test_volume_open(path.text, NULL);
    uint64_t took = milliseconds_since(start);
    struct briq_stats stats;
    briq_store_stats(store, &stats);
    printf("after a crash: %" PRIu64 " of %" PRIu64 " records replayed, opened in %" PRIu64 " ms\n",
           stats.recovered_records, records, took);
    assert_true(stats.recovered_records > 0 && stats.recovered_records <= records);
    for (uint64_t i = 0; i < records; i++)
        expect_block(store, i, i);
    test_volume_close(store);
    test_dir_close(&dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_volume_of_4_tib_opens_in_little_memory),
        cmocka_unit_test(a_long_log_is_replayed),
    };
    if (argc > 1)
        setenv("BRIQ_TEST_RECORDS", argv[1], 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
