/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_superblock.c - two copies of a superblock, patched as the input says, with their checksums
 * made right or not: decoding never takes what it must refuse, what it takes is within the limits
 * of the format and encodes to what it was, and the better copy is chosen.
 *
 *   byte 0: which of the checksums are made right (bits 0, 1), and whether copy B begins as it is
 *   (bit 2) or as zeros; then half of the rest patches copy A, the other half copy B.
 */
#include <errno.h>

#include "tests/fuzz/support/fuzz.h"

#include "common/base/align.h"
#include "common/store/superblock.h"
#include "tests/fuzz/support/disk.h"
#include <stdlib.h>
#include <xxhash.h>

#define DISK_BYTES (BRIQ_SB_B_OFFSET + BRIQ_SB_BYTES)

static struct briq_superblock sound_superblock(void)
{
    struct briq_superblock sb = {
        .version = BRIQ_FMT_VERSION,
        .uuid = "a sound volume.",
        .generation = 7,
        .incarnation = 3,
        .seg_shift = 18,
        .window_shift = 18,
        .streams = 2,
        .accel = 1,
        .clean = true,
        .logical_bytes = UINT64_C(64) << 20,
        .seg_first = 16,
        .seg_end = 400,
        .checkpoint_seq = 99,
        .segseq = UINT64_C(3) << 32 | 12,
    };
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++)
        sb.heads[i] = (struct briq_head){.seg = BRIQ_SEG_NONE, .next_seg = BRIQ_SEG_NONE};
    sb.heads[0] = (struct briq_head){.seg = 20, .next_seg = 21, .off = 4096, .segseq = 5};
    return sb;
}

static void seal(uint8_t *page)
{
    size_t len = offsetof(struct briq_fmt_superblock, xxh64);
    briq_le64 hash = briq_le64_of(XXH3_64bits(page, len));
    memcpy(page + len, &hash, sizeof hash);
}

/* What docs/format.md says that a reader may rely on. */
static void expect_limits(const struct briq_superblock *sb)
{
    BRIQ_ASSERT(sb->version == BRIQ_FMT_VERSION);
    BRIQ_ASSERT((sb->features_incompat & ~BRIQ_FEATURE_UNFINISHED) == 0);
    BRIQ_ASSERT(sb->seg_shift >= 16 && sb->seg_shift <= 22);
    BRIQ_ASSERT(sb->window_shift >= 16 && sb->window_shift <= 18);
    BRIQ_ASSERT(sb->window_shift <= sb->seg_shift);
    BRIQ_ASSERT(sb->streams <= 8 && sb->accel >= 1 && sb->accel <= 64);
    BRIQ_ASSERT(sb->logical_bytes > 0 && sb->logical_bytes <= UINT64_C(4) << 40);
    BRIQ_ASSERT(sb->logical_bytes % 512 == 0);
    BRIQ_ASSERT((uint64_t)sb->seg_first << sb->seg_shift >= BRIQ_DATA_OFFSET);
    BRIQ_ASSERT(sb->seg_end > sb->seg_first && sb->seg_end <= 64u * 512 * 256);
    for (unsigned i = 0; i < BRIQ_FMT_HEADS; i++) {
        const struct briq_head *head = &sb->heads[i];
        if (head->seg == BRIQ_SEG_NONE)
            continue;
        BRIQ_ASSERT(head->seg >= sb->seg_first && head->seg < sb->seg_end);
        BRIQ_ASSERT(head->off % 4096 == 0 && head->off <= 1u << sb->seg_shift);
        BRIQ_ASSERT(head->next_seg == BRIQ_SEG_NONE ||
                    (head->next_seg >= sb->seg_first && head->next_seg < sb->seg_end));
    }
}

/* Reserved fields aside, which a reader ignores and a writer makes zero. */
static void expect_round_trip(const struct briq_superblock *sb)
{
    uint8_t once[BRIQ_SB_BYTES], twice[BRIQ_SB_BYTES];
    struct briq_superblock again;
    briq_superblock_encode(sb, once);
    BRIQ_ASSERT(briq_superblock_decode(once, &again) == BRIQ_SB_OK);
    briq_superblock_encode(&again, twice);
    BRIQ_ASSERT(memcmp(once, twice, sizeof once) == 0);
}

static bool is_sealed(const uint8_t *page)
{
    const struct briq_fmt_superblock *raw = (const void *)page;
    return briq_le64_get(raw->xxh64) ==
           XXH3_64bits(page, offsetof(struct briq_fmt_superblock, xxh64));
}

static enum briq_sb_state look(const uint8_t *page, struct briq_superblock *sb)
{
    enum briq_sb_state state = briq_superblock_decode(page, sb);
    bool magic = memcmp(page, BRIQ_FMT_MAGIC, 8) == 0;
    BRIQ_ASSERT((state == BRIQ_SB_NOT_BRIQ) == !magic);
    BRIQ_ASSERT((state != BRIQ_SB_OK && state != BRIQ_SB_TOO_NEW) || is_sealed(page));
    if (state == BRIQ_SB_OK) {
        expect_limits(sb);
        expect_round_trip(sb);
    }
    return state;
}

/* The sound copy with the higher generation, and never an older one than a newer build wrote. */
static void expect_choice(struct fuzz_disk *disk)
{
    struct briq_superblock sb[2];
    struct briq_superblock_found found;
    struct briq_error err = {{0}};
    enum briq_sb_state state[2];
    for (unsigned i = 0; i < 2; i++)
        state[i] = look(fuzz_disk_bytes(disk) + briq_superblock_offset(i), &sb[i]);
    struct briq_device *dev = fuzz_disk_device(disk);
    int r = briq_superblock_read(dev, "volume", &found, &err);
    briq_device_close(dev);
    bool any = state[0] == BRIQ_SB_OK || state[1] == BRIQ_SB_OK;
    bool too_new = state[0] == BRIQ_SB_TOO_NEW || state[1] == BRIQ_SB_TOO_NEW;
    BRIQ_ASSERT((r == 0) == (any && !too_new));
    BRIQ_ASSERT(r == 0 || ((r == -ENOTSUP) == too_new && err.text[0] != '\0'));
    if (r < 0)
        return;
    uint64_t newest = 0;
    for (unsigned i = 0; i < 2; i++)
        if (state[i] == BRIQ_SB_OK)
            newest = briq_max_u64(newest, sb[i].generation);
    BRIQ_ASSERT(found.sb.generation == newest && found.next_slot < 2);
    BRIQ_ASSERT(found.damaged == (state[0] != BRIQ_SB_OK || state[1] != BRIQ_SB_OK));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_disk *disk;
    if (disk == NULL)
        disk = fuzz_disk_open(DISK_BYTES);
    struct fuzz_input in = {data, size};
    uint64_t how = fuzz_number(&in, 1);
    struct briq_superblock sound = sound_superblock();
    uint8_t *a = fuzz_disk_change(disk, BRIQ_SB_A_OFFSET, BRIQ_SB_BYTES);
    uint8_t *b = fuzz_disk_change(disk, BRIQ_SB_B_OFFSET, BRIQ_SB_BYTES);
    size_t len;
    struct fuzz_input of_a = {.at = fuzz_take(&in, in.left / 2, &len), .left = len};
    briq_superblock_encode(&sound, a);
    memcpy(b, a, BRIQ_SB_BYTES);
    if ((how & 4) != 0)
        memset(b, 0, BRIQ_SB_BYTES);
    fuzz_patch(&of_a, a, BRIQ_SB_BYTES);
    fuzz_patch(&in, b, BRIQ_SB_BYTES);
    if ((how & 1) != 0)
        seal(a);
    if ((how & 2) != 0)
        seal(b);
    expect_choice(disk);
    return 0;
}
