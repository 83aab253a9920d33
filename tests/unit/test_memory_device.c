/* SPDX-License-Identifier: BSD-3-Clause */
/* test_memory_device.c - memory as a device: zeroed, given back by discard, refused when too large.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/device/device.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#if defined(__SANITIZE_THREAD__) /* has little address space to give */
#define LARGE (16 * GIB)
#else
#define LARGE (256 * GIB)
#endif

static struct briq_device *open_device(uint64_t size_bytes)
{
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    assert_int_equal(briq_memory_open(size_bytes, &err, &dev), 0);
    assert_non_null(dev);
    assert_string_equal(err.text, "");
    return dev;
}

static uint64_t allocated(struct briq_device *dev)
{
    uint64_t bytes = UINT64_MAX;
    assert_int_equal(briq_device_allocated(dev, &bytes), 0);
    return bytes;
}

static void assert_filled(struct briq_device *dev, uint64_t off, size_t len, int byte)
{
    unsigned char *got = malloc(len), *expected = malloc(len);
    memset(got, ~byte, len);
    memset(expected, byte, len);
    assert_int_equal(briq_device_read(dev, got, len, off), 0);
    assert_memory_equal(got, expected, len);
    free(got);
    free(expected);
}

static void fill(struct briq_device *dev, uint64_t off, size_t len, int byte)
{
    unsigned char *bytes = malloc(len);
    memset(bytes, byte, len);
    assert_int_equal(briq_device_write(dev, bytes, len, off), 0);
    free(bytes);
}

static void a_new_device_is_zeroed_and_takes_nothing(void **state)
{
    (void)state;
    struct briq_device *dev = open_device(64 * MIB);
    assert_int_equal(dev->size_bytes, 64 * MIB);
    assert_int_equal(dev->align_bytes, 1);
    assert_int_equal(dev->fd, -1);
    assert_true(dev->fixed_size);
    assert_false(dev->read_only);
    assert_true(dev->host_dev == 0 && dev->host_ino == 0);
    assert_non_null(dev->memory);
    assert_int_equal((uintptr_t)dev->memory % (2 * MIB), 0);
    assert_int_equal(allocated(dev), 0);
    assert_filled(dev, 63 * MIB, MIB, 0);
    briq_device_close(dev);
}

static void what_is_written_is_read_and_lies_in_memory(void **state)
{
    (void)state;
    struct briq_device *dev = open_device(3 * MIB + 777);
    fill(dev, 12345, 777, 1);
    fill(dev, 3 * MIB, 777, 2);
    assert_int_equal(briq_device_write(dev, NULL, 0, 3 * MIB + 777), 0);
    assert_filled(dev, 12345, 777, 1);
    assert_filled(dev, 0, 12345, 0);
    assert_filled(dev, 3 * MIB, 777, 2);
    assert_int_equal(((unsigned char *)dev->memory)[12345], 1);
    assert_int_equal(briq_device_flush(dev), 0);
    assert_int_equal(briq_device_reserve(dev, 0, 3 * MIB), 0);
    briq_device_prefetch(dev, 0, 3 * MIB);
    assert_filled(dev, 12345, 777, 1);
    briq_device_close(dev);
}

static void the_end_is_the_end(void **state)
{
    (void)state;
    struct briq_device *dev = open_device(MIB + 1000);
    unsigned char bytes[2000];
    fill(dev, MIB, 1000, 3);

    memset(bytes, 9, sizeof bytes);
    assert_int_equal(briq_device_read(dev, bytes, 2000, MIB + 500), 0);
    for (size_t i = 0; i < sizeof bytes; i++)
        assert_int_equal(bytes[i], i < 500 ? 3 : 0);
    assert_filled(dev, MIB + 1000, 100, 0);
    assert_filled(dev, UINT64_MAX - 50, 50, 0);

    assert_int_equal(briq_device_write(dev, bytes, 2, MIB + 999), -ENOSPC);
    assert_int_equal(briq_device_write(dev, bytes, 1, MIB + 1000), -ENOSPC);
    assert_int_equal(briq_device_write(dev, bytes, 2000, UINT64_MAX - 1000), -ENOSPC);
    assert_filled(dev, MIB, 1000, 3);
    briq_device_close(dev);
}

static void what_is_reserved_was_touched_and_keeps_its_content(void **state)
{
    (void)state;
    struct briq_device *dev = open_device(16 * MIB + 100);
    fill(dev, 5 * MIB, 1, 6);
    uint64_t before = allocated(dev);
    assert_int_equal(briq_device_reserve(dev, 8 * MIB, MIB), 0);
    assert_in_range(allocated(dev), before + MIB, before + 2 * MIB);
    assert_filled(dev, 5 * MIB, 1, 6);

    assert_int_equal(briq_device_reserve(dev, 16 * MIB, MIB), 0); /* goes beyond the end */
    assert_int_equal(briq_device_reserve(dev, UINT64_MAX - MIB, MIB), 0);
    assert_filled(dev, 16 * MIB, 100, 0);
    briq_device_close(dev);
}

static void discard_gives_whole_pages_back(void **state)
{
    (void)state;
    struct briq_device *dev = open_device(16 * MIB);
    fill(dev, 0, 16 * MIB, 5);
    assert_int_equal(allocated(dev), 16 * MIB);

    assert_int_equal(briq_device_discard(dev, 4 * MIB, 8 * MIB), 0);
    assert_int_equal(allocated(dev), 8 * MIB);
    assert_filled(dev, 4 * MIB, 8 * MIB, 0);
    assert_filled(dev, 0, 4 * MIB, 5);
    assert_filled(dev, 12 * MIB, 4 * MIB, 5);
    briq_device_close(dev);
}

static void discard_leaves_the_neighbours_alone(void **state)
{
    (void)state;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct briq_device *dev = open_device(4 * MIB + 100);
    fill(dev, 0, 4 * MIB + 100, 5);

    assert_int_equal(briq_device_discard(dev, 1, page - 1), 0);
    assert_int_equal(briq_device_discard(dev, page - 1, page), 0);
    assert_int_equal(briq_device_discard(dev, 3, 0), 0);
    assert_filled(dev, 0, 2 * page + 1, 5);
    assert_int_equal(briq_device_discard(dev, 2 * page + 1, 2 * page), 0);
    assert_filled(dev, 0, 3 * page, 5);
    assert_filled(dev, 3 * page, page, 0);
    assert_filled(dev, 4 * page, page, 5);

    /* the page at the end, of which only a part belongs to the device; and what lies behind it */
    assert_int_equal(briq_device_discard(dev, 4 * MIB, 100), 0);
    assert_filled(dev, 4 * MIB, 100, 0);
    assert_filled(dev, 4 * MIB - 1, 1, 5);
    assert_int_equal(briq_device_discard(dev, 4 * MIB + 100, 4096), 0);
    assert_int_equal(briq_device_discard(dev, UINT64_MAX, UINT64_MAX), 0);
    assert_int_equal(briq_device_discard(dev, 0, UINT64_MAX), 0);
    assert_int_equal(allocated(dev), 0);
    briq_device_close(dev);
}

static void a_large_device_costs_nothing_until_touched(void **state)
{
    (void)state;
    struct briq_device *dev = open_device(LARGE);
    fill(dev, LARGE - 1, 1, 7);
    fill(dev, LARGE / 2, 1, 8);
    assert_filled(dev, LARGE - 1, 1, 7);
    assert_filled(dev, LARGE / 2, 1, 8);
    assert_in_range(allocated(dev), 8 * KIB, 4 * MIB); /* two pages, of whichever size */
    briq_device_close(dev);
}

static void a_size_that_cannot_be_is_refused(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 4096, INT64_MAX, INT64_MAX - 4 * MIB,
                                     UINT64_C(1) << 62};
    for (size_t i = 0; i < BRIQ_COUNT_OF(sizes); i++) {
        struct briq_error err = {.text = ""};
        struct briq_device *dev = NULL;
        assert_int_equal(briq_memory_open(sizes[i], &err, &dev), -ENOMEM);
        assert_null(dev);
        assert_non_null(strstr(err.text, "PiB in memory: no address space for it"));
    }
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    assert_int_equal(briq_memory_open(0, &err, &dev), -EINVAL);
    assert_string_equal(err.text, "a device in memory needs a size above 0");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_device_is_zeroed_and_takes_nothing),
        cmocka_unit_test(what_is_written_is_read_and_lies_in_memory),
        cmocka_unit_test(the_end_is_the_end),
        cmocka_unit_test(what_is_reserved_was_touched_and_keeps_its_content),
        cmocka_unit_test(discard_gives_whole_pages_back),
        cmocka_unit_test(discard_leaves_the_neighbours_alone),
        cmocka_unit_test(a_large_device_costs_nothing_until_touched),
        cmocka_unit_test(a_size_that_cannot_be_is_refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("memory device", tests, NULL, NULL);
}
