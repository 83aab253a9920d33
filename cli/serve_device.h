/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_device.h - one export that is a block device too, and the thread that looks after it.
 *
 * For serve_devices.c, which sees to it that nothing is asked of a device that was freed.
 */
#ifndef BRIQ_CLI_SERVE_DEVICE_H
#define BRIQ_CLI_SERVE_DEVICE_H

#include "cli/serve_devices.h"
#include "ublk-frontend/record.h"

struct briq_serve_device;

struct briq_serve_device_setup {
    struct briq_server *server;
    const char *name; /* of the export; copied */
    struct briq_log log;
    struct briq_ublk_options options;
    bool recover;                        /* take options.id over */
    const struct briq_ublk_record *what; /* copied */
};

/* Makes the device, or takes it over, and returns when it is live. The export is held until it has
 * ended. 0 and *ret for briq_serve_device_free(), or -errno explained in err. Blocks. */
int briq_serve_device_start(const struct briq_serve_device_setup *setup, struct briq_error *err,
                            struct briq_serve_device **ret) BRIQ_MUST;

/* Constant. */
uint32_t briq_serve_device_id(const struct briq_serve_device *device);

/* Whether it has ended, asked to or not. Thread: any. */
bool briq_serve_device_over(struct briq_serve_device *device);

enum briq_serve_device_wish {
    BRIQ_SERVE_DEVICE_STOP,  /* the device goes; answered when nothing is left of it */
    BRIQ_SERVE_DEVICE_LEAVE, /* the device waits for another server, if it can; else as STOP */
    BRIQ_SERVE_DEVICE_GROWN, /* the kernel is told of the store's size */
};

/* 0, also when it ended meanwhile; or -errno explained in err, and it goes on. Thread: any. Blocks.
 */
int briq_serve_device_ask(struct briq_serve_device *device, enum briq_serve_device_wish wish,
                          struct briq_error *err) BRIQ_MUST;

/* As briq_ublk_device_can_grow(); 0 when it has ended. Thread: any. */
int briq_serve_device_can_grow(struct briq_serve_device *device, struct briq_error *err) BRIQ_MUST;

/* Whether another server could take it over. Thread: any. */
bool briq_serve_device_recoverable(struct briq_serve_device *device);

/* As briq_serve_devices_facts(). Thread: any. */
bool briq_serve_device_facts(struct briq_serve_device *device, struct briq_serve_device_facts *ret,
                             void (*figures)(void *opaque, const struct briq_ublk_figures *of),
                             void *opaque);

/* After it has ended. Joins its thread. */
void briq_serve_device_free(struct briq_serve_device *device);

#endif
