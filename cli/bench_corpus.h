/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_corpus.h - real data for benchmarks: 4 KiB blocks of an image or of many files, in memory.
 * Blocks that a store would not have to compress (zeros, one repeated pattern) are left out.
 */
#ifndef BRIQ_CLI_BENCH_CORPUS_H
#define BRIQ_CLI_BENCH_CORPUS_H

#include <stdint.h>

#include "common/base/error.h"

struct briq_corpus {
    unsigned char *data; /* block i is at i * BRIQ_BLOCK_BYTES */
    uint64_t count;      /* blocks */
    uint64_t capacity;
};

/* Room for `capacity` blocks. Returns 0 or -ENOMEM. Free it with briq_corpus_fini(). */
int briq_corpus_init(struct briq_corpus *corpus, uint64_t capacity,
                     struct briq_error *err) BRIQ_MUST;
/* A zeroed corpus is accepted. */
void briq_corpus_fini(struct briq_corpus *corpus);

/* Fills the corpus with blocks of a raw image, from all over it, in an order that repeats. */
int briq_corpus_load(struct briq_corpus *corpus, const char *image,
                     struct briq_error *err) BRIQ_MUST;

/* Fills the corpus from the regular files below `dir`, taken in an order that repeats. */
int briq_corpus_gather(struct briq_corpus *corpus, const char *dir,
                       struct briq_error *err) BRIQ_MUST;

static inline const unsigned char *briq_corpus_block(const struct briq_corpus *corpus, uint64_t i)
{
    return corpus->data + i * 4096;
}

#endif
