/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/faults/scenario.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/store/engine.h"
#include "common/store/tree.h"

#define SEGMENT_SHIFT   16
#define TIGHT_SEGMENTS  (64u + 22u) /* the first 64 are no use: superblocks lie there */
#define PREPARE_STEPS   50u
#define PREPARE_SEED    7u
#define WORK_STEPS      40u
#define TIGHT_STEPS     60u
#define UNFLUSHED_STEPS 12u

/* ---- work ------------------------------------------------------------------------------------ */

/* A place and length that lie in the volume; all is drawn before anything can fail. */
struct place {
    uint64_t off;
    uint32_t len;
};

static struct place draw_place(struct stage *s, bool whole)
{
    uint64_t unit = whole ? BRIQ_BLOCK_BYTES : 1;
    uint64_t off = briq_prng_below(&s->prng, (HISTORY_BLOCKS - 12) * (BRIQ_BLOCK_BYTES / unit));
    uint64_t len = 1 + briq_prng_below(&s->prng, 8 * (BRIQ_BLOCK_BYTES / unit));
    return (struct place){.off = off * unit, .len = (uint32_t)(len * unit)};
}

static void step(struct stage *s)
{
    uint64_t what = briq_prng_below(&s->prng, 24);
    struct place p = draw_place(s, what < 10);
    unsigned flags = briq_prng_below(&s->prng, 8) == 0 ? BRIQ_OP_FUA : 0;
    if (what < 13)
        (void)stage_write(s, p.off, p.len, flags);
    else if (what < 15)
        (void)stage_trim(s, p.off, p.len, flags);
    else if (what < 17)
        (void)stage_zero(s, p.off, p.len, flags | (what == 16 ? BRIQ_OP_MAY_TRIM : 0));
    else if (what < 20)
        (void)stage_read(s, p.off, p.len);
    else if (what < 22)
        (void)stage_flush(s);
    else if (what == 22)
        (void)stage_checkpoint(s);
    else
        (void)stage_maintain(s);
}

static void steps(struct stage *s, unsigned count)
{
    for (unsigned i = 0; i < count && s->store != NULL; i++)
        step(s);
}

static void open_and_work(struct stage *s, const struct briq_open_options *options, unsigned count)
{
    if (stage_volume_open(s, options) < 0)
        return;
    steps(s, count);
    (void)stage_flush(s);
    stage_verify(s);
    (void)stage_volume_close(s);
}

/* ---- states before --------------------------------------------------------------------------- */

static const struct briq_open_options plain;

static void make_volume(struct stage *s, uint64_t limit, bool preallocate)
{
    struct briq_create_options options = {.size_bytes = HISTORY_BYTES,
                                          .limit_bytes = limit,
                                          .preallocate = preallocate,
                                          .segment_shift = SEGMENT_SHIFT};
    s->prng.state = PREPARE_SEED;
    (void)stage_volume_create(s, &options);
    open_and_work(s, &plain, PREPARE_STEPS);
    history_settle(&s->history);
}

static void prepare_nothing(struct stage *s, struct snapshot *snapshot)
{
    (void)s;
    memset(snapshot, 0, sizeof *snapshot);
}

static void prepare_clean(struct stage *s, struct snapshot *snapshot)
{
    make_volume(s, 0, false);
    stage_keep(s, snapshot);
}

/* Data that fills it, so that every further write has to wait for space. */
static void prepare_tight(struct stage *s, struct snapshot *snapshot)
{
    s->tight = true;
    make_volume(s, (uint64_t)TIGHT_SEGMENTS << SEGMENT_SHIFT, false);
    (void)stage_volume_open(s, &plain);
    for (uint64_t off = 0; off + 65536 < HISTORY_BYTES; off += 65536)
        (void)stage_write(s, off, 65536, 0);
    (void)stage_volume_close(s);
    history_settle(&s->history);
    stage_keep(s, snapshot);
}

static void keep_while_open(struct stage *s, struct snapshot *snapshot)
{
    (void)stage_volume_open(s, &plain);
    steps(s, UNFLUSHED_STEPS);
    (void)stage_checkpoint(s);
    steps(s, UNFLUSHED_STEPS);
    (void)stage_flush(s);
    for (unsigned i = 0; i < UNFLUSHED_STEPS; i++)
        (void)stage_write(s, i * 3 * BRIQ_BLOCK_BYTES + 100 * i, 3000 + 100 * i, 0);
    stage_keep(s, snapshot);
    (void)stage_volume_close(s);
}

/* As a server that was killed leaves it. */
static void prepare_death(struct stage *s, struct snapshot *snapshot)
{
    make_volume(s, 0, false);
    keep_while_open(s, snapshot);
}

static void prepare_tight_death(struct stage *s, struct snapshot *snapshot)
{
    struct snapshot closed;
    prepare_tight(s, &closed);
    snapshot_free(&closed);
    keep_while_open(s, snapshot);
}

/* As a power cut leaves it that lost nothing of what the device had. */
static void prepare_cut(struct stage *s, struct snapshot *snapshot)
{
    prepare_death(s, snapshot);
    for (unsigned i = 0; i < snapshot->windows_count; i++)
        free(snapshot->windows[i].bytes);
    snapshot->windows_count = 0;
    history_doubt(snapshot->history);
}

/* The page of the map is gone: all its blocks have to be found again. */
static void prepare_damaged(struct stage *s, struct snapshot *snapshot)
{
    make_volume(s, 0, false);
    (void)stage_volume_open(s, &(struct briq_open_options){.read_only = true});
    uint64_t at = briq_word_granule(briq_map_page_place(&s->store->map, 0)) << BRIQ_GRANULE_SHIFT;
    (void)stage_volume_close(s);
    stage_keep(s, snapshot);
    snapshot->bytes[at + 100] ^= 1;
}

/* ---- judgements ------------------------------------------------------------------------------ */

static void judge_nothing(struct stage *s)
{
    (void)s;
}

/* After the death of the process first, when what it left in memory counts; then, with that gone,
 * after a power cut. */
static void judge_volume(struct stage *s)
{
    struct snapshot now;
    stage_keep(s, &now);
    uint64_t up = s->volume_bytes_up;
    bool dead = now.windows_count > 0;
    if (dead) {
        stage_verify_closed(s, s->lies || s->gave_up ? 0 : s->history.done);
        if (!s->lies)
            stage_expect_well(s);
        else
            (void)stage_volume_close(s);
        stage_restore(s, &now);
        s->volume_bytes_up = up;
        test_dir_empty(&s->windows);
    }
    stage_verify_closed(s, s->lies || s->gave_up ? 0 : s->history.flushed);
    if (!s->lies)
        stage_expect_well(s);
    else
        (void)stage_volume_close(s);
    snapshot_free(&now);
}

static void judge_created(struct stage *s)
{
    if (s->errors > 0 && access(s->path.text, F_OK) == 0)
        stage_fail(s, "half a volume is left");
    if (s->errors == 0)
        judge_volume(s);
}

/* A second repair ends what the first began. */
static void judge_repaired(struct stage *s)
{
    s->errors = 0;
    bool gave_up = s->gave_up;
    seam_clear();
    if (stage_check(s, true, true) != 0)
        stage_fail(s, "a second repair does not mend it");
    if (s->gave_up && !gave_up)
        stage_fail(s, "a second repair gives something up");
    judge_volume(s);
}

/* ---- acts ------------------------------------------------------------------------------------ */

static void create(struct stage *s)
{
    struct briq_create_options options = {.size_bytes = HISTORY_BYTES,
                                          .segment_shift = SEGMENT_SHIFT};
    unlink(s->path.text);
    memset(&s->history, 0, sizeof s->history);
    (void)stage_volume_create(s, &options);
}

static void create_preallocated(struct stage *s)
{
    struct briq_create_options options = {
        .size_bytes = HISTORY_BYTES, .preallocate = true, .segment_shift = SEGMENT_SHIFT};
    unlink(s->path.text);
    memset(&s->history, 0, sizeof s->history);
    (void)stage_volume_create(s, &options);
}

static void read_all(struct stage *s)
{
    for (uint64_t off = 0; off < HISTORY_BYTES; off += 8 * BRIQ_BLOCK_BYTES)
        (void)stage_read(s, off,
                         (uint32_t)(HISTORY_BYTES - off < 8 * BRIQ_BLOCK_BYTES
                                        ? HISTORY_BYTES - off
                                        : 8 * BRIQ_BLOCK_BYTES));
}

static void open_read_close(struct stage *s)
{
    /* What must have survived depends on what the server left. */
    if (stage_volume_open(s, &plain) < 0)
        return;
    s->limbo = s->history.count > s->history.done; /* which of them are there is judged below */
    read_all(s);
    stage_verify(s);
    s->limbo = false;
    (void)stage_volume_close(s);
}

static void open_read_only(struct stage *s)
{
    if (stage_volume_open(s, &(struct briq_open_options){.read_only = true}) < 0)
        return;
    s->limbo = s->history.count > s->history.done;
    read_all(s);
    s->limbo = false;
    (void)stage_volume_close(s);
}

static void work(struct stage *s)
{
    open_and_work(s, &plain, WORK_STEPS);
}

static void work_tightly(struct stage *s)
{
    open_and_work(s, &(struct briq_open_options){.streams = 1}, TIGHT_STEPS);
}

static void work_directly(struct stage *s)
{
    open_and_work(s, &(struct briq_open_options){.direct = true, .cache_bytes = 1 << 20},
                  WORK_STEPS);
}

static void work_without_windows(struct stage *s)
{
    open_and_work(s, &(struct briq_open_options){.no_windows_file = true}, WORK_STEPS);
}

/* The server is killed before it can close, and everything it did is judged by what it left. */
static void work_and_die(struct stage *s)
{
    struct snapshot dead;
    if (stage_volume_open(s, &plain) < 0)
        return;
    steps(s, WORK_STEPS);
    for (unsigned i = 0; i < HISTORY_BLOCKS - 8; i += 8)
        (void)stage_write(s, i * BRIQ_BLOCK_BYTES, 8 * BRIQ_BLOCK_BYTES, 0);
    stage_keep(s, &dead);
    unsigned errors = s->errors;
    bool limbo = s->limbo;
    (void)stage_volume_close(s);
    stage_restore(s, &dead);
    snapshot_free(&dead);
    s->errors = errors;
    s->limbo = limbo;
}

static void start_and_close(struct stage *s)
{
    if (stage_volume_open(s, &plain) < 0)
        return;
    (void)stage_start(s);
    (void)stage_volume_close(s);
}

static void resize(struct stage *s)
{
    if (stage_volume_open(s, &plain) < 0)
        return;
    (void)stage_write(s, 5000, 9000, 0);
    (void)stage_resize(s, HISTORY_BYTES_UP);
    if (s->volume_bytes == HISTORY_BYTES_UP)
        (void)stage_write(s, HISTORY_BYTES_UP - 9000, 9000, 0);
    (void)stage_flush(s);
    stage_verify(s);
    (void)stage_volume_close(s);
}

static void compact(struct stage *s)
{
    if (stage_volume_open(s, &plain) < 0)
        return;
    (void)stage_trim(s, 0, HISTORY_BYTES / 3, 0);
    (void)stage_compact(s);
    stage_verify(s);
    (void)stage_volume_close(s);
}

static void check(struct stage *s)
{
    if (stage_check(s, false, false) == 1 && seam_struck() == 0)
        stage_fail(s, "a check finds something in a sound volume");
}

static void check_deep(struct stage *s)
{
    if (stage_check(s, true, false) == 1 && seam_struck() == 0)
        stage_fail(s, "a deep check finds something in a sound volume");
}

static void repair(struct stage *s)
{
    (void)stage_check(s, true, true);
}

static void dump(struct stage *s)
{
    (void)stage_info(s);
    (void)stage_dump(s);
}

static void memory(struct stage *s)
{
    struct test_path file = s->path;
    snprintf(s->path.text, sizeof s->path.text, "mem:%u,limit=1M", (unsigned)HISTORY_BYTES);
    s->volume_bytes = HISTORY_BYTES;
    s->tight = true;
    memset(&s->history, 0, sizeof s->history);
    open_and_work(s, &plain, 2 * WORK_STEPS);
    s->path = file;
}

/* ---- all ------------------------------------------------------------------------------------- */

#define R (1u << SEAM_READ)
#define W (1u << SEAM_WRITE)
#define F (1u << SEAM_FLUSH)
#define S (1u << SEAM_RESERVE)
#define D (1u << SEAM_DISCARD)
#define O (1u << SEAM_FILE)
#define A (1u << SEAM_ALLOC)
#define M (1u << SEAM_MAP)
#define T (1u << SEAM_THREAD)

const struct scenario scenarios[] = {
    {"create", prepare_nothing, create, judge_created, W | F | O | A, false},
    {"create-preallocated", prepare_nothing, create_preallocated, judge_created, W | F | O | A,
     false},
    {"open", prepare_clean, open_read_close, judge_volume, R | W | F | S | D | O | A | M, true},
    {"open-read-only", prepare_clean, open_read_only, judge_volume, R | O | A | M, true},
    {"open-after-power-cut", prepare_cut, open_read_close, judge_volume,
     R | W | F | S | D | O | A | M, true},
    {"open-after-power-cut-read-only", prepare_cut, open_read_only, judge_volume, R | O | A | M,
     true},
    {"open-after-death", prepare_death, open_read_close, judge_volume,
     R | W | F | S | D | O | A | M, true},
    {"open-after-death-read-only", prepare_death, open_read_only, judge_volume, R | O | A | M,
     true},
    {"open-tight-after-death", prepare_tight_death, open_read_close, judge_volume,
     R | W | F | S | O | A | M, true},
    {"work", prepare_clean, work, judge_volume, R | W | F | S | D | O | A | M, true},
    {"work-tightly", prepare_tight, work_tightly, judge_volume, R | W | F | S | O | A | M, true},
    {"work-directly", prepare_clean, work_directly, judge_volume, R | W | F | S | D | O | A | M,
     true},
    {"work-without-windows", prepare_clean, work_without_windows, judge_volume,
     R | W | F | S | D | O | A | M, true},
    {"work-and-die", prepare_clean, work_and_die, judge_volume, R | W | F | S | O | A | M, true},
    {"start", prepare_clean, start_and_close, judge_volume, T, false},
    {"resize", prepare_clean, resize, judge_volume, R | W | F | S | D | O | A | M, true},
    {"compact", prepare_clean, compact, judge_volume, R | W | F | S | D | O | A | M, true},
    {"check", prepare_clean, check, judge_volume, R | O | A | M, false},
    {"check-deep", prepare_clean, check_deep, judge_volume, R | O | A | M, false},
    {"check-after-death", prepare_death, check_deep, judge_volume, R | O | A | M, false},
    {"repair", prepare_cut, repair, judge_repaired, R | W | F | S | O | A | M, false},
    {"rebuild", prepare_damaged, repair, judge_repaired, R | W | F | S | O | A | M, false},
    {"dump", prepare_clean, dump, judge_volume, R | O | A, false},
    {"memory", prepare_nothing, memory, judge_nothing, A | M, false},
};
const unsigned scenarios_count = sizeof scenarios / sizeof scenarios[0];
