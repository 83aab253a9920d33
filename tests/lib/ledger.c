/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TAG           UINT64_C(0x4c45444745520a21)
#define FOUND_NOTHING UINT64_MAX

/* The first words of a written block; pattern text follows. */
struct stamp {
    uint64_t tag, number, block;
};

struct test_ledger *test_ledger_open(uint32_t blocks, uint64_t deeds_max)
{
    size_t base_bytes = blocks * sizeof(uint64_t);
    size_t bytes = sizeof(struct test_ledger) + base_bytes + deeds_max * sizeof(struct test_deed);
    struct test_ledger *ledger =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    BRIQ_ASSERT(ledger != MAP_FAILED);
    ledger->blocks = blocks;
    ledger->deeds_max = deeds_max;
    ledger->base = (uint64_t *)(ledger + 1);
    ledger->deeds = (struct test_deed *)(ledger->base + blocks);
    ledger->bytes = bytes;
    return ledger;
}

void test_ledger_close(struct test_ledger *ledger)
{
    if (ledger != NULL)
        munmap(ledger, ledger->bytes);
}

/* Text that differs from block to block and from write to write, and packs to about a third. */
void test_ledger_content(uint64_t number, uint32_t block, uint8_t bytes[BRIQ_BLOCK_BYTES])
{
    memset(bytes, 0, BRIQ_BLOCK_BYTES);
    if (number == 0)
        return;
    struct stamp stamp = {.tag = TAG, .number = number, .block = block};
    struct briq_prng prng = {.state = number * 1000003 + block};
    memcpy(bytes, &stamp, sizeof stamp);
    for (size_t at = sizeof stamp; at + 16 <= BRIQ_BLOCK_BYTES; at += 16) {
        uint64_t word = briq_prng_next(&prng);
        memcpy(bytes + at, &word, sizeof word / 2);
        memcpy(bytes + at + 8, "briqued", 8);
    }
}

uint64_t test_ledger_number(const uint8_t bytes[BRIQ_BLOCK_BYTES], uint32_t block)
{
    uint8_t wanted[BRIQ_BLOCK_BYTES];
    struct stamp stamp;
    memcpy(&stamp, bytes, sizeof stamp);
    uint64_t number = stamp.tag == TAG ? stamp.number : 0;
    test_ledger_content(number, block, wanted);
    return memcmp(bytes, wanted, BRIQ_BLOCK_BYTES) == 0 ? number : FOUND_NOTHING;
}

static struct test_deed draw(const struct test_ledger *ledger, struct briq_prng *prng)
{
    uint64_t kind = briq_prng_below(prng, 20);
    return (struct test_deed){
        .block = (uint32_t)briq_prng_below(prng, ledger->blocks),
        .kind = kind == 0   ? TEST_DEED_TRIM
                : kind == 1 ? TEST_DEED_ZERO
                            : TEST_DEED_WRITE,
    };
}

static int carry_out(const struct test_ledger *ledger, struct briq_store *store,
                     struct test_deed deed, uint64_t number, unsigned flags)
{
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    uint32_t block = ledger->first_block + deed.block;
    uint64_t off = (uint64_t)block * BRIQ_BLOCK_BYTES;
    switch (deed.kind) {
    case TEST_DEED_TRIM:
        return briq_trim(store, BRIQ_BLOCK_BYTES, off, flags);
    case TEST_DEED_ZERO:
        return briq_zero(store, BRIQ_BLOCK_BYTES, off, flags);
    default:
        test_ledger_content(number, block, bytes);
        return briq_write(store, bytes, sizeof bytes, off, flags);
    }
}

int test_ledger_act(struct test_ledger *ledger, struct briq_store *store, struct briq_prng *prng,
                    unsigned fua_one_in)
{
    uint64_t number = atomic_load(&ledger->issued) + 1;
    BRIQ_ASSERT(number - ledger->first <= ledger->deeds_max);
    struct test_deed deed = draw(ledger, prng);
    bool fua = fua_one_in != 0 && briq_prng_below(prng, fua_one_in) == 0;
    ledger->deeds[number - ledger->first - 1] = deed;
    atomic_store(&ledger->issued, number);
    int r = carry_out(ledger, store, deed, number, fua ? BRIQ_OP_FUA : 0);
    if (r != 0)
        return r;
    atomic_store(&ledger->acked, number);
    if (fua)
        atomic_store(&ledger->flushed, number);
    return 0;
}

int test_ledger_flush(struct test_ledger *ledger, struct briq_store *store)
{
    uint64_t covered = atomic_load(&ledger->acked);
    int r = briq_flush(store);
    if (r == 0)
        atomic_store(&ledger->flushed, covered);
    return r;
}

/* ---- judging --------------------------------------------------------------------------------- */

/* Which operation wrote each block, as the volume says. NULL, and a message, when one did not. */
static uint64_t *read_numbers(const struct test_ledger *ledger, struct briq_store *store)
{
    uint64_t *found = calloc(ledger->blocks, sizeof *found);
    BRIQ_ASSERT(found != NULL);
    for (uint32_t block = 0; block < ledger->blocks; block++) {
        uint8_t bytes[BRIQ_BLOCK_BYTES];
        uint32_t there = ledger->first_block + block;
        int r = briq_read(store, bytes, sizeof bytes, (uint64_t)there * BRIQ_BLOCK_BYTES);
        found[block] = r == 0 ? test_ledger_number(bytes, there) : FOUND_NOTHING;
        if (found[block] != FOUND_NOTHING)
            continue;
        if (!ledger->quiet)
            fprintf(stderr, "block %" PRIu32 " %s\n", there,
                    r != 0 ? strerror(-r) : "holds bytes that nobody wrote there");
        free(found);
        return NULL;
    }
    return found;
}

static uint64_t left_by(const struct test_ledger *ledger, uint64_t number)
{
    return ledger->deeds[number - ledger->first - 1].kind == TEST_DEED_WRITE ? number : 0;
}

/* Walks through all N, keeping count of the blocks that differ, and notes the first and the last N
 * without any. */
static bool find_prefix(const struct test_ledger *ledger, const uint64_t *found, uint64_t floor,
                        uint64_t *ret_lowest, uint64_t *ret_highest)
{
    uint64_t *state = malloc(ledger->blocks * sizeof *state);
    BRIQ_ASSERT(state != NULL);
    uint64_t differ = 0, issued = atomic_load(&ledger->issued);
    bool any = false;
    memcpy(state, ledger->base, ledger->blocks * sizeof *state);
    for (uint32_t block = 0; block < ledger->blocks; block++)
        differ += state[block] != found[block];
    for (uint64_t n = ledger->first;; n++) {
        if (differ == 0 && n >= floor) {
            if (!any)
                *ret_lowest = n;
            any = true;
            *ret_highest = n;
        }
        if (n == issued)
            break;
        uint32_t block = ledger->deeds[n - ledger->first].block;
        differ -= state[block] != found[block];
        state[block] = left_by(ledger, n + 1);
        differ += state[block] != found[block];
    }
    free(state);
    return any;
}

/* Every block that is not as `floor` operations leave it, and the newest operation that is there.
 */
static void explain(const struct test_ledger *ledger, const uint64_t *found, uint64_t floor)
{
    uint64_t newest = 0;
    for (uint32_t block = 0; block < ledger->blocks; block++)
        newest = found[block] > newest ? found[block] : newest;
    fprintf(stderr,
            "no prefix of the operations at or beyond %" PRIu64
            " leaves what was found; issued %llu, "
            "acknowledged %llu, flushed %llu, newest found %" PRIu64 "\n",
            floor, (unsigned long long)atomic_load(&ledger->issued),
            (unsigned long long)atomic_load(&ledger->acked),
            (unsigned long long)atomic_load(&ledger->flushed), newest);
    unsigned shown = 0;
    for (uint32_t block = 0; block < ledger->blocks && shown < 10; block++) {
        uint64_t wanted = ledger->base[block];
        for (uint64_t n = ledger->first + 1; n <= floor; n++)
            if (ledger->deeds[n - ledger->first - 1].block == block)
                wanted = left_by(ledger, n);
        if (found[block] == wanted)
            continue;
        fprintf(stderr,
                "  block %" PRIu32 ": found operation %" PRIu64 ", after %" PRIu64
                " it was %" PRIu64 "\n",
                ledger->first_block + block, found[block], floor, wanted);
        shown++;
    }
}

bool test_ledger_range(const struct test_ledger *ledger, struct briq_store *store, uint64_t floor,
                       uint64_t *ret_lowest, uint64_t *ret_highest)
{
    uint64_t *found = read_numbers(ledger, store);
    if (found == NULL)
        return false;
    bool well = find_prefix(ledger, found, floor, ret_lowest, ret_highest);
    if (!well && !ledger->quiet)
        explain(ledger, found, floor);
    free(found);
    return well;
}

bool test_ledger_check(const struct test_ledger *ledger, struct briq_store *store, uint64_t floor,
                       uint64_t *ret_n)
{
    uint64_t lowest;
    return test_ledger_range(ledger, store, floor, &lowest, ret_n);
}

bool test_ledger_check_all(const struct test_ledger *ledger, struct briq_store *store)
{
    uint64_t n;
    return test_ledger_check(ledger, store, atomic_load(&ledger->issued), &n);
}

void test_ledger_settle(struct test_ledger *ledger, uint64_t n)
{
    for (uint64_t number = ledger->first + 1; number <= n; number++)
        ledger->base[ledger->deeds[number - ledger->first - 1].block] = left_by(ledger, number);
    /* Numbers are never used twice, so that what was lost cannot come back unnoticed. */
    ledger->first = atomic_load(&ledger->issued);
    atomic_store(&ledger->acked, ledger->first);
    atomic_store(&ledger->flushed, ledger->first);
}
