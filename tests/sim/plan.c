/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan.c - what kind of volume a seed has.
 *
 * Most are tight: few segments more than a volume can exist with, so that garbage collection,
 * checkpoints and -ENOSPC are what they live with. In a roomy one nothing may ever be refused.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/store/format.h"
#include "tests/sim/sim.h"

#define SEGMENTS_MIN 20u /* of the smallest volume there is */

static void draw_tight(struct sim_life *life, struct sim_plan *plan)
{
    uint64_t segments = SEGMENTS_MIN + sim_draw(life, sim_chance(life, 60) ? 6 : 24);
    uint64_t blocks = 16 + sim_draw(life, sim_chance(life, 60) ? 80 : 300);
    plan->limit_bytes = BRIQ_DATA_OFFSET + (segments << plan->segment_shift);
    plan->size_bytes = blocks * BRIQ_BLOCK_BYTES;
}

static void draw_roomy(struct sim_life *life, struct sim_plan *plan)
{
    plan->roomy = true;
    plan->size_bytes = (16 + sim_draw(life, sim_chance(life, 70) ? 100 : 500)) * BRIQ_BLOCK_BYTES;
}

void sim_plan_draw(struct sim_life *life)
{
    struct sim_plan *plan = &life->plan;
    *plan = (struct sim_plan){.segment_shift = sim_chance(life, 90) ? 16 : 17};
    if (sim_chance(life, 75))
        draw_tight(life, plan);
    else
        draw_roomy(life, plan);
    if (sim_chance(life, 20))
        plan->size_bytes -= 512 * (1 + sim_draw(life, 7));
    plan->growth_bytes = plan->size_bytes + plan->size_bytes / 2;
    if (sim_chance(life, 25))
        plan->device_bytes = plan->limit_bytes != 0 ? plan->limit_bytes : SIM_DISK_BYTES;
    plan->streams = 1 + (unsigned)sim_draw(life, SIM_STREAMS_MAX);
    plan->slots = sim_chance(life, 25) ? 1 : 1 + (unsigned)sim_draw(life, SIM_SLOTS);
    plan->noise = (unsigned)sim_draw(life, 101);
    plan->no_windows_file = sim_chance(life, 10);
    plan->direct = sim_chance(life, 15);
}

void sim_plan_print(const struct sim_plan *plan, char *text, size_t len)
{
    snprintf(text, len,
             "%s volume of %" PRIu64 " bytes, limit %" PRIu64 ", device %" PRIu64
             ", segments 1 << %u, %u streams, %u at a time, %u %% noise%s%s",
             plan->roomy ? "roomy" : "tight", plan->size_bytes, plan->limit_bytes,
             plan->device_bytes, plan->segment_shift, plan->streams, plan->slots, plan->noise,
             plan->no_windows_file ? ", no windows file" : "", plan->direct ? ", direct" : "");
}
