/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sink.h - where a copy writes to: a volume, a file, a stream, or an NBD export.
 *
 * Contract: all functions return 0 or a negative errno explained in err; any thread may call write
 * and zero, on ranges that do not overlap. `worker` is the number of the calling thread.
 */
#ifndef BRIQ_CLI_SINK_H
#define BRIQ_CLI_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cancel.h"
#include "common/base/error.h"

struct briq_sink;
struct briq_store;

struct briq_sink_ops {
    int (*write)(struct briq_sink *sink, unsigned worker, const void *buf, size_t len, uint64_t off,
                 struct briq_error *err);
    /* The range must read as zeros. NULL: everything does that has not been written. */
    int (*zero)(struct briq_sink *sink, unsigned worker, uint64_t len, uint64_t off,
                struct briq_error *err);
    /* The sink becomes `size` bytes long; sizes only grow. One call at a time, beside writes. NULL
     * when the size was fixed at open. */
    int (*grow)(struct briq_sink *sink, uint64_t size, struct briq_error *err);
    /* Makes calls that wait for somebody else fail soon. Any thread. May be NULL. */
    void (*interrupt)(struct briq_sink *sink);
    /* Everything written is on stable storage, and what was written is whole and kept. */
    int (*finish)(struct briq_sink *sink, struct briq_error *err);
    /* Frees the sink. Without a finish that returned 0 before, what was made is removed. */
    void (*close)(struct briq_sink *sink);
};

struct briq_sink {
    const struct briq_sink_ops *ops;
    const char *name;    /* for messages; the caller's string */
    bool ordered;        /* write and zero must be called front to back, without gaps */
    uint32_t zero_bytes; /* zeros inside data are looked for in units of this; 0: not at all */
    bool waits;          /* writing waits for another process */
};

struct briq_sink_options {
    const char *format; /* "raw", or one of qemu's; NULL: raw */
    uint64_t size_bytes;
    unsigned workers; /* threads that will write */
    bool force;       /* replace what exists */
};

/*
 * Opens what `name` names: "-" is standard output, an NBD URI, else a file or block device.
 * *ret is the caller's, for briq_sink_close(). `name` and cancel must stay valid.
 */
int briq_sink_open(const char *name, const struct briq_sink_options *options,
                   const struct briq_cancel *cancel, struct briq_error *err,
                   struct briq_sink **ret) BRIQ_MUST;

/* Whether `name` means standard output, or a pipe or device that is written front to back. */
bool briq_sink_is_stream(const char *name);

/* The parts of the above. */
int briq_sink_file_open(const char *name, const struct briq_sink_options *options,
                        struct briq_error *err, struct briq_sink **ret) BRIQ_MUST;
int briq_sink_stream_open(const char *name, int fd, struct briq_error *err,
                          struct briq_sink **ret) BRIQ_MUST;
int briq_sink_nbd_open(const char *name, const struct briq_sink_options *options,
                       const struct briq_cancel *cancel, struct briq_error *err,
                       struct briq_sink **ret) BRIQ_MUST;
int briq_sink_image_open(const char *name, const struct briq_sink_options *options,
                         const struct briq_cancel *cancel, struct briq_error *err,
                         struct briq_sink **ret) BRIQ_MUST;

/* A new, empty volume that is open for writing; the store stays the caller's. finish flushes it. */
int briq_sink_volume_open(const char *name, struct briq_store *store, struct briq_error *err,
                          struct briq_sink **ret) BRIQ_MUST;

/* NULL is accepted. */
void briq_sink_close(struct briq_sink *sink);

#endif
