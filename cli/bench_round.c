/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/bench_round.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/align.h"
#include "common/base/clock.h"

#define BATCH_OPS UINT64_C(1000)

/* Opens when all threads are there, or when they are to go home. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    enum { GATE_SHUT, GATE_OPEN, GATE_CANCELLED } state;
};

struct runner {
    const struct briq_round *round;
    struct gate *gate;
    _Atomic uint64_t *next; /* batch that nobody has begun */
    int result;
    uint64_t cpu_ns, started_ns, ended_ns;
};

static bool wait_at(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->state == GATE_SHUT)
        pthread_cond_wait(&gate->moved, &gate->lock);
    bool open = gate->state == GATE_OPEN;
    pthread_mutex_unlock(&gate->lock);
    return open;
}

static void move_gate(struct gate *gate, bool open)
{
    pthread_mutex_lock(&gate->lock);
    gate->state = open ? GATE_OPEN : GATE_CANCELLED;
    pthread_cond_broadcast(&gate->moved);
    pthread_mutex_unlock(&gate->lock);
}

static uint64_t cpu_clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Whoever is free does the next batch: a thread that was held up leaves more of them to the others,
 * and the round does not end with one that works and one that waits for it. */
static int run_batches(struct runner *r)
{
    const struct briq_round *round = r->round;
    uint64_t total = round->count * round->threads;
    for (;;) {
        uint64_t batch = atomic_fetch_add(r->next, 1);
        if (batch * BATCH_OPS >= total)
            return 0;
        int e = round->loop(round->opaque, round->seed + batch,
                            briq_min_u64(BATCH_OPS, total - batch * BATCH_OPS));
        if (e < 0)
            return e;
    }
}

static void *run_thread(void *arg)
{
    struct runner *r = arg;
    if (!wait_at(r->gate))
        return NULL;
    r->started_ns = briq_clock_ns();
    uint64_t cpu = cpu_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    r->result = run_batches(r);
    r->cpu_ns = cpu_clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    r->ended_ns = briq_clock_ns();
    return NULL;
}

static int collect(const struct runner *runners, unsigned count, uint64_t process_ns,
                   struct briq_round_result *ret)
{
    uint64_t first = UINT64_MAX, last = 0, cpu = 0;
    for (unsigned i = 0; i < count; i++) {
        if (runners[i].result < 0)
            return runners[i].result;
        first = runners[i].started_ns < first ? runners[i].started_ns : first;
        last = runners[i].ended_ns > last ? runners[i].ended_ns : last;
        cpu += runners[i].cpu_ns;
    }
    double ops = (double)runners[0].round->count * count, wall = (double)(last - first);
    *ret = (struct briq_round_result){
        .ops_per_s = ops / wall * 1e9,
        .wall_ns = wall * count / ops,
        .cpu_ns = (double)cpu / ops,
        .process_ns = (double)process_ns / ops,
    };
    return 0;
}

int briq_round_run(const struct briq_round *round, struct briq_round_result *ret)
{
    BRIQ_ASSERT(round->threads >= 1 && round->threads <= BRIQ_ROUND_THREADS_MAX);
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    struct runner runners[BRIQ_ROUND_THREADS_MAX] = {0};
    pthread_t threads[BRIQ_ROUND_THREADS_MAX];
    _Atomic uint64_t next = 0;
    uint64_t process = cpu_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    unsigned made = 0;
    int r = 0;
    for (; made < round->threads && r == 0; made += r == 0) {
        runners[made] = (struct runner){.round = round, .gate = &gate, .next = &next};
        r = -pthread_create(&threads[made], NULL, run_thread, &runners[made]);
    }
    move_gate(&gate, r == 0);
    for (unsigned i = 0; i < made; i++)
        pthread_join(threads[i], NULL);
    process = cpu_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - process;
    return r < 0 ? r : collect(runners, made, process, ret);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double briq_round_median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
