/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source.h - where a copy reads from: a file, a stream, a volume, or an NBD export.
 *
 * Two ways to read. A source with a known size is read at any offset by several workers, and tells
 * which ranges are zeros without reading them. A stream (next is set) is read front to back.
 *
 * Contract: all functions return 0 or a negative errno explained in err. `worker` is the number of
 * the calling thread, so that a source may keep a connection for each.
 */
#ifndef BRIQ_CLI_SOURCE_H
#define BRIQ_CLI_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/cancel.h"
#include "common/base/error.h"

struct briq_source;
struct briq_remote;
struct briq_store;

#define BRIQ_SOURCE_SIZE_UNKNOWN UINT64_MAX

struct briq_source_ops {
    /* Fills buf with [off, off+len), which lies inside the source. Any thread. NULL for a stream.
     */
    int (*read)(struct briq_source *source, unsigned worker, void *buf, size_t len, uint64_t off,
                struct briq_error *err);
    /* Says of a range that starts at off, and is between 1 and len bytes long, whether it reads as
     * zeros. One call at a time. NULL for a stream. */
    int (*extent)(struct briq_source *source, unsigned worker, uint64_t off, uint64_t len,
                  uint64_t *ret_len, bool *ret_zero, struct briq_error *err);
    /* A stream's next bytes: fills buf, less only at the end. One call at a time. */
    int (*next)(struct briq_source *source, void *buf, size_t max, size_t *ret_len,
                struct briq_error *err);
    /* Makes calls that wait for somebody else fail soon. Any thread. May be NULL. */
    void (*interrupt)(struct briq_source *source);
    void (*close)(struct briq_source *source);
};

struct briq_source {
    const struct briq_source_ops *ops;
    const char *name;    /* for messages; the caller's string */
    uint64_t size_bytes; /* or BRIQ_SOURCE_SIZE_UNKNOWN: a stream */
    bool waits;          /* reading waits for another process: more workers than processors help */
};

/*
 * Opens what `name` names: "-" is standard input, an NBD URI, a Briq volume, an image in one of
 * qemu's formats (recognised by its first bytes), or a raw file, block device or pipe. `format` may
 * be NULL, or forces one: "raw", "briq", or a name qemu knows. `workers` threads will read.
 * *ret is the caller's, for briq_source_close(). Blocks; cancel ends the waiting.
 */
int briq_source_open(const char *name, const char *format, unsigned workers,
                     const struct briq_cancel *cancel, struct briq_error *err,
                     struct briq_source **ret) BRIQ_MUST;

/* The parts of the above. `name` and cancel must stay valid. */
int briq_source_file_open(const char *name, struct briq_error *err,
                          struct briq_source **ret) BRIQ_MUST;
/* Reads the open descriptor fd; closes it at the end unless it is standard input. */
int briq_source_stream_open(const char *name, int fd, const struct briq_cancel *cancel,
                            struct briq_error *err, struct briq_source **ret) BRIQ_MUST;
int briq_source_volume_open(const char *name, struct briq_error *err,
                            struct briq_source **ret) BRIQ_MUST;
int briq_source_nbd_open(const char *name, unsigned workers, const struct briq_cancel *cancel,
                         struct briq_error *err, struct briq_source **ret) BRIQ_MUST;
int briq_source_image_open(const char *name, const char *format, unsigned workers,
                           const struct briq_cancel *cancel, struct briq_error *err,
                           struct briq_source **ret) BRIQ_MUST;

/* NULL is accepted. */
void briq_source_close(struct briq_source *source);

#endif
