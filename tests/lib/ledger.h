/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ledger.h - what one writer did to a volume, in order, so that the state after a crash can be
 * judged: it must be what the first N operations leave, for an N at or beyond the last acknowledged
 * flush.
 *
 * The ledger lies in shared memory: a child process that is killed leaves it to its parent. Every
 * operation changes one 4 KiB block; blocks carry the number of the operation that wrote them.
 * Thread: one writer; others may look at the atomics.
 */
#ifndef BRIQ_TESTS_LIB_LEDGER_H
#define BRIQ_TESTS_LIB_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/prng.h"
#include "common/store/store.h"
#include "tests/lib/corpus.h"

enum test_deed_kind {
    TEST_DEED_WRITE,
    TEST_DEED_TRIM,
    TEST_DEED_ZERO,
};

struct test_deed {
    uint32_t block;
    uint8_t kind; /* enum test_deed_kind */
};

struct test_ledger {
    uint32_t blocks;
    uint32_t first_block; /* of the volume: several writers have a range each; 0 unless set */
    uint64_t first;       /* number of the first operation in `deeds`, less one */
    uint64_t deeds_max;
    uint64_t *base; /* for every block: which operation wrote it, 0 = zeros, before `first` */
    struct test_deed *deeds;
    atomic_ullong issued;  /* the last operation that began */
    atomic_ullong acked;   /* the last that was answered */
    atomic_ullong flushed; /* the last that an acknowledged flush or FUA covers */
    bool quiet;            /* what is wrong is expected, and not printed */
    size_t bytes;          /* of the mapping */
};

/* For volumes of `blocks` whole blocks, all zero, and up to deeds_max operations between two calls
 * of test_ledger_settle(). Ends the program when it cannot. */
struct test_ledger *test_ledger_open(uint32_t blocks, uint64_t deeds_max);
void test_ledger_close(struct test_ledger *ledger);

/*
 * Carries out one random operation, writing it down before and after. `fua_one_in`: 0 for never.
 * Returns what the store answered; after a failure the operation counts as issued.
 */
int test_ledger_act(struct test_ledger *ledger, struct briq_store *store, struct briq_prng *prng,
                    unsigned fua_one_in) BRIQ_MUST;

/* Flushes and, when that went well, writes down what it covers. */
int test_ledger_flush(struct test_ledger *ledger, struct briq_store *store) BRIQ_MUST;

/*
 * Reads the blocks of the ledger and looks for the latest N >= floor for which it is what N
 * operations leave. Returns whether there is one, and sets *ret_n; else prints what is wrong to
 * stderr.
 */
bool test_ledger_check(const struct test_ledger *ledger, struct briq_store *store, uint64_t floor,
                       uint64_t *ret_n) BRIQ_MUST;

/*
 * As test_ledger_check(), for an N that may not be the only one: operations that change nothing
 * cannot be seen. The volume is what *ret_lowest operations leave, and what *ret_highest leave, and
 * neither what fewer nor what more do.
 */
bool test_ledger_range(const struct test_ledger *ledger, struct briq_store *store, uint64_t floor,
                       uint64_t *ret_lowest, uint64_t *ret_highest) BRIQ_MUST;

/* Whether the volume is exactly as the ledger says, every operation included. Prints as above. */
bool test_ledger_check_all(const struct test_ledger *ledger, struct briq_store *store) BRIQ_MUST;

/* Takes the first n operations for the state to go on from, forgets later ones. */
void test_ledger_settle(struct test_ledger *ledger, uint64_t n);

/* What operation `number` leaves in a block: compressible, unlike any other; 0 is all zeros. */
void test_ledger_content(uint64_t number, uint32_t block, uint8_t bytes[BRIQ_BLOCK_BYTES]);

/* The operation that left these bytes in the block; UINT64_MAX: none did. */
uint64_t test_ledger_number(const uint8_t bytes[BRIQ_BLOCK_BYTES], uint32_t block);

#endif
