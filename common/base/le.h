/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * le.h - little-endian integers as they lie on the medium.
 *
 * One-member structs, so that a raw on-disk value cannot be used as a number by accident.
 */
#ifndef BRIQ_BASE_LE_H
#define BRIQ_BASE_LE_H

#include <endian.h>
#include <stdint.h>

typedef struct {
    uint16_t raw;
} briq_le16;
typedef struct {
    uint32_t raw;
} briq_le32;
typedef struct {
    uint64_t raw;
} briq_le64;

static inline uint16_t briq_le16_get(briq_le16 x)
{
    return le16toh(x.raw);
}
static inline uint32_t briq_le32_get(briq_le32 x)
{
    return le32toh(x.raw);
}
static inline uint64_t briq_le64_get(briq_le64 x)
{
    return le64toh(x.raw);
}

static inline briq_le16 briq_le16_of(uint16_t v)
{
    return (briq_le16){htole16(v)};
}
static inline briq_le32 briq_le32_of(uint32_t v)
{
    return (briq_le32){htole32(v)};
}
static inline briq_le64 briq_le64_of(uint64_t v)
{
    return (briq_le64){htole64(v)};
}

#endif
