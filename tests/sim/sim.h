/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim.h - the life of one simulated volume: it works, its machine or process dies at some device
 * call, it is opened again, judged, and works on.
 *
 * Everything happens in one thread and follows from the seed. Operations go through the stepwise
 * interface, several at a time; the simulation carries out their device requests in any order, and
 * does the maintenance itself. The faults are those of tests/lib/sim_disk.h, and these of the
 * machine around it:
 *  - Process death: the append windows are as they were in that moment.
 *  - Power cut: the windows are gone; or a file with them is still there (somebody keeps them on a
 *    disk), but the machine's boot is another one.
 *  - Both happen in any device call: of an operation, of a checkpoint, of garbage collection, of a
 *    close, of the recovery from the crash before; or between two calls.
 *
 * What is promised after each
 *  - Only processes died since the volume was last judged: every acknowledged operation is there,
 *    and the volume is what its first N operations left.
 *  - The power was cut: the volume is what its first N operations left, for an N at or beyond the
 *    last acknowledged flush, FUA write, checkpoint or opening.
 *  - A deep check finds nothing wrong, before and after the recovery.
 *  - Reads return what was written, all the time; an answer is -ENOSPC or success.
 *
 * A violation ends the process with a line that says what and how to repeat it. Thread: one.
 */
#ifndef BRIQ_TESTS_SIM_SIM_H
#define BRIQ_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/prng.h"
#include "common/store/store.h"
#include "tests/lib/corpus.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/temp_dir.h"
#include "tests/sim/history.h"
#include "tests/sim/protocol.h"
#include "tests/sim/stats.h"

#define SIM_SLOTS         8u
#define SIM_STREAMS_MAX   3u
#define SIM_REQUEST_MAX   (16u * BRIQ_BLOCK_BYTES)
#define SIM_DISK_BYTES    (UINT64_C(24) << 20)
#define SIM_VOLUME_MAX    (UINT64_C(4) << 20)
#define SIM_WINDOW_FILES  8u
#define SIM_LOG_LINES_MAX 4u

/* What follows from the seed alone. */
struct sim_plan {
    uint64_t size_bytes, limit_bytes, growth_bytes;
    uint64_t device_bytes; /* of a device that cannot grow; 0: it can */
    unsigned segment_shift;
    unsigned streams, slots;
    unsigned noise; /* percent of data that does not compress */
    bool roomy;     /* it can hold all its blocks raw: it is never full */
    bool no_windows_file;
    bool direct;
};

enum sim_slot_state {
    SIM_FREE,
    SIM_READY,   /* to be stepped */
    SIM_DEVICE,  /* its device requests are being carried out */
    SIM_WAITING, /* for the store to wake it */
};

struct sim_life;

struct sim_slot {
    struct briq_op op;
    struct sim_life *life;
    enum sim_slot_state state;
    bool woken;
    bool io_done[BRIQ_OP_IO_MAX];
    unsigned io_left;
    uint64_t flush_clock[2]; /* of the disk and of the protocol, when a flush was handed out */
    uint64_t number;         /* of the operation; owns its changes */
    size_t began;            /* changes there were when it began */
    size_t acked;            /* of those, how many were acknowledged */
    size_t last_change;      /* one behind its last change, or 0 */
    uint8_t *buffer;         /* SIM_REQUEST_MAX */
};

/* The file of some append windows at the moment of a crash. */
struct sim_windows {
    char name[128];
    uint8_t *bytes;
    size_t len, max;
};

struct sim_life {
    /* for all seeds of this process */
    struct test_dir dir, windows;
    struct test_path path;
    struct test_corpus *corpus;
    struct test_disk *disk;
    struct protocol *protocol;
    struct sim_history history;
    struct sim_stats *stats;
    uint8_t *scratch; /* SIM_VOLUME_MAX */
    /* of this seed */
    uint64_t seed, crashes_wanted, crashes;
    bool verbose, abort_on_failure;
    struct briq_prng prng;
    struct sim_plan plan;
    uint8_t boot_id[16];
    uint64_t operations;
    uint64_t size_bytes, size_wanted; /* as acknowledged; as a resize under way would have it */
    size_t durable;                   /* changes that a flush has acknowledged */
    size_t acked;                     /* one behind the last change of an acknowledged operation */
    bool power_was_cut;               /* since the volume was judged */
    /* of this opening */
    struct briq_store *store;
    struct briq_ctx *ctx[SIM_STREAMS_MAX];
    struct sim_slot slots[SIM_SLOTS];
    enum sim_place place; /* what is being done */
    enum sim_place died_in;
    enum sim_end end; /* how it will end */
    bool stopped;
    unsigned idle_calls; /* of the wait hook in a row, with nothing to do */
    struct sim_windows saved[SIM_WINDOW_FILES];
    unsigned saved_count;
    char log[SIM_LOG_LINES_MAX][256]; /* the last lines of the store */
    unsigned log_count;
};

/* What a process needs for any number of seeds; `dir` is for its files. */
void sim_life_open(struct sim_life *life, const char *dir, struct sim_stats *stats);
void sim_life_close(struct sim_life *life);

/* One seed: `crashes` crashes and what lies between them. */
void sim_life_run(struct sim_life *life, uint64_t seed, uint64_t crashes);

/* Ends the process with exit status 1 after the line and the command that repeats it. */
void sim_fail(struct sim_life *life, const char *fmt, ...) BRIQ_PRINTF(2, 3)
    __attribute__((noreturn));

static inline uint64_t sim_draw(struct sim_life *life, uint64_t bound)
{
    return briq_prng_below(&life->prng, bound);
}

static inline bool sim_chance(struct sim_life *life, unsigned percent)
{
    return briq_prng_below(&life->prng, 100) < percent;
}

/* ---- plan.c ---------------------------------------------------------------------------------- */

/* Draws the plan of life->seed. */
void sim_plan_draw(struct sim_life *life);
void sim_plan_print(const struct sim_plan *plan, char *text, size_t len);

/* ---- slots.c: operations in flight ------------------------------------------------------------
 */

/* Begins a random operation, if a slot is free. */
void sim_slots_begin(struct sim_life *life);

/* Carries some operation on by one step or one device request. False: all wait, or there is none.
 */
bool sim_slots_progress(struct sim_life *life);

unsigned sim_slots_in_flight(const struct sim_life *life);

/* The wait hook of the store. */
void sim_slots_wait(void *opaque);

/* Tells the disk of every write that was handed out and not carried out. */
void sim_slots_tell_disk(struct sim_life *life);

/* Forgets all operations; their store is gone. */
void sim_slots_drop(struct sim_life *life);

/* ---- work.c: between two crashes --------------------------------------------------------------
 */

/* Works on the open store until the disk stops, or enough was done. */
void sim_work(struct sim_life *life);

/* ---- crash.c --------------------------------------------------------------------------------- */

/* Called by the disk when it stops. */
void sim_crash_note(void *opaque, const struct test_disk_stop *stop);

/* The store is open: windows of other openings are of no more interest. */
void sim_crash_forget_stale(struct sim_life *life);

/* Ends the store and decides what is left of everything. */
void sim_crash(struct sim_life *life);

/* The machine begins a boot that it never had: its id is another one. */
void sim_boot(struct sim_life *life);

/* ---- judge.c --------------------------------------------------------------------------------- */

/* A deep check of what is on the disk now. */
void sim_judge_medium(struct sim_life *life);

/* The content of the store that was just opened; from here on it is what the volume holds. */
void sim_judge_content(struct sim_life *life);

#endif
