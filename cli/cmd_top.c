/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_top.c - "briq top": what running daemons do now, on a terminal. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cancel.h"
#include "cli/daemon.h"
#include "cli/live.h"
#include "cli/terminal.h"
#include "cli/top_text.h"
#include "cli/verb.h"
#include "common/base/clock.h"

#define FIRST_LOOK_NS UINT64_C(200000000)

struct top_args {
    const char *control, *interval;
    uint64_t count;
    bool batch;
};

struct top_job {
    const struct top_args *args;
    struct briq_live live;
    uint64_t interval_ns, shown;
    struct briq_top_screen screen;
    struct json_object *daemons; /* what was read last; NULL: nothing yet */
    double seconds;
};

static int look(struct top_job *job, struct briq_error *err)
{
    struct json_object *daemons = NULL;
    double seconds = 0;
    int r = briq_live_read_change(&job->live, &daemons, &seconds, err);
    if (r < 0 || daemons == NULL)
        return r;
    json_object_put(job->daemons);
    job->daemons = daemons;
    job->seconds = seconds;
    job->shown++;
    return 0;
}

static bool is_enough(const struct top_job *job)
{
    return job->args->count > 0 && job->shown >= job->args->count;
}

/* ---- for scripts ----------------------------------------------------------------------------- */

static int run_batch(struct top_job *job, struct briq_error *err)
{
    struct briq_cancel cancel = BRIQ_CANCEL_NONE;
    uint64_t next_ns = briq_clock_ns();
    job->screen.columns = 80;
    int r = briq_cancel_open(&cancel, err);
    while (r == 0 && !is_enough(job)) {
        r = look(job, err);
        if (r == 0 && job->daemons != NULL) {
            printf("%s", job->shown > 1 ? "\n" : "");
            r = briq_top_text(&job->screen, job->daemons, job->seconds, stdout) ? 0 : -ENOMEM;
        }
        if (fflush(stdout) != 0 && r == 0)
            r = -errno;
        next_ns += job->interval_ns;
        if (r == 0 && !is_enough(job) && briq_cancel_wait_ns(&cancel, next_ns))
            break;
    }
    briq_cancel_close(&cancel);
    return r;
}

/* ---- on a terminal --------------------------------------------------------------------------- */

static int draw(struct top_job *job)
{
    char *text = NULL;
    size_t len = 0;
    if (job->daemons == NULL)
        return 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return -ENOMEM;
    briq_terminal_size(&job->screen.rows, &job->screen.columns);
    bool fine = briq_top_text(&job->screen, job->daemons, job->seconds, out);
    fine = fclose(out) == 0 && fine;
    if (fine)
        briq_terminal_draw(text, len);
    free(text);
    return fine ? 0 : -ENOMEM;
}

/* False: the user has had enough. */
static bool take_key(struct top_job *job, char key)
{
    static const struct {
        char key;
        enum briq_top_order order;
    } orders[] = {{'o', BRIQ_TOP_BY_OPS},
                  {'b', BRIQ_TOP_BY_BYTES},
                  {'l', BRIQ_TOP_BY_LATENCY},
                  {'n', BRIQ_TOP_BY_NAME}};
    for (size_t i = 0; i < BRIQ_COUNT_OF(orders); i++)
        if (orders[i].key == key)
            job->screen.order = orders[i].order;
    return key != 'q' && key != 'Q';
}

static int run_screen(struct top_job *job, const struct briq_terminal *terminal,
                      struct briq_error *err)
{
    /* Soon something, and then at the pace that was asked for. */
    uint64_t next_ns =
        briq_clock_ns() + (job->interval_ns < FIRST_LOOK_NS ? job->interval_ns : FIRST_LOOK_NS);
    int r = look(job, err);
    while (r == 0 && !is_enough(job)) {
        char key = '\0';
        switch (briq_terminal_wait(terminal, next_ns, &key)) {
        case BRIQ_TERMINAL_TIME:
            next_ns = briq_clock_ns() + job->interval_ns;
            r = look(job, err);
            break;
        case BRIQ_TERMINAL_KEY:
            if (!take_key(job, key))
                return 0;
            break;
        case BRIQ_TERMINAL_RESIZE:
            break;
        case BRIQ_TERMINAL_END:
            return 0;
        }
        if (r == 0)
            r = draw(job);
    }
    return r;
}

static int run_terminal(struct top_job *job, struct briq_error *err)
{
    struct briq_terminal terminal;
    int r = briq_terminal_open(&terminal, err);
    if (r < 0)
        return r;
    job->screen.colours = true;
    r = run_screen(job, &terminal, err);
    briq_terminal_close(&terminal);
    return r;
}

static int run_top(struct top_job *job, struct briq_error *err)
{
    int r = briq_live_interval(job->args->interval, &job->interval_ns, err);
    if (r < 0)
        return r;
    return job->args->batch ? run_batch(job, err) : run_terminal(job, err);
}

static enum briq_exit run(const void *args)
{
    struct top_job job = {.args = args};
    struct briq_error err = {""};
    job.live = (struct briq_live){.control = job.args->control};
    int r = run_top(&job, &err);
    json_object_put(job.daemons);
    briq_live_fini(&job.live);
    return r < 0 ? briq_verb_fail("top", &err, r) : BRIQ_EXIT_OK;
}

static const struct top_args defaults = {.interval = "1"};

const struct briq_verb briq_verb_top = {
    .name = "top",
    .summary = "watch what running daemons do",
    .description =
        (const char *const[]){
            "Shows what each export and each client does, a second, and draws it anew every second "
            "until q is pressed. Those with the most requests stand first; o, b, l and n sort by "
            "requests, bytes, latency and name.",
            "Columns: requests and bytes a second by kind, flushes, the latency that 99 % of reads "
            "and writes did not exceed, requests in flight, errors, compression ratio. See "
            "docs/statistics.md.",
            NULL,
        },
    .operands = (const struct briq_operand[]){{0}},
    .options =
        (const struct briq_option[]){
            BRIQ_CONTROL_OPTION(struct top_args, control),
            {.name = "interval",
             .letter = 'd',
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct top_args, interval),
             .value = "SECONDS",
             .help = "Draw every SECONDS (0.1 to 3600). Default: 1."},
            {.name = "batch",
             .letter = 'b',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct top_args, batch),
             .help = "Print one screen after the other as plain text, without a terminal."},
            {.name = "count",
             .letter = 'n',
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct top_args, count),
             .value = "N",
             .min = 1,
             .max = UINT32_MAX,
             .help = "End after N screens."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq top", "Who is at work."},
            {"briq top --batch -n 1", "One screen for a script."},
            {0},
        },
    .args_bytes = sizeof(struct top_args),
    .defaults = &defaults,
    .run = run,
};
