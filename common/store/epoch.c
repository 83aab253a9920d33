/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/epoch.h"

#include <string.h>

void briq_epoch_init(struct briq_epoch *epoch)
{
    memset(epoch, 0, sizeof *epoch);
    atomic_store(&epoch->now, 2);
}

void briq_epoch_enter(struct briq_epoch *epoch, struct briq_epoch_guard *guard, unsigned hint)
{
    BRIQ_ASSERT(!guard->inside);
    guard->inside = 1;
    guard->slot = (uint8_t)(hint % BRIQ_EPOCH_SLOTS);
    struct briq_epoch_slot *slot = &epoch->slots[guard->slot];
    for (;;) {
        uint64_t now = atomic_load(&epoch->now);
        guard->parity = now & 1;
        atomic_fetch_add(&slot->readers[guard->parity], 1);
        /* Counted in time: from now on this epoch cannot be left behind twice. Otherwise somebody
         * moved on between the two lines and may not have seen us. */
        if (BRIQ_LIKELY(atomic_load(&epoch->now) == now))
            return;
        atomic_fetch_sub(&slot->readers[guard->parity], 1);
    }
}

void briq_epoch_leave(struct briq_epoch *epoch, struct briq_epoch_guard *guard)
{
    if (!guard->inside)
        return;
    guard->inside = 0;
    atomic_fetch_sub(&epoch->slots[guard->slot].readers[guard->parity], 1);
}

/* One step, if nobody is left in the epoch before `now`: its parity is the one the next will use.
 */
static bool advance(struct briq_epoch *epoch, uint64_t now)
{
    for (unsigned i = 0; i < BRIQ_EPOCH_SLOTS; i++)
        if (atomic_load(&epoch->slots[i].readers[(now + 1) & 1]) != 0)
            return false;
    atomic_compare_exchange_strong(&epoch->now, &now, now + 1);
    return true;
}

bool briq_epoch_passed(struct briq_epoch *epoch, uint64_t tag)
{
    for (;;) {
        uint64_t now = atomic_load(&epoch->now);
        if (now >= tag + 2)
            return true;
        if (!advance(epoch, now))
            return false;
    }
}
