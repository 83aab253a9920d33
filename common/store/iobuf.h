/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iobuf.h - a fixed number of buffers that compressed bytes are read into.
 *
 * Each carries the list of the blocks whose extents it will hold, so that an operation can hand out
 * the reads and decode when they are back. Memory is mapped once and touched on first use.
 *
 * Thread: get and put any; a buffer belongs to whoever got it.
 */
#ifndef BRIQ_STORE_IOBUF_H
#define BRIQ_STORE_IOBUF_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/store/word.h"

#define BRIQ_IOBUF_BYTES (128u << 10)
#define BRIQ_IOBUF_ITEMS 128u

struct briq_iobuf_item {
    briq_word word;
    uint64_t block;
    uint32_t off; /* of the extent in mem */
};

struct briq_iobuf {
    uint8_t *mem; /* BRIQ_IOBUF_BYTES, aligned to 4096 */
    struct briq_iobuf *next;
    uint32_t used; /* bytes of mem that reads were planned into */
    uint32_t item_count;
    struct briq_iobuf_item items[BRIQ_IOBUF_ITEMS];
};

struct briq_iobufs {
    pthread_mutex_t lock; /* guards free; a leaf */
    struct briq_iobuf *free;
    struct briq_iobuf *all;
    uint8_t *mem;
    uint32_t count;
};

int briq_iobufs_init(struct briq_iobufs *pool, uint32_t count) BRIQ_MUST;
void briq_iobufs_fini(struct briq_iobufs *pool);

/* An empty buffer, or NULL: none is free now. */
struct briq_iobuf *briq_iobuf_get(struct briq_iobufs *pool);
/* Gives it back. True if there was none: then somebody may be waiting for it. */
bool briq_iobuf_put(struct briq_iobufs *pool, struct briq_iobuf *buf);

#endif
