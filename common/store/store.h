/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store.h - one compressed block volume: the only header of the store that a frontend includes.
 *
 * A volume is an array of 4 KiB blocks, addressed by byte, that reads as zeros where nothing was
 * written. It lives in a file, on a block device, or (name "mem:SIZE") in memory alone.
 *
 * What is promised
 *  - A write, trim or zero that returned 0 is seen by every read that starts afterwards, and
 *    survives the death of the process. One that a flush (or FUA) covered survives a power cut.
 *  - After a power cut the volume holds the first N operations for some N at or beyond the last
 *    acknowledged flush: never a later one without an earlier one.
 *  - A read returns what was written or an error; data that fails its checksum is -EIO.
 *  - A request is atomic inside each 4 KiB block, whatever its offset and length; two racing
 *    writers of different bytes of one block lose nothing. Across blocks a request is not atomic.
 *  - Space runs out at write time only (-ENOSPC): trim, zero, flush and read never fail for space,
 *    and what was acknowledged can always be flushed.
 *  - After a failed device write or flush the volume is read-only until it is opened again; every
 *    later write and flush answers -EIO. A flush is never retried into success.
 *
 * How it is called: two ways over the same code.
 *  - Blocking: briq_read(), briq_write() ... from any thread.
 *  - Stepwise: embed a `struct briq_op`, fill it with briq_op_init_*(), and call briq_op_step()
 *    until it says BRIQ_STEP_DONE. BRIQ_STEP_IO hands out device requests to be run (by a ring, or
 *    briq_io_run()) before the next step; BRIQ_STEP_WAIT means that op->wake will be called.
 *
 * All functions return 0 or a negative errno unless they say otherwise. An option struct that is
 * zero-initialised means the defaults.
 */
#ifndef BRIQ_STORE_STORE_H
#define BRIQ_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/error.h"
#include "common/base/log.h"

struct briq_device;
struct briq_store;
struct briq_ctx;

#define BRIQ_BLOCK_BYTES       4096u
#define BRIQ_SECTOR_BYTES      512u                 /* a volume's size is a multiple of this */
#define BRIQ_VOLUME_BYTES_MAX  (UINT64_C(4) << 40)  /* 4 TiB */
#define BRIQ_REQUEST_BYTES_MAX (UINT32_C(64) << 20) /* one read or write; trim, zero: no limit */
#define BRIQ_UUID_BYTES        16

/* ---- making and opening ---------------------------------------------------------------------- */

struct briq_create_options {
    uint64_t size_bytes;    /* logical size: multiple of 512, 512 .. BRIQ_VOLUME_BYTES_MAX */
    uint64_t limit_bytes;   /* at most this much space on the medium; 0: as much as ever needed */
    unsigned accel;         /* LZ4 acceleration 1 .. 64; 0: 1 */
    bool preallocate;       /* take and zero all the space now; it is never given back */
    bool force;             /* replace what is there */
    bool unfinished;        /* to be filled: opens only with the same in briq_open_options, until
                             * briq_store_finish(); a program that dies leaves no half volume */
    unsigned segment_shift; /* log2 of the segment size, 16 .. 22; 0: chosen by size (for tests) */
};

/*
 * Makes an empty volume in the file or block device `path`. A file that exists is refused (-EEXIST)
 * without `force`, and so is a block device that begins with a known signature (a file system, a
 * partition table, a Briq volume). On failure a file that this call created is removed.
 * Blocks; allocates. err explains every failure.
 */
int briq_store_create(const char *path, const struct briq_create_options *options,
                      struct briq_error *err) BRIQ_MUST;

struct briq_open_options {
    bool read_only;
    bool unfinished;         /* a volume that was created so, to fill it */
    bool direct;             /* O_DIRECT, with the sector cache; default: the kernel's page cache */
    uint64_t cache_bytes;    /* sector cache of `direct`: 0 = 128 MiB, UINT64_MAX = none */
    unsigned accel;          /* LZ4 acceleration of this opening, 1 .. 64; 0: the volume's own */
    unsigned streams;        /* concurrent append points, 1 .. 8; 0: the number of processors */
    unsigned windows;        /* 256 KiB append buffers, at least 2 * streams + 4; 0: 64 */
    uint64_t growth_bytes;   /* size it may be grown to while open; 0: 1024 times its size */
    bool no_windows_file;    /* keep windows in private memory and write before acknowledging */
    const char *windows_dir; /* a tmpfs for the append windows; NULL: /dev/shm */
    struct briq_log log;     /* rare lines that have no caller to tell; may be zeroed */
    /* For tests and simulation: the volume lives on this device instead of the named file; the
     * store owns it from the call on, also when the call fails. */
    struct briq_device *device;
    /* For simulation: the 16 bytes that name this boot of the machine, instead of the kernel's. */
    const uint8_t *boot_id;
    /* For simulation: no thread ever blocks; where a blocking call would have to wait for another
     * operation, this is called and must let some other operation progress. */
    void (*wait_hook)(void *opaque);
    void *wait_opaque;
};

/*
 * Opens a volume: a path, or "mem:SIZE[,limit=SIZE]" for a new volume in memory. Locks the file
 * (one writer; -EBUSY names the process that has it), replays what a dead server or a power cut
 * left behind, and is then ready for requests. Creates no thread: see briq_store_start().
 *
 * When the medium has lost data that a flush had acknowledged, or the journal cannot be read, the
 * volume opens read-only all the same (briq_store_read_only() tells) and says so in the log.
 *
 * *ret is the caller's, for briq_store_close(). err explains every failure in one line:
 * -ENOENT, -EACCES, -EBUSY, -EUCLEAN (not a volume, truncated, damaged metadata), -ENOTSUP (a
 * feature or version this build does not know), -EINVAL (options), -ENOMEM, -EIO, -ENOSPC.
 * Blocks; allocates everything the data path will need.
 */
int briq_store_open(const char *name, const struct briq_open_options *options,
                    struct briq_error *err, struct briq_store **ret) BRIQ_MUST;

/*
 * Starts the maintenance thread (garbage collection, checkpoints). Call it once, after any fork.
 * Without it a blocking call that needs maintenance does it itself; stepwise callers must then
 * call briq_store_maintain().
 */
int briq_store_start(struct briq_store *store) BRIQ_MUST;

/*
 * One unit of maintenance in the calling thread. Returns 1 when something was done, 0 when there is
 * nothing to do, or the error that made the volume read-only. Blocks.
 */
int briq_store_maintain(struct briq_store *store);

/*
 * Ends the maintenance thread, flushes, writes a clean checkpoint and frees the store, also on
 * failure; no other call may be running. Returns the first error: then the volume was not closed
 * cleanly, and the next open replays its log. NULL is accepted.
 */
int briq_store_close(struct briq_store *store);

/* ---- facts about an open volume: constant time, any thread ----------------------------------- */

uint64_t briq_store_size(const struct briq_store *store);  /* logical bytes; grows with a resize */
bool briq_store_read_only(const struct briq_store *store); /* opened so, or latched by an error */
bool briq_store_in_memory(
    const struct briq_store *store); /* a mem: volume, gone with the process */
/* The device's descriptor for requests in `struct briq_io`; -1 for devices without one. */
int briq_store_fd(const struct briq_store *store);

/* ---- blocking calls: any thread, any byte offset and length ---------------------------------- */

enum briq_op_flags {
    BRIQ_OP_FUA = 1, /* acknowledged only when it, and all before it, would survive a power cut */
    BRIQ_OP_MAY_TRIM = 2, /* zero: the range may become unmapped */
    BRIQ_OP_ONE = 4,      /* status: one extent is enough */
};

/*
 * Common to all: [off, off+len) lies inside the volume, else -EINVAL for reads, trims, status and
 * prefetch and -ENOSPC for writes and zeroes; len 0 is allowed and does nothing. Other answers:
 * -EIO (medium or checksum failed, or latched), -EROFS (opened read-only), -ENOSPC (write, and
 * the partial blocks at the edges of a zero), -EINVAL (request larger than BRIQ_REQUEST_BYTES_MAX),
 * -ENOMEM (a thread that is new to the store, whose context cannot be made).
 * On failure of a write, zero or trim any part of the range may have been changed; on failure of a
 * read the content of buf is undefined. They block; they allocate a context when there are more
 * threads than before, up to BRIQ_CTX_MAX, and nothing else.
 */
int briq_read(struct briq_store *store, void *buf, size_t len, uint64_t off) BRIQ_MUST;
int briq_write(struct briq_store *store, const void *buf, size_t len, uint64_t off,
               unsigned flags) BRIQ_MUST;
/* Whole blocks inside the range read as zeros and give their space back; partial edges are kept,
 * and so is the last block of a volume whose size is not a multiple of a block. */
int briq_trim(struct briq_store *store, uint64_t len, uint64_t off, unsigned flags) BRIQ_MUST;
/* The whole range reads as zeros; metadata only, but for partial blocks at its edges. */
int briq_zero(struct briq_store *store, uint64_t len, uint64_t off, unsigned flags) BRIQ_MUST;
/* Everything acknowledged before the call, by any thread, would survive a power cut. */
int briq_flush(struct briq_store *store) BRIQ_MUST;
/* A hint that the range will be read soon. Errors of the medium are left to the read. */
int briq_prefetch(struct briq_store *store, uint64_t len, uint64_t off) BRIQ_MUST;

enum briq_extent_type {
    BRIQ_EXTENT_DATA,
    BRIQ_EXTENT_ZERO, /* reads as zeros: was zeroed, or overwritten with zeros */
    BRIQ_EXTENT_HOLE, /* reads as zeros: never written, trimmed, or only ever written with zeros */
};

struct briq_extent {
    uint64_t len_bytes; /* above 0 */
    enum briq_extent_type type;
};

/*
 * Describes [off, off+len) from its start as up to `max` extents of differing type, clipped to the
 * range, in extents[0 .. *ret_count). What does not fit, or would take too long to find out, is
 * left out: at least one extent is returned, so the caller goes on behind what it got. No data is
 * read. With BRIQ_OP_ONE exactly one.
 */
int briq_status(struct briq_store *store, uint64_t len, uint64_t off, unsigned flags,
                struct briq_extent *extents, unsigned max, unsigned *ret_count) BRIQ_MUST;

/*
 * ---- stepwise calls ---------------------------------------------------------------------------
 *
 * A thread that has stepwise operations under way must not make a blocking call on the same store,
 * unless wait_hook is set: the call may wait for something that only those operations give back.
 */

enum briq_io_kind {
    BRIQ_IO_READ,
    BRIQ_IO_WRITE,
    BRIQ_IO_FLUSH,
};

/* One request to the device of the volume. The runner sets `result`: 0 or -errno; a short transfer
 * must be continued by the runner. buf belongs to the store. */
struct briq_io {
    enum briq_io_kind kind;
    int result;
    void *buf;
    uint32_t len;
    uint64_t off;
};

#define BRIQ_OP_IO_MAX 16 /* device requests one step hands out at most */

enum briq_op_kind {
    BRIQ_OP_READ,
    BRIQ_OP_WRITE,
    BRIQ_OP_TRIM,
    BRIQ_OP_ZERO,
    BRIQ_OP_FLUSH,
    BRIQ_OP_STATUS,
};

enum briq_step {
    BRIQ_STEP_DONE, /* op->result is final; the op may be reused */
    BRIQ_STEP_IO,   /* run op->io[0 .. op->io_count), then step again */
    BRIQ_STEP_WAIT, /* op->wake will be called once; then step again */
};

/* Private progress of an operation; its layout is no business of the caller. */
#define BRIQ_OP_PRIVATE_BYTES 384
struct briq_op_private {
    uint64_t opaque[BRIQ_OP_PRIVATE_BYTES / 8];
};

/*
 * One operation, embedded in the caller's request slot and reused for ever without initialisation
 * beyond briq_op_init(). It is the caller's; the store refers to it from the first step until
 * BRIQ_STEP_DONE.
 */
struct briq_op {
    /* set by briq_op_init() */
    enum briq_op_kind kind;
    unsigned flags;
    void *buf; /* read: filled. write: not changed. Must stay valid until done. */
    uint64_t off, len;
    /* set by the caller: called once after each BRIQ_STEP_WAIT, from any thread, perhaps before
     * briq_op_step() has returned: it must only pass the word on, and not step. */
    void (*wake)(struct briq_op *op);
    void *user; /* the caller's */
    /* status only: where extents go */
    struct briq_extent *extents;
    unsigned extents_max, extents_count;
    /* set by the store */
    int result;
    unsigned io_count;
    struct briq_io io[BRIQ_OP_IO_MAX];
    struct briq_op_private priv;
};

/* Prepares op for a request; sets everything but wake, user and the extents. Thread: owner of op.
 */
void briq_op_init(struct briq_op *op, enum briq_op_kind kind, void *buf, uint64_t len, uint64_t off,
                  unsigned flags);

/*
 * Carries op on as far as it goes without waiting for the device or for others. ctx is of the
 * calling thread. Does not block (beyond short mutexes) and does not allocate.
 */
enum briq_step briq_op_step(struct briq_ctx *ctx, struct briq_op *op) BRIQ_MUST;

/* Runs one device request here and now and sets io->result. Blocks. */
void briq_io_run(struct briq_store *store, struct briq_io *io);

/*
 * A context holds one thread's compressor state and statistics. A thread that steps operations
 * takes one per store and gives it back at its end; operations may be stepped with different
 * contexts in turn. Returns -EAGAIN when the store's limit (BRIQ_CTX_MAX) is reached, -ENOMEM.
 */
#define BRIQ_CTX_MAX 256
int briq_ctx_open(struct briq_store *store, struct briq_ctx **ret) BRIQ_MUST;
void briq_ctx_close(struct briq_ctx *ctx);

/* ---- care ------------------------------------------------------------------------------------ */

/*
 * Grows the volume to new_size_bytes (multiple of 512, not below the present size) and makes that
 * durable. Its space grows too: as it is used, or now when it is preallocated, as far as a block
 * device has it, and not beyond a limit given when it was made. May run beside requests. -EINVAL,
 * -ENOTSUP (too large for its segments), -ENOSPC (preallocated), -EROFS, -EIO. Blocks.
 */
int briq_store_resize(struct briq_store *store, uint64_t new_size_bytes,
                      struct briq_error *err) BRIQ_MUST;

/* The volume was created `unfinished`, and is whole now: from here on it opens like any other, and
 * what is written outlives the process. Makes all that was acknowledged durable first. Nothing may
 * be under way. 0, -EROFS or -EIO. Blocks. Nothing to do for others. */
int briq_store_finish(struct briq_store *store) BRIQ_MUST;

/* An exact image of the map becomes durable, and the log before it is not needed any more. */
int briq_store_checkpoint(struct briq_store *store) BRIQ_MUST;

/*
 * Moves live data out of every segment that has garbage in it, and gives free space back to the
 * host. May run beside requests. progress (may be NULL) is called with (done, total) segments and
 * ends the work early by returning false.
 */
int briq_store_compact(struct briq_store *store, bool (*progress)(void *opaque, uint64_t, uint64_t),
                       void *opaque) BRIQ_MUST;

/* Counters since open, but for the state figures at the top. Snapshot without a lock: figures are
 * each exact, but not of one instant. */
struct briq_stats {
    /* state */
    uint64_t size_bytes;
    uint64_t mapped_blocks; /* blocks with data: not holes, not explicit zeros */
    uint64_t fill_blocks;   /* of those, same-filled: in the map word, no payload */
    uint64_t raw_blocks;    /* of those written since open, stored uncompressed */
    uint64_t zero_blocks;   /* explicit zeros */
    uint64_t stored_bytes;  /* payload of live blocks on the medium, in granules */
    uint64_t meta_bytes;    /* live map pages and tables on the medium */
    uint64_t segments_total, segments_free, segments_pending, segments_bad;
    uint64_t segment_bytes;
    uint64_t utilisation[10]; /* segments in use by tenths of live space */
    uint64_t host_bytes;      /* what the device really takes */
    uint64_t sequence, durable_sequence, checkpoint_sequence;
    int latched_error; /* 0, or the -errno that made the volume read-only */
    /* work */
    uint64_t reads, read_bytes, writes, write_bytes, trims, trim_bytes, zeroes, zero_bytes;
    uint64_t flushes, flush_rounds, fua_writes, flush_batch_max;
    uint64_t rmw_blocks, rmw_retries;
    uint64_t compressed_blocks, incompressible_blocks, compressed_bytes;
    uint64_t user_log_bytes, gc_log_bytes, meta_log_bytes; /* device bytes written, by purpose */
    uint64_t device_reads, device_read_bytes, device_writes, device_flushes;
    uint64_t window_reads; /* blocks read from append windows */
    uint64_t cache_hits, cache_misses;
    uint64_t gc_segments, gc_moved_blocks, gc_moved_bytes;
    uint64_t checkpoints, checkpoint_ns_last, checkpoint_ns_max, checkpoint_pages;
    uint64_t payload_errors, metadata_errors;
    uint64_t enospc, waits_space, waits_window, waits_buffer;
    /* what the last open found */
    uint64_t recovered_records, recovered_from_windows, discarded_records;
    uint64_t open_ns;
};

/* Asks the device what it takes, which for a large volume in memory lasts: not for each client. */
void briq_store_stats(struct briq_store *store, struct briq_stats *ret);

/* What of briq_stats is told in constant time. */
struct briq_usage {
    uint64_t size_bytes, mapped_blocks, fill_blocks, stored_bytes;
};

void briq_store_usage(struct briq_store *store, struct briq_usage *ret);

/* The facts in a volume's superblock: what `info` shows without opening it for requests. */
struct briq_volume_info {
    uint8_t uuid[BRIQ_UUID_BYTES];
    uint32_t version;
    uint64_t features_compat, features_ro_compat, features_incompat;
    uint64_t size_bytes, limit_bytes, segment_bytes;
    uint64_t mapped_blocks, fill_blocks, zero_blocks, stored_bytes,
        meta_bytes; /* last checkpoint */
    uint64_t host_bytes;
    uint64_t incarnation, generation, checkpoint_sequence;
    unsigned accel;
    bool preallocated;
    bool clean;              /* closed cleanly: the figures above are exact */
    bool unfinished;         /* whoever filled it, an import, did not come to the end */
    bool superblock_damaged; /* one of the two copies is unreadable */
    pid_t owner_pid;         /* process that has it open for writing, 0 for none, -1 for unknown */
    char owner_name[32];
};

/* Reads it without a lock and without changing anything. Errors as briq_store_open(). */
int briq_volume_info(const char *path, struct briq_volume_info *ret,
                     struct briq_error *err) BRIQ_MUST;

struct briq_check_options {
    bool deep;   /* also read and verify every payload */
    bool repair; /* rebuild what can be rebuilt; opens for writing */
    /* Called for each finding with one line for people; may be NULL. */
    void (*report)(void *opaque, const char *line);
    /* Called now and then with (done, total); may be NULL. */
    void (*progress)(void *opaque, uint64_t done, uint64_t total);
    void *opaque;
    /* as in briq_open_options */
    const char *windows_dir;
    struct briq_device *device;
    const uint8_t *boot_id;
    uint64_t growth_bytes; /* as in briq_open_options: what lies farther behind the end is damage */
};

struct briq_check_result {
    uint64_t blocks_checked, payloads_checked;
    uint64_t superblock_errors, map_errors, segment_errors, chunk_errors, payload_errors;
    uint64_t leaked_segments; /* in use, but nothing refers to them: harmless, collected later */
    uint64_t lost_flushed;    /* operations that the medium lost although a flush had acknowledged
                               * them, or, after the death of a process, any answer */
    uint64_t repaired;        /* findings that repair mended */
    uint64_t unrepaired;
};

/*
 * Verifies a volume that nobody has open: both superblocks, every table and map page, every chunk
 * header against the map, all space accounting; with `deep` every payload. Returns 0 when it ran to
 * its end, whatever it found (see result: errors is the sum of *_errors + lost_flushed); else as
 * briq_store_open(). A repair refuses with -EIO where metadata or journal cannot be read, for it
 * may be readable the next time: it would give up what is there.
 */
int briq_check(const char *path, const struct briq_check_options *options,
               struct briq_check_result *result, struct briq_error *err) BRIQ_MUST;

enum briq_dump_what {
    BRIQ_DUMP_SUPERBLOCK,
    BRIQ_DUMP_SEGMENTS,
    BRIQ_DUMP_CHUNKS,  /* every chunk header; `segment` limits it to one */
    BRIQ_DUMP_RECORDS, /* and every record */
    BRIQ_DUMP_MAP,     /* map words of [block, block+count) */
};

struct briq_dump_options {
    enum briq_dump_what what;
    int64_t segment; /* -1: all */
    uint64_t block, count;
};

/* Prints structures of the medium as text, one a line, unlocked and without changing anything. */
int briq_dump(const char *path, const struct briq_dump_options *options, FILE *out,
              struct briq_error *err) BRIQ_MUST;

/* "briq 0.1.0", LZ4's, and the version of the volume format that this build knows, for --version and
 * dump_plugin. */
const char *briq_version(void);
const char *briq_lz4_version(void);
unsigned briq_format_version(void);

#endif
