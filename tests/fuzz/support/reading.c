/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/support/reading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/align.h"
#include "tests/fuzz/support/volume.h"

#define EXTENTS_MAX 64u
#define RUN_BLOCKS  8u

#define HASH_OF_ZEROS 0u /* no block is hashed to tell that it is a hole */

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static void note_block(struct fuzz_reading *ret, uint64_t block, const uint8_t *bytes, size_t len)
{
    ret->readable[block] = true;
    ret->hash[block] = is_zero(bytes, len) ? HASH_OF_ZEROS : XXH3_64bits(bytes, len);
}

static uint64_t end_of(const struct fuzz_reading *ret)
{
    return briq_min_u64(ret->size_bytes, FUZZ_READ_BLOCKS * (uint64_t)BRIQ_BLOCK_BYTES);
}

/* Up to RUN_BLOCKS at once; where that fails, one by one. */
static void read_run(struct briq_store *store, uint64_t off, uint64_t len, struct fuzz_reading *ret)
{
    uint8_t bytes[RUN_BLOCKS * BRIQ_BLOCK_BYTES];
    bool all = briq_read(store, bytes, len, off) == 0;
    for (uint64_t done = 0; done < len; done += BRIQ_BLOCK_BYTES) {
        size_t part = briq_min_u64(BRIQ_BLOCK_BYTES, len - done);
        uint8_t *block = bytes + done;
        if (all || briq_read(store, block, part, off + done) == 0)
            note_block(ret, (off + done) / BRIQ_BLOCK_BYTES, block, part);
    }
}

static void read_data(struct briq_store *store, uint64_t off, uint64_t len,
                      struct fuzz_reading *ret)
{
    for (uint64_t done = 0; done < len; done += RUN_BLOCKS * BRIQ_BLOCK_BYTES)
        read_run(store, off + done, briq_min_u64(len - done, RUN_BLOCKS * BRIQ_BLOCK_BYTES), ret);
}

static void note_zeros(uint64_t off, uint64_t len, struct fuzz_reading *ret)
{
    for (uint64_t block = off / BRIQ_BLOCK_BYTES; block < briq_div_up(off + len, BRIQ_BLOCK_BYTES);
         block++)
        ret->readable[block] = true;
}

/* Blocks of a map page that cannot be loaded are not readable: nothing else is asked of them. */
static uint64_t skip_page(uint64_t off, uint64_t end)
{
    const uint64_t page_bytes = (uint64_t)BRIQ_PAGE_WORDS * BRIQ_BLOCK_BYTES;
    return briq_min_u64(briq_align_down(off, page_bytes) + page_bytes, end);
}

void fuzz_read_store(struct briq_store *store, struct fuzz_reading *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->opened = true;
    ret->size_bytes = briq_store_size(store);
    const uint64_t page_bytes = (uint64_t)BRIQ_PAGE_WORDS * BRIQ_BLOCK_BYTES;
    uint64_t off = 0, end = end_of(ret);
    while (off < end) {
        struct briq_extent extents[EXTENTS_MAX];
        unsigned count = 0;
        uint64_t len = briq_min_u64(end - off, page_bytes - off % page_bytes);
        if (briq_status(store, len, off, 0, extents, EXTENTS_MAX, &count) < 0) {
            off = skip_page(off, end);
            continue;
        }
        BRIQ_ASSERT(count > 0);
        for (unsigned i = 0; i < count; i++) {
            if (extents[i].type == BRIQ_EXTENT_DATA)
                read_data(store, off, extents[i].len_bytes, ret);
            else
                note_zeros(off, extents[i].len_bytes, ret);
            off += extents[i].len_bytes;
        }
        BRIQ_ASSERT(off <= end);
    }
}

void fuzz_read_disk(struct fuzz_disk *disk, const char *windows_dir, struct fuzz_reading *ret)
{
    struct briq_store *store = NULL;
    ret->opened = false;
    if (fuzz_volume_open(disk, true, windows_dir, &store) < 0)
        return;
    fuzz_read_store(store, ret);
    BRIQ_ASSERT(briq_store_close(store) == 0);
}

static void fail(const char *what, uint64_t block)
{
    fprintf(stderr, "block %llu: %s\n", (unsigned long long)block, what);
    abort();
}

void fuzz_expect_no_loss(const struct fuzz_reading *before, const struct fuzz_reading *after)
{
    if (!before->opened)
        return;
    if (!after->opened)
        fail("the volume could be opened before, and cannot any more", 0);
    BRIQ_ASSERT(before->size_bytes == after->size_bytes);
    for (uint64_t block = 0; block < briq_div_up(end_of(before), BRIQ_BLOCK_BYTES); block++) {
        if (!before->readable[block])
            continue;
        if (!after->readable[block])
            fail("could be read before, and cannot any more", block);
        if (after->hash[block] != before->hash[block])
            fail("reads as something else than before", block);
    }
}

void fuzz_expect_same(const struct fuzz_reading *a, const struct fuzz_reading *b)
{
    fuzz_expect_no_loss(a, b);
    fuzz_expect_no_loss(b, a);
}
