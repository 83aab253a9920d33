/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim - crashes of simulated volumes: see sim.h for what is simulated and what is promised.
 *
 * Seeds are handed out to processes, one a job. The first failure ends the run; a job that dies is
 * a failure like any other. A long run in which some kind of crash or fate never happened fails
 * too: it would show nothing.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "tests/sim/sim.h"

#define JOBS_MAX         64u
#define SEED_SECONDS_MAX 300u  /* then it hangs */
#define ENOUGH_CRASHES   5000u /* of volumes of all kinds, for everything to have happened */
#define ENOUGH_SEEDS     40u

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SEEDS_DEFAULT 8u
#else
#define SEEDS_DEFAULT 60u
#endif
#define CRASHES_DEFAULT 100u

struct options {
    uint64_t first, last, crashes;
    unsigned jobs;
    bool hunt, no_fork, verbose;
};

/* What the jobs and their parent share. */
struct shared {
    atomic_ullong next; /* seeds given out */
    atomic_bool failed;
    struct {
        uint64_t seed;
        struct sim_stats stats;
    } job[JOBS_MAX];
};

static const char usage[] =
    "usage: sim [--seeds A..B | --seed N] [--crashes N] [--jobs N] [--hunt] [--no-fork] "
    "[--verbose]\n"
    "  --seeds A..B   one volume for each of these seeds\n"
    "  --crashes N    crashes of each volume (default 100)\n"
    "  --jobs N       processes at a time (default 1)\n"
    "  --hunt         a bug is expected: say how many seeds it took to find it\n"
    "  --no-fork      run in this process and abort on a failure, for a debugger\n"
    "BRIQ_SEED in the environment is the default first seed. Exit status: 0 nothing was found, 1 "
    "a\n"
    "failure was found, 2 could not run.\n";

/* ---- options --------------------------------------------------------------------------------- */

static bool parse_number(const char *text, uint64_t *ret, const char **ret_rest)
{
    char *end;
    errno = 0;
    *ret = strtoull(text, &end, 0);
    *ret_rest = end;
    return errno == 0 && end != text && text[0] != '-';
}

static bool parse_whole(const char *text, uint64_t *ret)
{
    const char *rest;
    return parse_number(text, ret, &rest) && *rest == '\0';
}

static bool parse_range(const char *text, struct options *o)
{
    const char *rest;
    return parse_number(text, &o->first, &rest) && strncmp(rest, "..", 2) == 0 &&
           parse_whole(rest + 2, &o->last) && o->last >= o->first;
}

static bool parse_value(struct options *o, int option, const char *value)
{
    uint64_t number;
    switch (option) {
    case 's':
        return parse_range(value, o);
    case 'o':
        if (!parse_whole(value, &o->first))
            return false;
        o->last = o->first;
        return true;
    case 'c':
        return parse_whole(value, &o->crashes) && o->crashes > 0;
    default:
        if (!parse_whole(value, &number) || number < 1 || number > JOBS_MAX)
            return false;
        o->jobs = (unsigned)number;
        return true;
    }
}

static uint64_t default_seed(void)
{
    const char *text = getenv("BRIQ_SEED");
    uint64_t seed;
    if (text != NULL && parse_whole(text, &seed))
        return seed;
    struct briq_prng prng = {.state = briq_clock_ns() ^ (uint64_t)getpid() << 32};
    return briq_prng_next(&prng) % 1000000000;
}

/* 0: run; else the exit status, less one for 0. */
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option table[] = {
        {"seeds", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'o'},
        {"crashes", required_argument, NULL, 'c'},
        {"jobs", required_argument, NULL, 'j'},
        {"hunt", no_argument, NULL, 'H'},
        {"no-fork", no_argument, NULL, 'f'},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "v", table, NULL)) != -1;) {
        if (option == 'h' || option == '?') {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? -1 : 2;
        }
        if (option == 'H')
            o->hunt = true;
        else if (option == 'f')
            o->no_fork = true;
        else if (option == 'v')
            o->verbose = true;
        else if (!parse_value(o, option, optarg)) {
            fprintf(stderr, "sim: %s: not a possible value\n%s", optarg, usage);
            return 2;
        }
    }
    if (optind == argc)
        return 0;
    fprintf(stderr, "sim: %s: unexpected argument\n%s", argv[optind], usage);
    return 2;
}

/* ---- figures --------------------------------------------------------------------------------- */

static void add_stats(struct sim_stats *sum, const struct sim_stats *one)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

static const char *const end_names[SIM_ENDS] = {"power cuts", "process deaths"};
static const char *const place_names[SIM_PLACES] = {
    "operation", "recovery", "checkpoint", "garbage collection", "close", "between calls"};

static uint64_t count_crashes(const struct sim_stats *s, int end)
{
    uint64_t sum = 0;
    for (unsigned place = 0; place < SIM_PLACES; place++)
        sum += s->crashes[end][place];
    return sum;
}

static void print_stats(const struct sim_stats *s, double seconds)
{
    uint64_t crashes = 0;
    for (int end = 0; end < SIM_ENDS; end++)
        crashes += count_crashes(s, end);
    printf("%" PRIu64 " crashes over %" PRIu64 " seeds in %.1f s\n", crashes, s->seeds, seconds);
    for (int end = 0; end < SIM_ENDS; end++) {
        printf("  %" PRIu64 " %s:", count_crashes(s, end), end_names[end]);
        for (unsigned place = 0; place < SIM_PLACES; place++)
            printf(" %s %" PRIu64 "%s", place_names[place], s->crashes[end][place],
                   place + 1 < SIM_PLACES ? "," : "\n");
    }
    printf("  unflushed requests at power cuts: %" PRIu64 " kept, %" PRIu64 " lost, %" PRIu64
           " torn, %" PRIu64 " garbled; %" PRIu64 " segments discarded; %" PRIu64
           " files of windows of another boot\n",
           s->kept, s->lost, s->torn, s->garbled, s->discarded, s->stale_windows);
    printf("  operations: %" PRIu64 " reads, %" PRIu64 " writes (%" PRIu64
           " of parts of blocks), %" PRIu64 " trims, %" PRIu64 " zeroes, %" PRIu64
           " flushes, %" PRIu64 " FUA; %" PRIu64 " refused for space\n",
           s->reads, s->writes, s->partial_writes, s->trims, s->zeroes, s->flushes, s->fua,
           s->enospc);
    printf("  store: %" PRIu64 " segments collected, %" PRIu64 " checkpoints, %" PRIu64
           " compactions, %" PRIu64 " resizes, %" PRIu64 " clean closes\n",
           s->gc_segments, s->store_checkpoints, s->compactions, s->resizes, s->clean_closes);
    printf("  recovery: %" PRIu64 " operations replayed, %" PRIu64 " dropped, %" PRIu64
           " windows written back; %" PRIu64 " checks, %" PRIu64 " blocks compared\n",
           s->recovered, s->discarded_records, s->from_windows, s->checks, s->blocks_compared);
    fflush(stdout);
}

/* What a long run must have seen. */
static bool all_happened(const struct sim_stats *s)
{
    const struct {
        const char *what;
        uint64_t count;
    } needed[] = {
        {"request kept at a power cut", s->kept},
        {"request lost at a power cut", s->lost},
        {"request torn at a power cut", s->torn},
        {"request garbled at a power cut", s->garbled},
        {"discard", s->discarded},
        {"file of windows of another boot", s->stale_windows},
        {"write of a part of a block", s->partial_writes},
        {"FUA", s->fua},
        {"answer that there is no space", s->enospc},
        {"segment collected", s->gc_segments},
        {"resize", s->resizes},
        {"compaction", s->compactions},
        {"clean close", s->clean_closes},
        {"operation dropped by a recovery", s->discarded_records},
        {"window written back by a recovery", s->from_windows},
    };
    bool all = true;
    for (size_t i = 0; i < BRIQ_COUNT_OF(needed); i++)
        if (needed[i].count == 0) {
            printf("sim: FAILED: never happened: %s\n", needed[i].what);
            all = false;
        }
    for (int end = 0; end < SIM_ENDS; end++)
        for (unsigned place = 0; place < SIM_PLACES; place++)
            if (s->crashes[end][place] == 0) {
                printf("sim: FAILED: never happened: %s in %s\n", end_names[end],
                       place_names[place]);
                all = false;
            }
    return all;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* A line for every tenth of a long run. */
static void tell_progress(const struct options *o, uint64_t seed)
{
    uint64_t seeds = o->last - o->first + 1, done = seed - o->first;
    if (seeds < 10 * SEEDS_DEFAULT || o->hunt || done == 0 || done % (seeds / 10) != 0)
        return;
    printf("sim: %" PRIu64 " of %" PRIu64 " seeds\n", done, seeds);
    fflush(stdout);
}

static void work(const struct options *o, struct shared *shared, unsigned job, const char *dir)
{
    struct sim_life *life = calloc(1, sizeof *life);
    BRIQ_ASSERT(life != NULL);
    sim_life_open(life, dir, &shared->job[job].stats);
    life->verbose = o->verbose;
    life->abort_on_failure = o->no_fork;
    for (;;) {
        uint64_t seed = o->first + atomic_fetch_add(&shared->next, 1);
        if (seed > o->last || atomic_load(&shared->failed))
            break;
        shared->job[job].seed = seed;
        tell_progress(o, seed);
        alarm(o->no_fork ? 0 : SEED_SECONDS_MAX);
        sim_life_run(life, seed, o->crashes);
    }
    sim_life_close(life);
    free(life);
}

static pid_t start(const struct options *o, struct shared *shared, unsigned job, const char *dir)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(o, shared, job, dir);
        exit(0); /* and not _exit: leak checkers want to look */
    }
    if (pid < 0) {
        perror("sim: fork");
        exit(2);
    }
    return pid;
}

static void explain_death(const struct options *o, uint64_t seed, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
        return; /* it has said why */
    const char *why = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "unexpected exit";
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        why = "it hangs";
    fprintf(stderr,
            "sim: FAILED: seed %" PRIu64 ": the process died: %s\n"
            "  repeat: build/tests/sim/sim --seed %" PRIu64 " --crashes %" PRIu64 "\n",
            seed, why, seed, o->crashes);
}

/* Whether all jobs ended well. */
static bool run_jobs(const struct options *o, struct shared *shared, const char *dir)
{
    pid_t pids[JOBS_MAX];
    bool well = true;
    for (unsigned i = 0; i < o->jobs; i++)
        pids[i] = start(o, shared, i, dir);
    for (unsigned left = o->jobs; left > 0; left--) {
        int status;
        pid_t pid = wait(&status);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        for (unsigned i = 0; i < o->jobs && well; i++)
            if (pids[i] == pid)
                explain_death(o, shared->job[i].seed, status);
        atomic_store(&shared->failed, true);
        well = false;
    }
    return well;
}

static int run(const struct options *o)
{
    struct test_dir dir;
    struct sim_stats sum = {0};
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    BRIQ_ASSERT(shared != MAP_FAILED);
    uint64_t began = briq_clock_ns();
    test_dir_open(&dir, TEST_DIR_MEMORY);
    bool well = true;
    if (o->no_fork)
        work(o, shared, 0, dir.path);
    else
        well = run_jobs(o, shared, dir.path);
    test_dir_close(&dir);
    for (unsigned i = 0; i < o->jobs; i++)
        add_stats(&sum, &shared->job[i].stats);
    print_stats(&sum, (double)(briq_clock_ns() - began) / 1e9);
    if (!well && o->hunt)
        printf("sim: found after %llu seeds\n", (unsigned long long)atomic_load(&shared->next));
    if (well && o->hunt)
        printf("sim: nothing was found\n");
    munmap(shared, sizeof *shared);
    uint64_t crashes = count_crashes(&sum, 0) + count_crashes(&sum, 1);
    if (well && !o->hunt && crashes >= ENOUGH_CRASHES && sum.seeds >= ENOUGH_SEEDS)
        well = all_happened(&sum);
    return well ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct options o = {.first = default_seed(), .crashes = CRASHES_DEFAULT, .jobs = 1};
    o.last = o.first + SEEDS_DEFAULT - 1;
    int status = parse(argc, argv, &o);
    if (status != 0)
        return status < 0 ? 0 : status;
    printf("sim: seeds %" PRIu64 "..%" PRIu64 "; repeat: build/tests/sim/sim --seeds %" PRIu64
           "..%" PRIu64 " --crashes %" PRIu64 "\n",
           o.first, o.last, o.first, o.last, o.crashes);
    fflush(stdout);
    return run(&o);
}
