/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kill_verb.c - kill -9 of `briq` itself at any of its writes, flushes and removals: while it
 * compacts, resizes, repairs or imports, and while it opens a volume that another dead process
 * left.
 *
 * A round takes a volume with a history, perhaps damaged, perhaps not closed, runs a verb on it
 * that dies, once or several times, and looks: what could be read before can be read and is the
 * same, and the volume checks clean where it did before. Then the verb runs to its end, and the
 * same holds. An import that died leaves nothing, or something that is refused, or a volume in
 * which each block is right or zero; run again with --force it is whole.
 *
 * ROUNDS=N says how many (24), BRIQ_SEED=N which.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/align.h"
#include "tests/crash/support/server.h"
#include "tests/lib/fixture.h"
#include "tests/lib/patient.h"

#define ROUNDS     24u
#define DEATHS_MAX 3u
#define FLIPS_MAX  4u
#define DIED       (128 + SIGKILL)

enum verb { COMPACT, RESIZE, REPAIR, IMPORT };
#define VERB_COUNT 4u

static const char *const names[VERB_COUNT] = {"compact", "resize", "repair", "import"};

struct scene {
    struct test_patient clean, cut; /* closed; and as a power cut leaves it */
    struct test_dir dir;
    struct test_path log, raw, imported;
    struct fuse_handle fuse;
    struct briq_prng prng;
    unsigned calls[VERB_COUNT]; /* how many a verb made, the last time it lived */
    uint64_t rounds, killed[VERB_COUNT], lived[VERB_COUNT];
    struct test_reading before, after;
};

static struct scene *the_scene(void)
{
    static struct scene scene;
    return &scene;
}

static void tear_down(void)
{
    struct scene *s = the_scene();
    test_windows_forget(s->clean.path.text);
    test_windows_forget(s->cut.path.text);
    test_windows_forget(s->imported.text);
    test_dir_close(&s->dir);
    if (s->clean.content != NULL)
        test_patient_close(&s->clean);
    if (s->cut.content != NULL)
        test_patient_close(&s->cut);
}

static void need(bool well, enum verb verb, const char *what)
{
    if (well)
        return;
    fprintf(stderr, "round %" PRIu64 ", %s: %s\n", the_scene()->rounds, names[verb], what);
    exit(1);
}

static unsigned draw(struct scene *s, unsigned bound)
{
    return (unsigned)briq_prng_below(&s->prng, bound);
}

static void set_up(struct scene *s)
{
    uint64_t seed = test_seed("build/tests/crash/kill_verb");
    atexit(tear_down);
    s->prng.state = seed;
    test_patient_open(&s->clean, seed, 16, TEST_PATIENT_CLEAN);
    test_patient_open(&s->cut, seed + 1, 16, TEST_PATIENT_CUT);
    test_dir_open(&s->dir, TEST_DIR_MEMORY);
    s->log = test_dir_file(&s->dir, "log");
    s->raw = test_dir_file(&s->dir, "raw");
    s->imported = test_dir_file(&s->dir, "imported.briq");
    test_file_make(s->raw.text, s->clean.content, TEST_PATIENT_BYTES);
    fuse_open(&s->fuse);
    for (unsigned i = 0; i < VERB_COUNT; i++)
        s->calls[i] = 30;
}

/* ---- running verbs -----------------------------------------------------------------------------
 */

/* briq VERB on the volume. Its exit status, or DIED. */
static int run(struct scene *s, enum verb verb, struct test_patient *p)
{
    char *volume = p->path.text, *imported = s->imported.text;
    char *const lines[VERB_COUNT][7] = {
        [COMPACT] = {"briq", "compact", "--quiet", volume, NULL},
        [RESIZE] = {"briq", "resize", volume, "8M", NULL},
        [REPAIR] = {"briq", "check", "--repair", volume, NULL},
        [IMPORT] = {"briq", "import", "--quiet", "--force", "-", imported, NULL},
    };
    int status = run_under_fuse(lines[verb], s->raw.text, s->log.text, &s->fuse);
    if (status == DIED) {
        s->killed[verb]++;
    } else {
        s->lived[verb]++;
        s->calls[verb] = 1 + atomic_load(&s->fuse.fuse->calls);
    }
    return status;
}

static int run_and_kill(struct scene *s, enum verb verb, struct test_patient *p)
{
    enum fuse_moment moment = (enum fuse_moment)draw(s, FUSE_MOMENT_COUNT);
    fuse_set(&s->fuse, 1 + draw(s, s->calls[verb]), moment);
    return run(s, verb, p);
}

static int run_to_its_end(struct scene *s, enum verb verb, struct test_patient *p)
{
    fuse_set(&s->fuse, 0, FUSE_BEFORE);
    return run(s, verb, p);
}

/* ---- looking -----------------------------------------------------------------------------------
 */

static void read_again(struct scene *s, const struct test_patient *p, struct test_reading *ret)
{
    test_reading_free(ret);
    test_patient_read(p, NULL, ret);
    (void)s;
}

/* What could be read before can be read now, and is the same. */
static void expect_no_loss(struct scene *s, enum verb verb, const struct test_patient *p)
{
    read_again(s, p, &s->after);
    if (!s->before.opened)
        return;
    need(s->after.opened, verb, "the volume cannot be opened any more");
    for (uint32_t block = 0; block < TEST_PATIENT_BLOCKS; block++) {
        size_t off = block * (size_t)BRIQ_BLOCK_BYTES;
        size_t len = briq_min_u64(BRIQ_BLOCK_BYTES, TEST_PATIENT_BYTES - off);
        if (!s->before.readable[block])
            continue;
        need(s->after.readable[block], verb, "a block cannot be read any more");
        need(memcmp(s->before.content + off, s->after.content + off, len) == 0, verb,
             "a block reads as something else");
    }
}

static void damage(struct scene *s, struct test_patient *p)
{
    uint64_t segments = BRIQ_DATA_OFFSET;
    for (unsigned i = 0; i < 1 + draw(s, FLIPS_MAX); i++) {
        uint64_t at = segments + briq_prng_below(&s->prng, p->image.size - segments);
        if (draw(s, 4) == 0)
            at = (draw(s, 2) == 0 ? BRIQ_SB_A_OFFSET : BRIQ_SB_B_OFFSET) + draw(s, BRIQ_SB_BYTES);
        test_image_flip(&p->image, at, (uint8_t)(1u << draw(s, 8)));
    }
}

/* ---- rounds ------------------------------------------------------------------------------------
 */

static void verb_round(struct scene *s, enum verb verb)
{
    struct test_patient *p = draw(s, 2) == 0 ? &s->clean : &s->cut;
    if (verb == REPAIR)
        damage(s, p);
    read_again(s, p, &s->before);
    for (unsigned i = 0; i < 1 + draw(s, DEATHS_MAX); i++) {
        (void)run_and_kill(s, verb, p);
        expect_no_loss(s, verb, p);
    }
    int status = run_to_its_end(s, verb, p);
    need(status == 0 || (verb == REPAIR && status < 3), verb, "it did not end well at last");
    expect_no_loss(s, verb, p);
    if (verb != REPAIR)
        need(test_volume_is_sound(p->path.text, p->windows.path), verb, "the check found damage");
    test_patient_restore(p);
    test_windows_forget(p->path.text);
}

/* Each block that a dead import left is right or zero. */
static void judge_import(struct scene *s, bool whole)
{
    static const uint8_t zeros[BRIQ_BLOCK_BYTES];
    struct briq_open_options options = {.windows_dir = s->clean.windows.path, .read_only = true};
    struct briq_error err = {{0}};
    struct briq_store *store = NULL;
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    if (briq_store_open(s->imported.text, &options, &err, &store) < 0) {
        need(!whole, IMPORT, err.text);
        return;
    }
    uint64_t size = briq_min_u64(briq_store_size(store), TEST_PATIENT_BYTES);
    for (uint64_t off = 0; off < size; off += sizeof bytes) {
        size_t len = briq_min_u64(sizeof bytes, size - off);
        need(briq_read(store, bytes, len, off) == 0, IMPORT, "a block cannot be read");
        bool right = memcmp(bytes, s->clean.content + off, len) == 0;
        need(right || (!whole && memcmp(bytes, zeros, len) == 0), IMPORT, "a block is wrong");
    }
    need(!whole || size == TEST_PATIENT_BYTES, IMPORT, "the volume is too short");
    test_volume_close(store);
}

static void import_round(struct scene *s)
{
    test_windows_forget(s->imported.text);
    unlink(s->imported.text);
    for (unsigned i = 0; i < 1 + draw(s, DEATHS_MAX); i++)
        judge_import(s, run_and_kill(s, IMPORT, &s->clean) == 0);
    need(run_to_its_end(s, IMPORT, &s->clean) == 0, IMPORT, "it did not end well at last");
    judge_import(s, true);
}

static void report(const struct scene *s)
{
    printf("%" PRIu64 " rounds;", s->rounds);
    for (unsigned i = 0; i < VERB_COUNT; i++)
        printf(" %s killed %" PRIu64 " times, lived %" PRIu64 "%s", names[i], s->killed[i],
               s->lived[i], i + 1 < VERB_COUNT ? ";" : "\n");
}

int main(void)
{
    struct scene *s = the_scene();
    const char *asked = getenv("ROUNDS");
    unsigned rounds =
        asked != NULL && asked[0] != '\0' ? (unsigned)strtoul(asked, NULL, 10) : ROUNDS;
    if (!fuse_works()) {
        printf(
            "the sanitizer's library must be the first in a process: nothing can be preloaded\n");
        return 77;
    }
    set_up(s);
    for (; s->rounds < rounds; s->rounds++) {
        enum verb verb = (enum verb)draw(s, VERB_COUNT);
        if (verb == IMPORT)
            import_round(s);
        else
            verb_round(s, verb);
    }
    report(s);
    test_reading_free(&s->before);
    test_reading_free(&s->after);
    return 0;
}
