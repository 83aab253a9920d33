/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbd.h - the constants of the NBD protocol, as in its specification
 * (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md), and the big-endian integers
 * of its wire. Everything on the wire is packed: nothing is aligned.
 */
#ifndef BRIQ_SERVER_NBD_H
#define BRIQ_SERVER_NBD_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* ---- handshake ------------------------------------------------------------------------------- */

#define NBD_MAGIC             UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC      UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_OPTION_REPLY      UINT64_C(0x0003e889045565a9)
#define NBD_STRING_MAX        4096u
#define NBD_OPTION_HEADER     16u
#define NBD_OPTION_REPLY_HEAD 20u

enum nbd_handshake_flag {
    NBD_FLAG_FIXED_NEWSTYLE = 1,
    NBD_FLAG_NO_ZEROES = 2,
};

enum nbd_option {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
    NBD_OPT_EXTENDED_HEADERS = 11,
};

#define NBD_REP_ERROR UINT32_C(0x80000000)
enum nbd_option_reply {
    NBD_REP_ACK = 1,
    NBD_REP_SERVER = 2,
    NBD_REP_INFO = 3,
    NBD_REP_META_CONTEXT = 4,
};
#define NBD_REP_ERR_UNSUP          (NBD_REP_ERROR | 1)
#define NBD_REP_ERR_POLICY         (NBD_REP_ERROR | 2)
#define NBD_REP_ERR_INVALID        (NBD_REP_ERROR | 3)
#define NBD_REP_ERR_TLS_REQD       (NBD_REP_ERROR | 5)
#define NBD_REP_ERR_UNKNOWN        (NBD_REP_ERROR | 6)
#define NBD_REP_ERR_SHUTDOWN       (NBD_REP_ERROR | 7)
#define NBD_REP_ERR_TOO_BIG        (NBD_REP_ERROR | 9)
#define NBD_REP_ERR_EXT_HEADER_REQ (NBD_REP_ERROR | 10)

enum nbd_info {
    NBD_INFO_EXPORT = 0,
    NBD_INFO_NAME = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE = 3,
};

/* ---- transmission ---------------------------------------------------------------------------- */

enum nbd_transmission_flag {
    NBD_FLAG_HAS_FLAGS = 1 << 0,
    NBD_FLAG_READ_ONLY = 1 << 1,
    NBD_FLAG_SEND_FLUSH = 1 << 2,
    NBD_FLAG_SEND_FUA = 1 << 3,
    NBD_FLAG_SEND_TRIM = 1 << 5,
    NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
    NBD_FLAG_SEND_DF = 1 << 7,
    NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
    NBD_FLAG_SEND_CACHE = 1 << 10,
    NBD_FLAG_SEND_FAST_ZERO = 1 << 11,
    NBD_FLAG_BLOCK_STAT_PAYLOAD = 1 << 12,
};

#define NBD_REQUEST_MAGIC      UINT32_C(0x25609513)
#define NBD_EXTENDED_REQUEST   UINT32_C(0x21e41c71)
#define NBD_SIMPLE_REPLY       UINT32_C(0x67446698)
#define NBD_STRUCTURED_REPLY   UINT32_C(0x668e33ef)
#define NBD_EXTENDED_REPLY     UINT32_C(0x6e8a278c)
#define NBD_REQUEST_BYTES      28u
#define NBD_EXTENDED_BYTES     32u /* of request and reply */
#define NBD_REQUEST_BYTES_MAX  NBD_EXTENDED_BYTES
#define NBD_SIMPLE_REPLY_BYTES 16u
#define NBD_CHUNK_BYTES        20u

enum nbd_command {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};

enum nbd_command_flag {
    NBD_CMD_FLAG_FUA = 1 << 0,
    NBD_CMD_FLAG_NO_HOLE = 1 << 1,
    NBD_CMD_FLAG_DF = 1 << 2,
    NBD_CMD_FLAG_REQ_ONE = 1 << 3,
    NBD_CMD_FLAG_FAST_ZERO = 1 << 4,
    NBD_CMD_FLAG_PAYLOAD_LEN = 1 << 5,
};

#define NBD_REPLY_FLAG_DONE 1

enum nbd_chunk {
    NBD_REPLY_NONE = 0,
    NBD_REPLY_OFFSET_DATA = 1,
    NBD_REPLY_OFFSET_HOLE = 2,
    NBD_REPLY_BLOCK_STATUS = 5,
    NBD_REPLY_BLOCK_STATUS_EXT = 6,
    NBD_REPLY_ERROR = 0x8001,
    NBD_REPLY_ERROR_OFFSET = 0x8002,
};

enum nbd_error {
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108,
};

enum nbd_allocation {
    NBD_STATE_HOLE = 1,
    NBD_STATE_ZERO = 2,
};

/* ---- bytes ----------------------------------------------------------------------------------- */

static inline uint16_t nbd_get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return be16toh(v);
}

static inline uint32_t nbd_get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static inline uint64_t nbd_get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

/* Each returns what lies behind the written bytes. */
static inline uint8_t *nbd_put16(uint8_t *p, uint16_t v)
{
    v = htobe16(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *nbd_put32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *nbd_put64(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

#endif
