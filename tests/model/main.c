/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * model - random operations against a volume and a plain array that must agree with it.
 *
 * A run is a series of units: one volume each, of a size, limit, segment size ... that follow from
 * its seed. Each runs in a child process, so that a crash is a finding like any other. With one
 * thread, the shortest beginning that fails is then looked for; the command that repeats it is
 * printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/base/clock.h"
#include "common/base/size.h"
#include "tests/lib/temp_dir.h"
#include "tests/model/unit.h"

/* Sanitizers make everything slower; the same time finds other things there. */
#if defined(__SANITIZE_THREAD__)
#define OPS_DEFAULT UINT64_C(100000)
#elif defined(__SANITIZE_ADDRESS__)
#define OPS_DEFAULT UINT64_C(300000)
#else
#define OPS_DEFAULT UINT64_C(1000000)
#endif
#define UNIT_OPS         12000
#define UNIT_SECONDS_MAX 300 /* then it hangs */
#define CANARY_OPS       3000
#define ANY              (-1)

struct options {
    uint64_t seed, ops, size_bytes, units, canary;
    int mode, driver;
    unsigned threads; /* 0: several counts */
    enum model_start start;
    const char *dir;
    bool no_fork, verbose;
};

static const char usage[] =
    "usage: model [--seed N] [--ops K] [--mode mem|file|direct|all] [--driver blocking|step|all]\n"
    "             [--threads T] [--size SIZE] [--maintenance thread|inline] [--units N]\n"
    "             [--dir DIR] [--canary OP] [--no-fork] [--verbose]\n"
    "  --units N      cut the operations into N volumes; 1 repeats the unit of a seed\n"
    "  --canary OP    leave out the writes from operation OP on: must be found out\n"
    "  --no-fork      run in this process and abort on a failure, for a debugger\n"
    "BRIQ_SEED in the environment is the default seed.\n";

static int bad(const char *what, const char *value)
{
    fprintf(stderr, "model: %s: %s\n%s", value, what, usage);
    return 2;
}

static bool parse_number(const char *text, uint64_t *ret)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-')
        return false;
    *ret = value;
    return true;
}

static bool parse_name(const char *text, const char *(*name_of)(int), int count, int *ret)
{
    *ret = ANY;
    for (int i = 0; i < count; i++)
        if (strcmp(text, name_of(i)) == 0)
            *ret = i;
    return *ret != ANY || strcmp(text, "all") == 0;
}

static const char *mode_name(int i)
{
    return model_mode_name((enum model_mode)i);
}

static const char *driver_name(int i)
{
    return model_driver_name((enum model_driver)i);
}

static bool parse_start(const char *text, enum model_start *ret)
{
    *ret = strcmp(text, "thread") == 0 ? MODEL_START_YES : MODEL_START_NO;
    return *ret == MODEL_START_YES || strcmp(text, "inline") == 0;
}

static bool parse_threads(const char *text, unsigned *ret)
{
    uint64_t value;
    if (!parse_number(text, &value) || value < 1 || value > MODEL_THREADS_MAX)
        return false;
    *ret = (unsigned)value;
    return true;
}

/* One option that has a value. */
static bool parse_value(struct options *options, int option, const char *value)
{
    switch (option) {
    case 's':
        return parse_number(value, &options->seed);
    case 'o':
        return parse_number(value, &options->ops) && options->ops > 0;
    case 'm':
        return parse_name(value, mode_name, MODEL_MODE_COUNT, &options->mode);
    case 'd':
        return parse_name(value, driver_name, MODEL_DRIVER_COUNT, &options->driver);
    case 't':
        return parse_threads(value, &options->threads);
    case 'z':
        return briq_size_parse(value, &options->size_bytes) == 0 && options->size_bytes % 512 == 0;
    case 'a':
        return parse_start(value, &options->start);
    case 'u':
        return parse_number(value, &options->units) && options->units > 0;
    case 'c':
        return parse_number(value, &options->canary);
    default:
        options->dir = value;
        return true;
    }
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"seed", required_argument, NULL, 's'},
        {"ops", required_argument, NULL, 'o'},
        {"mode", required_argument, NULL, 'm'},
        {"driver", required_argument, NULL, 'd'},
        {"threads", required_argument, NULL, 't'},
        {"size", required_argument, NULL, 'z'},
        {"maintenance", required_argument, NULL, 'a'},
        {"units", required_argument, NULL, 'u'},
        {"canary", required_argument, NULL, 'c'},
        {"dir", required_argument, NULL, 'D'},
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
        if (option == 'f')
            options->no_fork = true;
        else if (option == 'v')
            options->verbose = true;
        else if (!parse_value(options, option, optarg))
            return bad("not a possible value", optarg);
    }
    return optind == argc ? 0 : bad("unexpected argument", argv[optind]);
}

static uint64_t default_seed(void)
{
    const char *text = getenv("BRIQ_SEED");
    uint64_t seed;
    if (text != NULL && parse_number(text, &seed))
        return seed;
    struct briq_prng prng = {.state = briq_clock_ns() ^ (uint64_t)getpid() << 32};
    return briq_prng_next(&prng) % 1000000000;
}

/* ---- one unit -------------------------------------------------------------------------------- */

static void report_reset(struct report *report, bool abort_on_failure)
{
    memset(report, 0, sizeof *report);
    atomic_flag_clear(&report->taken);
    atomic_flag_clear(&report->logged);
    report->abort_on_failure = abort_on_failure;
}

static void note_death(struct report *report, int status)
{
    if (WIFEXITED(status) && report->text[0] != '\0')
        return;
    const char *why = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "unexpected exit";
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        why = "it hangs";
    snprintf(report->text, sizeof report->text, "op %llu or near it: the process died: %s",
             (unsigned long long)atomic_load(&report->op), why);
}

/* Whether the file system of the directory knows O_DIRECT; tmpfs does in newer kernels. */
static bool takes_direct(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void open_dir(struct test_dir *temp, enum model_mode mode, const char *dir)
{
    /* In memory where that will do: flushes are what takes longest on a disk. */
    bool memory = mode != MODEL_DIRECT || takes_direct("/dev/shm");
    if (dir != NULL)
        test_dir_open_below(temp, dir);
    else
        test_dir_open(temp, memory ? TEST_DIR_MEMORY : TEST_DIR_DISK);
}

/* Runs the unit in a child, with a directory of its own. Returns whether all was well. */
static bool run_apart(const struct unit *asked, const char *dir, struct report *report)
{
    struct unit unit = *asked;
    struct test_dir temp;
    open_dir(&temp, unit.mode, dir);
    unit.dir = temp.path;
    report_reset(report, false);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(UNIT_SECONDS_MAX);
        unit_run(&unit, report);
        exit(0); /* and not _exit: leak checkers want to look */
    }
    int status = 0;
    bool well =
        pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!well)
        note_death(report, status);
    test_dir_close(&temp);
    return well;
}

/* The smallest number of operations after which the unit fails; its report is left in *report. */
static void shrink(struct unit *unit, const char *dir, struct report *report)
{
    uint64_t reached = atomic_load(&report->op);
    struct report first = *report;
    uint64_t good = 0, failing = briq_min_u64(unit->ops, reached + 64);
    unit->ops = failing;
    if (run_apart(unit, dir, report)) {
        *report = first; /* it takes more, or does not repeat */
        return;
    }
    first = *report;
    while (failing - good > 1) {
        unit->ops = good + (failing - good) / 2;
        if (run_apart(unit, dir, report)) {
            good = unit->ops;
        } else {
            failing = unit->ops;
            first = *report;
        }
    }
    unit->ops = failing;
    *report = first;
}

static void print_failure(const struct unit *unit, const struct report *report, const char *kind)
{
    printf("model: FAILED (%s): %s\n", kind, report->text);
    if (report->log[0] != '\0')
        printf("  logged: %s\n", report->log);
    printf("  volume: ");
    unit_print_drawn(unit, stdout);
    printf("\n  repeat: ");
    unit_print_command(unit, stdout);
    printf("\n");
    fflush(stdout);
}

static bool run_unit(struct unit *unit, const struct options *options, struct report *report)
{
    if (options->verbose) {
        unit_print_command(unit, stdout);
        printf("\n  ");
        unit_print_drawn(unit, stdout);
        printf("\n");
    }
    uint64_t start = briq_clock_ns();
    bool well = run_apart(unit, options->dir, report);
    if (options->verbose)
        printf("  %" PRIu64 " ms, %llu refused for space\n", (briq_clock_ns() - start) / 1000000,
               (unsigned long long)atomic_load(&report->writes_full));
    if (well)
        return true;
    print_failure(unit, report, "as found");
    if (unit->threads == 1 && options->canary == 0) {
        shrink(unit, options->dir, report);
        print_failure(unit, report, "shortest");
    }
    return false;
}

/* ---- the series ------------------------------------------------------------------------------ */

struct combination {
    enum model_mode mode;
    enum model_driver driver;
    unsigned threads;
};

static const struct combination combinations[] = {
    {MODEL_MEM, MODEL_BLOCKING, 1},    {MODEL_FILE, MODEL_BLOCKING, 1},
    {MODEL_DIRECT, MODEL_BLOCKING, 1}, {MODEL_MEM, MODEL_STEP, 1},
    {MODEL_FILE, MODEL_STEP, 1},       {MODEL_DIRECT, MODEL_STEP, 1},
    {MODEL_MEM, MODEL_BLOCKING, 2},    {MODEL_FILE, MODEL_BLOCKING, 4},
    {MODEL_DIRECT, MODEL_BLOCKING, 3}, {MODEL_MEM, MODEL_STEP, 2},
    {MODEL_FILE, MODEL_STEP, 3},
};

/* Those that were asked for; an explicit number of threads replaces the ones of the table. */
static unsigned choose(const struct options *options, struct combination *ret)
{
    unsigned count = 0;
    for (unsigned i = 0; i < BRIQ_COUNT_OF(combinations); i++) {
        struct combination c = combinations[i];
        if (options->threads != 0 && combinations[i].threads != 1)
            continue;
        if (options->threads != 0)
            c.threads = options->threads;
        if ((options->mode == ANY || options->mode == (int)c.mode) &&
            (options->driver == ANY || options->driver == (int)c.driver))
            ret[count++] = c;
    }
    return count;
}

static struct unit make_unit(const struct options *options, const struct test_corpus *corpus,
                             struct combination combination, uint64_t seed, uint64_t ops)
{
    struct unit unit = {
        .seed = seed,
        .ops = ops,
        .mode = combination.mode,
        .driver = combination.driver,
        .threads = combination.threads,
        .asked_size_bytes = options->size_bytes,
        .asked_start = options->start,
        .canary = options->canary,
        .corpus = corpus,
    };
    unit_draw(&unit);
    return unit;
}

/* A run that leaves out writes must fail: else it checks nothing. */
static bool canary_sings(const struct options *options, const struct test_corpus *corpus,
                         struct combination combination, struct report *report)
{
    struct options quiet = *options;
    quiet.canary = CANARY_OPS / 2;
    struct unit unit = make_unit(&quiet, corpus, combination, options->seed, CANARY_OPS);
    if (!run_apart(&unit, options->dir, report) && report->text[0] != '\0')
        return true;
    printf("model: FAILED: writes were left out, and nothing was noticed\n  repeat: ");
    unit_print_command(&unit, stdout);
    printf("\n");
    return false;
}

static int run_series(const struct options *options, const struct test_corpus *corpus,
                      struct report *report)
{
    struct combination chosen[BRIQ_COUNT_OF(combinations)];
    unsigned count = choose(options, chosen);
    uint64_t units = options->units != 0 ? options->units
                                         : briq_max_u64(count, briq_div_up(options->ops, UNIT_OPS));
    uint64_t done = 0, full = 0, started = briq_clock_ns();
    if (options->canary == 0 && units > 1 && !canary_sings(options, corpus, chosen[0], report))
        return 1;
    for (uint64_t i = 0; i < units; i++) {
        uint64_t ops = options->ops / units + (i < options->ops % units);
        struct unit unit = make_unit(options, corpus, chosen[i % count], options->seed + i, ops);
        if (!run_unit(&unit, options, report))
            return 1;
        done += ops;
        full += atomic_load(&report->writes_full);
    }
    printf("model: %" PRIu64 " operations on %" PRIu64 " volumes in %.1f s, %" PRIu64
           " refused for space: ok\n",
           done, units, (double)(briq_clock_ns() - started) / 1e9, full);
    return 0;
}

static void run_here(const struct options *options, const struct test_corpus *corpus,
                     struct report *report)
{
    struct combination chosen[BRIQ_COUNT_OF(combinations)];
    choose(options, chosen);
    struct unit unit = make_unit(options, corpus, chosen[0], options->seed, options->ops);
    struct test_dir temp;
    open_dir(&temp, unit.mode, options->dir);
    unit.dir = temp.path;
    report_reset(report, true);
    unit_run(&unit, report);
    test_dir_close(&temp);
}

static void print_plan(const struct options *options)
{
    printf("model: seed %" PRIu64 "; repeat: model --seed %" PRIu64 " --ops %" PRIu64
           " --mode %s --driver %s",
           options->seed, options->seed, options->ops,
           options->mode == ANY ? "all" : mode_name(options->mode),
           options->driver == ANY ? "all" : driver_name(options->driver));
    if (options->threads != 0)
        printf(" --threads %u", options->threads);
    if (options->size_bytes != 0)
        printf(" --size %" PRIu64, options->size_bytes);
    if (options->start != MODEL_START_DRAW)
        printf(" --maintenance %s", options->start == MODEL_START_YES ? "thread" : "inline");
    if (options->units != 0)
        printf(" --units %" PRIu64, options->units);
    if (options->canary != 0)
        printf(" --canary %" PRIu64, options->canary);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct options options = {
        .seed = default_seed(), .ops = OPS_DEFAULT, .mode = ANY, .driver = ANY};
    int r = parse(argc, argv, &options);
    if (r != 0)
        return r < 0 ? 0 : r;
    print_plan(&options);
    struct report *report =
        mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED) {
        perror("model: shared memory");
        return 2;
    }
    struct test_corpus *corpus = test_corpus_open();
    if (options.no_fork)
        run_here(&options, corpus, report);
    else
        r = run_series(&options, corpus, report);
    test_corpus_close(corpus);
    return r;
}
