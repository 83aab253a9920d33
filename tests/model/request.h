/* SPDX-License-Identifier: BSD-3-Clause */
/* request.h - the random operations of the model test. */
#ifndef BRIQ_TESTS_MODEL_REQUEST_H
#define BRIQ_TESTS_MODEL_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/prng.h"
#include "tests/lib/corpus.h"

#define REQUEST_BYTES_MAX   (UINT32_C(1) << 20)
#define REQUEST_EXTENTS_MAX 24

enum request_kind {
    /* on the volume's bytes */
    REQUEST_READ,
    REQUEST_WRITE,
    REQUEST_TRIM,
    REQUEST_ZERO,
    REQUEST_FLUSH,
    REQUEST_STATUS,
    REQUEST_PREFETCH,
    REQUEST_OUTSIDE, /* beyond the end: must be refused */
    /* care for the whole volume */
    REQUEST_MAINTAIN,
    REQUEST_CHECKPOINT,
    REQUEST_COMPACT,
    REQUEST_RESIZE,
    REQUEST_STATS,
    /* nothing else may be running */
    REQUEST_REOPEN,
    REQUEST_REOPEN_READ_ONLY,
};

struct request {
    uint64_t number; /* of the operation, from 1 */
    enum request_kind kind;
    unsigned flags; /* enum briq_op_flags */
    uint64_t off, len;
    enum test_data data;  /* of a write */
    unsigned misalign;    /* of the buffer in memory */
    unsigned extents_max; /* of a status */
};

/* Where requests may go, and which. */
struct request_rules {
    uint64_t base, size; /* [base, base + size) */
    bool care;           /* maintenance, checkpoints, compaction */
    bool whole_volume;   /* resizing, statistics, and what has to be refused */
    bool reopen;         /* the volume outlives its opening */
    bool tight;          /* space runs out: trim more */
};

const char *request_name(enum request_kind kind);

/* The same state of prng gives the same request; exactly one volume layout follows from a seed. */
struct request request_draw(struct briq_prng *prng, const struct request_rules *rules,
                            uint64_t number);

static inline bool request_is_care(enum request_kind kind)
{
    return kind >= REQUEST_MAINTAIN;
}

#endif
