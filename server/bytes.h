/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bytes.h - a buffer that grows: what the handshake says. Not for the data path.
 *
 * Memory that runs out is remembered in `failed`, so that adding needs no checks.
 */
#ifndef BRIQ_SERVER_BYTES_H
#define BRIQ_SERVER_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct briq_bytes {
    uint8_t *data; /* owned */
    size_t len, room;
    bool failed;
};

static inline void briq_bytes_fini(struct briq_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct briq_bytes){.data = NULL};
}

/* Room for n more bytes, counted as there already; NULL when memory ran out. */
static inline uint8_t *briq_bytes_add(struct briq_bytes *bytes, size_t n)
{
    if (bytes->len + n > bytes->room) {
        size_t room = bytes->room + bytes->room / 2 + n + 256;
        uint8_t *data = bytes->failed ? NULL : realloc(bytes->data, room);
        if (data == NULL) {
            bytes->failed = true;
            return NULL;
        }
        bytes->data = data;
        bytes->room = room;
    }
    uint8_t *at = bytes->data + bytes->len;
    bytes->len += n;
    return at;
}

static inline void briq_bytes_append(struct briq_bytes *bytes, const void *from, size_t n)
{
    uint8_t *at = briq_bytes_add(bytes, n);
    if (at != NULL && n > 0)
        memcpy(at, from, n);
}

#endif
