/* SPDX-License-Identifier: BSD-3-Clause */
/* uuid.c - see uuid.h; bytes stand in the order of the text, as RFC 4122 has it. */
#include "common/base/uuid.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>

int briq_uuid_random(uint8_t ret[BRIQ_UUID_BYTES])
{
    uint8_t bytes[BRIQ_UUID_BYTES];
    size_t have = 0;

    while (have < sizeof bytes) {
        ssize_t n = getrandom(bytes + have, sizeof bytes - have, 0);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            have += (size_t)n;
    }
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40); /* version 4 */
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80); /* variant of RFC 4122 */
    memcpy(ret, bytes, sizeof bytes);
    return 0;
}

/* A dash stands before these bytes. */
static bool dash_before(size_t index)
{
    return index == 4 || index == 6 || index == 8 || index == 10;
}

const char *briq_uuid_format(const uint8_t uuid[BRIQ_UUID_BYTES], char text[BRIQ_UUID_TEXT_MAX])
{
    static const char digits[] = "0123456789abcdef";
    char *p = text;

    for (size_t i = 0; i < BRIQ_UUID_BYTES; i++) {
        if (dash_before(i))
            *p++ = '-';
        *p++ = digits[uuid[i] >> 4];
        *p++ = digits[uuid[i] & 15];
    }
    *p = '\0';
    return text;
}

/* The value of a hexadecimal digit; -1 for anything else, the end of a string included. */
static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int briq_uuid_parse(const char *text, uint8_t ret[BRIQ_UUID_BYTES])
{
    uint8_t bytes[BRIQ_UUID_BYTES];

    for (size_t i = 0; i < sizeof bytes; i++) {
        if (dash_before(i) && *text++ != '-')
            return -EINVAL;
        int high = digit_value(text[0]);
        int low = high < 0 ? -1 : digit_value(text[1]);
        if (low < 0)
            return -EINVAL;
        bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text != '\0')
        return -EINVAL;
    memcpy(ret, bytes, sizeof bytes);
    return 0;
}
