/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/faults/loops.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/scenario.h"

/* No scenario makes more calls of one kind; a loop that gets here would never end. */
#define CALLS_MAX 20000u

#define WINDOWS_FLIPS      400u
#define WINDOWS_HEAD_BYTES (2 * 4096u) /* the header's page, and the descriptors */

/* Calls that are always spoiled, before BRIQ_FAULT_STEP counts. */
#define CALLS_ALL 8u

enum times { ONCE = 1, EVER = 2 };

static const struct {
    enum seam_kind kind;
    enum seam_way way;
    int error;
    unsigned times;
    int64_t distance;
} honest[] =
    {
        {SEAM_READ, SEAM_FAIL, EIO, ONCE | EVER, 0},
        {SEAM_READ, SEAM_SHORT, 0, EVER, 0},
        {SEAM_READ, SEAM_INTERRUPT, 0, ONCE, 0},
        {SEAM_WRITE, SEAM_FAIL, EIO, ONCE | EVER, 0},
        {SEAM_WRITE, SEAM_FAIL, ENOSPC, ONCE | EVER, 0},
        {SEAM_WRITE, SEAM_HALF, EIO, ONCE | EVER, 0},
        {SEAM_WRITE, SEAM_SHORT, 0, EVER, 0},
        {SEAM_WRITE, SEAM_INTERRUPT, 0, ONCE, 0},
        {SEAM_FLUSH, SEAM_FAIL, EIO, ONCE | EVER, 0},
        {SEAM_RESERVE, SEAM_FAIL, ENOSPC, ONCE | EVER, 0},
        {SEAM_RESERVE, SEAM_FAIL, EIO, ONCE | EVER, 0},
        {SEAM_DISCARD, SEAM_FAIL, EIO, ONCE | EVER, 0},
        {SEAM_FILE, SEAM_FAIL, EMFILE, ONCE | EVER, 0},
        {SEAM_ALLOC, SEAM_FAIL, ENOMEM, ONCE | EVER, 0},
        {SEAM_MAP, SEAM_FAIL, ENOMEM, ONCE | EVER, 0},
        {SEAM_THREAD, SEAM_FAIL, EAGAIN, ONCE | EVER, 0},
},
  dishonest[] = {
      {SEAM_WRITE, SEAM_LOSE, 0, ONCE | EVER, 0},    {SEAM_WRITE, SEAM_MISDIRECT, 0, ONCE, 65536},
      {SEAM_WRITE, SEAM_MISDIRECT, 0, ONCE, -65536}, {SEAM_WRITE, SEAM_MISDIRECT, 0, ONCE, 4096},
      {SEAM_WRITE, SEAM_MISDIRECT, 0, ONCE, 16},     {SEAM_WRITE, SEAM_FLIP, 0, ONCE | EVER, 0},
      {SEAM_READ, SEAM_FLIP, 0, ONCE | EVER, 0},     {SEAM_READ, SEAM_STALE, 0, ONCE | EVER, 0},
};

struct loop {
    struct stage *stage;
    const struct scenario *scenario;
    struct snapshot before;
    struct seam_fault fault;
    uint64_t strikes;
    uint64_t step; /* from one call to the next, on the average */
    struct briq_prng prng;
};

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    uint64_t number = text == NULL ? 0 : strtoull(text, NULL, 0);
    return number == 0 ? otherwise : number;
}

/* Faults after which everything has to go well all the same. */
static bool is_harmless(const struct seam_fault *fault)
{
    return fault->way == SEAM_SHORT || fault->way == SEAM_INTERRUPT || fault->kind == SEAM_DISCARD;
}

/* One run. Returns whether the fault was reached. */
static bool run_once(struct loop *l)
{
    struct stage *s = l->stage;
    if (l->before.bytes != NULL)
        stage_restore(s, &l->before);
    s->prng.state = 1;
    s->fault = l->fault;
    s->errors = 0;
    seam_plant(&l->fault);
    l->scenario->act(s);
    uint64_t struck = seam_clear();
    l->strikes += struck;
    if ((struck == 0 || is_harmless(&l->fault)) && s->errors > 0)
        stage_fail(s, "%u calls failed although nothing was wrong", s->errors);
    if (s->store != NULL)
        stage_fail(s, "the scenario left the volume open");
    l->scenario->judge(s);
    return struck > 0;
}

/* Every call, or one in about BRIQ_FAULT_STEP of them, drawn by the seed. */
static uint64_t next_call(struct loop *l, uint64_t n)
{
    return n < CALLS_ALL ? n + 1 : n + 1 + briq_prng_below(&l->prng, 2 * l->step - 1);
}

static void run_loop(struct loop *l, bool ever)
{
    l->fault.ever = ever;
    l->strikes = 0;
    uint64_t n = 0, runs = 0;
    for (;; n = next_call(l, n), runs++) {
        l->fault.skip = n;
        l->fault.seed = n * UINT64_C(0x9e3779b97f4a7c15);
        if (n >= CALLS_MAX)
            stage_fail(l->stage, "after %u calls there is still no end", CALLS_MAX);
        if (!run_once(l))
            break;
    }
    printf("%s: %s %s%s: %" PRIu64 " runs to call %" PRIu64 "\n", l->scenario->name,
           seam_name(&l->fault), ever ? "for ever" : "once",
           l->fault.error == ENOSPC ? " for want of space" : "", runs, n);
    fflush(stdout);
    if (l->strikes == 0)
        stage_fail(l->stage, "the scenario never makes such a call");
}

/* What the arguments ask for; NULL: everything. */
struct wanted {
    const char *scenario, *fault, *times, *number;
};

static bool is_wanted(const char *wanted, const char *name)
{
    return wanted == NULL || strcmp(wanted, name) == 0;
}

static unsigned run_fault(struct loop *l, const struct wanted *w, unsigned times)
{
    unsigned loops = 0;
    if (!is_wanted(w->fault, seam_name(&l->fault)))
        return 0;
    for (unsigned i = ONCE; i <= EVER; i++) {
        if ((times & i) == 0 || !is_wanted(w->times, i == EVER ? "ever" : "once"))
            continue;
        loops++;
        if (w->number == NULL) {
            run_loop(l, i == EVER);
            continue;
        }
        l->fault.ever = i == EVER;
        l->fault.skip = strtoull(w->number, NULL, 0);
        l->fault.seed = l->fault.skip * UINT64_C(0x9e3779b97f4a7c15);
        run_once(l);
    }
    return loops;
}

static unsigned run_scenario(const struct scenario *scenario, const struct wanted *w, bool lies)
{
    unsigned loops = 0;
    struct loop l = {
        .stage = calloc(1, sizeof *l.stage),
        .scenario = scenario,
        .step = number_from("BRIQ_FAULT_STEP", 1),
        .prng.state = number_from("BRIQ_SEED", 1),
    };
    BRIQ_ASSERT(l.stage != NULL);
    stage_open(l.stage);
    l.stage->scenario = scenario->name;
    seam_plant(&(struct seam_fault){.skip = UINT64_MAX});
    scenario->prepare(l.stage, &l.before);
    l.stage->lies = lies;
    unsigned count = lies ? BRIQ_COUNT_OF(dishonest) : BRIQ_COUNT_OF(honest);
    for (unsigned i = 0; i < count; i++) {
        l.fault = (struct seam_fault){
            .kind = lies ? dishonest[i].kind : honest[i].kind,
            .way = lies ? dishonest[i].way : honest[i].way,
            .error = lies ? 0 : honest[i].error,
            .distance = lies ? dishonest[i].distance : 0,
            .old = l.before.bytes,
            .old_bytes = l.before.size,
        };
        if (scenario->kinds & 1u << l.fault.kind)
            loops += run_fault(&l, w, lies ? dishonest[i].times : honest[i].times);
    }
    snapshot_free(&l.before);
    stage_close(l.stage);
    free(l.stage);
    return loops;
}

static bool begins_with_any(const char *name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strncmp(name, *names, strlen(*names)) == 0)
            return true;
    return false;
}

static int run_all(int argc, char **argv, const char *const *names, bool lies)
{
    struct wanted w = {
        .scenario = argc > 1 ? argv[1] : NULL,
        .fault = argc > 2 ? argv[2] : NULL,
        .times = argc > 3 ? argv[3] : NULL,
        .number = argc > 4 ? argv[4] : NULL,
    };
    unsigned loops = 0;
    /* Keep what is freed: the next run wants as much, and most of the time went to the kernel. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, -1);
    for (unsigned i = 0; i < scenarios_count; i++)
        if ((names == NULL || begins_with_any(scenarios[i].name, names)) &&
            (!lies || scenarios[i].lies) && is_wanted(w.scenario, scenarios[i].name))
            loops += run_scenario(&scenarios[i], &w, lies);
    printf("%u loops\n", loops);
    return loops > 0 ? 0 : 1;
}

/* ---- shared memory --------------------------------------------------------------------------- */

/* A place in the windows file: half of the time in its header or the descriptors. */
static uint64_t draw_place(struct briq_prng *prng, uint64_t size)
{
    uint64_t head = briq_prng_below(prng, 2) == 0 ? WINDOWS_HEAD_BYTES : size;
    return briq_prng_below(prng, head);
}

static bool flip_one(struct loop *l, struct briq_prng *prng)
{
    struct snapshot *before = &l->before;
    unsigned file = (unsigned)briq_prng_below(prng, before->windows_count);
    uint64_t at = draw_place(prng, before->windows[file].size);
    uint8_t bit = (uint8_t)(1u << briq_prng_below(prng, 8));
    l->fault.skip = at;
    l->stage->fault = l->fault;
    before->windows[file].bytes[at] ^= bit;
    stage_restore(l->stage, before);
    bool opened = stage_holds_known_blocks(l->stage);
    before->windows[file].bytes[at] ^= bit;
    return opened;
}

/* What a dead server left in shared memory has one wrong bit. Records of its last chunk without a
 * payload have no check yet, so that a wrong one can clear another block; nothing else can happen.
 */
static void flip_windows(void)
{
    struct loop l = {.stage = calloc(1, sizeof *l.stage)};
    struct briq_prng prng = {.state = 11};
    unsigned opened = 0;
    BRIQ_ASSERT(l.stage != NULL);
    for (unsigned i = 0; i < scenarios_count; i++)
        if (strcmp(scenarios[i].name, "open-after-death") == 0)
            l.scenario = &scenarios[i];
    BRIQ_ASSERT(l.scenario != NULL);
    stage_open(l.stage);
    l.stage->scenario = "windows-with-a-wrong-bit";
    seam_plant(&(struct seam_fault){.skip = UINT64_MAX});
    l.scenario->prepare(l.stage, &l.before);
    l.stage->lies = true;
    for (unsigned i = 0; i < WINDOWS_FLIPS; i++)
        opened += flip_one(&l, &prng);
    printf("%s: %u flips, opened after %u\n", l.stage->scenario, WINDOWS_FLIPS, opened);
    if (opened == 0)
        stage_fail(l.stage, "no such volume was ever opened");
    snapshot_free(&l.before);
    stage_close(l.stage);
    free(l.stage);
}

int faults_main(int argc, char **argv, const char *const *names)
{
    return run_all(argc, argv, names, false);
}

int lies_main(int argc, char **argv)
{
    if (argc == 1)
        flip_windows();
    return run_all(argc, argv, NULL, true);
}
