/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/protocol.h"
#include <stdlib.h>
struct protocol {
    int x;
};
struct protocol *protocol_open(void (*illegal)(void *opaque, const char *line), void *opaque)
{
    (void)illegal;
    (void)opaque;
    return calloc(1, sizeof(struct protocol));
}
void protocol_close(struct protocol *protocol)
{
    free(protocol);
}
void protocol_reset(struct protocol *p)
{
    (void)p;
}
struct briq_device *protocol_wrap(struct protocol *protocol, struct briq_device *inner)
{
    (void)protocol;
    return inner;
}
void protocol_power_cut(struct protocol *p)
{
    (void)p;
}
void protocol_process_death(struct protocol *p)
{
    (void)p;
}
uint64_t protocol_clock(const struct protocol *p)
{
    (void)p;
    return 0;
}
void protocol_flush_covers(struct protocol *p, uint64_t c)
{
    (void)p;
    (void)c;
}
