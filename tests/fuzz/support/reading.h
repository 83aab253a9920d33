/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reading.h - what a client can read of a volume, block by block: to be compared with what it can
 * read later. Thread: one.
 */
#ifndef BRIQ_TESTS_FUZZ_READING_H
#define BRIQ_TESTS_FUZZ_READING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/store.h"
#include "tests/fuzz/support/disk.h"

/* Blocks that are looked at; a damaged superblock may tell of more. */
#define FUZZ_READ_BLOCKS 1024u

struct fuzz_reading {
    bool opened;
    uint64_t size_bytes;
    bool readable[FUZZ_READ_BLOCKS];
    uint64_t hash[FUZZ_READ_BLOCKS]; /* of the content, where it is readable */
};

/* Reads everything of an open volume. */
void fuzz_read_store(struct briq_store *store, struct fuzz_reading *ret);

/* Opens the volume on the disk read-only, reads everything, closes it; changes nothing. */
void fuzz_read_disk(struct fuzz_disk *disk, const char *windows_dir, struct fuzz_reading *ret);

/* What could be read before can be read after, and is the same. Aborts if not. */
void fuzz_expect_no_loss(const struct fuzz_reading *before, const struct fuzz_reading *after);

/* The two tell exactly the same. Aborts if not. */
void fuzz_expect_same(const struct fuzz_reading *a, const struct fuzz_reading *b);

#endif
