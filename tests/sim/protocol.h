/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BRIQ_TESTS_SIM_PROTOCOL_H
#define BRIQ_TESTS_SIM_PROTOCOL_H
#include <stdint.h>
#include "common/device/device.h"
struct protocol;
struct protocol *protocol_open(void (*illegal)(void *opaque, const char *line), void *opaque);
void protocol_close(struct protocol *protocol);
void protocol_reset(struct protocol *protocol);
struct briq_device *protocol_wrap(struct protocol *protocol, struct briq_device *inner);
void protocol_power_cut(struct protocol *protocol);
void protocol_process_death(struct protocol *protocol);
uint64_t protocol_clock(const struct protocol *protocol);
void protocol_flush_covers(struct protocol *protocol, uint64_t clock);
#endif
