/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * params.h - what a device tells the kernel about itself, from the volume and the options.
 * Pure functions; thread: any.
 */
#ifndef BRIQ_UBLK_PARAMS_H
#define BRIQ_UBLK_PARAMS_H

#include <stdbool.h>

#include "common/base/error.h"
#include "ublk-frontend/uapi.h"

struct briq_ublk_shape {
    uint64_t size_bytes;   /* of the volume */
    bool read_only;        /* it cannot be written to */
    uint32_t block_bytes;  /* logical blocks: 512 or 4096 */
    uint32_t max_io_bytes; /* a multiple of 4096, 4096 .. UBLK_IO_BYTES_MAX */
};

/* Fills ret. Returns 0, or -EINVAL explained in err. */
int briq_ublk_params_build(const struct briq_ublk_shape *shape, struct briq_error *err,
                           struct ublk_params *ret) BRIQ_MUST;

/* The volume's size in sectors, as the device can show it; the same errors. */
int briq_ublk_params_sectors(uint64_t size_bytes, uint32_t block_bytes, struct briq_error *err,
                             uint64_t *ret) BRIQ_MUST;

#endif
