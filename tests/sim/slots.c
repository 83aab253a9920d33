/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slots.c - operations through the stepwise interface, in random order.
 *
 * What a step changed is read off two numbers of the store: how far the operation got, and the
 * operation numbers given out. A change of content without a number, or more numbers than changes,
 * is a finding of its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/store/op.h"
#include "tests/sim/sim.h"

#define IDLE_CALLS_MAX 1000u

static uint64_t store_seq(const struct sim_life *life)
{
    return atomic_load(&life->store->journal.seq);
}

static void wake(struct briq_op *op)
{
    struct sim_slot *slot = op->user;
    slot->woken = true;
}

/* ---- beginning ------------------------------------------------------------------------------- */

struct request {
    enum briq_op_kind kind;
    uint64_t off, len;
    unsigned flags;
};

/* Mostly where others were before. */
static uint64_t draw_block(struct sim_life *life)
{
    uint64_t blocks = life->size_bytes / BRIQ_BLOCK_BYTES;
    return sim_draw(life, sim_chance(life, 70) ? (blocks + 3) / 4 : blocks);
}

static struct request draw_range(struct sim_life *life, uint64_t blocks_max)
{
    struct request r = {.off = draw_block(life) * BRIQ_BLOCK_BYTES};
    r.len = (1 + (sim_chance(life, 60) ? 0 : sim_draw(life, blocks_max))) * BRIQ_BLOCK_BYTES;
    if (sim_chance(life, 25)) { /* any bytes */
        r.off += sim_draw(life, BRIQ_BLOCK_BYTES);
        r.len = 1 + sim_draw(life, r.len);
    }
    if (r.len > life->size_bytes - r.off)
        r.len = life->size_bytes - r.off;
    return r;
}

static struct request draw_request(struct sim_life *life)
{
    uint64_t lot = sim_draw(life, 100);
    if (lot < 6)
        return (struct request){.kind = BRIQ_OP_FLUSH};
    if (lot < 24) {
        struct request r = draw_range(life, 16);
        r.kind = BRIQ_OP_READ;
        if (r.len > SIM_REQUEST_MAX)
            r.len = SIM_REQUEST_MAX;
        return r;
    }
    unsigned fua = sim_chance(life, 6) ? BRIQ_OP_FUA : 0;
    if (lot < 36) {
        struct request r = draw_range(life, sim_chance(life, 10) ? 600 : 24);
        r.kind = lot < 31 ? BRIQ_OP_TRIM : BRIQ_OP_ZERO;
        r.flags = fua | (sim_chance(life, 50) ? BRIQ_OP_MAY_TRIM : 0);
        return r;
    }
    struct request r = draw_range(life, 8);
    r.kind = BRIQ_OP_WRITE;
    r.flags = fua;
    return r;
}

static enum test_data draw_data(struct sim_life *life)
{
    if (sim_chance(life, life->plan.noise))
        return TEST_DATA_RANDOM;
    uint64_t lot = sim_draw(life, 10);
    return lot < 1   ? TEST_DATA_ZERO
           : lot < 2 ? TEST_DATA_FILL32
           : lot < 3 ? TEST_DATA_MIXED
           : lot < 4 ? TEST_DATA_CODE
                     : TEST_DATA_TEXT;
}

static void count_request(struct sim_life *life, const struct request *r)
{
    struct sim_stats *s = life->stats;
    s->reads += r->kind == BRIQ_OP_READ;
    s->writes += r->kind == BRIQ_OP_WRITE;
    s->partial_writes += r->kind == BRIQ_OP_WRITE && (r->off | r->len) % BRIQ_BLOCK_BYTES != 0;
    s->trims += r->kind == BRIQ_OP_TRIM;
    s->zeroes += r->kind == BRIQ_OP_ZERO;
    s->flushes += r->kind == BRIQ_OP_FLUSH;
    s->fua += (r->flags & BRIQ_OP_FUA) != 0;
}

void sim_slots_begin(struct sim_life *life)
{
    struct sim_slot *slot = NULL;
    for (unsigned i = 0; i < life->plan.slots && slot == NULL; i++)
        if (life->slots[i].state == SIM_FREE)
            slot = &life->slots[i];
    if (slot == NULL)
        return;
    struct request r = draw_request(life);
    count_request(life, &r);
    slot->life = life;
    slot->state = SIM_READY;
    slot->woken = false;
    slot->number = ++life->operations;
    slot->began = life->history.count;
    slot->acked = life->acked;
    slot->last_change = 0;
    if (r.kind == BRIQ_OP_WRITE)
        test_corpus_fill(life->corpus, &life->prng, draw_data(life), slot->number, slot->buffer,
                         r.len);
    bool data = r.kind == BRIQ_OP_WRITE || r.kind == BRIQ_OP_READ;
    briq_op_init(&slot->op, r.kind, data ? slot->buffer : NULL, r.len, r.off, r.flags);
    slot->op.wake = wake;
    slot->op.user = slot;
}

/* ---- what a step changed ----------------------------------------------------------------------
 */

/* The part of the request that the store changes at once, from `pos` on. */
static struct sim_change unit_at(const struct briq_op *op, uint64_t pos)
{
    uint64_t off = op->off + pos, left = op->len - pos;
    uint64_t room = BRIQ_BLOCK_BYTES - off % BRIQ_BLOCK_BYTES;
    struct sim_change unit = {.off = off, .len = left < room ? left : room};
    if (op->kind == BRIQ_OP_WRITE)
        unit.bytes = (const uint8_t *)op->buf + pos;
    if (op->kind == BRIQ_OP_WRITE || unit.len < BRIQ_BLOCK_BYTES)
        return unit;
    uint64_t block = off / BRIQ_BLOCK_BYTES, wanted = left / BRIQ_BLOCK_BYTES;
    uint64_t to_page_end = BRIQ_PAGE_WORDS - block % BRIQ_PAGE_WORDS;
    unit.len = (wanted < to_page_end ? wanted : to_page_end) * BRIQ_BLOCK_BYTES;
    return unit;
}

static void note_unit(struct sim_slot *slot, struct sim_change *unit)
{
    struct sim_history *h = &slot->life->history;
    sim_history_add(h, unit);
    slot->last_change = h->count;
}

/* Bytes [from, to) of the request are done, with operation numbers (after, upto]. */
static void note_changes(struct sim_slot *slot, uint64_t from, uint64_t to, uint64_t after,
                         uint64_t upto)
{
    struct sim_life *life = slot->life;
    const struct briq_op *op = &slot->op;
    uint64_t units = 0, changed = 0;
    for (uint64_t pos = from; pos < to;) {
        struct sim_change unit = unit_at(op, pos);
        pos += unit.len;
        if (op->kind == BRIQ_OP_TRIM && unit.len < BRIQ_BLOCK_BYTES)
            continue; /* the edges of a trim stay */
        units++;
        if (sim_history_holds(&life->history, unit.off, unit.len, unit.bytes))
            continue;
        changed++;
        unit.after = after;
        unit.upto = upto;
        note_unit(slot, &unit);
    }
    if (changed > upto - after || upto - after > units)
        sim_fail(life,
                 "operation %" PRIu64 ": a step made %" PRIu64 " of %" PRIu64
                 " changes and took %" PRIu64 " operation numbers",
                 slot->number, changed, units, upto - after);
}

/* ---- the end of an operation ------------------------------------------------------------------
 */

static const char *kind_name(enum briq_op_kind kind)
{
    static const char *const names[] = {"read", "write", "trim", "zero", "flush", "status"};
    return names[kind];
}

static void check_result(struct sim_slot *slot)
{
    struct sim_life *life = slot->life;
    const struct briq_op *op = &slot->op;
    bool may_be_full = op->kind == BRIQ_OP_WRITE || op->kind == BRIQ_OP_ZERO;
    if (op->result == 0)
        return;
    if (op->result == -ENOSPC && may_be_full && !life->plan.roomy) {
        life->stats->enospc++;
        return;
    }
    sim_fail(life, "operation %" PRIu64 ": %s of %" PRIu64 " bytes at %" PRIu64 " answered %s",
             slot->number, kind_name(op->kind), op->len, op->off, strerror(-op->result));
}

static void check_read(struct sim_slot *slot)
{
    struct sim_life *life = slot->life;
    const struct briq_op *op = &slot->op;
    uint64_t where;
    if (!sim_history_allows_read(&life->history, slot->began, op->off, op->len, slot->buffer,
                                 &where))
        sim_fail(life, "operation %" PRIu64 ": a read at %" PRIu64 " returned what was never there",
                 slot->number, where);
}

static size_t later(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void finish(struct sim_slot *slot)
{
    struct sim_life *life = slot->life;
    const struct briq_op *op = &slot->op;
    slot->state = SIM_FREE;
    if (life->stopped)
        return; /* nobody heard the answer */
    check_result(slot);
    if (op->result != 0)
        return;
    if (op->kind == BRIQ_OP_READ)
        check_read(slot);
    if (op->kind == BRIQ_OP_FLUSH || (op->flags & BRIQ_OP_FUA) != 0)
        life->durable = later(life->durable, later(slot->acked, slot->last_change));
    life->acked = later(life->acked, slot->last_change);
}

/* ---- progress -------------------------------------------------------------------------------- */

static void hand_out(struct sim_slot *slot)
{
    slot->state = SIM_DEVICE;
    slot->io_left = slot->op.io_count;
    memset(slot->io_done, 0, sizeof slot->io_done);
    slot->flush_clock[0] = test_disk_clock(slot->life->disk);
    slot->flush_clock[1] = protocol_clock(slot->life->protocol);
}

static void step(struct sim_slot *slot)
{
    struct sim_life *life = slot->life;
    struct briq_ctx *ctx = life->ctx[sim_draw(life, life->plan.streams)];
    const struct briq_op_state *st = briq_op_state(&slot->op);
    bool changes = slot->op.kind == BRIQ_OP_WRITE || slot->op.kind == BRIQ_OP_TRIM ||
                   slot->op.kind == BRIQ_OP_ZERO;
    uint64_t from = st->pos, after = store_seq(life);
    enum briq_step next = briq_op_step(ctx, &slot->op);
    if (changes)
        note_changes(slot, from, st->pos, after, store_seq(life));
    switch (next) {
    case BRIQ_STEP_DONE:
        finish(slot);
        break;
    case BRIQ_STEP_IO:
        hand_out(slot);
        break;
    case BRIQ_STEP_WAIT:
        slot->state = SIM_WAITING;
        break;
    }
}

static void run_device(struct sim_slot *slot)
{
    struct sim_life *life = slot->life;
    uint64_t skip = sim_draw(life, slot->io_left);
    unsigned i = 0;
    while (slot->io_done[i] || skip-- > 0)
        i++;
    if (slot->op.io[i].kind == BRIQ_IO_FLUSH) {
        test_disk_flush_covers(life->disk, slot->flush_clock[0]);
        protocol_flush_covers(life->protocol, slot->flush_clock[1]);
    }
    slot->io_done[i] = true;
    briq_io_run(life->store, &slot->op.io[i]);
    if (--slot->io_left == 0)
        slot->state = SIM_READY;
}

bool sim_slots_progress(struct sim_life *life)
{
    struct sim_slot *ready[SIM_SLOTS];
    unsigned count = 0;
    for (unsigned i = 0; i < life->plan.slots; i++) {
        struct sim_slot *slot = &life->slots[i];
        if (slot->state == SIM_WAITING && slot->woken) {
            slot->woken = false;
            slot->state = SIM_READY;
        }
        if (slot->state == SIM_READY || slot->state == SIM_DEVICE)
            ready[count++] = slot;
    }
    if (count == 0)
        return false;
    struct sim_slot *slot = ready[sim_draw(life, count)];
    if (slot->state == SIM_READY)
        step(slot);
    else
        run_device(slot);
    return true;
}

unsigned sim_slots_in_flight(const struct sim_life *life)
{
    unsigned count = 0;
    for (unsigned i = 0; i < life->plan.slots; i++)
        count += life->slots[i].state != SIM_FREE;
    return count;
}

void sim_slots_wait(void *opaque)
{
    struct sim_life *life = opaque;
    enum sim_place place = life->place;
    life->place = SIM_IN_OPERATION;
    bool moved = sim_slots_progress(life);
    life->place = place;
    life->idle_calls = moved ? 0 : life->idle_calls + 1;
    if (life->idle_calls > IDLE_CALLS_MAX)
        sim_fail(life, "it hangs: a blocking call waits, and no operation can go on");
}

/* ---- crashes --------------------------------------------------------------------------------- */

void sim_slots_tell_disk(struct sim_life *life)
{
    for (unsigned i = 0; i < life->plan.slots; i++) {
        const struct sim_slot *slot = &life->slots[i];
        for (unsigned k = 0; slot->state == SIM_DEVICE && k < slot->op.io_count; k++) {
            const struct briq_io *io = &slot->op.io[k];
            if (slot->io_done[k] || io->kind != BRIQ_IO_WRITE)
                continue;
            test_disk_in_flight(life->disk, io->buf, io->len, io->off);
            protocol_in_flight(life->protocol, io->off, io->len);
        }
    }
}

void sim_slots_drop(struct sim_life *life)
{
    for (unsigned i = 0; i < SIM_SLOTS; i++)
        life->slots[i].state = SIM_FREE;
}
