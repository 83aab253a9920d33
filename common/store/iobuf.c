/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/iobuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/vmem.h"

int briq_iobufs_init(struct briq_iobufs *pool, uint32_t count)
{
    memset(pool, 0, sizeof *pool);
    pthread_mutex_init(&pool->lock, NULL);
    pool->count = count;
    pool->mem = briq_vmem_map((size_t)count * BRIQ_IOBUF_BYTES);
    pool->all = calloc(count, sizeof *pool->all);
    if (pool->mem == NULL || pool->all == NULL) {
        briq_iobufs_fini(pool);
        return -ENOMEM;
    }
    for (uint32_t i = count; i > 0; i--) {
        pool->all[i - 1].mem = pool->mem + (size_t)(i - 1) * BRIQ_IOBUF_BYTES;
        (void)briq_iobuf_put(pool, &pool->all[i - 1]);
    }
    return 0;
}

void briq_iobufs_fini(struct briq_iobufs *pool)
{
    if (pool->count == 0)
        return;
    briq_vmem_unmap(pool->mem, (size_t)pool->count * BRIQ_IOBUF_BYTES);
    free(pool->all);
    pthread_mutex_destroy(&pool->lock);
    memset(pool, 0, sizeof *pool);
}

struct briq_iobuf *briq_iobuf_get(struct briq_iobufs *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct briq_iobuf *buf = pool->free;
    if (buf != NULL)
        pool->free = buf->next;
    pthread_mutex_unlock(&pool->lock);
    if (buf != NULL)
        buf->used = buf->item_count = 0;
    return buf;
}

bool briq_iobuf_put(struct briq_iobufs *pool, struct briq_iobuf *buf)
{
    pthread_mutex_lock(&pool->lock);
    bool was_empty = pool->free == NULL;
    buf->next = pool->free;
    pool->free = buf;
    pthread_mutex_unlock(&pool->lock);
    return was_empty;
}
