/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory - asks for more memory than there may be, and judges what comes back.
 *
 *   memory use MEGABYTES ROUNDS   fills that much, every page different but easy to compress, then
 *                                 reads and changes all of it ROUNDS times. Exit 1: a page was not
 *                                 as it was.
 *   memory hold MEGABYTES         locks that much, prints "held", and stays until it is killed
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE  4096u
#define WORDS (PAGE / sizeof(uint64_t))

/* A third of the page is noise. */
static uint64_t word_of(uint64_t page, uint64_t round, unsigned i)
{
    uint64_t x = (page + 1) * UINT64_C(0x9e3779b97f4a7c15) + round;
    if (i < WORDS / 3)
        x = (x ^ i) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 29;
}

static void fill(uint64_t *at, uint64_t page, uint64_t round)
{
    for (unsigned i = 0; i < WORDS; i++)
        at[i] = word_of(page, round, i);
}

static int judge(const uint64_t *at, uint64_t page, uint64_t round)
{
    for (unsigned i = 0; i < WORDS; i++) {
        if (at[i] == word_of(page, round, i))
            continue;
        fprintf(stderr, "memory: page %" PRIu64 ", word %u, round %" PRIu64 ": %016" PRIx64 "\n",
                page, i, round, at[i]);
        return 1;
    }
    return 0;
}

static int use(uint64_t *memory, uint64_t pages, uint64_t rounds)
{
    for (uint64_t page = 0; page < pages; page++)
        fill(memory + page * WORDS, page, 0);
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t page = 0; page < pages; page++) {
            if (judge(memory + page * WORDS, page, round) != 0)
                return 1;
            fill(memory + page * WORDS, page, round + 1);
        }
        printf("round %" PRIu64 "\n", round + 1);
        fflush(stdout);
    }
    return 0;
}

static int hold(uint64_t *memory, uint64_t bytes)
{
    if (mlock(memory, bytes) < 0) {
        fprintf(stderr, "memory: mlock: %s\n", strerror(errno));
        return 2;
    }
    printf("held\n");
    fflush(stdout);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    bool holds = argc == 3 && strcmp(argv[1], "hold") == 0;
    if (!holds && (argc != 4 || strcmp(argv[1], "use") != 0)) {
        fprintf(stderr, "usage: memory use MEGABYTES ROUNDS, or memory hold MEGABYTES\n");
        return 2;
    }
    uint64_t bytes = strtoull(argv[2], NULL, 10) << 20;
    uint64_t *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "memory: %s\n", strerror(errno));
        return 2;
    }
    return holds ? hold(memory, bytes) : use(memory, bytes / PAGE, strtoull(argv[3], NULL, 10));
}
