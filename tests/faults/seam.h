/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * seam.h - the place between the program and its C library where tests/faults breaks things.
 *
 * The programs here are linked with --wrap for every call that reads, writes, flushes, takes space,
 * opens, maps, allocates or starts a thread. A call counts, and can be spoiled, only between
 * seam_enter() and seam_leave(): what the tests do for themselves goes through untouched.
 *
 * One fault is planted at a time: calls of its kind are let through `skip` times, then one is
 * spoiled, or every one from then on. How, says `way`: a call that fails, honestly; or, below the
 * checks of the store, a medium that lies.
 * Thread: one, and a maintenance thread that it starts.
 */
#ifndef BRIQ_TESTS_FAULTS_SEAM_H
#define BRIQ_TESTS_FAULTS_SEAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum seam_kind {
    SEAM_READ,    /* pread */
    SEAM_WRITE,   /* pwrite */
    SEAM_FLUSH,   /* fdatasync, fsync */
    SEAM_RESERVE, /* fallocate that takes space, posix_fallocate */
    SEAM_DISCARD, /* fallocate that gives it back */
    SEAM_FILE,    /* open, fstat, ftruncate */
    SEAM_ALLOC,   /* malloc and its kin */
    SEAM_MAP,     /* mmap */
    SEAM_THREAD,  /* pthread_create */
};
#define SEAM_KINDS 9

enum seam_way {
    SEAM_FAIL,      /* answers `error` and does nothing */
    SEAM_HALF,      /* a write puts half of it down, then answers `error` */
    SEAM_SHORT,     /* a read or write does a part and says so */
    SEAM_INTERRUPT, /* answers EINTR and does nothing */
    SEAM_LOSE,      /* a write is acknowledged and never reaches the medium */
    SEAM_MISDIRECT, /* a write lands `distance` bytes away */
    SEAM_FLIP,      /* one bit is wrong: of what is written, or of what is read */
    SEAM_STALE,     /* a read returns what was there at the start */
};

struct seam_fault {
    enum seam_kind kind;
    enum seam_way way;
    uint64_t skip; /* calls of the kind that go well before */
    bool ever;     /* not one call but all from then on */
    int error;     /* errno */
    int64_t distance;
    uint64_t seed;      /* decides which bit */
    const uint8_t *old; /* for SEAM_STALE: the whole file as it was; zeros behind it */
    uint64_t old_bytes;
};

/* Plants a fault and forgets all counts. */
void seam_plant(const struct seam_fault *fault);

/* Takes the fault away. Returns how many calls it has spoiled. */
uint64_t seam_clear(void);

/* How many calls were spoiled since seam_plant(). */
uint64_t seam_struck(void);

/* What happens between them is the store's doing. They do not nest. */
void seam_enter(void);
void seam_leave(void);

/* The kind and way as words, for messages. */
const char *seam_name(const struct seam_fault *fault);

#endif
