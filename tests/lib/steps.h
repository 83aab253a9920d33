/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * steps.h - one operation stepped to its end in the calling thread, with a context of the caller's
 * choice: so a test decides which stream is appended to, and contexts come and go.
 */
#ifndef BRIQ_TESTS_LIB_STEPS_H
#define BRIQ_TESTS_LIB_STEPS_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/store/store.h"

/* Carries out a request of any kind but status. buf as in struct briq_op. Sleeps where the
 * operation waits, so somebody else must do the maintenance if any can become necessary. Returns
 * the operation's result. Thread: the one that uses ctx. */
int test_step_run(struct briq_store *store, struct briq_ctx *ctx, enum briq_op_kind kind, void *buf,
                  uint64_t len, uint64_t off, unsigned flags) BRIQ_MUST;

#endif
