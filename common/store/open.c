/* SPDX-License-Identifier: BSD-3-Clause */
/* open.c - the life of an open volume: opening, closing, growing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/base/boot_id.h"
#include "common/base/clock.h"
#include "common/base/size.h"
#include "common/store/geometry.h"
#include "common/store/maintain.h"
#include "common/store/open.h"
#include "common/store/recover.h"
#include "common/store/superblock.h"
#include "common/store/tree.h"

#define WINDOWS_DEFAULT     64u
#define CACHE_BYTES_DEFAULT (UINT64_C(128) << 20)
#define DEFAULT_WINDOWS_DIR "/dev/shm"
/* While it is open a volume may grow to this multiple of the size it was opened with: so much
 * address space is reserved. A memory volume also reserves what it would store. */
#define GROWTH        1024u
#define MEMORY_GROWTH 4u

/* ---- options --------------------------------------------------------------------------------- */

static int fill_options(struct briq_store *store, const struct briq_open_options *options,
                        struct briq_error *err)
{
    static const struct briq_open_options defaults;
    struct briq_open_options *o = &store->options;
    *o = options != NULL ? *options : defaults;
    if (o->streams == 0) {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        o->streams = cpus < 1 ? 1 : cpus > BRIQ_STREAMS_MAX ? BRIQ_STREAMS_MAX : (unsigned)cpus;
    }
    if (o->windows == 0)
        o->windows = WINDOWS_DEFAULT;
    if (o->windows_dir == NULL)
        o->windows_dir = DEFAULT_WINDOWS_DIR;
    if (o->streams > BRIQ_STREAMS_MAX)
        return briq_error_set(err, -EINVAL, "%s: %u streams are more than %u", store->name,
                              o->streams, BRIQ_STREAMS_MAX);
    if (o->windows < 2 * o->streams + 4 || o->windows > BRIQ_WINDOWS_MAX)
        return briq_error_set(err, -EINVAL, "%s: %u windows are not in %u to %u", store->name,
                              o->windows, 2 * o->streams + 4, BRIQ_WINDOWS_MAX);
    if (o->accel > 64)
        return briq_error_set(err, -EINVAL, "%s: acceleration %u is not in 1 to 64", store->name,
                              o->accel);
    return 0;
}

/* ---- parts that every volume has ------------------------------------------------------------- */

static int init_parts(struct briq_store *store, const struct briq_geometry *g, uint64_t map_bytes)
{
    /* Each stream holds two segments and wants reserves: a small volume has fewer. */
    uint32_t streams_max = (g->seg_end - g->seg_first) / BRIQ_SEGMENTS_A_STREAM;
    if (store->options.streams > streams_max)
        store->options.streams = streams_max < 1 ? 1 : streams_max;
    int r = briq_map_init(&store->map, map_bytes);
    if (r == 0)
        r = briq_space_init(&store->space, store->dev, g->seg_shift, g->seg_first, g->seg_end,
                            g->seg_max);
    if (r == 0)
        r = briq_journal_init(&store->journal, &store->space, &store->windows,
                              store->options.streams);
    if (r == 0)
        r = briq_iobufs_init(&store->iobufs, BRIQ_IOBUF_COUNT);
    if (r == 0)
        r = briq_tree_init(store, store->map.page_max, g->seg_max);
    return r;
}

static struct briq_store *store_new(const char *name)
{
    struct briq_store *store = aligned_alloc(BRIQ_CACHELINE_BYTES, sizeof *store);
    if (store == NULL)
        return NULL;
    memset(store, 0, sizeof *store);
    store->windows.fd = -1;
    store->name = strdup(name);
    store->align = 1;
    pthread_mutex_init(&store->ctx_lock, NULL);
    pthread_cond_init(&store->ctx_cond, NULL);
    briq_epoch_init(&store->epoch);
    briq_waitq_init(&store->waitq);
    briq_flusher_init(&store->flusher);
    return store;
}

static void store_free(struct briq_store *store, bool unlink_windows)
{
    if (store->maintain_ready)
        briq_maintain_fini(store);
    briq_ctxs_fini(store);
    briq_windows_fini(&store->windows, unlink_windows);
    briq_tree_fini(store);
    briq_iobufs_fini(&store->iobufs);
    briq_journal_fini(&store->journal);
    if (store->space.segs != NULL)
        briq_space_fini(&store->space);
    if (store->map.words != NULL)
        briq_map_fini(&store->map);
    briq_cache_close(store->cache);
    briq_flusher_fini(&store->flusher);
    briq_waitq_fini(&store->waitq);
    pthread_cond_destroy(&store->ctx_cond);
    pthread_mutex_destroy(&store->ctx_lock);
    briq_device_close(store->dev);
    free(store->name);
    free(store);
}

static int start_maintenance(struct briq_store *store)
{
    int r = briq_maintain_init(store);
    store->maintain_ready = true;
    return r;
}

/* ---- memory volumes -------------------------------------------------------------------------- */

/* What address space is reserved for. */
static uint64_t growth_max(const struct briq_store *store, uint64_t size, uint64_t factor)
{
    uint64_t wanted = store->options.growth_bytes;
    uint64_t max = wanted != 0 ? briq_max_u64(wanted, size) : size * factor;
    return briq_min_u64(max, BRIQ_VOLUME_BYTES_MAX);
}

/* "SIZE[,limit=SIZE]" */
static int parse_memory(const char *name, const char *text, uint64_t *ret_size, uint64_t *ret_limit,
                        struct briq_error *err)
{
    char size[64];
    const char *comma = strchr(text, ',');
    size_t len = comma != NULL ? (size_t)(comma - text) : strlen(text);
    *ret_limit = 0;
    if (len < sizeof size) {
        memcpy(size, text, len);
        size[len] = '\0';
        bool limit_ok = comma == NULL || (strncmp(comma, ",limit=", 7) == 0 &&
                                          briq_size_parse(comma + 7, ret_limit) == 0);
        if (limit_ok && briq_size_parse(size, ret_size) == 0)
            return 0;
    }
    return briq_error_set(err, -EINVAL, "%s: is not of the form mem:SIZE[,limit=SIZE]", name);
}

static int open_memory(struct briq_store *store, const char *text, struct briq_error *err)
{
    struct briq_geometry g;
    uint64_t size, limit;
    int r = parse_memory(store->name, text, &size, &limit, err);
    if (r == 0)
        r = briq_geometry_choose(store->name, size, limit, 0, 0, true, &g, err);
    if (r < 0)
        return r;
    uint64_t size_max = growth_max(store, size, MEMORY_GROWTH);
    g.seg_max = (uint32_t)briq_max_u64(briq_geometry_seg_end(size_max, &g), g.seg_end);
    r = briq_memory_open((uint64_t)g.seg_max << g.seg_shift, err, &store->dev);
    if (r < 0)
        return r;
    store->in_memory = true;
    store->accel = store->options.accel != 0 ? store->options.accel : 1;
    store->sb.limit_bytes = limit;
    atomic_store(&store->logical_bytes, size);
    r = init_parts(store, &g, size_max);
    if (r < 0)
        return briq_error_set(err, r, "%s: not enough memory", store->name);
    store->space.in_memory = true;
    store->journal.ram_base = store->dev->memory;
    return start_maintenance(store);
}

/* ---- volumes on a device --------------------------------------------------------------------- */

static int open_device(struct briq_store *store, struct briq_error *err)
{
    if (store->options.device != NULL) {
        store->dev = store->options.device;
        return 0;
    }
    unsigned flags = (store->options.read_only ? BRIQ_FILE_READ_ONLY : 0) |
                     (store->options.direct ? BRIQ_FILE_DIRECT : 0);
    return briq_file_open(store->name, flags, err, &store->dev);
}

static int init_windows(struct briq_store *store, const uint8_t boot_id[16], const char *dir,
                        struct briq_error *err)
{
    struct briq_windows_options options = {
        .dir = dir,
        .incarnation = store->sb.incarnation + 1,
        .host_dev = store->dev->host_dev,
        .host_ino = store->dev->host_ino,
        /* A reader keeps what a dead server left: as many windows as that may have had. */
        .count = store->opened_read_only ? BRIQ_WINDOWS_MAX : store->options.windows,
        .adopts = store->opened_read_only,
        .initial = 2 * store->options.streams + 4,
        .window_shift = store->sb.window_shift,
        .device_bytes_max = (uint64_t)store->space.seg_max << store->space.seg_shift,
    };
    memcpy(options.uuid, store->sb.uuid, sizeof options.uuid);
    memcpy(options.boot_id, boot_id, sizeof options.boot_id);
    return briq_windows_init(&store->windows, &options, &store->epoch, &store->waitq, err);
}

int briq_open_boot_id(const struct briq_store *store, uint8_t ret[16])
{
    if (store->options.boot_id == NULL)
        return briq_boot_id(ret);
    memcpy(ret, store->options.boot_id, BRIQ_BOOT_ID_BYTES);
    return 0;
}

/* Windows in a file that outlives the process; or, where there can be none, in private memory, and
 * writes are given to the device before they are acknowledged. An unfinished volume needs neither:
 * nobody wants it when the process that fills it has died. */
static int make_windows(struct briq_store *store, struct briq_error *err)
{
    struct briq_error why = {{0}};
    bool unfinished = briq_superblock_unfinished(&store->sb);
    bool wanted = !store->opened_read_only && !store->options.no_windows_file && !unfinished;
    bool known = briq_open_boot_id(store, store->boot_id) == 0;
    if (wanted && known &&
        init_windows(store, store->boot_id, store->options.windows_dir, &why) == 0)
        return 0;
    store->push_before_ack = !store->opened_read_only && !unfinished;
    if (wanted)
        briq_log_line(&store->options.log, BRIQ_LOG_WARNING,
                      "%s: no shared memory for append windows (%s): writing before acknowledging",
                      store->name, known ? why.text : "the id of this boot cannot be read");
    return init_windows(store, store->boot_id, NULL, err);
}

static int load_superblock(struct briq_store *store, struct briq_error *err)
{
    struct briq_superblock_found found;
    int r = briq_superblock_read(store->dev, store->name, &found, err);
    if (r < 0)
        return r;
    store->sb = found.sb;
    store->sb_slot = found.next_slot;
    store->sb_damaged = found.damaged;
    if (found.damaged)
        briq_log_line(&store->options.log, BRIQ_LOG_WARNING,
                      "%s: one copy of the superblock is damaged; using the other", store->name);
    if (briq_superblock_unfinished(&found.sb) && !store->options.unfinished)
        return briq_error_set(err, -EUCLEAN,
                              "%s: is half a volume: the import into it did not come to its end; "
                              "import it again with --force",
                              store->name);
    store->opened_read_only = store->options.read_only || store->dev->read_only;
    if (found.sb.features_ro != 0 && !store->opened_read_only)
        return briq_error_set(err, -ENOTSUP,
                              "%s: uses features this briq can only read (0x%llx): open it "
                              "read-only, or use a newer briq",
                              store->name, (unsigned long long)found.sb.features_ro);
    return 0;
}

static int init_from_superblock(struct briq_store *store, struct briq_error *err)
{
    const struct briq_superblock *sb = &store->sb;
    struct briq_geometry g = {
        .seg_shift = sb->seg_shift,
        .window_shift = sb->window_shift,
        .seg_first = sb->seg_first,
        .seg_end = sb->seg_end,
    };
    uint64_t size_max = growth_max(store, sb->logical_bytes, GROWTH);
    g.seg_max =
        (uint32_t)briq_min_u64(briq_max_u64(briq_geometry_seg_end(size_max, &g), g.seg_end),
                               (uint64_t)BRIQ_SEG_ROOTS * BRIQ_PAGE_WORDS * BRIQ_SEGS_PER_PAGE);
    store->align = store->dev->align_bytes > 1 ? 4096 : 1;
    store->accel = store->options.accel != 0 ? store->options.accel : sb->accel;
    atomic_store(&store->logical_bytes, sb->logical_bytes);
    int r = init_parts(store, &g, size_max);
    if (r == 0 && store->options.direct && store->options.cache_bytes != UINT64_MAX)
        r = briq_cache_open(store->options.cache_bytes == 0 ? CACHE_BYTES_DEFAULT
                                                            : store->options.cache_bytes,
                            &store->cache);
    if (r < 0)
        return briq_error_set(err, r, "%s: not enough memory", store->name);
    store->space.keep_all = store->dev->fixed_size || sb->preallocated;
    memcpy(&store->journal.uuid_lo, sb->uuid, sizeof store->journal.uuid_lo);
    store->journal.uuid_lo = le64toh(store->journal.uuid_lo);
    struct briq_journal_counts *c = &store->journal.streams[0].counts;
    briq_counter_add(&c->mapped_blocks, sb->mapped_blocks);
    briq_counter_add(&c->fill_blocks, sb->fill_blocks);
    briq_counter_add(&c->zero_blocks, sb->zero_blocks);
    briq_counter_add(&c->data_granules, sb->data_granules);
    atomic_store(&store->maintain.meta_granules, sb->meta_granules);
    atomic_store(&store->journal.seq, sb->checkpoint_seq);
    atomic_store(&store->journal.durable_seq, sb->checkpoint_seq);
    atomic_store(&store->maintain.checkpoint_seq, sb->checkpoint_seq);
    return 0;
}

/* Everything that the map refers to must lie inside the device. A segment that holds nothing need
 * not: a power cut may take the growth of a file from the stream that was about to write there. */
int briq_open_check_length(struct briq_store *store, struct briq_error *err)
{
    struct briq_device *dev = store->dev;
    uint64_t need = BRIQ_DATA_OFFSET;
    for (uint32_t seg = store->space.seg_first; seg < store->space.virgin; seg++)
        if (briq_space_live(&store->space, seg) > 0)
            need = briq_space_offset(&store->space, seg + 1);
    if (dev->fixed_size)
        need = (uint64_t)store->space.seg_end << store->space.seg_shift;
    if (dev->size_bytes >= need)
        return 0;
    return briq_error_set(
        err, -EUCLEAN, "%s: is truncated: %llu bytes of at least %llu: restore it from a backup",
        store->name, (unsigned long long)dev->size_bytes, (unsigned long long)need);
}

static void resume_stream(struct briq_store *store, unsigned id)
{
    const struct briq_head *head = &store->sb.heads[id];
    /* A segment that the table knows in another use has data that its checks would then refuse. (Or
     * the checkpoint took it after that part of the table was written: it is collected some day.)
     */
    if (head->seg == BRIQ_SEG_NONE ||
        atomic_load(&store->space.segs[head->seg].state) != BRIQ_SEG_USED ||
        briq_space_segseq(&store->space, head->seg) != head->segseq)
        return;
    /* More is live there than stands before that place: it would be written over. */
    if ((uint64_t)briq_space_live(&store->space, head->seg) << BRIQ_GRANULE_SHIFT > head->off)
        return;
    struct briq_stream *stream = &store->journal.streams[id];
    struct briq_head resumed = *head;
    resumed.next_seg = BRIQ_SEG_NONE; /* a clean close gave it back: it may be anybody's by now */
    briq_space_reopen(&store->space, head->seg, stream->kind, head->segseq);
    briq_journal_resume(stream, &resumed);
}

/* The number of this opening: everything written from here on carries it. */
static void begin_incarnation(struct briq_store *store)
{
    store->sb.incarnation++;
    store->journal.incarnation = (uint32_t)store->sb.incarnation;
    store->space.segseq = briq_max_u64(store->sb.segseq, store->sb.incarnation << 32);
}

/* A volume that was closed, or died, with hardly a free segment is collected before it is used. */
static int find_space(struct briq_store *store, uint32_t wanted)
{
    int r = briq_space_prepare(&store->space, wanted);
    if (r == -ENOSPC)
        r = 0; /* the host is full: perhaps the volume itself has some */
    uint64_t tries = briq_maintain_attempts_max(store);
    while (r == 0 && atomic_load(&store->space.ready_count) < wanted && tries-- > 0) {
        atomic_store(&store->maintain.want_space, true);
        r = briq_store_maintain(store);
        if (r == 0)
            break;
        r = r > 0 ? 0 : r;
    }
    atomic_store(&store->maintain.want_space, false);
    return r;
}

/* User streams need a segment and the next before the superblock can say where they go on. */
static int begin_streams(struct briq_store *store, struct briq_error *err)
{
    uint32_t users = store->journal.user_count;
    int r = find_space(store, 2 * users + briq_store_floor(store, BRIQ_CLASS_GC) + 1);
    for (uint32_t i = 0; i < users && r == 0; i++)
        r = briq_journal_begin(&store->journal, &store->journal.streams[i], 0);
    if (r == 0)
        return 0;
    return briq_error_set(err, r == -EAGAIN ? -ENOSPC : r,
                          "%s: cannot open for writing: %s: make room on the host, or open it "
                          "read-only",
                          store->name, r == -EAGAIN ? "no free segment" : strerror(-r));
}

/* Where the stream goes on. Finding space may have left garbage collection in the middle of a
 * chunk. */
static struct briq_head sealed_head(struct briq_store *store, struct briq_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    briq_journal_seal(&store->journal, stream);
    struct briq_head head = briq_journal_head(stream);
    pthread_mutex_unlock(&stream->lock);
    return head;
}

/* From here on the superblock says: open, by this boot, with these streams. */
static int write_open_superblock(struct briq_store *store, struct briq_error *err)
{
    struct briq_superblock *sb = &store->sb;
    sb->generation++;
    sb->clean = false;
    sb->streams = (uint8_t)store->journal.user_count;
    sb->windows_in_file = store->windows.fd >= 0;
    sb->segseq = store->space.segseq;
    memcpy(sb->boot_id, store->boot_id, sizeof sb->boot_id);
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        sb->heads[i] = sealed_head(store, &store->journal.streams[i]);
    int r = briq_superblock_write(store->dev, sb, &store->sb_slot);
    return r == 0 ? 0
                  : briq_error_set(err, r, "%s: cannot write the superblock: %s", store->name,
                                   strerror(-r));
}

static int begin_requests(struct briq_store *store, struct briq_error *err)
{
    int r = begin_streams(store, err);
    return r < 0 ? r : write_open_superblock(store, err);
}

static int confirm_space(struct briq_store *store, struct briq_error *err)
{
    int r = briq_space_confirm(&store->space);
    return r == 0 ? 0
                  : briq_error_set(err, r, "%s: cannot take space: %s", store->name, strerror(-r));
}

static int begin_clean(struct briq_store *store, struct briq_error *err)
{
    briq_space_build_lists(&store->space);
    if (store->opened_read_only)
        return 0;
    int r = confirm_space(store, err);
    if (r < 0)
        return r;
    begin_incarnation(store);
    for (uint32_t i = 0; i < store->journal.user_count && i < store->sb.streams; i++)
        resume_stream(store, i);
    resume_stream(store, BRIQ_HEAD_GC);
    resume_stream(store, BRIQ_HEAD_META);
    return begin_requests(store, err);
}

static void report_recovery(struct briq_store *store, const struct briq_recovery *recovery)
{
    store->recovered_records = recovery->applied;
    store->recovered_from_windows = recovery->from_windows;
    store->discarded_records = recovery->discarded;
    store->lost_flushed = recovery->lost_flushed;
    if (!briq_recovery_is_whole(recovery))
        briq_log_line(&store->options.log, BRIQ_LOG_ERROR,
                      "%s: the medium lost %llu operations that %s acknowledged%s: opened "
                      "read-only; save what you need, then run briq check --repair",
                      store->name,
                      (unsigned long long)(recovery->lost_flushed + recovery->lost_acked),
                      recovery->lost_acked == 0 ? "a flush had" : "were",
                      recovery->unreadable > 0       ? ", or more: its journal cannot be read"
                      : recovery->broken_windows > 0 ? ", or more: append windows are damaged"
                                                     : "");
    else
        briq_log_line(&store->options.log, BRIQ_LOG_INFO,
                      "%s: was not closed cleanly: replayed %llu operations (%s), dropped %llu "
                      "that were never acknowledged as durable",
                      store->name, (unsigned long long)recovery->applied,
                      recovery->process_death ? "process death" : "power cut",
                      (unsigned long long)recovery->discarded);
}

/* All states and counts are as they are going to be; the last operation was `seq`. */
static void take_over(struct briq_store *store, uint64_t seq)
{
    atomic_store(&store->space.dead_count, 0);
    briq_space_build_lists(&store->space);
    atomic_store(&store->journal.seq, seq);
    atomic_store(&store->journal.durable_seq, seq);
}

/* No stream of the last opening goes on, whichever of them this one has. */
static void forget_heads(struct briq_store *store)
{
    store->sb.streams = (uint8_t)store->journal.user_count;
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        store->sb.heads[i] = briq_journal_head(&store->journal.streams[i]);
}

/* Writes the recovered state as of a volume that was closed cleanly: that takes only the space that
 * is always kept for a checkpoint, and may free some. */
static int write_recovered(struct briq_store *store, struct briq_error *err)
{
    begin_incarnation(store);
    forget_heads(store);
    pthread_mutex_lock(&store->maintain.lock);
    int r = briq_checkpoint(store, true);
    pthread_mutex_unlock(&store->maintain.lock);
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot write the recovered state: %s", store->name,
                              strerror(-r));
    briq_recovery_end(&store->recovery, true);
    return 0;
}

static int begin_after_crash(struct briq_store *store, struct briq_error *err)
{
    int r = briq_recover(store, &store->recovery, err);
    if (r < 0)
        return r;
    if (!briq_recovery_is_whole(&store->recovery))
        store->opened_read_only = true;
    report_recovery(store, &store->recovery);
    take_over(store, store->recovery.last_seq);
    if (store->opened_read_only)
        return 0;
    r = confirm_space(store, err);
    if (r == 0)
        r = write_recovered(store, err);
    return r < 0 ? r : begin_requests(store, err);
}

static int open_parts(struct briq_store *store, struct briq_error *err)
{
    int r = open_device(store, err);
    if (r == 0)
        r = load_superblock(store, err);
    if (r == 0)
        r = init_from_superblock(store, err);
    if (r == 0)
        r = make_windows(store, err);
    if (r == 0)
        r = start_maintenance(store);
    return r;
}

int briq_open_confirm_superblock(struct briq_store *store, struct briq_error *err)
{
    if (store->opened_read_only)
        return 0;
    int r = briq_device_flush(store->dev);
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot flush: %s", store->name, strerror(-r));
    r = store->sb_damaged ? briq_superblock_mend(store->dev, store->sb_slot) : 0;
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot mend its superblock: %s", store->name,
                              strerror(-r));
    store->sb_damaged = false;
    return 0;
}

static int open_volume(struct briq_store *store, struct briq_error *err)
{
    int r = open_parts(store, err);
    if (r == 0)
        r = briq_tree_load(store, NULL, err);
    if (r == 0)
        r = briq_open_check_length(store, err);
    if (r == 0)
        r = briq_open_confirm_superblock(store, err);
    if (r == 0)
        r = store->sb.clean ? begin_clean(store, err) : begin_after_crash(store, err);
    return r;
}

/* A store that is bare but for its options. On failure the options' device is closed. */
static int open_begin(const char *name, const struct briq_open_options *options,
                      struct briq_error *err, struct briq_store **ret)
{
    struct briq_store *store = store_new(name);
    if (store == NULL || store->name == NULL) {
        if (options != NULL)
            briq_device_close(options->device);
        if (store != NULL)
            store_free(store, false);
        return briq_error_set(err, -ENOMEM, "%s: not enough memory", name);
    }
    *ret = store;
    int r = fill_options(store, options, err);
    if (r < 0 && options != NULL)
        store->dev = options->device;
    return r;
}

static int open_end(struct briq_store *store, int r, struct briq_error *err,
                    struct briq_store **ret)
{
    if (r < 0) {
        briq_error_set(err, r, "%s: cannot open: %s", store->name, strerror(-r));
        briq_recovery_end(&store->recovery, false);
        store_free(store, true);
        return r;
    }
    *ret = store;
    return 0;
}

int briq_store_open(const char *name, const struct briq_open_options *options,
                    struct briq_error *err, struct briq_store **ret)
{
    uint64_t began_ns = briq_clock_ns();
    struct briq_store *store = NULL;
    int r = open_begin(name, options, err, &store);
    if (store == NULL)
        return r;
    bool in_memory = strncmp(name, "mem:", 4) == 0 && store->options.device == NULL;
    if (r == 0)
        r = in_memory ? open_memory(store, name + 4, err) : open_volume(store, err);
    store->open_ns = briq_clock_ns() - began_ns;
    return open_end(store, r, err, ret);
}

int briq_open_parts(const char *name, const struct briq_open_options *options,
                    struct briq_error *err, struct briq_store **ret)
{
    struct briq_store *store = NULL;
    int r = open_begin(name, options, err, &store);
    if (store == NULL)
        return r;
    if (r == 0)
        r = open_parts(store, err);
    return open_end(store, r, err, ret);
}

int briq_open_write_state(struct briq_store *store, uint64_t seq, struct briq_error *err)
{
    take_over(store, seq);
    return write_recovered(store, err);
}

int briq_open_for_requests(struct briq_store *store, struct briq_error *err)
{
    return begin_requests(store, err);
}

/* ---- closing --------------------------------------------------------------------------------- */

static void end_stream(struct briq_store *store, struct briq_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    briq_journal_seal(&store->journal, stream); /* a chunk may be open that never got a record */
    briq_journal_end(&store->journal, stream);
    pthread_mutex_unlock(&stream->lock);
}

static int end_streams(struct briq_store *store)
{
    int r = briq_maintain_flush(store, false);
    if (r == 0)
        r = briq_maintain_write(store, briq_journal_gc(&store->journal), true);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < store->journal.user_count; i++)
        end_stream(store, &store->journal.streams[i]);
    end_stream(store, briq_journal_gc(&store->journal));
    return 0;
}

/* Space that became free is given back before the last checkpoint, which notes it. */
static int close_cleanly(struct briq_store *store)
{
    if (briq_store_is_latched(store))
        return -EIO;
    int r = 0;
    if (atomic_load(&store->space.pending_count) > 0 && !store->space.keep_all)
        r = briq_checkpoint(store, false);
    if (r == 0)
        r = end_streams(store);
    if (r < 0)
        return r;
    briq_space_give_back(&store->space, briq_checkpoint_segments_now(store) + 1);
    return briq_checkpoint(store, true);
}

int briq_store_close(struct briq_store *store)
{
    if (store == NULL)
        return 0;
    briq_maintain_stop(store);
    int r = 0;
    if (!store->in_memory && !store->opened_read_only) {
        pthread_mutex_lock(&store->maintain.lock);
        r = close_cleanly(store);
        pthread_mutex_unlock(&store->maintain.lock);
    }
    briq_recovery_end(&store->recovery, false);
    /* What could not be written stays in the windows' file for the next opening. */
    store_free(store, r == 0);
    return r;
}

/* ---- growing --------------------------------------------------------------------------------- */

static int check_growth(struct briq_store *store, uint64_t bytes, uint64_t *ret_seg_end,
                        struct briq_error *err)
{
    struct briq_geometry g = {.seg_shift = store->space.seg_shift,
                              .seg_first = store->space.seg_first};
    char text[BRIQ_SIZE_TEXT_MAX];
    int r = briq_geometry_check_size(store->name, bytes, err);
    if (r < 0)
        return r;
    if (bytes < briq_store_size(store))
        return briq_error_set(err, -EINVAL, "%s: cannot shrink below its size of %s", store->name,
                              briq_size_format(briq_store_size(store), text));
    uint64_t seg_end = briq_geometry_seg_end(bytes, &g);
    if (store->dev->fixed_size)
        seg_end = briq_min_u64(seg_end, store->dev->size_bytes >> g.seg_shift);
    if (store->sb.limit_bytes != 0)
        seg_end = 0; /* thin: the space stays what it is */
    *ret_seg_end = briq_max_u64(store->space.seg_end, seg_end);
    if (bytes > store->map.page_max * BRIQ_PAGE_WORDS * BRIQ_BLOCK_BYTES)
        return briq_error_set(err, -ENOTSUP,
                              "%s: cannot grow to %s while it is open: it was opened to grow no "
                              "further",
                              store->name, briq_size_format(bytes, text));
    if (*ret_seg_end > store->space.seg_max)
        return briq_error_set(
            err, -ENOTSUP,
            "%s: cannot grow to %s: it was made for small volumes; make a new one "
            "and import this",
            store->name, briq_size_format(bytes, text));
    return 0;
}

/* A preallocated volume has all its space at any time. */
static int take_growth(struct briq_store *store, uint64_t seg_end, struct briq_error *err)
{
    uint64_t begin = (uint64_t)store->space.seg_end << store->space.seg_shift;
    uint64_t end = seg_end << store->space.seg_shift;
    if (!store->sb.preallocated || store->dev->fixed_size || end == begin)
        return 0;
    int r = briq_device_reserve(store->dev, begin, end - begin);
    return r == 0 ? 0
                  : briq_error_set(err, r, "%s: cannot take the space to grow: %s", store->name,
                                   strerror(-r));
}

int briq_store_resize(struct briq_store *store, uint64_t new_size_bytes, struct briq_error *err)
{
    uint64_t seg_end = 0;
    if (store->opened_read_only)
        return briq_error_set(err, -EROFS, "%s: is open read-only", store->name);
    pthread_mutex_lock(&store->maintain.lock);
    int r = check_growth(store, new_size_bytes, &seg_end, err);
    if (r == 0)
        r = take_growth(store, seg_end, err);
    if (r < 0) {
        pthread_mutex_unlock(&store->maintain.lock);
        return r;
    }
    /* First durable, then visible: what is written behind the old end must find the new one again.
     */
    uint64_t old = store->sb.logical_bytes;
    briq_space_grow(&store->space, (uint32_t)seg_end);
    store->sb.logical_bytes = new_size_bytes;
    r = store->in_memory ? 0 : briq_checkpoint(store, false);
    if (r < 0)
        store->sb.logical_bytes = old;
    else
        atomic_store(&store->logical_bytes, new_size_bytes);
    pthread_mutex_unlock(&store->maintain.lock);
    return r < 0 ? briq_error_set(err, -EIO, "%s: cannot make the new size durable", store->name)
                 : 0;
}

/* ---- filling --------------------------------------------------------------------------------- */

int briq_store_finish(struct briq_store *store)
{
    if (store->opened_read_only)
        return -EROFS;
    pthread_mutex_lock(&store->maintain.lock);
    uint64_t old = store->sb.features_incompat;
    int r = 0;
    if (briq_superblock_unfinished(&store->sb)) {
        store->push_before_ack = true;
        store->sb.features_incompat &= ~BRIQ_FEATURE_UNFINISHED;
        r = briq_checkpoint(store, false);
    }
    if (r < 0)
        store->sb.features_incompat = old;
    pthread_mutex_unlock(&store->maintain.lock);
    return r < 0 ? -EIO : 0;
}
