/* SPDX-License-Identifier: BSD-3-Clause */
/* stats.c - facts and figures of an open volume, and of one that is only looked at. */
#include <errno.h>
#include <string.h>

#include "common/base/align.h"
#include "common/device/lock.h"
#include "common/store/maintain.h"
#include "common/store/superblock.h"

uint64_t briq_store_size(const struct briq_store *store)
{
    return atomic_load_explicit(&store->logical_bytes, memory_order_relaxed);
}

bool briq_store_read_only(const struct briq_store *store)
{
    return store->opened_read_only || briq_store_is_latched(store);
}

bool briq_store_in_memory(const struct briq_store *store)
{
    return store->in_memory;
}

int briq_store_fd(const struct briq_store *store)
{
    return store->dev->fd;
}

const char *briq_version(void)
{
    return "briq 0.1.0";
}

unsigned briq_format_version(void)
{
    return BRIQ_FMT_VERSION;
}

/* ---- sums over contexts, streams, segments --------------------------------------------------- */

static void add_ctx(struct briq_stats *s, const struct briq_ctx_counts *c)
{
    s->reads += briq_counter_get(&c->reads);
    s->read_bytes += briq_counter_get(&c->read_bytes);
    s->writes += briq_counter_get(&c->writes);
    s->write_bytes += briq_counter_get(&c->write_bytes);
    s->trims += briq_counter_get(&c->trims);
    s->trim_bytes += briq_counter_get(&c->trim_bytes);
    s->zeroes += briq_counter_get(&c->zeroes);
    s->zero_bytes += briq_counter_get(&c->zero_bytes);
    s->flushes += briq_counter_get(&c->flushes);
    s->fua_writes += briq_counter_get(&c->fua_writes);
    s->rmw_blocks += briq_counter_get(&c->rmw_blocks);
    s->rmw_retries += briq_counter_get(&c->rmw_retries);
    s->compressed_blocks += briq_counter_get(&c->compressed_blocks);
    s->incompressible_blocks += briq_counter_get(&c->incompressible_blocks);
    s->compressed_bytes += briq_counter_get(&c->compressed_bytes);
    s->device_reads += briq_counter_get(&c->device_reads);
    s->device_read_bytes += briq_counter_get(&c->device_read_bytes);
    s->device_writes += briq_counter_get(&c->device_writes);
    s->device_flushes += briq_counter_get(&c->device_flushes);
    s->window_reads += briq_counter_get(&c->window_reads);
    s->payload_errors += briq_counter_get(&c->payload_errors);
    s->metadata_errors += briq_counter_get(&c->metadata_errors);
    s->enospc += briq_counter_get(&c->enospc);
    s->waits_space += briq_counter_get(&c->waits_space);
    s->waits_window += briq_counter_get(&c->waits_window);
    s->waits_buffer += briq_counter_get(&c->waits_buffer);
}

static void add_contexts(struct briq_store *store, struct briq_stats *s)
{
    pthread_mutex_lock(&store->ctx_lock);
    for (unsigned i = 0; i < store->ctx_count; i++)
        add_ctx(s, &store->ctxs[i]->counts);
    pthread_mutex_unlock(&store->ctx_lock);
}

static void add_streams(struct briq_store *store, struct briq_stats *s)
{
    struct briq_journal *journal = &store->journal;
    uint64_t granules = 0;
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++) {
        struct briq_journal_counts *c = &journal->streams[i].counts;
        s->mapped_blocks += briq_counter_get(&c->mapped_blocks);
        s->fill_blocks += briq_counter_get(&c->fill_blocks);
        s->zero_blocks += briq_counter_get(&c->zero_blocks);
        granules += briq_counter_get(&c->data_granules);
        if (i < journal->user_count)
            s->user_log_bytes += briq_counter_get(&c->device_bytes);
    }
    s->mapped_blocks = briq_counter_sum(s->mapped_blocks);
    s->fill_blocks = briq_counter_sum(s->fill_blocks);
    s->zero_blocks = briq_counter_sum(s->zero_blocks);
    s->stored_bytes = briq_counter_sum(granules) * BRIQ_GRANULE_BYTES;
    s->gc_log_bytes = briq_counter_get(&briq_journal_gc(journal)->counts.device_bytes);
    s->meta_log_bytes = briq_counter_get(&briq_journal_meta(journal)->counts.device_bytes);
    s->sequence = atomic_load(&journal->seq);
    s->durable_sequence = atomic_load(&journal->durable_seq);
}

static void add_space(struct briq_store *store, struct briq_stats *s)
{
    struct briq_space *space = &store->space;
    uint32_t granules = briq_seg_granules(store);
    /* A segment taken during the scan is among those in use or not: it is not free in either case,
     * and each taking uses up one segment number. */
    uint64_t taken = briq_space_last_segseq(space);
    uint64_t free_segments = atomic_load(&space->free_count);
    for (uint32_t seg = space->seg_first; seg < atomic_load(&space->virgin); seg++) {
        uint8_t state = atomic_load_explicit(&space->segs[seg].state, memory_order_relaxed);
        if (state != BRIQ_SEG_USED && state != BRIQ_SEG_OPEN)
            continue;
        uint64_t tenth = (uint64_t)briq_space_live(space, seg) * 10 / granules;
        s->utilisation[briq_min_u64(tenth, 9)]++;
    }
    s->segments_total = space->seg_end - space->seg_first;
    taken = briq_space_last_segseq(space) - taken;
    s->segments_free = free_segments - briq_min_u64(free_segments, taken);
    s->segments_pending = atomic_load(&space->pending_count);
    s->segments_bad = atomic_load(&space->bad_count);
    s->segment_bytes = briq_space_seg_bytes(space);
}

static void add_maintenance(struct briq_store *store, struct briq_stats *s)
{
    struct briq_maintain *m = &store->maintain;
    s->gc_segments = briq_counter_get(&m->gc_segments);
    s->gc_moved_blocks = briq_counter_get(&m->gc_moved_blocks);
    s->gc_moved_bytes = briq_counter_get(&m->gc_moved_bytes);
    s->checkpoints = briq_counter_get(&m->checkpoints);
    s->checkpoint_ns_last = briq_counter_get(&m->checkpoint_ns_last);
    s->checkpoint_ns_max = briq_counter_get(&m->checkpoint_ns_max);
    s->checkpoint_pages = briq_counter_get(&m->checkpoint_pages);
    s->payload_errors += briq_counter_get(&m->payload_errors);
    s->metadata_errors += briq_counter_get(&m->metadata_errors);
    s->meta_bytes = atomic_load(&m->meta_granules) * BRIQ_GRANULE_BYTES;
    s->flush_rounds = briq_counter_get(&store->flusher.rounds);
    s->flush_batch_max = briq_counter_get(&store->flusher.batch_max);
}

void briq_store_usage(struct briq_store *store, struct briq_usage *ret)
{
    struct briq_stats stats = {.size_bytes = briq_store_size(store)};
    add_streams(store, &stats);
    *ret = (struct briq_usage){
        .size_bytes = stats.size_bytes,
        .mapped_blocks = stats.mapped_blocks,
        .fill_blocks = stats.fill_blocks,
        .stored_bytes = stats.stored_bytes,
    };
}

void briq_store_stats(struct briq_store *store, struct briq_stats *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->size_bytes = briq_store_size(store);
    add_contexts(store, ret);
    add_streams(store, ret);
    add_space(store, ret);
    add_maintenance(store, ret);
    ret->raw_blocks = ret->incompressible_blocks;
    ret->checkpoint_sequence = atomic_load(&store->maintain.checkpoint_seq);
    ret->latched_error = atomic_load(&store->latched);
    if (briq_device_allocated(store->dev, &ret->host_bytes) < 0)
        ret->host_bytes = 0;
    if (store->cache != NULL) {
        struct briq_cache_stats cache;
        briq_cache_stats(store->cache, &cache);
        ret->cache_hits = cache.hits;
        ret->cache_misses = cache.misses;
    }
    ret->recovered_records = store->recovered_records;
    ret->recovered_from_windows = store->recovered_from_windows;
    ret->discarded_records = store->discarded_records;
    ret->open_ns = store->open_ns;
}

/* ---- looking at a volume from outside -------------------------------------------------------- */

static void fill_info(const struct briq_superblock_found *found, struct briq_volume_info *ret)
{
    const struct briq_superblock *sb = &found->sb;
    memcpy(ret->uuid, sb->uuid, sizeof ret->uuid);
    ret->version = sb->version;
    ret->features_compat = sb->features_compat;
    ret->features_ro_compat = sb->features_ro;
    ret->features_incompat = sb->features_incompat;
    ret->size_bytes = sb->logical_bytes;
    ret->limit_bytes = sb->limit_bytes;
    ret->segment_bytes = UINT64_C(1) << sb->seg_shift;
    ret->mapped_blocks = sb->mapped_blocks;
    ret->fill_blocks = sb->fill_blocks;
    ret->zero_blocks = sb->zero_blocks;
    ret->stored_bytes = sb->data_granules * BRIQ_GRANULE_BYTES;
    ret->meta_bytes = sb->meta_granules * BRIQ_GRANULE_BYTES;
    ret->incarnation = sb->incarnation;
    ret->generation = sb->generation;
    ret->checkpoint_sequence = sb->checkpoint_seq;
    ret->accel = sb->accel;
    ret->preallocated = sb->preallocated;
    ret->clean = sb->clean;
    ret->unfinished = briq_superblock_unfinished(sb);
    ret->superblock_damaged = found->damaged;
}

int briq_volume_info(const char *path, struct briq_volume_info *ret, struct briq_error *err)
{
    struct briq_device *dev;
    struct briq_superblock_found found;
    memset(ret, 0, sizeof *ret);
    int r = briq_file_open(path, BRIQ_FILE_READ_ONLY | BRIQ_FILE_UNLOCKED, err, &dev);
    if (r < 0)
        return r;
    r = briq_superblock_read(dev, path, &found, err);
    if (r == 0) {
        fill_info(&found, ret);
        r = briq_device_allocated(dev, &ret->host_bytes);
    }
    briq_device_close(dev);
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot read: %s", path, strerror(-r));
    if (briq_lock_owner(path, &ret->owner_pid, ret->owner_name) < 0)
        ret->owner_pid = -1;
    return 0;
}
