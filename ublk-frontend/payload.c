/* SPDX-License-Identifier: BSD-3-Clause */
#include "ublk-frontend/payload.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ublk-frontend/uapi.h"

int briq_ublk_payload_open(struct briq_ublk_payload *payload, bool user_copy, int fd,
                           unsigned queue, unsigned count, size_t buffer_bytes)
{
    *payload = (struct briq_ublk_payload){
        .user_copy = user_copy,
        .fd = fd,
        .queue = queue,
        .count = count,
        .free_count = count,
        .buffer_bytes = buffer_bytes,
        .memory_bytes = count * buffer_bytes,
    };
    payload->free = calloc(count, sizeof payload->free[0]);
    if (payload->free == NULL)
        return -ENOMEM;
    void *memory = mmap(NULL, payload->memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        free(payload->free);
        payload->free = NULL;
        return -ENOMEM;
    }
    payload->memory = memory;
    for (unsigned i = 0; i < count; i++)
        payload->free[i] = payload->memory + (count - 1 - i) * buffer_bytes;
    return 0;
}

void briq_ublk_payload_close(struct briq_ublk_payload *payload)
{
    if (payload->memory != NULL)
        munmap(payload->memory, payload->memory_bytes);
    free(payload->free);
    *payload = (struct briq_ublk_payload){.memory = NULL};
}

uint8_t *briq_ublk_payload_get(struct briq_ublk_payload *payload, unsigned slot)
{
    if (!payload->user_copy)
        return payload->memory + slot * payload->buffer_bytes;
    BRIQ_ASSERT(payload->free_count > 0); /* there are as many as slots */
    return payload->free[--payload->free_count];
}

void briq_ublk_payload_put(struct briq_ublk_payload *payload, uint8_t *buffer)
{
    if (!payload->user_copy)
        return;
    BRIQ_ASSERT(payload->free_count < payload->count);
    payload->free[payload->free_count++] = buffer;
}

uint64_t briq_ublk_payload_address(const struct briq_ublk_payload *payload, unsigned slot)
{
    if (payload->user_copy)
        return 0; /* the kernel insists */
    return (uint64_t)(uintptr_t)(payload->memory + slot * payload->buffer_bytes);
}

int briq_ublk_payload_fetch(const struct briq_ublk_payload *payload, unsigned tag, uint8_t *at,
                            size_t len, uint64_t position)
{
    if (!payload->user_copy)
        return 0;
    uint64_t off = ublk_data_offset(payload->queue, tag, (uint32_t)position);
    while (len > 0) {
        ssize_t n = pread(payload->fd, at, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        len -= (size_t)n;
        off += (uint64_t)n;
    }
    return 0;
}

int briq_ublk_payload_supply(const struct briq_ublk_payload *payload, unsigned tag,
                             const uint8_t *at, size_t len, uint64_t position)
{
    if (!payload->user_copy)
        return 0;
    uint64_t off = ublk_data_offset(payload->queue, tag, (uint32_t)position);
    while (len > 0) {
        ssize_t n = pwrite(payload->fd, at, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        len -= (size_t)n;
        off += (uint64_t)n;
    }
    return 0;
}
