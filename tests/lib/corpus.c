/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/corpus.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/base/attr.h"

#define POOL_BYTES  (UINT32_C(1) << 20)
#define BLOCK_BYTES 4096u
#define STAMP_BYTES 8u

struct test_corpus {
    uint8_t text[POOL_BYTES];
    uint8_t code[POOL_BYTES];
    uint8_t noise[POOL_BYTES];
};

static void make_text(uint8_t *pool, struct briq_prng *prng)
{
    static const char *const words[] = {
        "block",  "segment", "the",     "of",     "return", "static", "const",   "checksum",
        "volume", "if",      "journal", "flush",  "write",  "read",   "int",     "uint64_t",
        "struct", "a",       "for",     "offset", "length", "\n",     "compact", "sequence",
        "12",     "4096",    "0x1f",    "{",      "}",      "(",      ")",       ";",
    };
    size_t used = 0;
    while (used < POOL_BYTES) {
        const char *word = words[briq_prng_below(prng, BRIQ_COUNT_OF(words))];
        size_t len = briq_min_u64(strlen(word), POOL_BYTES - used);
        memcpy(pool + used, word, len);
        used += len;
        if (used < POOL_BYTES)
            pool[used++] = ' ';
    }
}

static void make_noise(uint8_t *pool, struct briq_prng *prng)
{
    for (size_t i = 0; i < POOL_BYTES; i += sizeof(uint64_t)) {
        uint64_t word = briq_prng_next(prng);
        memcpy(pool + i, &word, sizeof word);
    }
}

/* The whole of a file's first bytes, or nothing. */
static bool read_pool(const char *path, uint8_t *pool)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t used = 0;
    ssize_t got = 1;
    while (used < POOL_BYTES && got > 0) {
        got = read(fd, pool + used, POOL_BYTES - used);
        used += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    return used == POOL_BYTES;
}

struct test_corpus *test_corpus_open(void)
{
    struct test_corpus *corpus = malloc(sizeof *corpus);
    BRIQ_ASSERT(corpus != NULL);
    struct briq_prng prng = {.state = 4711};
    make_text(corpus->text, &prng);
    make_noise(corpus->noise, &prng);
    if (!read_pool("/usr/bin/bash", corpus->code) && !read_pool("/usr/bin/gdb", corpus->code))
        make_text(corpus->code, &prng);
    return corpus;
}

void test_corpus_close(struct test_corpus *corpus)
{
    free(corpus);
}

static void fill_pattern(uint8_t *buf, size_t len, uint64_t pattern)
{
    size_t i = 0;
    for (; i + sizeof pattern <= len; i += sizeof pattern)
        memcpy(buf + i, &pattern, sizeof pattern);
    memcpy(buf + i, &pattern, len - i);
}

static void put_stamps(struct briq_prng *prng, uint64_t stamp, uint8_t *buf, size_t len)
{
    size_t shift = briq_prng_below(prng, 512);
    for (size_t i = shift; i + STAMP_BYTES <= len; i += BLOCK_BYTES)
        memcpy(buf + i, &stamp, STAMP_BYTES);
    if (len > 0 && len < shift + STAMP_BYTES)
        buf[0] ^= (uint8_t)(stamp * 0x9d);
}

static void copy_pool(const uint8_t *pool, struct briq_prng *prng, uint64_t stamp, uint8_t *buf,
                      size_t len)
{
    for (size_t done = 0; done < len;) {
        size_t from = briq_prng_below(prng, POOL_BYTES);
        size_t part = briq_min_u64(len - done, POOL_BYTES - from);
        memcpy(buf + done, pool + from, part);
        done += part;
    }
    put_stamps(prng, stamp, buf, len);
}

static void fill_one(const struct test_corpus *corpus, struct briq_prng *prng, enum test_data kind,
                     uint64_t stamp, uint8_t *buf, size_t len)
{
    uint64_t pattern = stamp * 0x9e3779b97f4a7c15u | 1;
    switch (kind) {
    case TEST_DATA_ZERO:
        memset(buf, 0, len);
        break;
    case TEST_DATA_FILL32:
        pattern &= UINT32_MAX;
        fill_pattern(buf, len, pattern | pattern << 32);
        break;
    case TEST_DATA_FILL64:
        fill_pattern(buf, len, pattern);
        break;
    case TEST_DATA_TEXT:
        copy_pool(corpus->text, prng, stamp, buf, len);
        break;
    case TEST_DATA_CODE:
        copy_pool(corpus->code, prng, stamp, buf, len);
        break;
    case TEST_DATA_RANDOM:
    case TEST_DATA_MIXED:
        copy_pool(corpus->noise, prng, stamp, buf, len);
        break;
    }
}

void test_corpus_fill(const struct test_corpus *corpus, struct briq_prng *prng, enum test_data kind,
                      uint64_t stamp, void *buf, size_t len)
{
    if (kind != TEST_DATA_MIXED) {
        fill_one(corpus, prng, kind, stamp, buf, len);
        return;
    }
    for (size_t done = 0; done < len; done += BLOCK_BYTES) {
        enum test_data part = (enum test_data)briq_prng_below(prng, TEST_DATA_MIXED);
        fill_one(corpus, prng, part, stamp, (uint8_t *)buf + done,
                 briq_min_u64(BLOCK_BYTES, len - done));
    }
}

enum test_data test_corpus_draw(struct briq_prng *prng)
{
    static const enum test_data kinds[] = {
        TEST_DATA_ZERO, TEST_DATA_FILL32, TEST_DATA_FILL64, TEST_DATA_TEXT,
        TEST_DATA_TEXT, TEST_DATA_TEXT,   TEST_DATA_CODE,   TEST_DATA_CODE,
        TEST_DATA_CODE, TEST_DATA_RANDOM, TEST_DATA_RANDOM, TEST_DATA_MIXED,
    };
    return kinds[briq_prng_below(prng, BRIQ_COUNT_OF(kinds))];
}
