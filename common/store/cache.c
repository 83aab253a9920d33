/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cache.c - S3-FIFO over sectors, in shards.
 *
 *   put -> [ small, a tenth ] --- read again ---> [ main ] --- read since --.
 *               |                                   ^  |  ^_________________|
 *               | not read                          |  | not read
 *               v                                   |  v
 *           [ ghost ] -------- put again -----------'  gone
 *
 * A sector enters the small queue, or main when it is remembered as a ghost: pushed out lately, so
 * its reads come further apart than the small queue is long. A hit adds 1 to a counter of 0 .. 3
 * and moves nothing. At the end of the small queue a sector that was read goes on to main, another
 * one leaves its hash in the ghost table; at the end of main, one that was read goes round again
 * for one count less.
 *
 * A shard has its mutex, its slots (a slot is 4 KiB of data and a `struct slot`), a chained hash
 * table of them, and the ghost table. The keys are spread over the shards by their hash. Nothing is
 * ever removed but by eviction, so slots are handed out in turn and then only change hands. In the
 * tables 0 means empty: fresh zero pages need no initialisation and stay untouched until used.
 */
#include "common/store/cache.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/align.h"

#define SHARDS_MAX        16u
#define SHARD_SECTORS_MIN 32u /* fewer shards before smaller ones */
#define COUNT_MAX         3u
#define COUNT_TO_MAIN     1u /* reads in the small queue that earn a place in main */
#define SMALL_SHARE       10u
#define GHOST_WAYS        4u
/* Bounds the time that an eviction holds the mutex when everything was read lately. */
#define EVICT_STEPS_MAX 256u

/* Slots are named by number + 1; 0 is none. */
typedef uint32_t slot_ref;

struct slot {
    struct briq_cache_key key;
    slot_ref chain_next; /* in its bucket */
    slot_ref queue_next; /* towards the newer end */
    uint32_t inserted;   /* value of insert_clock when it came in */
    uint8_t count;       /* hits that count since it was last moved, up to COUNT_MAX */
    uint8_t reserved[3];
};
static_assert(sizeof(struct slot) == 32, "two slots a cache line");

struct queue {
    slot_ref oldest, newest;
    uint32_t length;
};

/* Remembered for as long as fewer than ghost_span others were pushed out after it. */
struct ghost {
    uint32_t tag;  /* of the hash */
    uint32_t time; /* value of ghost_clock when it was pushed out */
};

struct shard {
    pthread_mutex_t mutex; /* guards all below */
    struct queue small, main;
    struct slot *slots;
    slot_ref *buckets;
    struct ghost *ghosts;
    uint8_t *data;
    uint32_t used;         /* slots handed out so far */
    uint32_t insert_clock; /* advances by one with each sector put in */
    uint32_t ghost_clock;  /* advances by one with each ghost */
    uint64_t hits, misses, evictions;
} BRIQ_ALIGNED(BRIQ_CACHELINE_BYTES);

struct briq_cache {
    struct shard *shards;
    void *memory;
    uint64_t memory_bytes;
    uint32_t shard_count;   /* power of two */
    uint32_t shard_sectors; /* slots of a shard */
    uint32_t small_target;  /* length above which the small queue is evicted from first */
    uint32_t burst_span;    /* hits before so many others came in belong to the first read */
    uint32_t bucket_count;  /* power of two */
    uint32_t ghost_sets;    /* power of two */
    uint32_t ghost_span;
};

/* ---- hashes ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t hash_of(struct briq_cache_key key)
{
    return mix(mix(key.sector + 0x9e3779b97f4a7c15u) ^ key.generation);
}

/* The top bits choose the shard, the low ones bucket and ghost set, those between are the tag. */
static struct shard *shard_of(const struct briq_cache *cache, uint64_t hash)
{
    return &cache->shards[(hash >> 60) & (cache->shard_count - 1)];
}

static slot_ref *bucket_of(const struct briq_cache *cache, const struct shard *shard, uint64_t hash)
{
    return &shard->buckets[(uint32_t)hash & (cache->bucket_count - 1)];
}

static bool same_key(struct briq_cache_key a, struct briq_cache_key b)
{
    return a.sector == b.sector && a.generation == b.generation;
}

/* ---- slots ----------------------------------------------------------------------------------- */

static struct slot *slot_at(const struct shard *shard, slot_ref ref)
{
    return &shard->slots[ref - 1];
}

static void *data_at(const struct shard *shard, slot_ref ref)
{
    return shard->data + (size_t)(ref - 1) * BRIQ_CACHE_SECTOR_BYTES;
}

static slot_ref find(const struct briq_cache *cache, const struct shard *shard,
                     struct briq_cache_key key, uint64_t hash)
{
    slot_ref ref = *bucket_of(cache, shard, hash);
    while (ref != 0 && !same_key(slot_at(shard, ref)->key, key))
        ref = slot_at(shard, ref)->chain_next;
    return ref;
}

static void bucket_add(const struct briq_cache *cache, struct shard *shard, slot_ref ref,
                       uint64_t hash)
{
    slot_ref *bucket = bucket_of(cache, shard, hash);
    slot_at(shard, ref)->chain_next = *bucket;
    *bucket = ref;
}

static void bucket_remove(const struct briq_cache *cache, struct shard *shard, slot_ref ref)
{
    struct slot *slot = slot_at(shard, ref);
    slot_ref *link = bucket_of(cache, shard, hash_of(slot->key));
    while (*link != ref)
        link = &slot_at(shard, *link)->chain_next;
    *link = slot->chain_next;
}

static void queue_push(struct shard *shard, struct queue *queue, slot_ref ref)
{
    slot_at(shard, ref)->queue_next = 0;
    if (queue->newest != 0)
        slot_at(shard, queue->newest)->queue_next = ref;
    else
        queue->oldest = ref;
    queue->newest = ref;
    queue->length++;
}

static slot_ref queue_pop(struct shard *shard, struct queue *queue)
{
    slot_ref ref = queue->oldest;
    queue->oldest = slot_at(shard, ref)->queue_next;
    if (queue->oldest == 0)
        queue->newest = 0;
    queue->length--;
    return ref;
}

/* ---- ghosts ---------------------------------------------------------------------------------- */

static struct ghost *ghost_set(const struct briq_cache *cache, const struct shard *shard,
                               uint64_t hash)
{
    return &shard->ghosts[(size_t)((uint32_t)hash & (cache->ghost_sets - 1)) * GHOST_WAYS];
}

static uint32_t ghost_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 28);
}

/* How many were pushed out after it; large for an empty one, as the clock starts beyond the span.
 */
static uint32_t ghost_age(const struct shard *shard, const struct ghost *ghost)
{
    return shard->ghost_clock - ghost->time;
}

static void ghost_add(const struct briq_cache *cache, struct shard *shard, uint64_t hash)
{
    struct ghost *set = ghost_set(cache, shard, hash);
    struct ghost *victim = set;
    for (unsigned i = 1; i < GHOST_WAYS; i++) {
        if (ghost_age(shard, &set[i]) > ghost_age(shard, victim))
            victim = &set[i];
    }
    *victim = (struct ghost){.tag = ghost_tag(hash), .time = ++shard->ghost_clock};
}

/* Whether it is remembered; it is forgotten by this. */
static bool ghost_take(const struct briq_cache *cache, struct shard *shard, uint64_t hash)
{
    struct ghost *set = ghost_set(cache, shard, hash);
    for (unsigned i = 0; i < GHOST_WAYS; i++) {
        if (set[i].tag == ghost_tag(hash) && ghost_age(shard, &set[i]) < cache->ghost_span) {
            set[i].time = shard->ghost_clock - cache->ghost_span;
            return true;
        }
    }
    return false;
}

/* ---- replacement ----------------------------------------------------------------------------- */

/* Takes the oldest of a queue: out of the cache, or on into main when it was read and may stay.
 * Returns 0 in that case. */
static slot_ref take_oldest(const struct briq_cache *cache, struct shard *shard, bool may_stay)
{
    bool from_small = shard->small.length > cache->small_target || shard->main.length == 0;
    slot_ref ref = queue_pop(shard, from_small ? &shard->small : &shard->main);
    struct slot *slot = slot_at(shard, ref);

    if (may_stay && slot->count >= (from_small ? COUNT_TO_MAIN : 1)) {
        slot->count = from_small ? 0 : (uint8_t)(slot->count - 1);
        queue_push(shard, &shard->main, ref);
        return 0;
    }
    if (from_small)
        ghost_add(cache, shard, hash_of(slot->key));
    return ref;
}

/* A slot that belongs to nobody: a fresh one, or that of a sector pushed out. */
static slot_ref get_slot(const struct briq_cache *cache, struct shard *shard)
{
    if (shard->used < cache->shard_sectors)
        return ++shard->used;

    slot_ref ref = 0;
    for (unsigned i = 1; ref == 0; i++)
        ref = take_oldest(cache, shard, i < EVICT_STEPS_MAX);
    bucket_remove(cache, shard, ref);
    shard->evictions++;
    return ref;
}

static slot_ref insert(const struct briq_cache *cache, struct shard *shard,
                       struct briq_cache_key key, uint64_t hash)
{
    bool known = ghost_take(cache, shard, hash);
    slot_ref ref = get_slot(cache, shard);

    *slot_at(shard, ref) = (struct slot){.key = key, .inserted = ++shard->insert_clock};
    bucket_add(cache, shard, ref, hash);
    queue_push(shard, known ? &shard->main : &shard->small, ref);
    return ref;
}

static void count_hit(const struct briq_cache *cache, const struct shard *shard, struct slot *slot)
{
    if (slot->count < COUNT_MAX && shard->insert_clock - slot->inserted >= cache->burst_span)
        slot->count++;
}

bool briq_cache_get(struct briq_cache *cache, struct briq_cache_key key, void *dst)
{
    if (cache == NULL)
        return false;
    uint64_t hash = hash_of(key);
    struct shard *shard = shard_of(cache, hash);

    pthread_mutex_lock(&shard->mutex);
    slot_ref ref = find(cache, shard, key, hash);
    if (ref != 0) {
        count_hit(cache, shard, slot_at(shard, ref));
        memcpy(dst, data_at(shard, ref), BRIQ_CACHE_SECTOR_BYTES);
        shard->hits++;
    } else {
        shard->misses++;
    }
    pthread_mutex_unlock(&shard->mutex);
    return ref != 0;
}

void briq_cache_put(struct briq_cache *cache, struct briq_cache_key key, const void *src)
{
    if (cache == NULL)
        return;
    uint64_t hash = hash_of(key);
    struct shard *shard = shard_of(cache, hash);

    pthread_mutex_lock(&shard->mutex);
    slot_ref ref = find(cache, shard, key, hash);
    if (ref == 0)
        ref = insert(cache, shard, key, hash);
    memcpy(data_at(shard, ref), src, BRIQ_CACHE_SECTOR_BYTES);
    pthread_mutex_unlock(&shard->mutex);
}

/* ---- opening --------------------------------------------------------------------------------- */

static uint64_t pow2_at_least(uint64_t x)
{
    uint64_t power = 1;
    while (power < x)
        power *= 2;
    return power;
}

/* Bytes of each table of a shard; every one begins on a page of its own. */
struct layout {
    uint64_t slots, buckets, ghosts, data;
};

static uint64_t in_pages(uint64_t bytes)
{
    return briq_align_up(bytes, BRIQ_CACHE_SECTOR_BYTES);
}

static struct layout layout_of(const struct briq_cache *cache)
{
    return (struct layout){
        .slots = in_pages(cache->shard_sectors * sizeof(struct slot)),
        .buckets = in_pages(cache->bucket_count * sizeof(slot_ref)),
        .ghosts = in_pages((uint64_t)cache->ghost_sets * GHOST_WAYS * sizeof(struct ghost)),
        .data = (uint64_t)cache->shard_sectors * BRIQ_CACHE_SECTOR_BYTES,
    };
}

static uint64_t shard_bytes(const struct briq_cache *cache)
{
    struct layout layout = layout_of(cache);
    return layout.slots + layout.buckets + layout.ghosts + layout.data;
}

static void set_sectors(struct briq_cache *cache, uint64_t sectors)
{
    cache->shard_sectors = (uint32_t)sectors;
    cache->small_target = (uint32_t)(sectors / SMALL_SHARE);
    cache->burst_span = cache->small_target / 2;
    cache->bucket_count = (uint32_t)pow2_at_least(sectors);
    cache->ghost_span = (uint32_t)sectors;
    cache->ghost_sets = (uint32_t)pow2_at_least(briq_div_up(sectors, GHOST_WAYS));
}

/* Chooses the number and size of the shards so that all of it takes at most `bytes`. */
static void set_shape(struct briq_cache *cache, uint64_t bytes)
{
    uint64_t sectors = bytes / BRIQ_CACHE_SECTOR_BYTES;

    cache->shard_count = SHARDS_MAX;
    while (cache->shard_count > 1 && sectors / cache->shard_count < 2 * SHARD_SECTORS_MIN)
        cache->shard_count /= 2;

    uint64_t each = bytes / cache->shard_count;
    set_sectors(cache, sectors / cache->shard_count);
    /* The tables are about a hundredth: what they take too much comes off the sectors. */
    while (shard_bytes(cache) > each) {
        uint64_t excess = briq_div_up(shard_bytes(cache) - each, BRIQ_CACHE_SECTOR_BYTES);
        set_sectors(cache, cache->shard_sectors - excess);
    }
}

static void init_shard(const struct briq_cache *cache, struct shard *shard, char *memory)
{
    struct layout layout = layout_of(cache);

    *shard = (struct shard){.ghost_clock = cache->ghost_span};
    shard->data = (uint8_t *)memory;
    shard->slots = (struct slot *)(void *)(memory + layout.data);
    shard->buckets = (slot_ref *)(void *)(memory + layout.data + layout.slots);
    shard->ghosts = (struct ghost *)(void *)(memory + layout.data + layout.slots + layout.buckets);
    pthread_mutex_init(&shard->mutex, NULL); /* cannot fail without attributes on Linux */
}

static int map_shards(struct briq_cache *cache)
{
    uint64_t each = shard_bytes(cache);
    cache->memory_bytes = each * cache->shard_count;
    cache->memory = mmap(NULL, cache->memory_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cache->memory == MAP_FAILED)
        return -ENOMEM;
    (void)madvise(cache->memory, cache->memory_bytes, MADV_DONTDUMP); /* a wish only */

    for (uint32_t i = 0; i < cache->shard_count; i++)
        init_shard(cache, &cache->shards[i], (char *)cache->memory + i * each);
    return 0;
}

int briq_cache_open(uint64_t bytes, struct briq_cache **ret)
{
    if (bytes == 0) {
        *ret = NULL;
        return 0;
    }
    if (bytes / BRIQ_CACHE_SECTOR_BYTES > UINT32_MAX) /* slots of a shard are counted in 32 bits */
        return -ENOMEM;

    struct briq_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL)
        return -ENOMEM;
    set_shape(cache, briq_max_u64(bytes, BRIQ_CACHE_BYTES_MIN));

    int r = -ENOMEM;
    cache->shards = aligned_alloc(BRIQ_CACHELINE_BYTES, cache->shard_count * sizeof *cache->shards);
    if (cache->shards != NULL)
        r = map_shards(cache);
    if (r < 0) {
        free(cache->shards);
        free(cache);
        return r;
    }
    *ret = cache;
    return 0;
}

void briq_cache_close(struct briq_cache *cache)
{
    if (cache == NULL)
        return;
    for (uint32_t i = 0; i < cache->shard_count; i++)
        pthread_mutex_destroy(&cache->shards[i].mutex);
    munmap(cache->memory, cache->memory_bytes);
    free(cache->shards);
    free(cache);
}

void briq_cache_stats(struct briq_cache *cache, struct briq_cache_stats *ret)
{
    struct briq_cache_stats sum = {0};
    uint32_t count = cache == NULL ? 0 : cache->shard_count;

    for (uint32_t i = 0; i < count; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->mutex);
        sum.hits += shard->hits;
        sum.misses += shard->misses;
        sum.evictions += shard->evictions;
        sum.resident_bytes += (uint64_t)shard->used * BRIQ_CACHE_SECTOR_BYTES;
        sum.capacity_bytes += (uint64_t)cache->shard_sectors * BRIQ_CACHE_SECTOR_BYTES;
        pthread_mutex_unlock(&shard->mutex);
    }
    *ret = sum;
}
