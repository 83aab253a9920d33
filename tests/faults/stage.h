/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stage.h - a volume on which things go wrong, and what must hold whatever does.
 *
 * Every call of the store goes through here: the fault that is planted strikes inside the call, and
 * right after it the answer is judged.
 *  - What is read is right, or the read fails.
 *  - A change that failed has happened as a whole, or not at all, block by block.
 *  - Once a write or flush of the medium has failed, the volume is read-only and no flush succeeds.
 * A rule that does not hold ends the program, with the command that repeats it.
 * Thread: one owner.
 */
#ifndef BRIQ_TESTS_FAULTS_STAGE_H
#define BRIQ_TESTS_FAULTS_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/prng.h"
#include "common/store/store.h"
#include "tests/faults/history.h"
#include "tests/faults/seam.h"
#include "tests/lib/temp_dir.h"

#define STAGE_FILES_MAX 4

/* A volume's file, and what its server left in shared memory, to be put back as they were. */
struct snapshot {
    uint8_t *bytes;
    uint64_t size;
    struct {
        char name[128];
        uint8_t *bytes;
        uint64_t size;
    } windows[STAGE_FILES_MAX];
    unsigned windows_count;
    struct history *history;
    uint64_t volume_bytes;
};

struct stage {
    struct test_dir dir, windows;
    struct test_path path;
    struct history history;
    struct finding found;
    struct briq_store *store;
    struct briq_error err;
    struct briq_prng prng;
    uint64_t volume_bytes;    /* the size of the volume */
    uint64_t volume_bytes_up; /* what a resize that failed may have made of it; 0: none did */
    struct seam_fault fault;
    bool lies;           /* the medium is not honest: any block may be unreadable, and lost */
    unsigned errors;     /* calls that failed */
    bool limbo;          /* a change failed and nobody knows how far it came: there is no other */
    bool tight;          /* space may run out by itself */
    bool older;          /* it opened read-only and said that there may have been more */
    bool gave_up;        /* a repair said that it gave something up */
    bool well;           /* the fault and its judgement are over */
    unsigned complaints; /* error lines in the log */
    char complaint[256]; /* the last of them */
    const char *scenario;
};

void stage_open(struct stage *s);
void stage_close(struct stage *s);

/* Says what is wrong and how to repeat it, and ends the program. */
void stage_fail(struct stage *s, const char *fmt, ...) BRIQ_PRINTF(2, 3) __attribute__((noreturn));

/* Keeps the volume as it is now; the store may be open. Puts it back, with its history. */
void stage_keep(struct stage *s, struct snapshot *snapshot);
void stage_restore(struct stage *s, const struct snapshot *snapshot);
void snapshot_free(struct snapshot *snapshot);

/* Whether the fault is one after which nothing may claim to be durable. */
bool stage_fault_is_final(const struct stage *s);

/* ---- calls: what they return is judged already; 0 or the error --------------------------------
 */

int stage_volume_create(struct stage *s, const struct briq_create_options *options);
int stage_volume_open(struct stage *s, const struct briq_open_options *options);
int stage_volume_close(struct stage *s);
int stage_start(struct stage *s);
int stage_write(struct stage *s, uint64_t off, uint32_t len, unsigned flags);
int stage_trim(struct stage *s, uint64_t off, uint32_t len, unsigned flags);
int stage_zero(struct stage *s, uint64_t off, uint32_t len, unsigned flags);
int stage_flush(struct stage *s);
int stage_read(struct stage *s, uint64_t off, uint32_t len);
int stage_checkpoint(struct stage *s);
int stage_maintain(struct stage *s);
int stage_compact(struct stage *s);
int stage_resize(struct stage *s, uint64_t bytes);
int stage_check(struct stage *s, bool deep, bool repair);
int stage_dump(struct stage *s);
int stage_info(struct stage *s);

/* ---- without the fault ------------------------------------------------------------------------
 */

/* Reads all of the open volume and compares it with the history. */
void stage_verify(struct stage *s);

/* The same with what can be found of it by a reader of the closed volume; at least `least` deeds.
 */
void stage_verify_closed(struct stage *s, unsigned least);

/* The same with less: each block by itself is as some number of deeds left it, or zeros. Returns
 * whether the volume could be opened at all; closes it. */
bool stage_holds_known_blocks(struct stage *s);

/* Writes, flushes and closes as on any healthy volume; a deep check then finds nothing. */
void stage_expect_well(struct stage *s);

#endif
