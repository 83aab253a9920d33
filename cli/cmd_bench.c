/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_bench.c - "briq bench": measures, with real data and real requests. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_store.h"
#include "cli/report.h"
#include "cli/verb.h"

struct bench_args {
    const char *what, *image, *volume, *threads;
    uint64_t size, rounds;
    bool json, quiet;
};

static void show_phase(void *opaque, const char *what)
{
    (void)opaque;
    fprintf(stderr, "bench: %s\n", what);
}

/* "1,2,4" */
static int parse_threads(const char *text, struct briq_bench_options *options,
                         struct briq_error *err)
{
    const char *pos = text;
    do {
        char *end;
        unsigned long n = strtoul(pos, &end, 10);
        bool number = end != pos && (*end == ',' || *end == '\0');
        if (!number || n < 1 || n > BRIQ_ROUND_THREADS_MAX ||
            options->thread_counts == BRIQ_BENCH_COUNTS_MAX)
            return briq_error_set(err, -EINVAL,
                                  "--threads: \"%s\" is not a list such as 1,2,4 of up to %d "
                                  "numbers from 1 to %d",
                                  text, BRIQ_BENCH_COUNTS_MAX, BRIQ_ROUND_THREADS_MAX);
        options->threads[options->thread_counts++] = (unsigned)n;
        pos = *end == ',' ? end + 1 : end;
    } while (*pos != '\0');
    return 0;
}

static void report_side(struct briq_report *report, const char *group, const char *side,
                        const struct briq_round_result *r)
{
    const struct {
        const char *name;
        double value;
        int digits;
    } figures[] = {
        {"ops_per_s", r->ops_per_s, 0},
        {"wall_ns", r->wall_ns, 0},
        {"cpu_ns", r->cpu_ns, 0},
        {"process_cpu_ns", r->process_ns, 0},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(figures); i++) {
        char key[96];
        snprintf(key, sizeof key, "%s.%s.%s", group, side, figures[i].name);
        briq_report_real(report, key, NULL, figures[i].value, figures[i].digits, "");
    }
}

static void show_side(struct briq_report *report, const char *label,
                      const struct briq_round_result *r)
{
    briq_report_line(report, label,
                     "%.0f/s; %.2f us, of CPU time %.2f us, with other threads %.2f us",
                     r->ops_per_s, r->wall_ns / 1e3, r->cpu_ns / 1e3, r->process_ns / 1e3);
}

static void show_pair(struct briq_report *report, const char *label,
                      const struct briq_bench_pair *p)
{
    briq_report_line(report, label, "%u thread%s: %.1f %% of bare LZ4, by CPU time %.1f %%",
                     p->threads, p->threads == 1 ? "" : "s", p->ratio * 100, p->cpu_ratio * 100);
    show_side(report, "  store", &p->store);
    show_side(report, "  bare LZ4", &p->bare);
    briq_report_line(report, "  scaling", "store %.2f, by CPU time %.2f; bare LZ4 %.2f",
                     p->store_scaling, p->store_cpu_scaling, p->bare_scaling);
}

static void report_pair(struct briq_report *report, const char *what, const char *label,
                        const struct briq_bench_pair *p)
{
    char group[48], key[96];
    snprintf(group, sizeof group, "%s.threads_%u", what, p->threads);
    report_side(report, group, "bare", &p->bare);
    report_side(report, group, "store", &p->store);
    const struct {
        const char *name;
        double value;
    } figures[] = {
        {"ratio", p->ratio},
        {"cpu_ratio", p->cpu_ratio},
        {"bare_scaling", p->bare_scaling},
        {"store_scaling", p->store_scaling},
        {"store_cpu_scaling", p->store_cpu_scaling},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(figures); i++) {
        snprintf(key, sizeof key, "%s.%s", group, figures[i].name);
        briq_report_real(report, key, NULL, figures[i].value, 3, "");
    }
    show_pair(report, label, p);
}

static void report_gc(struct briq_report *report, const struct briq_bench_result *r)
{
    briq_report_size(report, "gc.limit", NULL, r->gc_limit_bytes);
    briq_report_size(report, "gc.appended", NULL, r->gc_appended_bytes);
    briq_report_number(report, "gc.segments", NULL, r->gc_segments);
    briq_report_real(report, "gc.live", NULL, r->gc_live, 3, "");
    briq_report_real(report, "gc.cost", NULL, r->gc_cost, 3, "");
    briq_report_real(report, "gc.cost_steady", NULL, r->gc_steady, 3, "");
    briq_report_line(report, "Garbage collection",
                     "%.2f device bytes per byte appended (%.2f in the last third), %.1f %% live, "
                     "%.1f times the space appended",
                     r->gc_cost, r->gc_steady, r->gc_live * 100,
                     (double)r->gc_appended_bytes / (double)r->gc_limit_bytes);
}

static int print_result(const struct bench_args *a, const struct briq_bench_options *options,
                        const struct briq_bench_result *r)
{
    struct briq_report report;
    briq_report_init(&report, a->json);
    briq_report_text(&report, "data", "Data from", a->image != NULL ? a->image : "files in /usr");
    briq_report_text(&report, "volume", "Volume", a->volume);
    briq_report_size(&report, "working_set", "Working set", r->blocks * 4096);
    briq_report_real(&report, "ratio", "Compression ratio", r->ratio, 3, "");
    briq_report_number(&report, "rounds", "Rounds", a->rounds);
    for (unsigned i = 0; i < options->thread_counts; i++)
        report_pair(&report, "write", "Random 4K write", &r->writes[i]);
    for (unsigned i = 0; i < options->thread_counts; i++)
        report_pair(&report, "read", "Random 4K read", &r->reads[i]);
    report_gc(&report, r);
    int printed = briq_report_print(&report, stdout);
    briq_report_fini(&report);
    return printed;
}

static int bench(const struct bench_args *a, struct briq_error *err)
{
    struct briq_cancel cancel;
    struct briq_bench_options options = {
        .cancel = &cancel,
        .image = a->image,
        .volume = a->volume,
        .size_bytes = a->size,
        .rounds = (unsigned)a->rounds,
        .phase = a->quiet ? NULL : show_phase,
    };
    struct briq_bench_result result;
    if (strcmp(a->what, "store") != 0)
        return briq_error_set(err, -EINVAL, "there is no benchmark \"%s\"; there is: store",
                              a->what);
    int r = parse_threads(a->threads, &options, err);
    if (r == 0)
        r = briq_cancel_open(&cancel, err);
    if (r < 0)
        return r;
    r = briq_bench_store(&options, &result, err);
    briq_cancel_close(&cancel);
    return r == 0 ? print_result(a, &options, &result) : r;
}

static enum briq_exit run(const void *args)
{
    struct briq_error err = {""};
    int r = bench(args, &err);
    return r < 0 ? briq_verb_fail("bench", &err, r) : BRIQ_EXIT_OK;
}

const struct briq_verb briq_verb_bench = {
    .name = "bench",
    .summary = "measure the speed of the engine",
    .description =
        (const char *const[]){
            "`briq bench store` measures what the store costs on top of LZ4, as ratios inside one "
            "run: random reads and writes of 4 KiB in a volume that was filled before, each beside "
            "a bare loop of LZ4 over the same blocks in the same order, in alternating rounds, of "
            "which the medians count. Then it overwrites at random a volume with a limit, of which "
            "70 % is live data, and tells how many bytes the device gets per byte appended; that "
            "volume is a file in /dev/shm when the first one is in memory.",
            "The data is real: the blocks of an image or of the files in /usr, without zeros and "
            "blocks of one repeated pattern. The working set should be larger than the caches of "
            "the processor. It takes about 2.2 times its size of memory.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){{"WHAT", offsetof(struct bench_args, what), BRIQ_ONCE}, {0}},
    .options =
        (const struct briq_option[]){
            {.name = "image",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct bench_args, image),
             .value = "FILE",
             .help = "Take the data from this raw image. The default is files in /usr."},
            {.name = "size",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct bench_args, size),
             .value = "SIZE",
             .min = UINT64_C(64) << 20, /* less does not fill the segments of garbage collection */
             .max = UINT64_C(1) << 40,
             .help = "Size of the working set, less when there is not so much data. The default "
                     "is 1G."},
            {.name = "volume",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct bench_args, volume),
             .value = "VOLUME",
             .help = "mem: for a volume in memory (the default), or the path of a file, which is "
                     "made and removed."},
            {.name = "threads",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct bench_args, threads),
             .value = "LIST",
             .help = "Numbers of threads to measure with; scaling is told against the first. The "
                     "default is 1,2."},
            {.name = "rounds",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct bench_args, rounds),
             .value = "N",
             .min = 1,
             .max = BRIQ_ROUNDS_MAX,
             .help = "Rounds of each kind. The default is 5."},
            {.name = "quiet",
             .letter = 'q',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct bench_args, quiet),
             .help = "Do not tell what is done next."},
            {.name = "json",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct bench_args, json),
             .help = "Print a JSON object."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq bench store", "With 1 GiB of files in /usr, in memory."},
            {"briq bench store --image root.img --threads 1,2,4", "With an image, more threads."},
            {0},
        },
    .args_bytes = sizeof(struct bench_args),
    .defaults =
        &(const struct bench_args){
            .volume = "mem:", .threads = "1,2", .size = UINT64_C(1) << 30, .rounds = 5},
    .run = run,
};
