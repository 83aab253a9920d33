/* SPDX-License-Identifier: BSD-3-Clause */
/* create.c - an empty volume: two superblocks and nothing else. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/align.h"
#include "common/base/uuid.h"
#include "common/device/device.h"
#include "common/store/geometry.h"
#include "common/store/store.h"
#include "common/store/superblock.h"

#define LOOK_BYTES 69632u /* enough to see all the signatures below */

/* What begins like this belongs to somebody. */
static const struct {
    uint32_t off;
    uint8_t len;
    char magic[9];
    const char *what;
} signatures[] = {
    {0, 8, BRIQ_FMT_MAGIC, "a Briq volume"},
    {0x438, 2, "\x53\xef", "an ext2/3/4 file system"},
    {0, 4, "XFSB", "an XFS file system"},
    {0x10040, 8, "_BHRfS_M", "a btrfs file system"},
    {512, 8, "EFI PART", "a GPT partition table"},
    {510, 2, "\x55\xaa", "a partition table or boot sector"},
    {4086, 8, "SWAPSPAC", "swap space"},
    {0, 4, "LUKS", "a LUKS container"},
    {512, 8, "LABELONE", "an LVM physical volume"},
    {0, 4, "QFI\xfb", "a qcow2 image"},
};

static int refuse_used_device(struct briq_device *dev, const char *path, struct briq_error *err)
{
    uint8_t *head = aligned_alloc(4096, LOOK_BYTES);
    if (head == NULL)
        return -ENOMEM;
    int r = briq_device_read(dev, head, LOOK_BYTES, 0);
    for (size_t i = 0; i < BRIQ_COUNT_OF(signatures) && r == 0; i++)
        if (memcmp(head + signatures[i].off, signatures[i].magic, signatures[i].len) == 0)
            r = briq_error_set(err, -EEXIST, "%s: holds %s: use --force to overwrite it", path,
                               signatures[i].what);
    free(head);
    return r < 0 ? briq_error_set(err, r, "%s: cannot read: %s", path, strerror(-r)) : 0;
}

static int write_zeros(struct briq_device *dev, uint64_t begin, uint64_t end)
{
    const size_t piece = 1u << 20;
    void *zeros = aligned_alloc(4096, piece);
    if (zeros == NULL)
        return -ENOMEM;
    memset(zeros, 0, piece);
    int r = 0;
    for (uint64_t off = begin; off < end && r == 0; off += piece)
        r = briq_device_write(dev, zeros, (size_t)briq_min_u64(piece, end - off), off);
    free(zeros);
    return r;
}

static int fill_superblock(const struct briq_create_options *options,
                           const struct briq_geometry *geometry, struct briq_superblock *sb)
{
    memset(sb, 0, sizeof *sb);
    sb->version = BRIQ_FMT_VERSION;
    sb->generation = 1;
    sb->seg_shift = (uint8_t)geometry->seg_shift;
    sb->window_shift = (uint8_t)geometry->window_shift;
    sb->accel = (uint8_t)(options->accel == 0 ? 1 : options->accel);
    sb->clean = true;
    sb->preallocated = options->preallocate;
    sb->features_incompat = options->unfinished ? BRIQ_FEATURE_UNFINISHED : 0;
    sb->logical_bytes = options->size_bytes;
    sb->limit_bytes = options->limit_bytes;
    sb->seg_first = geometry->seg_first;
    sb->seg_end = geometry->seg_end;
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        sb->heads[i].seg = sb->heads[i].next_seg = BRIQ_SEG_NONE;
    return briq_uuid_random(sb->uuid);
}

static int write_volume(struct briq_device *dev, const struct briq_create_options *options,
                        const struct briq_geometry *geometry)
{
    struct briq_superblock sb;
    unsigned slot = 0;
    int r = fill_superblock(options, geometry, &sb);
    if (r < 0)
        return r;
    /* An old volume is gone before anything else is: or a crash in here would bring it back, with
     * some of it overwritten. */
    r = write_zeros(dev, BRIQ_SB_A_OFFSET, BRIQ_SB_A_OFFSET + BRIQ_SB_BYTES);
    if (r == 0)
        r = write_zeros(dev, BRIQ_SB_B_OFFSET, BRIQ_SB_B_OFFSET + BRIQ_SB_BYTES);
    if (r == 0)
        r = briq_device_flush(dev);
    /* The file is never shorter than this, so that a truncated one is known. */
    if (r == 0)
        r = write_zeros(dev, BRIQ_DATA_OFFSET - BRIQ_SB_BYTES, BRIQ_DATA_OFFSET);
    if (r == 0 && options->preallocate)
        r = write_zeros(dev, BRIQ_DATA_OFFSET, (uint64_t)geometry->seg_end << geometry->seg_shift);
    if (r == 0)
        r = briq_superblock_write(dev, &sb, &slot);
    if (r == 0)
        r = briq_device_flush(dev);
    return r;
}

static int choose_geometry(const char *path, const struct briq_create_options *options,
                           uint64_t device_bytes, struct briq_geometry *ret, struct briq_error *err)
{
    return briq_geometry_choose(path, options->size_bytes, options->limit_bytes, device_bytes,
                                options->segment_shift, false, ret, err);
}

static int create_on(struct briq_device *dev, const char *path,
                     const struct briq_create_options *options, struct briq_error *err)
{
    struct briq_geometry geometry;
    int r = choose_geometry(path, options, dev->fixed_size ? dev->size_bytes : 0, &geometry, err);
    if (r == 0 && dev->fixed_size && !options->force)
        r = refuse_used_device(dev, path, err);
    if (r == 0)
        r = write_volume(dev, options, &geometry);
    return r < 0 ? briq_error_set(err, r, "%s: cannot make the volume: %s", path, strerror(-r)) : 0;
}

int briq_store_create(const char *path, const struct briq_create_options *options,
                      struct briq_error *err)
{
    struct stat st;
    bool existed = stat(path, &st) == 0;
    struct briq_geometry geometry;
    struct briq_device *dev;
    if (options->accel > 64)
        return briq_error_set(err, -EINVAL, "%s: acceleration %u is not in 1 to 64", path,
                              options->accel);
    int r = choose_geometry(path, options, 0, &geometry, err);
    if (r < 0)
        return r; /* before an existing file is emptied */
    r = briq_file_open(path, BRIQ_FILE_CREATE | (options->force ? BRIQ_FILE_FORCE : 0), err, &dev);
    if (r < 0)
        return r;
    r = create_on(dev, path, options, err);
    briq_device_close(dev);
    if (r < 0 && !existed)
        unlink(path);
    return r;
}
