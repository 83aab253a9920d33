/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * expect.h - the plain array that a volume, or a part of it, must agree with.
 *
 * Beside the bytes it keeps, for every block, as which types of extent the store may report it.
 * Offsets are those of the volume. Thread: one owner.
 */
#ifndef BRIQ_TESTS_MODEL_EXPECT_H
#define BRIQ_TESTS_MODEL_EXPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/store.h"
#include "tests/lib/linear.h"
#include "tests/model/request.h"
#include "tests/model/unit.h"

struct expect {
    struct report *report;
    uint64_t base;     /* of the window in the volume: a multiple of a block */
    uint64_t size;     /* of the window now */
    uint64_t size_max; /* bytes that there is room for */
    uint8_t *bytes;    /* zero behind the end of the window */
    uint8_t *types;    /* for every block */
};

/* All of it a hole. Ends the run when memory runs out. */
void expect_init(struct expect *expect, struct report *report, uint64_t base, uint64_t size,
                 uint64_t size_max);
void expect_fini(struct expect *expect);

/* Blocks, counted from the window's start, that [off, off+len) touches: [*ret_first, *ret_end). */
void expect_blocks(const struct expect *expect, uint64_t off, uint64_t len, uint64_t *ret_first,
                   uint64_t *ret_end);

/*
 * What the request does to one block that it touches. `data` is its whole buffer (writes and
 * reads). The effect is `optional` when `failed`, or where the contract leaves it open.
 */
struct test_effect expect_effect(const struct expect *expect, const struct request *request,
                                 uint64_t block, const uint8_t *data, bool failed);

/* A view of a block: bytes in place; give it back with expect_put() when it was changed. */
struct test_block expect_get(const struct expect *expect, uint64_t block);
void expect_put(struct expect *expect, uint64_t block, struct test_block view);

/* Fails the run unless the block agrees with a read. */
void expect_check_block(const struct expect *expect, const struct request *request, uint64_t block,
                        const struct test_effect *effect);

/* Fails the run unless all of a read is right. */
void expect_check_read(const struct expect *expect, const struct request *request,
                       const uint8_t *data);

/*
 * Fails the run unless the extents are well formed for the request and true; blocks for which
 * `unsure` (may be NULL) says so are taken as they come. Returns the bytes that were described.
 */
uint64_t expect_check_status(const struct expect *expect, const struct request *request,
                             const struct briq_extent *extents, unsigned count,
                             bool (*unsure)(void *opaque, uint64_t block), void *opaque);

#endif
