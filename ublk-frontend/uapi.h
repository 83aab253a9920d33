/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uapi.h - the kernel's ublk interface, as Linux 6.5 to 7.2 have it.
 *
 * Written from Documentation/block/ublk.rst and the public definition of the interface
 * (include/uapi/linux/ublk_cmd.h), because the header of a distribution may be years older than the
 * kernel that runs: Debian 12's knows neither the encoded commands nor most of the features.
 * Nothing here may depend on that header. Sizes and places of all fields are asserted below.
 *
 * Sectors are always 512 bytes, whatever the device's block size.
 */
#ifndef BRIQ_UBLK_UAPI_H
#define BRIQ_UBLK_UAPI_H

#include <assert.h>
#include <linux/ioctl.h>
#include <stddef.h>
#include <stdint.h>

#define UBLK_CONTROL_PATH "/dev/ublk-control"
#define UBLK_SECTOR_BYTES 512u
#define UBLK_SECTOR_SHIFT 9

/* ---- control commands: IORING_OP_URING_CMD on UBLK_CONTROL_PATH, 128-byte submissions ---------
 */

/*
 * A command about a device with UBLK_F_UNPRIVILEGED_DEV has the path of its /dev/ublkcN at addr,
 * before what else is there: who may open that may send the command.
 */
struct ublk_ctrl_cmd {
    uint32_t dev_id;
    uint16_t queue_id;     /* UBLK_NO_QUEUE unless the command is about one */
    uint16_t len;          /* of what addr points to */
    uint64_t addr;         /* a buffer in or out */
    uint64_t data;         /* one number, by command */
    uint16_t dev_path_len; /* 0: no path */
    uint16_t pad;
    uint32_t reserved;
};

#define UBLK_NO_QUEUE UINT16_C(0xffff)
#define UBLK_ANY_ID   UINT32_C(0xffffffff)

#define UBLK_CTRL_READ(nr)  _IOR('u', nr, struct ublk_ctrl_cmd)
#define UBLK_CTRL_WRITE(nr) _IOWR('u', nr, struct ublk_ctrl_cmd)

#define UBLK_CMD_GET_QUEUE_AFFINITY  UBLK_CTRL_READ(0x01) /* data: queue; addr: processor mask */
#define UBLK_CMD_GET_DEV_INFO        UBLK_CTRL_READ(0x02) /* addr: struct ublk_dev_info */
#define UBLK_CMD_ADD_DEV             UBLK_CTRL_WRITE(0x04) /* addr: struct ublk_dev_info, both ways */
#define UBLK_CMD_DEL_DEV             UBLK_CTRL_WRITE(0x05) /* waits until nobody has it open */
#define UBLK_CMD_START_DEV           UBLK_CTRL_WRITE(0x06) /* data: pid; waits for every fetch */
#define UBLK_CMD_STOP_DEV            UBLK_CTRL_WRITE(0x07)
#define UBLK_CMD_SET_PARAMS          UBLK_CTRL_WRITE(0x08) /* addr: struct ublk_params */
#define UBLK_CMD_GET_PARAMS          UBLK_CTRL_READ(0x09)  /* addr: struct ublk_params */
#define UBLK_CMD_START_USER_RECOVERY UBLK_CTRL_WRITE(0x10) /* -EBUSY while the old server lives */
#define UBLK_CMD_END_USER_RECOVERY   UBLK_CTRL_WRITE(0x11) /* data: pid; waits for every fetch */
#define UBLK_CMD_GET_DEV_INFO2       UBLK_CTRL_READ(0x12)  /* the same, with a path */
#define UBLK_CMD_GET_FEATURES        UBLK_CTRL_READ(0x13)  /* addr: uint64_t */
#define UBLK_CMD_DEL_DEV_ASYNC       UBLK_CTRL_READ(0x14)  /* 6.9 */
#define UBLK_CMD_UPDATE_SIZE         UBLK_CTRL_WRITE(0x15) /* 6.16; data: sectors */
#define UBLK_CMD_QUIESCE_DEV         UBLK_CTRL_WRITE(0x16) /* 6.16; data: milliseconds */
#define UBLK_CMD_TRY_STOP_DEV        UBLK_CTRL_WRITE(0x17) /* 7.0; -EBUSY when somebody has it open */

enum ublk_dev_state {
    UBLK_STATE_DEAD = 0,
    UBLK_STATE_LIVE = 1,
    UBLK_STATE_QUIESCED = 2, /* without a server; requests wait */
    UBLK_STATE_FAIL_IO = 3,  /* without a server; requests fail */
};

struct ublk_dev_info {
    uint16_t queues;
    uint16_t depth;
    uint16_t state; /* enum ublk_dev_state */
    uint16_t pad0;
    uint32_t max_io_bytes;
    uint32_t dev_id;
    int32_t server_pid;
    uint32_t pad1;
    uint64_t flags;        /* UBLK_F_* */
    uint64_t server_flags; /* ours; the kernel keeps it */
    uint32_t owner_uid, owner_gid;
    uint64_t reserved1, reserved2;
};

/* ---- features: asked for in ublk_dev_info.flags; a kernel drops those it does not know ---------
 */

#define UBLK_F_SUPPORT_ZERO_COPY      (UINT64_C(1) << 0)
#define UBLK_F_URING_CMD_COMP_IN_TASK (UINT64_C(1) << 1)
#define UBLK_F_NEED_GET_DATA          (UINT64_C(1) << 2)
#define UBLK_F_USER_RECOVERY          (UINT64_C(1) << 3)
#define UBLK_F_USER_RECOVERY_REISSUE  (UINT64_C(1) << 4)
#define UBLK_F_UNPRIVILEGED_DEV       (UINT64_C(1) << 5)
#define UBLK_F_CMD_IOCTL_ENCODE       (UINT64_C(1) << 6)
#define UBLK_F_USER_COPY              (UINT64_C(1) << 7)
#define UBLK_F_ZONED                  (UINT64_C(1) << 8)
#define UBLK_F_USER_RECOVERY_FAIL_IO  (UINT64_C(1) << 9)
#define UBLK_F_UPDATE_SIZE            (UINT64_C(1) << 10)
#define UBLK_F_AUTO_BUF_REG           (UINT64_C(1) << 11)
#define UBLK_F_QUIESCE                (UINT64_C(1) << 12)
#define UBLK_F_PER_IO_DAEMON          (UINT64_C(1) << 13)
#define UBLK_F_BUF_REG_OFF_DAEMON     (UINT64_C(1) << 14)
#define UBLK_F_BATCH_IO               (UINT64_C(1) << 15)
#define UBLK_F_INTEGRITY              (UINT64_C(1) << 16)
#define UBLK_F_SAFE_STOP_DEV          (UINT64_C(1) << 17)
#define UBLK_F_NO_AUTO_PART_SCAN      (UINT64_C(1) << 18)
#define UBLK_F_SHMEM_ZC               (UINT64_C(1) << 19)

/* ---- parameters ------------------------------------------------------------------------------ */

#define UBLK_PARAM_BASIC   1u
#define UBLK_PARAM_DISCARD 2u
#define UBLK_PARAM_DEVT    4u

#define UBLK_ATTR_READ_ONLY      1u
#define UBLK_ATTR_ROTATIONAL     2u
#define UBLK_ATTR_VOLATILE_CACHE 4u
#define UBLK_ATTR_FUA            8u

struct ublk_param_basic {
    uint32_t attrs;
    uint8_t logical_bs_shift, physical_bs_shift, io_opt_shift, io_min_shift;
    uint32_t max_sectors;
    uint32_t chunk_sectors;
    uint64_t dev_sectors;
    uint64_t virt_boundary_mask;
};

struct ublk_param_discard {
    uint32_t discard_alignment;
    uint32_t discard_granularity; /* bytes */
    uint32_t max_discard_sectors;
    uint32_t max_write_zeroes_sectors;
    uint16_t max_discard_segments;
    uint16_t reserved0;
};

struct ublk_param_devt {
    uint32_t char_major, char_minor, disk_major, disk_minor;
};

/* What a newer kernel knows behind `devt` is told by `len` and left as it is. */
struct ublk_params {
    uint32_t len;
    uint32_t types;
    struct ublk_param_basic basic;
    struct ublk_param_discard discard;
    struct ublk_param_devt devt;
};

/* ---- requests: commands on /dev/ublkcN, 64-byte submissions -----------------------------------
 */

#define UBLK_DEPTH_MAX  4096u
#define UBLK_QUEUES_MAX 4096u

struct ublk_io_cmd {
    uint16_t queue_id;
    uint16_t tag;
    int32_t result; /* commit: bytes done, or -errno */
    uint64_t addr;  /* buffer of the tag; 0 with UBLK_F_USER_COPY */
};

#define UBLK_IO_FETCH            _IOWR('u', 0x20, struct ublk_io_cmd)
#define UBLK_IO_COMMIT_AND_FETCH _IOWR('u', 0x21, struct ublk_io_cmd)

/* Results of those two. Everything else negative is a refusal of the command itself. */
#define UBLK_RES_REQUEST 0
#define UBLK_RES_ABORT   (-19) /* -ENODEV: the tag is over, do not fetch again */

enum ublk_io_op {
    UBLK_OP_READ = 0,
    UBLK_OP_WRITE = 1,
    UBLK_OP_FLUSH = 2,
    UBLK_OP_DISCARD = 3,
    UBLK_OP_WRITE_ZEROES = 5,
};

#define UBLK_OP_MASK      0xffu
#define UBLK_OP_F_FUA     (1u << 13)
#define UBLK_OP_F_NOUNMAP (1u << 15)

/* A request, at its tag's place in the array that the kernel shares with the server. */
struct ublk_io_desc {
    uint32_t op_flags;
    uint32_t sectors;
    uint64_t start_sector;
    uint64_t addr;
};

/* Where in /dev/ublkcN the payload of a request is, with UBLK_F_USER_COPY. */
#define UBLK_DATA_OFFSET    UINT64_C(0x80000000)
#define UBLK_DATA_BYTE_BITS 25
#define UBLK_DATA_TAG_BITS  16
#define UBLK_IO_BYTES_MAX   (UINT32_C(1) << UBLK_DATA_BYTE_BITS)

static inline uint64_t ublk_data_offset(unsigned queue, unsigned tag, uint32_t byte)
{
    return UBLK_DATA_OFFSET + ((uint64_t)queue << (UBLK_DATA_BYTE_BITS + UBLK_DATA_TAG_BITS)) +
           ((uint64_t)tag << UBLK_DATA_BYTE_BITS) + byte;
}

/* Where in /dev/ublkcN the descriptors of a queue are, for mmap: the stride is of the largest depth
 * there can be, not of this queue's. */
static inline uint64_t ublk_desc_offset(unsigned queue, uint64_t page_bytes)
{
    uint64_t stride = UBLK_DEPTH_MAX * sizeof(struct ublk_io_desc);
    return queue * ((stride + page_bytes - 1) / page_bytes * page_bytes);
}

/* And how long the mapping must be, exactly. */
static inline uint64_t ublk_desc_bytes(unsigned depth, uint64_t page_bytes)
{
    uint64_t bytes = depth * sizeof(struct ublk_io_desc);
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

static_assert(sizeof(struct ublk_ctrl_cmd) == 32, "kernel interface");
static_assert(offsetof(struct ublk_ctrl_cmd, queue_id) == 4, "kernel interface");
static_assert(offsetof(struct ublk_ctrl_cmd, len) == 6, "kernel interface");
static_assert(offsetof(struct ublk_ctrl_cmd, addr) == 8, "kernel interface");
static_assert(offsetof(struct ublk_ctrl_cmd, data) == 16, "kernel interface");
static_assert(offsetof(struct ublk_ctrl_cmd, dev_path_len) == 24, "kernel interface");
static_assert(sizeof(struct ublk_dev_info) == 64, "kernel interface");
static_assert(offsetof(struct ublk_dev_info, state) == 4, "kernel interface");
static_assert(offsetof(struct ublk_dev_info, max_io_bytes) == 8, "kernel interface");
static_assert(offsetof(struct ublk_dev_info, dev_id) == 12, "kernel interface");
static_assert(offsetof(struct ublk_dev_info, server_pid) == 16, "kernel interface");
static_assert(offsetof(struct ublk_dev_info, flags) == 24, "kernel interface");
static_assert(offsetof(struct ublk_dev_info, server_flags) == 32, "kernel interface");
static_assert(offsetof(struct ublk_dev_info, owner_uid) == 40, "kernel interface");
static_assert(sizeof(struct ublk_param_basic) == 32, "kernel interface");
static_assert(offsetof(struct ublk_param_basic, max_sectors) == 8, "kernel interface");
static_assert(offsetof(struct ublk_param_basic, dev_sectors) == 16, "kernel interface");
static_assert(sizeof(struct ublk_param_discard) == 20, "kernel interface");
static_assert(sizeof(struct ublk_param_devt) == 16, "kernel interface");
static_assert(offsetof(struct ublk_params, basic) == 8, "kernel interface");
static_assert(offsetof(struct ublk_params, discard) == 40, "kernel interface");
static_assert(offsetof(struct ublk_params, devt) == 60, "kernel interface");
static_assert(sizeof(struct ublk_io_cmd) == 16, "kernel interface");
static_assert(offsetof(struct ublk_io_cmd, result) == 4, "kernel interface");
static_assert(offsetof(struct ublk_io_cmd, addr) == 8, "kernel interface");
static_assert(sizeof(struct ublk_io_desc) == 24, "kernel interface");
static_assert(offsetof(struct ublk_io_desc, start_sector) == 8, "kernel interface");
static_assert(offsetof(struct ublk_io_desc, addr) == 16, "kernel interface");

#endif
