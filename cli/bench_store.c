/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_store.c - the four loops (LZ4 alone and the store, each way), their alternating rounds, and
 * the cost of garbage collection. The one file of the program that includes <lz4.h>, for the bare
 * loops.
 *
 * Bare compression compresses each block as the store does: same call, same acceleration, and room
 * for the output that never stops it early. Bare decompression reads payloads packed one behind the
 * other at granules of 16 bytes, huge pages wanted, so that it is as fast as it can be.
 */
#include "cli/bench_store.h"

#include <errno.h>
#include <inttypes.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/bench_corpus.h"
#include "cli/volume.h"
#include "cli/warnings.h"
#include "common/base/align.h"
#include "common/base/prng.h"
#include "common/store/store.h"

#define ACCEL             1
#define PAYLOAD_BYTES_MAX 3584 /* more, and the block is stored as it is */
#define GRANULE_BYTES     16
#define READ_OPS          UINT64_C(400000) /* in a round, a thread */
#define WRITE_OPS         UINT64_C(100000)
#define FILL_BYTES        (UINT64_C(1) << 20)
#define VERIFIED_BLOCKS   4096
#define GC_LIVE           0.70
#define GC_TURNS          3 /* times the space that is appended */
#define GC_BATCH_OPS      4096
#define SOURCE_DIR        "/usr"
#define MEMORY_FILES      "/dev/shm"

struct payload {
    uint32_t granule; /* where it begins in the arena */
    uint32_t len;     /* BRIQ_BLOCK_BYTES: not compressed */
};

struct bench {
    const struct briq_bench_options *options;
    struct briq_corpus corpus;
    struct payload *payloads; /* one a block of the corpus */
    unsigned char *arena;
    uint64_t arena_bytes; /* mapped */
    struct briq_store *store;
    const char *file; /* the volume's, which is ours; NULL in memory */
};

static void tell_phase(const struct bench *b, const char *what)
{
    if (b->options->phase != NULL)
        b->options->phase(b->options->opaque, what);
}

/* 0, or -EINTR explained in err: it is to end. */
static int check_cancel(const struct bench *b, struct briq_error *err)
{
    return briq_cancel_requested(b->options->cancel) ? briq_cancel_explain(err) : 0;
}

/* ---- the loops ------------------------------------------------------------------------------- */

static int compress_loop(void *opaque, uint64_t seed, uint64_t count)
{
    const struct bench *b = opaque;
    struct briq_prng prng = {seed};
    char out[LZ4_COMPRESSBOUND(BRIQ_BLOCK_BYTES)];
    void *state = malloc((size_t)LZ4_sizeofState());
    if (state == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < count; i++) {
        (void)briq_prng_below(&prng, b->corpus.count); /* where write_loop writes it */
        uint64_t block = briq_prng_below(&prng, b->corpus.count);
        (void)LZ4_compress_fast_extState(state, (const char *)briq_corpus_block(&b->corpus, block),
                                         out, BRIQ_BLOCK_BYTES, sizeof out, ACCEL);
    }
    free(state);
    return 0;
}

static int write_loop(void *opaque, uint64_t seed, uint64_t count)
{
    const struct bench *b = opaque;
    struct briq_prng prng = {seed};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t to = briq_prng_below(&prng, b->corpus.count);
        uint64_t block = briq_prng_below(&prng, b->corpus.count);
        int r = briq_write(b->store, briq_corpus_block(&b->corpus, block), BRIQ_BLOCK_BYTES,
                           to * BRIQ_BLOCK_BYTES, 0);
        if (r < 0)
            return r;
    }
    return 0;
}

static int decompress_loop(void *opaque, uint64_t seed, uint64_t count)
{
    const struct bench *b = opaque;
    struct briq_prng prng = {seed};
    char out[BRIQ_BLOCK_BYTES] BRIQ_ALIGNED(64);
    for (uint64_t i = 0; i < count; i++) {
        const struct payload *p = &b->payloads[briq_prng_below(&prng, b->corpus.count)];
        const unsigned char *from = b->arena + (uint64_t)p->granule * GRANULE_BYTES;
        if (p->len == BRIQ_BLOCK_BYTES)
            memcpy(out, from, BRIQ_BLOCK_BYTES);
        else if (LZ4_decompress_safe((const char *)from, out, (int)p->len, BRIQ_BLOCK_BYTES) !=
                 BRIQ_BLOCK_BYTES)
            return -EBADMSG;
        __asm__ volatile("" : : "r"(out) : "memory"); /* the copy is not to be optimised away */
    }
    return 0;
}

static int read_loop(void *opaque, uint64_t seed, uint64_t count)
{
    const struct bench *b = opaque;
    struct briq_prng prng = {seed};
    char out[BRIQ_BLOCK_BYTES] BRIQ_ALIGNED(64);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t block = briq_prng_below(&prng, b->corpus.count);
        int r = briq_read(b->store, out, BRIQ_BLOCK_BYTES, block * BRIQ_BLOCK_BYTES);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- the data -------------------------------------------------------------------------------- */

static int load_corpus(struct bench *b, struct briq_error *err)
{
    tell_phase(b, "loading real data");
    int r = briq_corpus_init(&b->corpus, b->options->size_bytes / BRIQ_BLOCK_BYTES, err);
    if (r < 0)
        return r;
    if (b->options->image != NULL)
        return briq_corpus_load(&b->corpus, b->options->image, err);
    return briq_corpus_gather(&b->corpus, SOURCE_DIR, err);
}

/* Packs one block at `granule` of the arena and returns the granules it takes. */
static uint32_t pack_block(struct bench *b, void *state, uint64_t block, uint32_t granule)
{
    unsigned char *to = b->arena + (uint64_t)granule * GRANULE_BYTES;
    const unsigned char *from = briq_corpus_block(&b->corpus, block);
    int len = LZ4_compress_fast_extState(state, (const char *)from, (char *)to, BRIQ_BLOCK_BYTES,
                                         PAYLOAD_BYTES_MAX, ACCEL);
    if (len <= 0) {
        memcpy(to, from, BRIQ_BLOCK_BYTES);
        len = BRIQ_BLOCK_BYTES;
    }
    b->payloads[block] = (struct payload){.granule = granule, .len = (uint32_t)len};
    return (uint32_t)briq_div_up((uint64_t)len, GRANULE_BYTES);
}

static int pack_arena(struct bench *b, struct briq_error *err)
{
    tell_phase(b, "compressing it once");
    uint64_t bytes = b->corpus.count * BRIQ_BLOCK_BYTES;
    void *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void *state = malloc((size_t)LZ4_sizeofState());
    b->payloads = calloc(b->corpus.count, sizeof *b->payloads);
    if (arena != MAP_FAILED) {
        (void)madvise(arena, bytes, MADV_HUGEPAGE); /* where there are none, without */
        b->arena = arena;
        b->arena_bytes = bytes;
    }
    if (b->arena == NULL || state == NULL || b->payloads == NULL) {
        free(state);
        return briq_error_set(err, -ENOMEM, "out of memory for the compressed blocks");
    }
    uint32_t granule = 0;
    for (uint64_t i = 0; i < b->corpus.count; i++)
        granule += pack_block(b, state, i, granule);
    free(state);
    return 0;
}

/* ---- the volume ------------------------------------------------------------------------------ */

static bool in_memory(const char *volume)
{
    return strncmp(volume, "mem:", 4) == 0;
}

static int open_store(struct bench *b, const char *name, struct briq_error *err)
{
    struct briq_open_options open = {.accel = ACCEL, .log = briq_warnings_log()};
    int r = briq_store_open(name, &open, err, &b->store);
    if (r < 0)
        return r;
    r = briq_store_start(b->store);
    return r < 0 ? briq_error_set(err, r, "cannot start a thread: %s", strerror(-r)) : 0;
}

static int open_memory(struct bench *b, struct briq_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "mem:%" PRIu64, b->corpus.count * BRIQ_BLOCK_BYTES);
    return open_store(b, name, err);
}

/* Makes a volume in the file `path`, which is removed when it is closed. */
static int open_file(struct bench *b, const char *path, uint64_t limit, bool force,
                     struct briq_error *err)
{
    struct briq_create_options create = {
        .size_bytes = b->corpus.count * BRIQ_BLOCK_BYTES,
        .limit_bytes = limit,
        .accel = ACCEL,
        .force = force,
    };
    int r = briq_store_create(path, &create, err);
    if (r < 0)
        return r;
    b->file = path;
    return open_store(b, path, err);
}

static int close_volume(struct bench *b, struct briq_error *err)
{
    int r = briq_store_close(b->store);
    b->store = NULL;
    if (b->file != NULL)
        briq_volume_discard(b->file);
    b->file = NULL;
    return r < 0 ? briq_error_set(err, r, "closing the volume: %s", strerror(-r)) : 0;
}

/* Block i of the volume becomes block i of the corpus. */
static int fill_volume(struct bench *b, struct briq_error *err)
{
    uint64_t size = b->corpus.count * BRIQ_BLOCK_BYTES;
    for (uint64_t off = 0; off < size; off += FILL_BYTES) {
        uint64_t len = briq_min_u64(FILL_BYTES, size - off);
        int r = briq_write(b->store, b->corpus.data + off, len, off, 0);
        if (r < 0)
            return briq_error_set(err, r, "filling the volume: %s", strerror(-r));
        r = check_cancel(b, err);
        if (r < 0)
            return r;
    }
    int r = briq_flush(b->store);
    return r < 0 ? briq_error_set(err, r, "flushing the volume: %s", strerror(-r)) : 0;
}

/* A store that answered something else would be fast for nothing. */
static int verify_volume(const struct bench *b, struct briq_error *err)
{
    struct briq_prng prng = {0};
    unsigned char block[BRIQ_BLOCK_BYTES];
    for (unsigned i = 0; i < VERIFIED_BLOCKS; i++) {
        uint64_t n = briq_prng_below(&prng, b->corpus.count);
        int r = briq_read(b->store, block, sizeof block, n * BRIQ_BLOCK_BYTES);
        if (r == 0 && memcmp(block, briq_corpus_block(&b->corpus, n), sizeof block) != 0)
            r = -EBADMSG;
        if (r < 0)
            return briq_error_set(err, r, "block %" PRIu64 " of the volume does not read back: %s",
                                  n, strerror(-r));
    }
    return 0;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* What the rounds measured of one number of threads. */
struct samples {
    struct briq_round_result bare[BRIQ_ROUNDS_MAX], store[BRIQ_ROUNDS_MAX];
};

struct duel {
    int (*bare)(void *opaque, uint64_t seed, uint64_t count);
    int (*store)(void *opaque, uint64_t seed, uint64_t count);
    uint64_t count;
    struct samples *samples; /* one a number of threads */
};

static int run_round(struct bench *b, const struct duel *duel, unsigned number, unsigned which)
{
    struct briq_round round = {
        .loop = duel->bare,
        .opaque = b,
        .seed = (uint64_t)number << 32,
        .count = duel->count,
        .threads = b->options->threads[which],
    };
    int r = briq_round_run(&round, &duel->samples[which].bare[number]);
    round.loop = duel->store;
    if (r == 0)
        r = briq_round_run(&round, &duel->samples[which].store[number]);
    return r;
}

/* A value of each round, made of what was measured of these threads (s) and of the first (first).
 */
typedef double sample_fn(const struct samples *s, const struct samples *first, unsigned round);

static double median_of(sample_fn *value, const struct samples *s, const struct samples *first,
                        unsigned rounds)
{
    double values[BRIQ_ROUNDS_MAX];
    for (unsigned i = 0; i < rounds; i++)
        values[i] = value(s, first, i);
    return briq_round_median(values, rounds);
}

static double ratio_in(const struct samples *s, const struct samples *first, unsigned i)
{
    (void)first;
    return s->store[i].ops_per_s / s->bare[i].ops_per_s;
}

static double cpu_ratio_in(const struct samples *s, const struct samples *first, unsigned i)
{
    (void)first;
    return s->bare[i].cpu_ns / s->store[i].cpu_ns;
}

static double bare_scaling_in(const struct samples *s, const struct samples *first, unsigned i)
{
    return s->bare[i].ops_per_s / first->bare[i].ops_per_s;
}

static double store_scaling_in(const struct samples *s, const struct samples *first, unsigned i)
{
    return s->store[i].ops_per_s / first->store[i].ops_per_s;
}

/* Without the factor that the numbers of threads make; that is the same in all rounds. */
static double store_cpu_scaling_in(const struct samples *s, const struct samples *first, unsigned i)
{
    return first->store[i].cpu_ns / s->store[i].cpu_ns;
}

/* The median of each member over the rounds. */
static struct briq_round_result median_round(const struct briq_round_result *rounds, unsigned count)
{
    double ops[BRIQ_ROUNDS_MAX], wall[BRIQ_ROUNDS_MAX], cpu[BRIQ_ROUNDS_MAX];
    double process[BRIQ_ROUNDS_MAX];
    for (unsigned i = 0; i < count; i++) {
        ops[i] = rounds[i].ops_per_s;
        wall[i] = rounds[i].wall_ns;
        cpu[i] = rounds[i].cpu_ns;
        process[i] = rounds[i].process_ns;
    }
    return (struct briq_round_result){
        .ops_per_s = briq_round_median(ops, count),
        .wall_ns = briq_round_median(wall, count),
        .cpu_ns = briq_round_median(cpu, count),
        .process_ns = briq_round_median(process, count),
    };
}

static void conclude(const struct bench *b, const struct samples *samples,
                     struct briq_bench_pair *ret)
{
    unsigned rounds = b->options->rounds;
    for (unsigned i = 0; i < b->options->thread_counts; i++) {
        const struct samples *s = &samples[i];
        double factor = (double)b->options->threads[i] / b->options->threads[0];
        ret[i] = (struct briq_bench_pair){
            .threads = b->options->threads[i],
            .bare = median_round(s->bare, rounds),
            .store = median_round(s->store, rounds),
            .ratio = median_of(ratio_in, s, samples, rounds),
            .cpu_ratio = median_of(cpu_ratio_in, s, samples, rounds),
            .bare_scaling = median_of(bare_scaling_in, s, samples, rounds),
            .store_scaling = median_of(store_scaling_in, s, samples, rounds),
            .store_cpu_scaling = median_of(store_cpu_scaling_in, s, samples, rounds) * factor,
        };
    }
}

/* One with each number of threads. */
static int run_rounds(struct bench *b, const struct duel *duel, unsigned number,
                      struct briq_error *err)
{
    for (unsigned t = 0; t < b->options->thread_counts; t++) {
        int r = run_round(b, duel, number, t);
        if (r < 0)
            return briq_error_set(err, r, "reading and writing at random: %s", strerror(-r));
    }
    return check_cancel(b, err);
}

static int run_duel(struct bench *b, struct duel *duel, struct briq_bench_pair *ret,
                    struct briq_error *err)
{
    int r = 0;
    duel->samples = calloc(b->options->thread_counts, sizeof *duel->samples);
    if (duel->samples == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < b->options->rounds && r == 0; i++)
        r = run_rounds(b, duel, i, err);
    if (r == 0)
        conclude(b, duel->samples, ret);
    free(duel->samples);
    return r;
}

/* Reads come first: they want the volume as it was filled. */
static int measure_speed(struct bench *b, struct briq_bench_result *ret, struct briq_error *err)
{
    uint64_t most = b->corpus.count * 4; /* a small working set needs no more */
    struct duel reads = {.bare = decompress_loop, .store = read_loop};
    struct duel writes = {.bare = compress_loop, .store = write_loop};
    reads.count = briq_min_u64(READ_OPS, most);
    writes.count = briq_min_u64(WRITE_OPS, most);
    tell_phase(b, "random reads of 4 KiB");
    int r = run_duel(b, &reads, ret->reads, err);
    if (r < 0)
        return r;
    tell_phase(b, "random writes of 4 KiB");
    return run_duel(b, &writes, ret->writes, err);
}

/* ---- garbage collection ---------------------------------------------------------------------- */

static double cost_between(const struct briq_stats *from, const struct briq_stats *to)
{
    uint64_t user = to->user_log_bytes - from->user_log_bytes;
    uint64_t all =
        user + to->gc_log_bytes - from->gc_log_bytes + to->meta_log_bytes - from->meta_log_bytes;
    return (double)all / (double)user;
}

/* Overwrites at random until `bytes` were appended since `from`; *ret is how it stands then. */
static int append_until(struct bench *b, const struct briq_stats *from, uint64_t bytes,
                        uint64_t seed, struct briq_stats *ret, struct briq_error *err)
{
    do {
        int r = write_loop(b, seed++, GC_BATCH_OPS);
        if (r < 0)
            return briq_error_set(err, r, "overwriting at random under a limit: %s", strerror(-r));
        r = check_cancel(b, err);
        if (r < 0)
            return r;
        briq_store_stats(b->store, ret);
    } while (ret->user_log_bytes - from->user_log_bytes < bytes);
    return 0;
}

static int overwrite(struct bench *b, uint64_t limit, struct briq_bench_result *ret,
                     struct briq_error *err)
{
    struct briq_stats full, turned, end;
    int r = fill_volume(b, err);
    if (r < 0)
        return r;
    briq_store_stats(b->store, &full);
    r = append_until(b, &full, limit * (GC_TURNS - 1), 1u << 20, &turned, err);
    if (r == 0)
        r = append_until(b, &turned, limit, 2u << 20, &end, err);
    if (r < 0)
        return r;
    ret->gc_limit_bytes = limit;
    ret->gc_appended_bytes = end.user_log_bytes - full.user_log_bytes;
    ret->gc_segments = end.gc_segments - full.gc_segments;
    ret->gc_live = (double)end.stored_bytes / (double)limit;
    ret->gc_cost = cost_between(&full, &end);
    ret->gc_steady = cost_between(&turned, &end);
    return 0;
}

static int fill_and_overwrite(struct bench *b, const char *path, bool force, uint64_t stored,
                              struct briq_bench_result *ret, struct briq_error *err)
{
    uint64_t limit = briq_align_up((uint64_t)((double)stored / GC_LIVE), UINT64_C(1) << 20);
    int r = open_file(b, path, limit, force, err);
    if (r == 0)
        r = overwrite(b, limit, ret, err);
    int closed = close_volume(b, err);
    return r < 0 ? r : closed;
}

/*
 * A volume in memory has no headers, checksums and checkpoints, so nothing that could be called
 * device bytes: this is always measured with a file, in a file system in memory if so.
 */
static int measure_gc(struct bench *b, uint64_t stored, struct briq_bench_result *ret,
                      struct briq_error *err)
{
    tell_phase(b, "garbage collection under a limit");
    if (!in_memory(b->options->volume))
        return fill_and_overwrite(b, b->options->volume, false, stored, ret, err);
    char path[] = MEMORY_FILES "/briq-bench.XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        return briq_error_set(err, -errno, "%s: %s", path, strerror(errno));
    close(fd);
    int r = fill_and_overwrite(b, path, true, stored, ret, err);
    unlink(path);
    return r;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int measure_volume(struct bench *b, struct briq_bench_result *ret, uint64_t *ret_stored,
                          struct briq_error *err)
{
    struct briq_stats stats;
    tell_phase(b, "filling the volume");
    const char *volume = b->options->volume;
    int r = in_memory(volume) ? open_memory(b, err) : open_file(b, volume, 0, false, err);
    if (r == 0)
        r = fill_volume(b, err);
    if (r == 0)
        r = verify_volume(b, err);
    if (r == 0) {
        briq_store_stats(b->store, &stats);
        *ret_stored = stats.stored_bytes;
        ret->blocks = b->corpus.count;
        ret->ratio = briq_volume_ratio(stats.mapped_blocks, stats.fill_blocks, stats.stored_bytes);
        r = measure_speed(b, ret, err);
    }
    int closed = close_volume(b, err);
    return r < 0 ? r : closed;
}

static void release(struct bench *b)
{
    briq_corpus_fini(&b->corpus);
    free(b->payloads);
    if (b->arena != NULL)
        munmap(b->arena, b->arena_bytes);
}

int briq_bench_store(const struct briq_bench_options *options, struct briq_bench_result *ret,
                     struct briq_error *err)
{
    struct bench b = {.options = options};
    uint64_t stored = 0;
    *ret = (struct briq_bench_result){0};
    int r = load_corpus(&b, err);
    if (r == 0)
        r = pack_arena(&b, err);
    if (r == 0)
        r = measure_volume(&b, ret, &stored, err);
    if (r == 0)
        r = measure_gc(&b, stored, ret, err);
    release(&b);
    return r;
}
