/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ublk_unit.h - a device that this process serves, together with what others find it by: its record
 * and its socket.
 *
 *   open -> serve -> stop or leave -> join -> close
 *
 * Thread: one for each unit.
 */
#ifndef BRIQ_CLI_UBLK_UNIT_H
#define BRIQ_CLI_UBLK_UNIT_H

#include "common/base/error.h"
#include "common/store/store.h"
#include "ublk-frontend/device.h"
#include "ublk-frontend/record.h"

struct briq_ublk_unit;

/* What the owner of a unit does for those that ask on the socket. */
struct briq_ublk_owner {
    /* Makes the volume `bytes` large, or so much larger; the device is told afterwards. */
    int (*resize)(void *opaque, uint64_t bytes, bool more, struct briq_error *err);
    /* Whether the device can be left to another server now: 0, or -errno explained in err. */
    int (*leave)(void *opaque, struct briq_error *err);
    void *opaque;
};

struct briq_ublk_unit_setup {
    struct briq_ublk_control *control; /* of the calling thread; outlives the unit */
    struct briq_store *store;          /* not owned; NULL: the device without one */
    bool recover;                      /* take over options.id instead of making a device */
    struct briq_ublk_options options;
    struct briq_ublk_record what; /* its pid is filled in */
    struct briq_ublk_owner owner;
};

/* 0 and *ret, a device that is live; or -errno explained in err, and nothing is left of it. A
 * volume in memory gets a device that is removed when its server dies. */
int briq_ublk_unit_open(const struct briq_ublk_unit_setup *setup, struct briq_error *err,
                        struct briq_ublk_unit **ret) BRIQ_MUST;

struct briq_ublk_device *briq_ublk_unit_device(struct briq_ublk_unit *unit);

enum briq_ublk_unit_event {
    BRIQ_UBLK_UNIT_TOLD,   /* wake_fd is readable */
    BRIQ_UBLK_UNIT_ENDED,  /* the device was stopped by somebody else */
    BRIQ_UBLK_UNIT_LEAVE,  /* another server wants it, and the owner has agreed */
    BRIQ_UBLK_UNIT_FAILED, /* it cannot go on: see err */
};

/* Answers those that ask, until there is an event. Blocks. */
enum briq_ublk_unit_event briq_ublk_unit_serve(struct briq_ublk_unit *unit, int wake_fd,
                                               struct briq_error *err);

/* After the device was stopped or left, or has ended: waits until nothing uses the store. */
void briq_ublk_unit_join(struct briq_ublk_unit *unit);

/* Frees the unit, and removes device and record unless another server is to have them, which
 * *ret_left tells. 0, or -errno explained in err. NULL is accepted. */
int briq_ublk_unit_close(struct briq_ublk_unit *unit, struct briq_error *err, bool *ret_left);

/*
 * Something went wrong that only the end of the process can free the device from: tells nobody,
 * closes nothing; whoever recovers the device finds everything that was acknowledged.
 */
void briq_ublk_die(void) __attribute__((noreturn));

#endif
