/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_cache.c - the sector cache: never a wrong byte, bounded, and not impressed by a scan.
 *
 * Repeat a random run with BRIQ_SEED=N.
 */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/store/cache.h"

#define SECTOR BRIQ_CACHE_SECTOR_BYTES
#define MIB    (UINT64_C(1) << 20)

static uint64_t seed_of_run(void)
{
    const char *text = getenv("BRIQ_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 1;
    print_message("seed %" PRIu64 "\n", seed);
    return seed;
}

static struct briq_cache *open_cache(uint64_t bytes)
{
    struct briq_cache *cache = NULL;
    assert_int_equal(briq_cache_open(bytes, &cache), 0);
    assert_non_null(cache);
    return cache;
}

static struct briq_cache_stats stats_of(struct briq_cache *cache)
{
    struct briq_cache_stats stats;
    briq_cache_stats(cache, &stats);
    return stats;
}

/* A sector's content follows from its key and a version, in every word of it. */
static void fill_sector(void *sector, struct briq_cache_key key, uint64_t version)
{
    struct briq_prng prng = {.state = key.sector * 1000003 + key.generation * 7919 + version};
    uint64_t word = briq_prng_next(&prng);
    uint64_t *words = sector;
    for (size_t i = 0; i < SECTOR / sizeof *words; i++)
        words[i] = word + i;
}

/* Usable from every thread. */
static bool is_sector(const void *sector, struct briq_cache_key key, uint64_t version)
{
    uint64_t expected[SECTOR / sizeof(uint64_t)];
    fill_sector(expected, key, version);
    return memcmp(sector, expected, SECTOR) == 0;
}

static bool get(struct briq_cache *cache, uint64_t sector, uint64_t generation)
{
    uint64_t got[SECTOR / sizeof(uint64_t)];
    struct briq_cache_key key = {.sector = sector, .generation = generation};
    bool hit = briq_cache_get(cache, key, got);
    assert(!hit || is_sector(got, key, 0));
    return hit;
}

static void put(struct briq_cache *cache, uint64_t sector, uint64_t generation)
{
    uint64_t content[SECTOR / sizeof(uint64_t)];
    struct briq_cache_key key = {.sector = sector, .generation = generation};
    fill_sector(content, key, 0);
    briq_cache_put(cache, key, content);
}

/* ---- what it holds --------------------------------------------------------------------------- */

static void no_cache_holds_nothing(void **state)
{
    (void)state;
    struct briq_cache *cache = (struct briq_cache *)&state;
    assert_int_equal(briq_cache_open(0, &cache), 0);
    assert_null(cache);
    put(cache, 1, 1);
    assert_false(get(cache, 1, 1));
    assert_int_equal(stats_of(cache).misses, 0);
    assert_int_equal(stats_of(cache).capacity_bytes, 0);
    briq_cache_close(cache);
}

static void what_is_put_is_got_until_it_is_full(void **state)
{
    (void)state;
    struct briq_cache *cache = open_cache(MIB);
    assert_false(get(cache, 0, 0));
    for (uint64_t i = 0; i < 100; i++)
        put(cache, i, i % 3);
    for (uint64_t i = 0; i < 100; i++)
        assert_true(get(cache, i, i % 3));

    struct briq_cache_stats stats = stats_of(cache);
    assert_int_equal(stats.hits, 100);
    assert_int_equal(stats.misses, 1);
    assert_int_equal(stats.evictions, 0);
    assert_int_equal(stats.resident_bytes, 100 * SECTOR);
    briq_cache_close(cache);
}

static void a_reused_segment_does_not_answer_with_its_past(void **state)
{
    (void)state;
    struct briq_cache *cache = open_cache(MIB);
    put(cache, 7, 1);
    assert_false(get(cache, 7, 2));
    assert_false(get(cache, 8, 1));
    put(cache, 7, 2);
    assert_true(get(cache, 7, 1));
    assert_true(get(cache, 7, 2));
    /* the halves of the key are not exchangeable */
    put(cache, 100, 200);
    assert_false(get(cache, 200, 100));
    assert_true(get(cache, 100, 200));
    put(cache, UINT64_MAX, UINT64_MAX);
    assert_true(get(cache, UINT64_MAX, UINT64_MAX));
    assert_false(get(cache, 0, 0));
    briq_cache_close(cache);
}

static void a_second_put_replaces_the_content(void **state)
{
    (void)state;
    struct briq_cache *cache = open_cache(MIB);
    struct briq_cache_key key = {.sector = 3, .generation = 4};
    uint64_t content[SECTOR / sizeof(uint64_t)];
    for (uint64_t version = 0; version < 3; version++) {
        fill_sector(content, key, version);
        briq_cache_put(cache, key, content);
    }
    memset(content, 0, sizeof content);
    assert_true(briq_cache_get(cache, key, content));
    assert_true(is_sector(content, key, 2));
    assert_int_equal(stats_of(cache).resident_bytes, SECTOR);
    briq_cache_close(cache);
}

/* ---- against a reference map ----------------------------------------------------------------- */

#define REFERENCE_SECTORS     400u
#define REFERENCE_GENERATIONS 3u

/* What was put last under each key; 0: nothing yet. */
struct reference {
    uint64_t versions[REFERENCE_SECTORS][REFERENCE_GENERATIONS];
};

static void one_random_operation(struct briq_cache *cache, struct reference *reference,
                                 struct briq_prng *prng)
{
    uint64_t content[SECTOR / sizeof(uint64_t)];
    struct briq_cache_key key = {.sector = briq_prng_below(prng, REFERENCE_SECTORS),
                                 .generation = briq_prng_below(prng, REFERENCE_GENERATIONS)};
    uint64_t *version = &reference->versions[key.sector][key.generation];
    if (briq_prng_below(prng, 4) == 0) {
        fill_sector(content, key, ++*version);
        briq_cache_put(cache, key, content);
        assert_true(briq_cache_get(cache, key, content));
        assert_true(is_sector(content, key, *version));
    } else if (briq_cache_get(cache, key, content)) {
        assert_int_not_equal(*version, 0);
        assert_true(is_sector(content, key, *version));
    }
}

/* Sizes around the smallest, so that everything is pushed out all the time, up to one that holds
 * all. */
static void a_hit_is_what_was_put_last(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 300000, MIB, 3 * MIB + 12345, 16 * MIB};
    struct briq_prng prng = {.state = seed_of_run()};
    for (size_t i = 0; i < BRIQ_COUNT_OF(sizes); i++) {
        struct briq_cache *cache = open_cache(sizes[i]);
        struct reference *reference = calloc(1, sizeof *reference);
        for (int op = 0; op < 40000; op++)
            one_random_operation(cache, reference, &prng);
        struct briq_cache_stats stats = stats_of(cache);
        assert_true(stats.hits > 10000);
        assert_true(stats.resident_bytes <= stats.capacity_bytes);
        if (i < 2)
            assert_true(stats.evictions > 1000);
        if (i == BRIQ_COUNT_OF(sizes) - 1)
            assert_int_equal(stats.evictions, 0);
        free(reference);
        briq_cache_close(cache);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS    4
#define THREAD_OPS 20000u

struct worker {
    struct briq_cache *cache;
    uint64_t seed;
    uint64_t gets;
    pthread_t thread;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct briq_prng prng = {.state = worker->seed};
    for (unsigned op = 0; op < THREAD_OPS; op++) {
        uint64_t sector = briq_prng_below(&prng, 600), generation = briq_prng_below(&prng, 2);
        worker->gets++;
        if (!get(worker->cache, sector, generation))
            put(worker->cache, sector, generation);
    }
    return NULL;
}

static void threads_get_whole_sectors(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    struct briq_cache *cache = open_cache(MIB);
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.cache = cache, .seed = seed + i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    uint64_t gets = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        gets += workers[i].gets;
    }
    struct briq_cache_stats stats = stats_of(cache);
    assert_int_equal(stats.hits + stats.misses, gets);
    assert_true(stats.hits > 0 && stats.evictions > 0);
    assert_int_equal(stats.resident_bytes, stats.capacity_bytes);
    briq_cache_close(cache);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Bytes of this process's address space, and of memory behind it. */
static void measure(uint64_t *ret_mapped, uint64_t *ret_resident)
{
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%" SCNu64 " %" SCNu64, ret_mapped, ret_resident), 2);
    fclose(file);
    *ret_mapped *= (uint64_t)sysconf(_SC_PAGESIZE);
    *ret_resident *= (uint64_t)sysconf(_SC_PAGESIZE);
}

static void memory_is_bounded_and_taken_when_used(void **state)
{
    (void)state;
    const uint64_t bytes = 32 * MIB, slack = 4 * MIB;
    uint64_t mapped[3], resident[3];
    uint64_t content[SECTOR / sizeof(uint64_t)] = {0};
    measure(&mapped[0], &resident[0]);
    struct briq_cache *cache = open_cache(bytes);
    measure(&mapped[1], &resident[1]);
    for (uint64_t i = 0; i < 4 * bytes / SECTOR; i++)
        briq_cache_put(cache, (struct briq_cache_key){.sector = i}, content);
    measure(&mapped[2], &resident[2]);

    struct briq_cache_stats stats = stats_of(cache);
    assert_in_range(stats.capacity_bytes, bytes - bytes / 50, bytes);
    assert_int_equal(stats.resident_bytes, stats.capacity_bytes);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they add their own */
    assert_true(resident[1] - resident[0] < slack);
    assert_in_range(mapped[1] - mapped[0], stats.capacity_bytes, bytes + slack);
    assert_true(mapped[2] <= mapped[1] + slack);
    assert_true(resident[2] - resident[0] <= bytes + slack);
#else
    (void)slack;
#endif
    briq_cache_close(cache);
}

static void every_size_keeps_to_its_bound(void **state)
{
    (void)state;
    for (uint64_t bytes = 1; bytes < 64 * MIB; bytes += bytes / 7 + 1) {
        uint64_t asked = bytes < BRIQ_CACHE_BYTES_MIN ? BRIQ_CACHE_BYTES_MIN : bytes;
        struct briq_cache *cache = open_cache(bytes);
        struct briq_cache_stats stats = stats_of(cache);
        assert_in_range(stats.capacity_bytes, asked - asked / 10, asked);
        briq_cache_close(cache);
    }
}

static void a_size_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct briq_cache *cache = NULL;
    assert_int_equal(briq_cache_open(UINT64_MAX - 1, &cache), -12);
    assert_int_equal(briq_cache_open(UINT64_C(1) << 60, &cache), -12);
    assert_null(cache);
}

/* ---- what it keeps --------------------------------------------------------------------------- */

/*
 * The same requests go to the cache and to two plain ones of as many sectors: FIFO and least
 * recently used. The mix is that of a volume with 12 times as many sectors as the cache holds:
 * most requests follow Zipf's law, and beside them something reads the volume from end to end.
 */
#define MIX_SECTORS  12000u
#define MIX_CACHE    (4 * MIB)
#define MIX_REQUESTS 150000u
#define MIX_WARM_UP  30000u

struct mix {
    struct briq_prng prng;
    unsigned scan_percent;
    uint32_t scan_at;
    double *shares;   /* of the first n sectors by popularity, summed */
    uint32_t *places; /* of the n-th most popular sector */
};

static void mix_init(struct mix *mix, unsigned scan_percent)
{
    *mix = (struct mix){.prng = {.state = 20}, .scan_percent = scan_percent};
    mix->shares = calloc(MIX_SECTORS, sizeof *mix->shares);
    mix->places = calloc(MIX_SECTORS, sizeof *mix->places);
    double sum = 0;
    for (uint32_t i = 0; i < MIX_SECTORS; i++) {
        sum += 1.0 / (i + 1); /* of exponent 1 */
        mix->shares[i] = sum;
        uint32_t other = (uint32_t)briq_prng_below(&mix->prng, i + 1);
        mix->places[i] = mix->places[other];
        mix->places[other] = i;
    }
}

static void mix_fini(struct mix *mix)
{
    free(mix->shares);
    free(mix->places);
}

static uint32_t mix_next(struct mix *mix)
{
    if (briq_prng_below(&mix->prng, 100) < mix->scan_percent)
        return mix->scan_at++ % MIX_SECTORS;

    double sum = mix->shares[MIX_SECTORS - 1];
    double at = (double)(briq_prng_next(&mix->prng) >> 11) * 0x1p-53 * sum;
    uint32_t low = 0, high = MIX_SECTORS - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (mix->shares[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return mix->places[low];
}

/* A plain cache of names only: a ring of its sectors from the next victim on. */
struct plain {
    bool moves_on_hit; /* least recently used, else FIFO */
    uint32_t capacity, held, hits;
    uint32_t older[MIX_SECTORS + 1], newer[MIX_SECTORS + 1]; /* [MIX_SECTORS]: the ring's end */
    bool has[MIX_SECTORS];
};

static struct plain *plain_open(uint64_t capacity, bool moves_on_hit)
{
    struct plain *plain = calloc(1, sizeof *plain);
    plain->capacity = (uint32_t)capacity;
    plain->moves_on_hit = moves_on_hit;
    plain->older[MIX_SECTORS] = plain->newer[MIX_SECTORS] = MIX_SECTORS;
    return plain;
}

static void plain_unlink(struct plain *plain, uint32_t sector)
{
    plain->newer[plain->older[sector]] = plain->newer[sector];
    plain->older[plain->newer[sector]] = plain->older[sector];
}

static void plain_push(struct plain *plain, uint32_t sector)
{
    uint32_t newest = plain->older[MIX_SECTORS];
    plain->older[sector] = newest;
    plain->newer[sector] = MIX_SECTORS;
    plain->newer[newest] = sector;
    plain->older[MIX_SECTORS] = sector;
}

static bool plain_request(struct plain *plain, uint32_t sector)
{
    if (plain->has[sector]) {
        if (plain->moves_on_hit) {
            plain_unlink(plain, sector);
            plain_push(plain, sector);
        }
        return true;
    }
    if (plain->held == plain->capacity) {
        uint32_t victim = plain->newer[MIX_SECTORS];
        plain_unlink(plain, victim);
        plain->has[victim] = false;
    } else {
        plain->held++;
    }
    plain->has[sector] = true;
    plain_push(plain, sector);
    return false;
}

struct ratios {
    double cache, fifo, lru;
};

static bool cache_request(struct briq_cache *cache, uint32_t sector)
{
    uint64_t content[SECTOR / sizeof(uint64_t)] = {0};
    struct briq_cache_key key = {.sector = sector, .generation = 1};
    bool hit = briq_cache_get(cache, key, content);
    if (!hit)
        briq_cache_put(cache, key, content);
    return hit;
}

static struct ratios compare(unsigned scan_percent)
{
    struct mix mix;
    mix_init(&mix, scan_percent);
    struct briq_cache *cache = open_cache(MIX_CACHE);
    uint64_t capacity = stats_of(cache).capacity_bytes / SECTOR;
    struct plain *fifo = plain_open(capacity, false), *lru = plain_open(capacity, true);
    uint64_t hits = 0, counted = MIX_REQUESTS - MIX_WARM_UP;

    for (uint32_t i = 0; i < MIX_REQUESTS; i++) {
        uint32_t sector = mix_next(&mix);
        bool count = i >= MIX_WARM_UP;
        hits += cache_request(cache, sector) && count;
        fifo->hits += plain_request(fifo, sector) && count;
        lru->hits += plain_request(lru, sector) && count;
    }
    struct ratios ratios = {.cache = (double)hits / (double)counted,
                            .fifo = (double)fifo->hits / (double)counted,
                            .lru = (double)lru->hits / (double)counted};
    print_message("scan %u %%: hit ratio %.3f, FIFO %.3f, least recently used %.3f\n", scan_percent,
                  ratios.cache, ratios.fifo, ratios.lru);
    free(fifo);
    free(lru);
    mix_fini(&mix);
    briq_cache_close(cache);
    return ratios;
}

static void a_scan_does_not_push_out_what_is_read_often(void **state)
{
    (void)state;
    struct ratios ratios = compare(25);
    assert_true(ratios.cache >= 1.1 * ratios.fifo);
    assert_true(ratios.cache >= 1.1 * ratios.lru);
}

static void without_a_scan_it_keeps_at_least_as_much(void **state)
{
    (void)state;
    struct ratios ratios = compare(0);
    assert_true(ratios.cache >= ratios.fifo);
    assert_true(ratios.cache >= ratios.lru);
}

/* The hit ratio of the popular requests alone, while a scan asks for each sector three times in a
 * row, as one of blocks does. */
static double popular_ratio(unsigned scan_percent)
{
    struct mix mix, scan;
    mix_init(&mix, 0);
    mix_init(&scan, 100);
    struct briq_cache *cache = open_cache(MIX_CACHE);
    uint64_t hits = 0;
    for (uint32_t i = 0; i < MIX_REQUESTS; i++) {
        if (briq_prng_below(&scan.prng, 100) < scan_percent) {
            uint32_t sector = scan.scan_at++ % MIX_SECTORS;
            for (int part = 0; part < 3; part++)
                (void)cache_request(cache, sector);
        }
        hits += cache_request(cache, mix_next(&mix)) && i >= MIX_WARM_UP;
    }
    mix_fini(&mix);
    mix_fini(&scan);
    briq_cache_close(cache);
    return (double)hits / (MIX_REQUESTS - MIX_WARM_UP);
}

static void a_scan_of_blocks_is_one_read_of_each_sector(void **state)
{
    (void)state;
    double alone = popular_ratio(0), beside = popular_ratio(50);
    print_message("popular sectors: hit ratio %.3f alone, %.3f beside a scan\n", alone, beside);
    assert_true(beside >= 0.95 * alone);
}

/* When the popular part of the volume changes, the cache follows: nothing stays for ever. */
static void what_was_popular_once_makes_way(void **state)
{
    (void)state;
    struct briq_cache *cache = open_cache(MIB);
    uint64_t capacity = stats_of(cache).capacity_bytes / SECTOR;
    for (unsigned round = 0; round < 20; round++) {
        for (uint64_t i = 0; i < capacity / 2; i++) {
            if (!get(cache, i, 1))
                put(cache, i, 1);
        }
    }
    unsigned hits = 0;
    for (unsigned round = 0; round < 20; round++) {
        hits = 0;
        for (uint64_t i = 0; i < capacity / 2; i++) {
            bool hit = get(cache, 10000 + i, 1);
            hits += hit;
            if (!hit)
                put(cache, 10000 + i, 1);
        }
    }
    assert_true(hits > capacity / 2 * 9 / 10);
    briq_cache_close(cache);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cache_holds_nothing),
        cmocka_unit_test(what_is_put_is_got_until_it_is_full),
        cmocka_unit_test(a_reused_segment_does_not_answer_with_its_past),
        cmocka_unit_test(a_second_put_replaces_the_content),
        cmocka_unit_test(a_hit_is_what_was_put_last),
        cmocka_unit_test(threads_get_whole_sectors),
        cmocka_unit_test(memory_is_bounded_and_taken_when_used),
        cmocka_unit_test(every_size_keeps_to_its_bound),
        cmocka_unit_test(a_size_that_cannot_be_is_refused),
        cmocka_unit_test(a_scan_does_not_push_out_what_is_read_often),
        cmocka_unit_test(without_a_scan_it_keeps_at_least_as_much),
        cmocka_unit_test(a_scan_of_blocks_is_one_read_of_each_sector),
        cmocka_unit_test(what_was_popular_once_makes_way),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
