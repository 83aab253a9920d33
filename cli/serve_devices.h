/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve_devices.h - exports of a running `briq serve` that are block devices of the kernel as well.
 *
 * Export and device share one store, so what one has acknowledged the other reads. Each device has a
 * thread that looks after it, and threads that serve its queues. A device may end by itself, when
 * somebody stops it with `briq ublk stop`: the export goes on without.
 *
 * Thread: any, unless a function says otherwise. All but the figures block.
 */
#ifndef BRIQ_CLI_SERVE_DEVICES_H
#define BRIQ_CLI_SERVE_DEVICES_H

#include "cli/verb.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "server/server.h"
#include "ublk-frontend/device.h"

struct briq_serve_devices;

struct briq_serve_devices_setup {
    struct briq_log log;
    struct briq_ublk_options options; /* of all devices; id: of the first one, others follow */
    bool wanted;                      /* there will be devices: see open */
    bool swap;                        /* they must get on when there is no memory left */
    const struct briq_words *volumes; /* words of the command line, which are to be exported */
    int cancel_fd;                    /* readable: stop waiting; -1: none */
};

/*
 * Marks the calling thread, and so all that are made from now on, as one that must not wait for I/O
 * to get memory; where that is not allowed there can be no devices. With setup->wanted that is an
 * error. Then, and when a device of one of the volumes waits for a server, the process gets a mount
 * namespace of its own; with setup->swap it gets the kernel's reserves of memory too
 * (briq_ublk_use_reserves()). Call it before there are threads.
 * 0 and *ret, or -errno explained in err.
 */
int briq_serve_devices_open(const struct briq_serve_devices_setup *setup, struct briq_error *err,
                            struct briq_serve_devices **ret) BRIQ_MUST;

/*
 * Exports a volume as briq_server_export() does. If it has a device that waits for a server, the
 * volume is waited for until the kernel has taken it from the dead one, and the device is noted for
 * briq_serve_devices_adopt().
 */
int briq_serve_devices_export(struct briq_serve_devices *devices, struct briq_server *server,
                              const char *name, const char *volume,
                              const struct briq_open_options *options,
                              struct briq_error *err) BRIQ_MUST;

/* Takes over what was noted. A failure is told to the log: the device waits on. After
 * briq_server_start(). */
void briq_serve_devices_adopt(struct briq_serve_devices *devices, struct briq_server *server);

/*
 * Makes export `name` a device too, number `id` (UBLK_ANY_ID: the next of the setup's). `options`
 * is how its volume was opened, for who recovers it. 0 and *ret_id; or -errno explained in err:
 * -EEXIST, it is one already; -ENOENT; those of briq_ublk_device_add().
 */
int briq_serve_devices_attach(struct briq_serve_devices *devices, struct briq_server *server,
                              const char *name, uint32_t id,
                              const struct briq_open_options *options, uint32_t *ret_id,
                              struct briq_error *err) BRIQ_MUST;

/* Whether export `name` is a device, and then its number in *ret_id (may be NULL). */
bool briq_serve_devices_find(struct briq_serve_devices *devices, const char *name,
                             uint32_t *ret_id);

/* 0, or -EBUSY explained in err: somebody has the device of `name` open. */
int briq_serve_devices_check_unused(struct briq_serve_devices *devices, const char *name,
                                    struct briq_error *err) BRIQ_MUST;

/* Stops and removes the device of `name`, used or not; its export stays. 0, -ENOENT (it is none),
 * or another -errno, explained in err. */
int briq_serve_devices_detach(struct briq_serve_devices *devices, const char *name,
                              struct briq_error *err) BRIQ_MUST;

/* Whether the export could grow: 0, or -EOPNOTSUPP explained in err. 0 when it is no device. */
int briq_serve_devices_can_grow(struct briq_serve_devices *devices, const char *name,
                                struct briq_error *err) BRIQ_MUST;
/* The export has grown: the kernel is told. 0 when it is no device. */
int briq_serve_devices_grown(struct briq_serve_devices *devices, const char *name,
                             struct briq_error *err) BRIQ_MUST;

/* What is told of the device of an export. */
struct briq_serve_device_facts {
    uint32_t id;
    unsigned queues, depth;
};
/* False: it is none. figures (may be NULL) is called for each of its threads. Does not block. */
bool briq_serve_devices_facts(struct briq_serve_devices *devices, const char *name,
                              struct briq_serve_device_facts *ret,
                              void (*figures)(void *opaque, const struct briq_ublk_figures *of),
                              void *opaque);

/*
 * Ends all devices, before briq_server_close(): those that nobody uses are removed, and those that
 * are in use wait for the next server of their volume, if they can; the log tells which.
 */
void briq_serve_devices_end(struct briq_serve_devices *devices);

/* After the end, with no other call under way. NULL is accepted. */
void briq_serve_devices_close(struct briq_serve_devices *devices);

#endif
