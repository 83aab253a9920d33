/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * work.c - what happens between two crashes: operations, maintenance, and the piece of work in
 * which the next crash is meant to come.
 */
#include <errno.h>
#include <string.h>

#include "common/store/engine.h"
#include "tests/sim/sim.h"

/* Where this crash is aimed at. Some aims are met only by chance. */
enum aim {
    AIM_CALL, /* the n-th device call from now */
    AIM_MAINTAIN,
    AIM_CHECKPOINT,
    AIM_COMPACT,
    AIM_RESIZE,
    AIM_CLOSE,
    AIM_NOTHING, /* between two calls */
};

static enum aim draw_aim(struct sim_life *life)
{
    static const struct {
        enum aim aim;
        unsigned weight;
    } table[] = {
        {AIM_CALL, 30},  {AIM_MAINTAIN, 25}, {AIM_CHECKPOINT, 15}, {AIM_COMPACT, 8},
        {AIM_RESIZE, 4}, {AIM_CLOSE, 8},     {AIM_NOTHING, 10},
    };
    uint64_t lot = sim_draw(life, 100);
    unsigned i = 0;
    for (; lot >= table[i].weight; i++)
        lot -= table[i].weight;
    return table[i].aim;
}

/* The disk stops at one of the next `calls` calls; all, or only those that change something. */
static void arm(struct sim_life *life, uint64_t calls)
{
    uint64_t n = 1 + sim_draw(life, calls);
    if (sim_chance(life, 50))
        test_disk_cut_after(life->disk, n);
    else
        test_disk_cut_after_any(life->disk, n);
}

static void disarm(struct sim_life *life)
{
    test_disk_cut_after(life->disk, 0);
}

/* ---- pieces of work -------------------------------------------------------------------------- */

static void check_call(struct sim_life *life, int r, const char *what)
{
    if (r < 0 && !life->stopped)
        sim_fail(life, "%s answered %s", what, strerror(-r));
}

/* A call that makes durable what was acknowledged before it. */
static void note_durable(struct sim_life *life, size_t acked)
{
    if (!life->stopped && acked > life->durable)
        life->durable = acked;
}

/* Returns whether it did anything. */
static bool maintain(struct sim_life *life, bool armed)
{
    life->place = SIM_IN_GC;
    if (armed)
        arm(life, 8);
    int r = briq_store_maintain(life->store);
    check_call(life, r, "briq_store_maintain()");
    life->stats->maintained += r > 0;
    life->place = SIM_IN_OPERATION;
    if (armed)
        disarm(life);
    return r != 0;
}

static void checkpoint(struct sim_life *life)
{
    size_t acked = life->acked;
    life->place = SIM_IN_CHECKPOINT;
    check_call(life, briq_store_checkpoint(life->store), "briq_store_checkpoint()");
    life->place = SIM_IN_OPERATION;
    note_durable(life, acked);
    life->stats->checkpoints += !life->stopped;
}

static void compact(struct sim_life *life)
{
    life->place = SIM_IN_GC;
    check_call(life, briq_store_compact(life->store, NULL, NULL), "briq_store_compact()");
    life->place = SIM_IN_OPERATION;
    life->stats->compactions += !life->stopped;
}

static void resize(struct sim_life *life)
{
    struct briq_error err = {0};
    size_t acked = life->acked;
    uint64_t room = life->plan.growth_bytes - life->size_bytes;
    life->size_wanted = life->size_bytes + sim_draw(life, room / 512 + 1) * 512;
    life->place = SIM_IN_CHECKPOINT;
    check_call(life, briq_store_resize(life->store, life->size_wanted, &err),
               "briq_store_resize()");
    life->place = SIM_IN_OPERATION;
    note_durable(life, acked);
    if (!life->stopped)
        life->size_bytes = life->size_wanted;
    life->stats->resizes += !life->stopped;
}

/* All operations in flight come to their end, or the disk stops. */
static void drain(struct sim_life *life);

static void close_store(struct sim_life *life)
{
    disarm(life);
    drain(life);
    if (life->stopped)
        return;
    arm(life, 24);
    size_t acked = life->acked;
    life->place = SIM_IN_CLOSE;
    int r = briq_store_close(life->store);
    life->store = NULL;
    check_call(life, r, "briq_store_close()");
    if (r == 0) {
        disarm(life);
        life->stats->clean_closes++;
        life->durable = acked > life->durable ? acked : life->durable;
    }
}

/* ---- going on -------------------------------------------------------------------------------- */

static bool any_woken(const struct sim_life *life)
{
    for (unsigned i = 0; i < life->plan.slots; i++)
        if (life->slots[i].state == SIM_WAITING && life->slots[i].woken)
            return true;
    return false;
}

/* Everything in flight waits for the store. */
static void idle(struct sim_life *life, bool armed)
{
    bool did = maintain(life, armed);
    if (!did && !any_woken(life) && !life->stopped)
        sim_fail(life, "it hangs: all operations wait, and maintenance has nothing to do");
}

static void drain(struct sim_life *life)
{
    while (!life->stopped && sim_slots_in_flight(life) > 0)
        if (!sim_slots_progress(life))
            idle(life, false);
}

static void act(struct sim_life *life, enum aim aim)
{
    bool aimed = aim == AIM_MAINTAIN && sim_chance(life, 50);
    uint64_t lot = sim_draw(life, 1000);
    if (lot < 4)
        checkpoint(life);
    else if (lot < 6)
        resize(life);
    else if (lot < 7)
        compact(life);
    else if (lot < 40)
        maintain(life, aimed);
    else if (lot < 400)
        sim_slots_begin(life);
    else if (!sim_slots_progress(life)) {
        if (sim_slots_in_flight(life) == life->plan.slots)
            idle(life, aimed);
        else
            sim_slots_begin(life);
    }
}

/* The work that the crash is meant for; by now nothing else has met it. */
static void aimed_work(struct sim_life *life, enum aim aim)
{
    switch (aim) {
    case AIM_CHECKPOINT:
        arm(life, 16);
        checkpoint(life);
        break;
    case AIM_COMPACT:
        arm(life, 30);
        compact(life);
        break;
    case AIM_RESIZE:
        arm(life, 16);
        resize(life);
        break;
    case AIM_CLOSE:
        close_store(life);
        break;
    default:
        break;
    }
}

void sim_work(struct sim_life *life)
{
    enum aim aim = draw_aim(life);
    uint64_t acts = 1 + sim_draw(life, sim_chance(life, 80) ? 120 : 900);
    if (aim == AIM_CALL)
        arm(life, 40);
    if (aim == AIM_CALL || aim == AIM_MAINTAIN)
        acts *= 4; /* it ends before */
    while (acts-- > 0 && !life->stopped && !sim_history_is_full(&life->history, 1024))
        act(life, aim);
    if (!life->stopped)
        aimed_work(life, aim);
    disarm(life);
}
