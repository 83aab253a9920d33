/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cache.h - the sectors of a volume that were read last and often, for direct I/O, where the kernel
 * keeps nothing.
 *
 * What is kept are whole 4 KiB sectors as they lie on the medium, compressed: they hold about twice
 * as many blocks as decompressed ones would, and the neighbours that were written together come
 * along. The key is where the sector lies and which use of its segment wrote it, so an overwrite of
 * a block invalidates nothing and a segment that is used again can never answer with its past.
 *
 * The replacement is S3-FIFO: what is read only once passes through a small queue and cannot push
 * out what is read again and again, so a scan (a backup, an export) leaves the cache as it was.
 *
 * All memory is mapped by open and touched when first used; later calls allocate nothing. Thread:
 * any, at the same time. A cache that is NULL holds nothing.
 */
#ifndef BRIQ_STORE_CACHE_H
#define BRIQ_STORE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"

#define BRIQ_CACHE_SECTOR_BYTES 4096u
#define BRIQ_CACHE_BYTES_MIN    (UINT64_C(256) << 10)

struct briq_cache;

/* Stores that share a cache make their generations differ, as by a number of the store in it. */
struct briq_cache_key {
    uint64_t sector;     /* offset on the medium / BRIQ_CACHE_SECTOR_BYTES */
    uint64_t generation; /* of the use of the segment it lies in */
};

struct briq_cache_stats {
    uint64_t hits, misses;   /* calls of get that found it, that did not */
    uint64_t evictions;      /* sectors pushed out by others */
    uint64_t resident_bytes; /* sectors held now */
    uint64_t capacity_bytes; /* sectors it can hold */
};

/*
 * Makes a cache that takes at most `bytes` of memory, its own tables included; less than
 * BRIQ_CACHE_BYTES_MIN is taken for that. With 0 there is none: *ret becomes NULL.
 * Returns 0 and sets *ret, the caller's, for briq_cache_close(); or -ENOMEM.
 */
int briq_cache_open(uint64_t bytes, struct briq_cache **ret) BRIQ_MUST;

/* Frees it; no other call may be running. NULL is accepted. */
void briq_cache_close(struct briq_cache *cache);

/*
 * Copies the sector to dst, of BRIQ_CACHE_SECTOR_BYTES, and returns true; or returns false and
 * leaves dst alone. Holds a mutex for the time of the copy.
 */
bool briq_cache_get(struct briq_cache *cache, struct briq_cache_key key, void *dst) BRIQ_MUST;

/* Keeps a copy of src under key, in the place of some other sector when it is full. A key that is
 * there already gets this content. */
void briq_cache_put(struct briq_cache *cache, struct briq_cache_key key, const void *src);

/* A sum over the shards, each of them exact, not all of one instant. */
void briq_cache_stats(struct briq_cache *cache, struct briq_cache_stats *ret);

#endif
