/* SPDX-License-Identifier: BSD-3-Clause */
#include "ublk-frontend/params.h"

#include <errno.h>
#include <inttypes.h>

#include "common/store/store.h"

/* One discard or write-zeroes: metadata only, a record for each 2 MiB. */
#define RANGE_BYTES_MAX (UINT32_C(1) << 30)
/* What reads and writes should better be a multiple of, for their compression to pay. */
#define OPTIMAL_SHIFT 16
#define BLOCK_SHIFT   12

static_assert(1u << BLOCK_SHIFT == BRIQ_BLOCK_BYTES, "blocks of the store");

int briq_ublk_params_sectors(uint64_t size_bytes, uint32_t block_bytes, struct briq_error *err,
                             uint64_t *ret)
{
    if (size_bytes == 0 || size_bytes % block_bytes != 0)
        return briq_error_set(err, -EINVAL,
                              "a volume of %" PRIu64
                              " bytes has no whole number of blocks of %" PRIu32
                              " bytes; use --block-size 512, or resize it",
                              size_bytes, block_bytes);
    *ret = size_bytes / UBLK_SECTOR_BYTES;
    return 0;
}

static uint32_t attributes(bool read_only)
{
    /* Even a volume that cannot be written to may hold acknowledged writes that a flush would have
     * to cover; but nobody can have made them through this device. */
    return read_only ? UBLK_ATTR_READ_ONLY : UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA;
}

int briq_ublk_params_build(const struct briq_ublk_shape *shape, struct briq_error *err,
                           struct ublk_params *ret)
{
    uint64_t sectors = 0;
    if (shape->block_bytes != 512 && shape->block_bytes != 4096)
        return briq_error_set(err, -EINVAL, "--block-size: %" PRIu32 " is neither 512 nor 4096",
                              shape->block_bytes);
    int r = briq_ublk_params_sectors(shape->size_bytes, shape->block_bytes, err, &sectors);
    if (r < 0)
        return r;
    *ret = (struct ublk_params){
        .len = sizeof *ret,
        .types = UBLK_PARAM_BASIC,
        .basic =
            {
                .attrs = attributes(shape->read_only),
                .logical_bs_shift = shape->block_bytes == 512 ? UBLK_SECTOR_SHIFT : BLOCK_SHIFT,
                .physical_bs_shift = BLOCK_SHIFT,
                .io_min_shift = BLOCK_SHIFT,
                .io_opt_shift = OPTIMAL_SHIFT,
                .max_sectors = shape->max_io_bytes / UBLK_SECTOR_BYTES,
                .dev_sectors = sectors,
            },
    };
    if (shape->read_only)
        return 0;
    ret->types |= UBLK_PARAM_DISCARD;
    ret->discard = (struct ublk_param_discard){
        .discard_granularity = BRIQ_BLOCK_BYTES,
        .max_discard_sectors = RANGE_BYTES_MAX / UBLK_SECTOR_BYTES,
        .max_write_zeroes_sectors = RANGE_BYTES_MAX / UBLK_SECTOR_BYTES,
        .max_discard_segments = 1,
    };
    return 0;
}
