/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qemu.h - lets qemu's own programs read and write the image formats that qemu knows: an image file
 * is served by qemu-nbd over a Unix socket that only this process knows of.
 */
#ifndef BRIQ_CLI_QEMU_H
#define BRIQ_CLI_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct briq_qemu;

/*
 * The format of an image by the first `len` bytes of the file, as qemu names it ("qcow2", "vmdk"
 * ...); NULL when it is none of those: a raw image.
 */
const char *briq_qemu_format(const void *head, size_t len);
#define BRIQ_QEMU_HEAD_BYTES 512

/*
 * Starts qemu-nbd for the image `path` of the given format, for up to `clients` connections, and
 * returns when it listens. It ends by itself when its last client has gone, so also when this
 * process is killed. *ret is the caller's, for briq_qemu_stop(). Blocks.
 * -ENOENT explained when qemu-nbd is not installed; else what it said, in one line.
 */
int briq_qemu_serve(const char *path, const char *format, bool read_only, unsigned clients,
                    struct briq_error *err, struct briq_qemu **ret) BRIQ_MUST;

const char *briq_qemu_socket(const struct briq_qemu *qemu);

/*
 * Ends the server, waits until it has closed the image, removes the socket. NULL is accepted.
 * Returns 0, or -ETIMEDOUT when it had to be killed: an image that it wrote is not whole then.
 */
int briq_qemu_stop(struct briq_qemu *qemu);

/* Makes an empty image of size_bytes by qemu-img; replaces a file that is there. */
int briq_qemu_create(const char *path, const char *format, uint64_t size_bytes,
                     struct briq_error *err) BRIQ_MUST;

#endif
