/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/sim_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECTOR_BYTES 512u
#define GARBAGE      0xdb

/* A write or discard (data NULL) that no flush covers yet. */
struct pending {
    struct pending *next;
    uint64_t off, len;
    uint8_t *data;
};

struct test_disk {
    pthread_mutex_t mutex;
    uint64_t size;
    uint8_t *durable, *current;
    struct pending *first, **last; /* in the order of their arrival */
    uint64_t generation;           /* handles of earlier ones are dead */
    uint64_t cut_after;
    atomic_bool cut; /* written under the mutex; others may look */
    bool lies;       /* a flush does nothing */
    struct test_disk_fates fates;
};

struct handle {
    struct briq_device dev;
    struct test_disk *disk;
    uint64_t generation;
};

static void *need_memory(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    BRIQ_ASSERT(memory != MAP_FAILED);
    return memory;
}

/* Takes the lock, and counts a request that changes something towards the cut. 0, or -EIO and no
 * lock. */
static int enter(struct briq_device *dev, struct test_disk **ret_disk, bool changes)
{
    struct handle *handle = BRIQ_CONTAINER_OF(dev, struct handle, dev);
    struct test_disk *disk = handle->disk;
    pthread_mutex_lock(&disk->mutex);
    bool dead = disk->cut || handle->generation != disk->generation;
    if (!dead && changes && disk->cut_after > 0 && --disk->cut_after == 0)
        disk->cut = true; /* this request is among the last: it may yet be kept */
    *ret_disk = disk;
    if (dead)
        pthread_mutex_unlock(&disk->mutex);
    return dead ? -EIO : 0;
}

/* The request that the cut hit gets no answer, and the store cannot know what became of it. */
static int leave(struct test_disk *disk)
{
    int r = disk->cut ? -EIO : 0;
    pthread_mutex_unlock(&disk->mutex);
    return r;
}

static void note_pending(struct test_disk *disk, const void *data, uint64_t len, uint64_t off)
{
    struct pending *pending = calloc(1, sizeof *pending);
    BRIQ_ASSERT(pending != NULL && off <= disk->size && len <= disk->size - off);
    pending->off = off;
    pending->len = len;
    if (data != NULL) {
        pending->data = malloc(len);
        BRIQ_ASSERT(pending->data != NULL);
        memcpy(pending->data, data, len);
    }
    *disk->last = pending;
    disk->last = &pending->next;
}

static int disk_read(struct briq_device *dev, void *buf, size_t len, uint64_t off)
{
    struct test_disk *disk;
    int r = enter(dev, &disk, false);
    if (r != 0)
        return r;
    uint64_t have = off >= disk->size ? 0 : disk->size - off < len ? disk->size - off : len;
    memcpy(buf, disk->current + (have > 0 ? off : 0), have);
    memset((uint8_t *)buf + have, 0, len - have);
    return leave(disk);
}

static int disk_write(struct briq_device *dev, const void *buf, size_t len, uint64_t off)
{
    struct test_disk *disk;
    int r = enter(dev, &disk, true);
    if (r != 0)
        return r;
    note_pending(disk, buf, len, off);
    memcpy(disk->current + off, buf, len);
    return leave(disk);
}

static void apply(struct test_disk *disk, const struct pending *pending)
{
    if (pending->data != NULL)
        memcpy(disk->durable + pending->off, pending->data, pending->len);
    else
        memset(disk->durable + pending->off, GARBAGE, pending->len);
}

static struct pending *take_pending(struct test_disk *disk)
{
    struct pending *pending = disk->first;
    if (pending != NULL) {
        disk->first = pending->next;
        if (disk->first == NULL)
            disk->last = &disk->first;
    }
    return pending;
}

static void free_pending(struct pending *pending)
{
    free(pending->data);
    free(pending);
}

static int disk_flush(struct briq_device *dev)
{
    struct test_disk *disk;
    int r = enter(dev, &disk, true);
    if (r != 0)
        return r;
    if (!disk->cut && !disk->lies) {
        for (struct pending *pending; (pending = take_pending(disk)) != NULL;) {
            apply(disk, pending);
            free_pending(pending);
        }
    }
    return leave(disk);
}

static int disk_discard(struct briq_device *dev, uint64_t off, uint64_t len)
{
    struct test_disk *disk;
    int r = enter(dev, &disk, true);
    if (r != 0)
        return r;
    note_pending(disk, NULL, len, off);
    memset(disk->current + off, GARBAGE, len);
    return leave(disk);
}

static int disk_reserve(struct briq_device *dev, uint64_t off, uint64_t len)
{
    struct test_disk *disk;
    int r = enter(dev, &disk, false);
    if (r != 0)
        return r;
    bool fits = off <= disk->size && len <= disk->size - off;
    r = leave(disk);
    return r != 0 ? r : fits ? 0 : -ENOSPC;
}

static void disk_prefetch(struct briq_device *dev, uint64_t off, uint64_t len)
{
    (void)dev;
    (void)off;
    (void)len;
}

static int disk_allocated(struct briq_device *dev, uint64_t *ret_bytes)
{
    *ret_bytes = BRIQ_CONTAINER_OF(dev, struct handle, dev)->disk->size;
    return 0;
}

static void disk_close(struct briq_device *dev)
{
    free(BRIQ_CONTAINER_OF(dev, struct handle, dev));
}

static const struct briq_device_ops disk_ops = {
    .read = disk_read,
    .write = disk_write,
    .flush = disk_flush,
    .discard = disk_discard,
    .reserve = disk_reserve,
    .prefetch = disk_prefetch,
    .allocated = disk_allocated,
    .close = disk_close,
};

struct test_disk *test_disk_open(uint64_t size_bytes)
{
    struct test_disk *disk = calloc(1, sizeof *disk);
    BRIQ_ASSERT(disk != NULL);
    pthread_mutex_init(&disk->mutex, NULL);
    disk->size = size_bytes;
    disk->durable = need_memory(size_bytes);
    disk->current = need_memory(size_bytes);
    disk->last = &disk->first;
    return disk;
}

void test_disk_close(struct test_disk *disk)
{
    for (struct pending *pending; (pending = take_pending(disk)) != NULL;)
        free_pending(pending);
    munmap(disk->durable, disk->size);
    munmap(disk->current, disk->size);
    pthread_mutex_destroy(&disk->mutex);
    free(disk);
}

void test_disk_load(struct test_disk *disk, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t done = 0;
    ssize_t got = fd < 0 ? -1 : 1;
    while (got > 0 && done < disk->size) {
        got = read(fd, disk->durable + done, disk->size - done);
        done += got > 0 ? (uint64_t)got : 0;
    }
    if (got < 0) {
        perror(path);
        exit(2);
    }
    close(fd);
    memset(disk->durable + done, 0, disk->size - done);
    memcpy(disk->current, disk->durable, disk->size);
}

struct briq_device *test_disk_handle(struct test_disk *disk)
{
    struct handle *handle = calloc(1, sizeof *handle);
    BRIQ_ASSERT(handle != NULL);
    handle->disk = disk;
    handle->generation = disk->generation;
    handle->dev = (struct briq_device){
        .ops = &disk_ops, .size_bytes = disk->size, .align_bytes = 1, .fd = -1};
    return &handle->dev;
}

void test_disk_cut_after(struct test_disk *disk, uint64_t requests)
{
    pthread_mutex_lock(&disk->mutex);
    disk->cut_after = requests;
    pthread_mutex_unlock(&disk->mutex);
}

void test_disk_lie(struct test_disk *disk)
{
    disk->lies = true;
}

bool test_disk_is_cut(const struct test_disk *disk)
{
    return disk->cut;
}

/* Of the sectors that the request touches, each is kept or not. */
static void apply_torn(struct test_disk *disk, const struct pending *pending,
                       struct briq_prng *prng)
{
    for (uint64_t done = 0; done < pending->len;) {
        uint64_t at = pending->off + done;
        uint64_t part = SECTOR_BYTES - at % SECTOR_BYTES;
        if (part > pending->len - done)
            part = pending->len - done;
        struct pending sector = {
            .off = at, .len = part, .data = pending->data == NULL ? NULL : pending->data + done};
        if (briq_prng_below(prng, 2) == 0)
            apply(disk, &sector);
        done += part;
    }
}

static void decide(struct test_disk *disk, struct pending *pending, struct briq_prng *prng)
{
    switch (briq_prng_below(prng, 3)) {
    case 0:
        disk->fates.lost++;
        break;
    case 1:
        disk->fates.kept++;
        apply(disk, pending);
        break;
    default:
        disk->fates.torn++;
        apply_torn(disk, pending, prng);
    }
}

void test_disk_cut(struct test_disk *disk, struct briq_prng *prng)
{
    pthread_mutex_lock(&disk->mutex);
    for (struct pending *pending; (pending = take_pending(disk)) != NULL;) {
        decide(disk, pending, prng);
        free_pending(pending);
    }
    memcpy(disk->current, disk->durable, disk->size);
    disk->fates.cuts++;
    disk->generation++;
    disk->cut = false;
    disk->cut_after = 0;
    pthread_mutex_unlock(&disk->mutex);
}

struct test_disk_fates test_disk_fates(const struct test_disk *disk)
{
    return disk->fates;
}
