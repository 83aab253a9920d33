/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device.h - a block device /dev/ublkbN over a volume, from its making to its end.
 *
 *   add -> serving -> stop  -> close (gone)
 *                  -> leave -> close (without a server, waiting for recover)
 *   recover -> serving ...
 *
 * Somebody else may stop, quiesce or delete the device with a command of his own: then it is
 * `ended`, and to be closed.
 *
 * Thread: one, which serves no queue. No function may be called between fork() and the end of the
 * parent: the kernel ties the device to the process that made it.
 */
#ifndef BRIQ_UBLK_DEVICE_H
#define BRIQ_UBLK_DEVICE_H

#include <limits.h>
#include <stdio.h>

#include "common/base/error.h"
#include "common/store/store.h"
#include "ublk-frontend/control.h"
#include "ublk-frontend/features.h"
#include "ublk-frontend/helper.h"
#include "ublk-frontend/process.h"

struct briq_ublk_device;

#define BRIQ_UBLK_DEPTH_DEFAULT   128u
#define BRIQ_UBLK_QUEUES_AUTO_MAX 8u /* more only when asked for */
#define BRIQ_UBLK_MAX_IO_DEFAULT  (1u << 20)
#define BRIQ_UBLK_MAX_IO_PLAIN    (128u << 10) /* where it costs memory for each tag */
#define BRIQ_UBLK_PIECE_BYTES     (128u << 10)
#define BRIQ_UBLK_THREADS_MAX     128u /* in all; each takes one of the store's contexts */

/* Of helpers: one for each processor but one, at most 4, while some are idle. */
#define BRIQ_UBLK_HELPERS_AUTO UINT_MAX

struct briq_ublk_options {
    uint32_t id;           /* UBLK_ANY_ID: the first free one */
    unsigned queues;       /* 0: as many as there are processors, at most QUEUES_AUTO_MAX */
    unsigned depth;        /* requests a queue; 0: DEPTH_DEFAULT */
    uint32_t max_io_bytes; /* a power of two; 0: by default */
    uint32_t block_bytes;  /* 0: 512 */
    uint64_t spin_ns;
    enum briq_ublk_affinity affinity;
    unsigned helpers; /* for large requests, at most HELPERS_MAX; or HELPERS_AUTO */
    struct briq_ublk_wishes wishes;
    uint64_t null_bytes; /* size when there is no store */
    int cancel_fd;       /* readable: stop waiting for the kernel; -1: none */
};

/*
 * Makes a device for store (NULL: one that answers everything and keeps nothing), starts to serve
 * it and returns when it is live. 0 and *ret, or -errno explained in err; then nothing is left of
 * it. store is not owned.
 */
int briq_ublk_device_add(struct briq_ublk_control *control, struct briq_store *store,
                         const struct briq_ublk_options *options, struct briq_error *err,
                         struct briq_ublk_device **ret) BRIQ_MUST;

/*
 * Serves device options->id again, whose server has died or left it: shape and features are its
 * own; of options only spin_ns, affinity, helpers, wishes.threads_per_queue, wishes.partitions, null_bytes
 * and cancel_fd are looked at. The same returns; -EBUSY: it has a server. What fails leaves the
 * device as it was.
 */
int briq_ublk_device_recover(struct briq_ublk_control *control, struct briq_store *store,
                             const struct briq_ublk_options *options, struct briq_error *err,
                             struct briq_ublk_device **ret) BRIQ_MUST;

uint32_t briq_ublk_device_id(const struct briq_ublk_device *device);
const struct ublk_dev_info *briq_ublk_device_info(const struct briq_ublk_device *device);

/* Readable when briq_ublk_device_ended() has news. */
int briq_ublk_device_event_fd(const struct briq_ublk_device *device);

enum briq_ublk_end {
    BRIQ_UBLK_SERVING,
    BRIQ_UBLK_ENDED,  /* the kernel brings nothing more: it was stopped or quiesced */
    BRIQ_UBLK_FAILED, /* a queue cannot go on: see err */
};
enum briq_ublk_end briq_ublk_device_ended(struct briq_ublk_device *device, struct briq_error *err);

/* Ends the block device; requests under way are answered first. 0, or -errno explained in err. */
int briq_ublk_device_stop(struct briq_ublk_device *device, struct briq_error *err) BRIQ_MUST;

/* Leaves the device to the next server: requests wait from now on. Close it next. */
void briq_ublk_device_leave(struct briq_ublk_device *device);

/* After stop, leave, or when it has ended: waits until no thread uses the store any more. */
void briq_ublk_device_join(struct briq_ublk_device *device);

/*
 * After that: frees everything, and deletes the device unless it is left; close the store first if
 * nobody is to open the volume before. *ret_left: it waits for another server. Returns 0, or -errno explained
 * in err. NULL is accepted.
 */
int briq_ublk_device_close(struct briq_ublk_device *device, struct briq_error *err, bool *ret_left);

/* Whether the kernel can be told of another size. 0, or -EOPNOTSUPP explained in err. */
int briq_ublk_device_can_grow(const struct briq_ublk_device *device,
                              struct briq_error *err) BRIQ_MUST;
/* Shows the store's present size to the kernel, after it has grown. 0 or -errno, explained. */
int briq_ublk_device_grown(struct briq_ublk_device *device, struct briq_error *err) BRIQ_MUST;

/* What one thread has done since it started. */
struct briq_ublk_figures {
    unsigned queue, thread;
    uint64_t reads, writes, flushes, discards, write_zeroes, others; /* requests */
    uint64_t read_bytes, written_bytes;
    uint64_t errors; /* answered with one */
    uint64_t waits;  /* not done at once */
    uint64_t helped; /* pieces of large ones that helpers have done */
};

/* Of thread 0, 1 ...; false: there are no more. Thread: any, while the device is live. */
bool briq_ublk_device_figures(const struct briq_ublk_device *device, unsigned index,
                              struct briq_ublk_figures *ret);

/* The same for all threads, a line each. */
void briq_ublk_device_print(const struct briq_ublk_device *device, FILE *out);

#endif
