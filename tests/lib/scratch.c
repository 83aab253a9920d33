/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/align.h"

void test_scratch_open(struct test_scratch *scratch, size_t buffer_bytes, struct briq_prng *prng)
{
    test_dir_open(&scratch->dir, TEST_DIR_DISK);
    scratch->path = test_dir_file(&scratch->dir, "disk.briq");
    scratch->out = aligned_alloc(4096, buffer_bytes);
    scratch->in = aligned_alloc(4096, buffer_bytes);
    BRIQ_ASSERT(scratch->out != NULL && scratch->in != NULL);
    for (size_t i = 0; i < buffer_bytes; i++)
        scratch->out[i] = (unsigned char)(1 + briq_prng_below(prng, 255));
}

void test_scratch_close(struct test_scratch *scratch)
{
    test_dir_close(&scratch->dir);
    free(scratch->out);
    free(scratch->in);
}

struct briq_device *test_device_open(const char *path, unsigned flags)
{
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    int r = briq_file_open(path, flags, &err, &dev);
    if (r < 0)
        fprintf(stderr, "open: %d: %s\n", r, err.text);
    BRIQ_ASSERT(r == 0 && err.text[0] == '\0');
    return dev;
}

struct briq_device *test_device_open_direct(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
    if (fd < 0)
        return NULL;
    close(fd);
    return test_device_open(path, BRIQ_FILE_DIRECT);
}

void test_device_expect(struct briq_device *dev, const void *expected, size_t len, uint64_t off)
{
    unsigned char *got = aligned_alloc(4096, briq_align_up(len, 4096));
    BRIQ_ASSERT(got != NULL);
    memset(got, 0xee, len);
    int r = briq_device_read(dev, got, len, off);
    BRIQ_ASSERT(r == 0);
    BRIQ_ASSERT(memcmp(got, expected, len) == 0);
    free(got);
}
