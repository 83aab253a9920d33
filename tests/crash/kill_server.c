/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kill_server.c - kill -9 of a real nbdkit under load, in a loop on one volume: nothing that was
 * acknowledged is lost; and with the append windows gone, nothing that was flushed, and what is
 * there is the state of some moment.
 *
 * A round: the server is started, everything is read and judged, four connections write with
 * several requests under way each, and the server dies: after a number of answers, at a write or
 * flush of its own, or at one of those of an orderly end. In some rounds the next server, too, dies
 * at one of the calls by which it recovers, once or twice. Every few rounds the dead volume is
 * checked deeply.
 *
 * ROUNDS=N says how many (20), BRIQ_SEED=N which, --lose tests the test: the windows go away, and
 * are judged as if they had not, which must be noticed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/prng.h"
#include "tests/crash/support/client.h"
#include "tests/crash/support/server.h"
#include "tests/lib/fixture.h"
#include "tests/lib/temp_dir.h"

#define ROUNDS         20u
#define ANSWERS_MAX    600u
#define CHECK_EVERY    8u
#define CALLS_MAX      60u /* of a server under load, until its fuse ends it */
#define RECOVERIES_MAX 2u
#define DIED           (128 + SIGKILL)
#define ABORTED        (128 + SIGABRT)

enum death { BY_ANSWERS, BY_CALLS, AT_THE_END };
#define DEATH_COUNT 3u

struct tally {
    uint64_t rounds, power_cuts, deaths[DEATH_COUNT], recoveries_killed;
    struct deeds_verdict verdict;
};

struct scene {
    struct test_dir dir, windows;
    struct test_path volume, socket;
    struct fuse_handle fuse;
    struct server server;
    struct client client;
    struct deeds deeds;
    struct briq_prng prng;
    struct tally tally;
    unsigned recovery_calls, end_calls; /* how many there were, the last time all were made */
    bool lose;
};

static struct scene *the_scene(void)
{
    static struct scene scene;
    return &scene;
}

static void tear_down(void)
{
    struct scene *s = the_scene();
    test_dir_close(&s->dir);
    test_dir_close(&s->windows);
}

static void need(bool well, const char *what)
{
    if (!well) {
        fprintf(stderr, "round %" PRIu64 ": %s\n", the_scene()->tally.rounds, what);
        exit(1);
    }
}

static void set_up(struct scene *s, bool lose)
{
    struct briq_create_options options = {.size_bytes = CLIENT_VOLUME_BYTES, .segment_shift = 16};
    s->prng.state = test_seed("build/tests/crash/kill_server");
    s->lose = lose;
    atexit(tear_down);
    test_dir_open(&s->dir, TEST_DIR_MEMORY);
    test_dir_open(&s->windows, TEST_DIR_MEMORY);
    s->volume = test_dir_file(&s->dir, "volume.briq");
    s->socket = test_dir_file(&s->dir, "socket");
    test_volume_create(s->volume.text, &options);
    fuse_open(&s->fuse);
    deeds_open(&s->deeds, CLIENT_SECTORS);
    s->client = (struct client){.deeds = &s->deeds, .prng = &s->prng};
    s->recovery_calls = s->end_calls = 20;
}

static unsigned draw(struct scene *s, unsigned bound)
{
    return (unsigned)briq_prng_below(&s->prng, bound);
}

static enum fuse_moment draw_moment(struct scene *s)
{
    return (enum fuse_moment)draw(s, FUSE_MOMENT_COUNT);
}

static void start(struct scene *s)
{
    server_start(&s->server, s->socket.text, s->volume.text, s->windows.path, &s->fuse);
}

/* ---- recovery ----------------------------------------------------------------------------------
 */

/* A server that dies while it recovers; or, if its fuse is longer than that, right after it. */
static void kill_a_recovery(struct scene *s)
{
    fuse_set(&s->fuse, 1 + draw(s, s->recovery_calls), draw_moment(s));
    start(s);
    bool too_long = client_connect(&s->client, s->socket.text);
    int status = server_end(&s->server, SIGKILL);
    need(status == DIED, "a server that should have been killed ended by itself");
    client_finish(&s->client);
    s->tally.recoveries_killed += !too_long;
}

static void recover_and_judge(struct scene *s, bool power_cut)
{
    fuse_set(&s->fuse, 0, FUSE_BEFORE);
    start(s);
    if (!client_connect(&s->client, s->socket.text)) {
        server_kill(&s->server);
        need(false, "the volume could not be served again");
    }
    unsigned calls = atomic_load(&s->fuse.fuse->calls);
    s->recovery_calls = calls > 0 ? calls : 1;
    bool well = client_look(&s->client) && deeds_judge(&s->deeds, power_cut, &s->tally.verdict);
    if (!well)
        server_kill(&s->server);
    need(well, power_cut ? "after a power cut" : "after the death of the server");
}

/* ---- life and death ----------------------------------------------------------------------------
 */

static void end_orderly(struct scene *s)
{
    if (fuse_works())
        fuse_light(&s->fuse, 1 + draw(s, s->end_calls), draw_moment(s));
    unsigned before = atomic_load(&s->fuse.fuse->calls);
    kill(s->server.pid, SIGTERM);
    client_close(&s->client);
    int status = server_wait(&s->server);
    /* nbdkit 1.32 aborts when a client leaves at the moment of an answer: one more way to die. */
    need(status == DIED || status == 0 || status == ABORTED, "the server did not end well");
    if (status == 0)
        s->end_calls = 1 + atomic_load(&s->fuse.fuse->calls) - before;
}

static void live_and_die(struct scene *s, enum death death)
{
    s->client.flush_one_in = 10 + draw(s, 200);
    if (death == BY_CALLS && fuse_works())
        fuse_light(&s->fuse, 1 + draw(s, CALLS_MAX), draw_moment(s));
    bool alive = client_work(&s->client, 1 + draw(s, ANSWERS_MAX));
    need(alive || death == BY_CALLS, "the server died by itself");
    if (death == AT_THE_END)
        end_orderly(s);
    else
        need(server_end(&s->server, SIGKILL) == DIED, "the server ended by itself");
    client_finish(&s->client);
    s->tally.deaths[death]++;
}

static void one_round(struct scene *s)
{
    bool power_cut = draw(s, 2) == 0;
    live_and_die(s, (enum death)draw(s, DEATH_COUNT));
    if (power_cut || s->lose)
        test_dir_empty(&s->windows);
    if (s->tally.rounds % CHECK_EVERY == 0)
        need(test_volume_is_sound(s->volume.text, s->windows.path), "the check found damage");
    for (unsigned i = 0; i < RECOVERIES_MAX && fuse_works() && draw(s, 3) == 0; i++) {
        kill_a_recovery(s);
        if (power_cut && draw(s, 2) == 0)
            test_dir_empty(&s->windows);
    }
    recover_and_judge(s, power_cut && !s->lose);
    s->tally.rounds++;
    s->tally.power_cuts += power_cut;
}

static void report(const struct scene *s)
{
    const struct tally *t = &s->tally;
    printf("%" PRIu64 " rounds, of them %" PRIu64
           " with the windows gone; killed after answers %" PRIu64 ", at a device call %" PRIu64
           ", while ending %" PRIu64 ", while recovering %" PRIu64 "\n",
           t->rounds, t->power_cuts, t->deaths[BY_ANSWERS], t->deaths[BY_CALLS],
           t->deaths[AT_THE_END], t->recoveries_killed);
    printf(
        "%" PRIu64 " acknowledged changes, %" PRIu64 " flushed ones, none lost; of those under way "
        "%" PRIu64 " were there and %" PRIu64 " were not\n",
        t->verdict.answered, t->verdict.flushed, t->verdict.open_there, t->verdict.open_not_there);
}

int main(int argc, char **argv)
{
    struct scene *s = the_scene();
    const char *asked = getenv("ROUNDS");
    unsigned rounds = asked != NULL && asked[0] != '\0' ? (unsigned)strtoul(asked, NULL, 10)
                                                        : test_repeats(ROUNDS);
    set_up(s, argc > 1 && strcmp(argv[1], "--lose") == 0);
    recover_and_judge(s, false);
    while (s->tally.rounds < rounds)
        one_round(s);
    fuse_set(&s->fuse, 0, FUSE_BEFORE);
    client_close(&s->client);
    need(server_end(&s->server, SIGTERM) == 0, "the last server did not end well");
    need(test_volume_is_sound(s->volume.text, s->windows.path), "the last check found damage");
    report(s);
    deeds_close(&s->deeds);
    return 0;
}
