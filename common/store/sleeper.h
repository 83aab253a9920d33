/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sleeper.h - running operations to their end in a thread that may block; see blocking.c.
 */
#ifndef BRIQ_STORE_SLEEPER_H
#define BRIQ_STORE_SLEEPER_H

#include "common/store/engine.h"

/* A flush round; `force`: the device is flushed even if all operations are durable. Thread: the
 * maintainer. */
int briq_run_flush(struct briq_store *store, struct briq_ctx *ctx, bool force) BRIQ_MUST;

/* Blocks until something was woken on the store's wait queue since `ticket`. Thread: the
 * maintainer. */
void briq_sleep_on(struct briq_store *store, uint64_t ticket);

#endif
