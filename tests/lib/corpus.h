/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * corpus.h - data to write in tests: the kinds that a volume meets, cheap to make and repeatable.
 *
 * Text comes from a small dictionary, machine code from a program of this machine (text where there
 * is none), random bytes from the generator. Every block of those kinds carries a stamp, so that
 * the same place of a volume never gets the same bytes twice and stale data cannot pass for new.
 * Thread: read-only after the open, shared by any number of threads.
 */
#ifndef BRIQ_TESTS_LIB_CORPUS_H
#define BRIQ_TESTS_LIB_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/prng.h"

enum test_data {
    TEST_DATA_ZERO,
    TEST_DATA_FILL32, /* one 32-bit pattern all over */
    TEST_DATA_FILL64, /* one 64-bit pattern all over */
    TEST_DATA_TEXT,
    TEST_DATA_CODE,
    TEST_DATA_RANDOM, /* does not compress */
    TEST_DATA_MIXED,  /* another kind in every 4 KiB */
};
#define TEST_DATA_COUNT 7

struct test_corpus;

/* Does not depend on any seed: the same on every call on one machine. Never NULL. */
struct test_corpus *test_corpus_open(void);
void test_corpus_close(struct test_corpus *corpus);

/* Fills buf with data of the kind; `stamp` makes it unlike that of every other stamp. */
void test_corpus_fill(const struct test_corpus *corpus, struct briq_prng *prng, enum test_data kind,
                      uint64_t stamp, void *buf, size_t len);

/* A kind, drawn as a guest writes them: mostly text and code. */
enum test_data test_corpus_draw(struct briq_prng *prng);

#endif
