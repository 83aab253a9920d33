/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * volume.h - a small volume with a history, in memory, made by the store itself; where everything
 * in it stands; and opening it the cheap way.
 *
 * It has 24 segments of 64 KiB, two map pages (when it is closed or dead, one raw and one packed),
 * two streams, and has seen writes of all kinds, trims, zeroes, flushes, checkpoints, a compaction
 * and reopenings. Made once, the same on every machine. Thread: one.
 */
#ifndef BRIQ_TESTS_FUZZ_VOLUME_H
#define BRIQ_TESTS_FUZZ_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/encode.h"
#include "common/store/store.h"
#include "tests/fuzz/support/disk.h"

#define FUZZ_BLOCKS     600u
#define FUZZ_SEG_SHIFT  16u
#define FUZZ_SEG_FIRST  64u
#define FUZZ_SEG_END    88u
#define FUZZ_DISK_BYTES ((uint64_t)FUZZ_SEG_END << FUZZ_SEG_SHIFT)
#define FUZZ_STREAMS    2u
#define FUZZ_WINDOWS    8u /* the fewest that two streams take */
#define FUZZ_NAME       "fuzz.briq"

enum fuzz_state {
    FUZZ_CLEAN, /* closed */
    FUZZ_CUT,   /* the power failed while it was open: a journal to be replayed up to a gap */
    FUZZ_DEAD, /* its process died, which wrote before it acknowledged: all of the journal counts */
};
#define FUZZ_STATE_COUNT 3u

/* A chunk, and a record with its payload. */
struct fuzz_chunk {
    uint64_t at; /* byte on the disk */
    struct briq_chunk header;
};

struct fuzz_record {
    uint64_t at, payload_at; /* payload_at: 0 when it has none */
    uint32_t chunk, index;
    struct briq_record record;
    uint64_t use; /* what its extent's check was made with */
};

/* A page of the tree that the superblock leads to. */
struct fuzz_page {
    enum briq_record_type type;
    uint64_t index;
    uint64_t at;      /* of the extent's header */
    uint64_t bytes;   /* of its payload: fewer than a page has when it is packed */
    uint64_t use;     /* what its check is made with */
    uint64_t pointer; /* what its parent says of it */
};

#define FUZZ_CHUNKS_MAX  256u
#define FUZZ_RECORDS_MAX 2048u
#define FUZZ_PAGES       6u /* seg page, seg root, 2 map pages, node, root: children first */

struct fuzz_volume {
    struct fuzz_disk *disk; /* kept as made: reset it to undo what was done */
    struct briq_superblock sb;
    uint32_t chunk_count, record_count;
    struct fuzz_chunk chunks[FUZZ_CHUNKS_MAX];
    struct fuzz_record records[FUZZ_RECORDS_MAX];
    struct fuzz_page pages[FUZZ_PAGES];
};

/* Makes it. Ends the program when it cannot. Never freed. */
struct fuzz_volume *fuzz_volume_make(enum fuzz_state state);

/* The same, of a process that died with its append windows in `windows_dir`. *ret_dead stands for
 * that process: it is never closed. */
struct fuzz_volume *fuzz_volume_make_windows(const char *windows_dir, struct briq_store **ret_dead);

/* Options for opening it with little memory: no windows file unless a directory is given. */
struct briq_open_options fuzz_volume_options(struct fuzz_disk *disk, bool read_only,
                                             const char *windows_dir);

/* briq_store_open(). A failure must be explained in one line, by an error that store.h names. */
int fuzz_volume_open(struct fuzz_disk *disk, bool read_only, const char *windows_dir,
                     struct briq_store **ret) BRIQ_MUST;

#endif
