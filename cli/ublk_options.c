/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/ublk_options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"

/* "auto", or a number from min to max. */
static int parse_count(const char *option, const char *text, unsigned min, unsigned max,
                       unsigned automatic, struct briq_error *err, unsigned *ret)
{
    char *end;
    if (strcmp(text, "auto") == 0) {
        *ret = automatic;
        return 0;
    }
    unsigned long n = strtoul(text, &end, 10);
    if (*end != '\0' || text[0] < '0' || text[0] > '9' || n < min || n > max)
        return briq_error_set(err, -EINVAL, "--%s: \"%s\" is neither auto nor %u to %u", option,
                              text, min, max);
    *ret = (unsigned)n;
    return 0;
}

static int check_sizes(const struct briq_ublk_shape_words *words, unsigned threads,
                       struct briq_error *err)
{
    if (words->block_size != 512 && words->block_size != 4096)
        return briq_error_set(err, -EINVAL, "--block-size: %" PRIu64 " is neither 512 nor 4096",
                              words->block_size);
    if (words->max_io != 0 && !briq_is_pow2(words->max_io))
        return briq_error_set(err, -EINVAL, "--max-io: %" PRIu64 " is not a power of two",
                              words->max_io);
    if (threads > words->depth)
        return briq_error_set(err, -EINVAL,
                              "--threads-per-queue: %u threads cannot share --depth %" PRIu64
                              " requests",
                              threads, words->depth);
    return 0;
}

int briq_ublk_read_threads(const struct briq_ublk_thread_words *words, struct briq_error *err,
                           struct briq_ublk_options *ret)
{
    ret->wishes.threads_per_queue = (unsigned)words->threads;
    int r = parse_count("helpers", words->helpers, 0, BRIQ_UBLK_HELPERS_MAX, BRIQ_UBLK_HELPERS_AUTO,
                        err, &ret->helpers);
    return r == 0 ? briq_ublk_affinity_parse(words->affinity, err, &ret->affinity) : r;
}

int briq_ublk_read_shape(const struct briq_ublk_shape_words *words, struct briq_error *err,
                         struct briq_ublk_options *ret)
{
    ret->depth = (unsigned)words->depth;
    ret->max_io_bytes = (uint32_t)words->max_io;
    ret->block_bytes = (uint32_t)words->block_size;
    ret->wishes.plain_copy = words->plain_copy;
    int r = check_sizes(words, ret->wishes.threads_per_queue, err);
    if (r == 0)
        r = parse_count("queues", words->queues, 1, BRIQ_UBLK_THREADS_MAX, 0, err, &ret->queues);
    if (r == 0)
        r = briq_ublk_on_death_parse(words->on_death, err, &ret->wishes.on_death);
    return r == 0 ? briq_ublk_partitions_parse(words->partitions, err, &ret->wishes.partitions) : r;
}
