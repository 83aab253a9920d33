/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctx.c - the contexts of a store: who has which.
 *
 * A thread that makes plain calls borrows one for each. It leaves it in a park of its own and finds
 * it there the next time: no lock, no cache line of another thread, and a compressor state that is
 * still in this processor's cache. Threads may share a park, having the same number; then one of them
 * takes what is free, under the lock. Who finds none, and may make no more, looks into all parks
 * before it waits; while somebody waits nobody parks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/engine.h"

static struct briq_ctx_park *park_of_thread(struct briq_store *store)
{
    uint64_t hash = (uint64_t)(uintptr_t)pthread_self() * UINT64_C(0x9e3779b97f4a7c15);
    return &store->ctx_parks[hash >> 32 & (BRIQ_CTX_PARKS - 1)];
}

static struct briq_ctx *take_from(struct briq_ctx_park *park)
{
    return atomic_exchange(&park->ctx, NULL);
}

static struct briq_ctx *take_any_parked(struct briq_store *store)
{
    struct briq_ctx *ctx = NULL;
    for (unsigned i = 0; i < BRIQ_CTX_PARKS && ctx == NULL; i++)
        ctx = take_from(&store->ctx_parks[i]);
    return ctx;
}

static int ctx_new(struct briq_store *store, struct briq_ctx **ret)
{
    if (store->ctx_count == BRIQ_CTX_MAX)
        return -EAGAIN;
    struct briq_ctx *ctx = aligned_alloc(BRIQ_CACHELINE_BYTES, sizeof *ctx);
    if (ctx == NULL)
        return -ENOMEM;
    memset(ctx, 0, sizeof *ctx);
    if (briq_codec_init(&ctx->codec, store->accel, !store->in_memory) < 0) {
        free(ctx);
        return -ENOMEM;
    }
    ctx->store = store;
    ctx->index = store->ctx_count;
    ctx->stream = &store->journal.streams[ctx->index % store->journal.user_count];
    store->ctxs[store->ctx_count++] = ctx;
    *ret = ctx;
    return 0;
}

/* Under the lock. */
static int take_free(struct briq_store *store, struct briq_ctx **ret)
{
    *ret = store->ctx_free;
    if (*ret != NULL) {
        store->ctx_free = (*ret)->next_free;
        return 0;
    }
    int r = ctx_new(store, ret);
    if (r == -EAGAIN && (*ret = take_any_parked(store)) != NULL)
        r = 0;
    return r;
}

int briq_ctx_open(struct briq_store *store, struct briq_ctx **ret)
{
    pthread_mutex_lock(&store->ctx_lock);
    int r = take_free(store, ret);
    pthread_mutex_unlock(&store->ctx_lock);
    return r;
}

void briq_ctx_close(struct briq_ctx *ctx)
{
    if (ctx == NULL)
        return;
    struct briq_store *store = ctx->store;
    pthread_mutex_lock(&store->ctx_lock);
    ctx->next_free = store->ctx_free;
    store->ctx_free = ctx;
    pthread_cond_signal(&store->ctx_cond);
    pthread_mutex_unlock(&store->ctx_lock);
}

/* ---- for one call ---------------------------------------------------------------------------- */

/* Who waits says so before it looks into the parks, and who parks looks for waiters behind that: one
 * of the two sees the other. */
static int take_or_wait(struct briq_store *store, struct briq_ctx **ret)
{
    pthread_mutex_lock(&store->ctx_lock);
    atomic_fetch_add(&store->ctx_waiters, 1);
    int r = take_free(store, ret);
    while (r == -EAGAIN) {
        pthread_cond_wait(&store->ctx_cond, &store->ctx_lock);
        r = take_free(store, ret);
    }
    atomic_fetch_sub(&store->ctx_waiters, 1);
    pthread_mutex_unlock(&store->ctx_lock);
    return r;
}

int briq_ctx_borrow(struct briq_store *store, struct briq_ctx **ret)
{
    *ret = take_from(park_of_thread(store));
    return *ret != NULL ? 0 : take_or_wait(store, ret);
}

void briq_ctx_return(struct briq_ctx *ctx)
{
    struct briq_store *store = ctx->store;
    struct briq_ctx_park *park = park_of_thread(store);
    struct briq_ctx *none = NULL;
    if (atomic_compare_exchange_strong(&park->ctx, &none, ctx))
        ctx = atomic_load(&store->ctx_waiters) > 0 ? take_from(park) : NULL;
    briq_ctx_close(ctx);
}

void briq_ctxs_fini(struct briq_store *store)
{
    for (unsigned i = 0; i < store->ctx_count; i++) {
        briq_codec_fini(&store->ctxs[i]->codec);
        free(store->ctxs[i]);
    }
    store->ctx_count = 0;
}
