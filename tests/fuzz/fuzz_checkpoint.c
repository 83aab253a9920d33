/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_checkpoint.c - the chain superblock, roots, nodes, pages, damaged anywhere with and without
 * right checksums: opening refuses the volume in one line, or reads it without a wrong step; and
 * writing to it, whatever its tables say, ends in success or in an error. Where no checksum was
 * made right, who opens it for writing finds the same as who only read it.
 *
 *   byte 0: bits 0-1 which state of the volume; bit 2 also open it for writing; then edits of
 *   metadata, see edit.h.
 */
#include "tests/fuzz/support/fuzz.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/fuzz/support/edit.h"
#include "tests/fuzz/support/reading.h"
#include "tests/fuzz/support/volume.h"
#include "tests/lib/ledger.h"

static struct fuzz_volume *volume_of(unsigned state)
{
    static struct fuzz_volume *volumes[FUZZ_STATE_COUNT];
    state %= FUZZ_STATE_COUNT;
    if (volumes[state] == NULL)
        volumes[state] = fuzz_volume_make((enum fuzz_state)state);
    return volumes[state];
}

/* An error of a request. */
static void expect_answer(int r)
{
    BRIQ_ASSERT(r == 0 || r == -EIO || r == -ENOSPC || r == -EROFS || r == -EINVAL);
}

static void work_on(struct briq_store *store)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    for (uint32_t i = 0; i < 24; i++) {
        uint64_t block = i % 2 == 0 ? i : FUZZ_BLOCKS - 2 - i;
        test_ledger_content(7000 + i, (uint32_t)block, bytes);
        if (i % 6 == 5)
            expect_answer(briq_trim(store, sizeof bytes, block * sizeof bytes, 0));
        else
            expect_answer(briq_write(store, bytes, sizeof bytes, block * sizeof bytes, 0));
    }
    expect_answer(briq_write(store, bytes, 100, 50, 0));
    expect_answer(briq_flush(store));
    expect_answer(briq_store_checkpoint(store));
    (void)briq_store_maintain(store);
}

static void open_for_writing(struct fuzz_disk *disk, const struct fuzz_reading *before, bool lies)
{
    static struct fuzz_reading now;
    struct briq_store *store = NULL;
    if (fuzz_volume_open(disk, false, NULL, &store) < 0)
        return;
    BRIQ_ASSERT(before->opened);
    fuzz_read_store(store, &now);
    if (!lies)
        fuzz_expect_same(before, &now);
    work_on(store);
    (void)briq_store_close(store); /* fails where a write failed */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_reading before;
    struct fuzz_input in = {data, size};
    unsigned how = (unsigned)fuzz_number(&in, 1);
    struct fuzz_volume *v = volume_of(how & 3);
    fuzz_disk_reset(v->disk);
    bool lies = fuzz_edit(v, &in, FUZZ_METADATA);
    fuzz_read_disk(v->disk, NULL, &before);
    if ((how & 4) != 0)
        open_for_writing(v->disk, &before, lies);
    return 0;
}
