/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blocks - writes blocks that say what they are to a block device, and judges what reads return
 * when the disk below may fail: right data or an error, and never anything else.
 *
 *   blocks write DEVICE SEED VERSION FIRST COUNT
 *       writes COUNT blocks from FIRST on, in an order drawn from seed and version, then flushes.
 *       Prints "wrote N" for the writes that were acknowledged, and "flushed" after the flush; ends
 *       with 1 at the first error.
 *   blocks verify DEVICE SEED OLDEST NEWEST FIRST COUNT
 *       each block must hold one version from OLDEST to NEWEST, where version 0 is zeros. Prints
 *       "right N, older N, errors N": how many hold NEWEST, an older one, and could not be read.
 *       Ends with 1 when a block holds anything else.
 *
 * All with O_DIRECT: no page cache between this and the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/base/prng.h"

#define BLOCK 4096u
#define WORDS (BLOCK / 8)

static void BRIQ_PRINTF(1, 2) __attribute__((noreturn)) die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("blocks: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* Number and version in plain words, then noise, then words that repeat. */
static void fill(uint64_t words[WORDS], uint64_t seed, uint64_t block, uint64_t version)
{
    struct briq_prng prng = {.state = seed ^ block << 24 ^ version << 52};
    unsigned i;

    memset(words, 0, BLOCK);
    if (version == 0)
        return;
    words[0] = block;
    words[1] = version;
    for (i = 2; i < WORDS; i++)
        words[i] = i < WORDS / 3 ? briq_prng_next(&prng) : words[i - 64];
}

static int write_blocks(int fd, uint64_t *buffer, uint64_t seed, uint64_t version, uint64_t first,
                        uint64_t count)
{
    struct briq_prng prng = {.state = seed + version};
    uint64_t start = briq_prng_below(&prng, count), i;

    for (i = 0; i < count; i++) {
        uint64_t block = first + (start + i * 7919) % count; /* a prime: every block once */
        ssize_t put;

        fill(buffer, seed, block, version);
        put = pwrite(fd, buffer, BLOCK, (off_t)(block * BLOCK));
        if (put != (ssize_t)BLOCK)
            break;
    }
    printf("wrote %" PRIu64 "\n", i);
    if (i < count)
        die("write %" PRIu64 " of %" PRIu64 ": %s", i + 1, count, strerror(errno));
    if (fsync(fd) != 0)
        die("flush: %s", strerror(errno));
    puts("flushed");
    return 0;
}

/* The version that the buffer holds, newest first; below oldest when it is none of them. */
static int64_t version_of(const uint64_t *buffer, uint64_t *want, uint64_t seed, uint64_t block,
                          int64_t oldest, int64_t newest)
{
    int64_t version;

    for (version = newest; version >= oldest; version--) {
        fill(want, seed, block, (uint64_t)version);
        if (memcmp(buffer, want, BLOCK) == 0)
            break;
    }
    return version;
}

static int verify_blocks(int fd, uint64_t *buffer, uint64_t seed, int64_t oldest, int64_t newest,
                         uint64_t first, uint64_t count)
{
    uint64_t right = 0, older = 0, errors = 0, wrong = 0, want[WORDS], block;

    for (block = first; block < first + count; block++) {
        ssize_t got = pread(fd, buffer, BLOCK, (off_t)(block * BLOCK));
        int64_t version;

        if (got != (ssize_t)BLOCK) {
            errors++;
            continue;
        }
        version = version_of(buffer, want, seed, block, oldest, newest);
        right += version == newest;
        older += version < newest && version >= oldest;
        if (version < oldest) {
            wrong++;
            fprintf(stderr,
                    "blocks: block %" PRIu64 " is wrong: it begins with %" PRIx64 " %" PRIx64 "\n",
                    block, buffer[0], buffer[1]);
        }
    }
    printf("right %" PRIu64 ", older %" PRIu64 ", errors %" PRIu64 "\n", right, older, errors);
    return wrong == 0 ? 0 : 1;
}

static uint64_t number_of(const char *text)
{
    char *end;
    uint64_t number = strtoull(text, &end, 10);

    if (*text == 0 || *end != 0)
        die("'%s' is not a number", text);
    return number;
}

int main(int argc, char **argv)
{
    bool writing = argc == 7 && strcmp(argv[1], "write") == 0;
    uint64_t number[8] = {0};
    void *buffer;
    int fd, i, status;

    if (!writing && !(argc == 8 && strcmp(argv[1], "verify") == 0)) {
        fputs("usage: blocks write DEVICE SEED VERSION FIRST COUNT\n"
              "       blocks verify DEVICE SEED OLDEST NEWEST FIRST COUNT\n",
              stderr);
        return 2;
    }
    for (i = 3; i < argc; i++)
        number[i] = number_of(argv[i]);
    fd = open(argv[2], (writing ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        die("%s: %s", argv[2], strerror(errno));
    if (posix_memalign(&buffer, BLOCK, BLOCK) != 0)
        die("out of memory");
    status = writing ? write_blocks(fd, buffer, number[3], number[4], number[5], number[6])
                     : verify_blocks(fd, buffer, number[3], (int64_t)number[4], (int64_t)number[5],
                                     number[6], number[7]);
    free(buffer);
    close(fd);
    return status;
}
