/* SPDX-License-Identifier: BSD-3-Clause */
/* prefetch.c - telling the device which bytes a coming read will want. */
#include <errno.h>

#include "common/base/align.h"
#include "common/store/op.h"

/* A run of extents that lie next to each other on the device. */
struct run {
    uint64_t begin, end;
};

static void emit(struct briq_store *store, const struct run *run)
{
    if (run->end > run->begin)
        briq_device_prefetch(store->dev, run->begin, run->end - run->begin);
}

static void add_block(struct briq_store *store, struct run *run, briq_word word)
{
    if (!briq_word_is_data(word))
        return;
    uint64_t begin = briq_word_granule(word) << BRIQ_GRANULE_SHIFT;
    uint64_t end = begin + (uint64_t)briq_word_granules(word) * BRIQ_GRANULE_BYTES;
    if (begin < run->begin || begin > run->end + BRIQ_CHUNK_ALIGN) {
        emit(store, run);
        run->begin = begin;
    }
    run->end = end;
}

int briq_prefetch(struct briq_store *store, uint64_t len, uint64_t off)
{
    uint64_t size = briq_store_size(store);
    if (off > size || len > size - off)
        return -EINVAL;
    if (store->in_memory || len == 0)
        return 0;
    struct briq_epoch_guard guard = {0};
    struct run run = {0, 0};
    uint64_t last = (off + len - 1) >> BRIQ_BLOCK_SHIFT;
    briq_epoch_enter(&store->epoch, &guard, 0);
    for (uint64_t block = off >> BRIQ_BLOCK_SHIFT; block <= last; block++) {
        /* A page that is not in memory yet is left to the read; so are errors. */
        if (!briq_map_page_ready(&store->map, briq_map_page_of(block))) {
            block |= BRIQ_PAGE_WORDS - 1;
            continue;
        }
        add_block(store, &run, briq_map_word(&store->map, block));
    }
    emit(store, &run);
    briq_reader_leave(store, &guard);
    return 0;
}
