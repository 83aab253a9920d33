/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_disk.c - two images, what is durable and what a reader sees, and between them the list of
 * requests that no flush covers. A stop costs as much as there is in that list, not the whole disk.
 */
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

#include "tests/lib/idle_device.h"

#define SECTOR_BYTES 512u
#define GARBAGE      0xdb

enum pending_kind {
    PENDING_WRITE,
    PENDING_DISCARD_OLD, /* discarded, and reads as before */
    PENDING_DISCARD_ZERO,
    PENDING_DISCARD_GARBAGE,
};

/* A write or discard that no flush covers yet. */
struct pending {
    struct pending *next;
    uint64_t number, off, len;
    enum pending_kind kind;
    bool in_flight; /* never answered: readers do not see it */
    uint8_t data[]; /* of a write */
};

struct test_disk {
    pthread_mutex_t mutex;
    uint64_t size;
    uint8_t *durable, *current;
    struct pending *first, **last; /* in the order of their arrival */
    uint64_t clock;                /* requests that were ever put there */
    uint64_t flush_covers;         /* the next flush: up to this one */
    uint64_t generation;           /* handles of earlier ones are dead */
    uint64_t cut_after;
    bool counts_reads;
    atomic_bool cut;    /* written under the mutex; others may look */
    bool flush_in_hand; /* when it stopped */
    bool lies;          /* a flush does nothing */
    void (*stopped)(void *opaque, const struct test_disk_stop *stop);
    void *stopped_opaque;
    struct briq_prng prng; /* what a discard leaves */
    struct test_disk_fates fates;
};

struct handle {
    struct briq_device dev;
    struct test_disk *disk;
    uint64_t generation;
    bool view;
};

/* ---- the list of requests that no flush covers ----------------------------------------------- */

static struct pending *note_pending(struct test_disk *disk, enum pending_kind kind,
                                    const void *data, uint64_t len, uint64_t off)
{
    BRIQ_ASSERT(off <= disk->size && len <= disk->size - off);
    struct pending *pending = malloc(sizeof *pending + (data != NULL ? len : 0));
    BRIQ_ASSERT(pending != NULL);
    *pending = (struct pending){.number = ++disk->clock, .off = off, .len = len, .kind = kind};
    if (data != NULL)
        memcpy(pending->data, data, len);
    *disk->last = pending;
    disk->last = &pending->next;
    return pending;
}

/* Takes the first one out; its memory is the caller's. */
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

/* Carries out the part [skip, skip + len) of the request on an image. */
static void apply_part(uint8_t *image, const struct pending *pending, uint64_t skip, uint64_t len)
{
    uint8_t *at = image + pending->off + skip;
    switch (pending->kind) {
    case PENDING_WRITE:
        memcpy(at, pending->data + skip, len);
        break;
    case PENDING_DISCARD_ZERO:
        memset(at, 0, len);
        break;
    case PENDING_DISCARD_GARBAGE:
        memset(at, GARBAGE, len);
        break;
    case PENDING_DISCARD_OLD:
        break;
    }
}

static void apply(uint8_t *image, const struct pending *pending)
{
    apply_part(image, pending, 0, pending->len);
}

/* Bytes of the request from `done` on that lie in one sector. */
static uint64_t sector_part(const struct pending *pending, uint64_t done)
{
    uint64_t part = SECTOR_BYTES - (pending->off + done) % SECTOR_BYTES;
    return part < pending->len - done ? part : pending->len - done;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Takes the lock, and counts the request towards the stop. 0, or -EIO and no lock. */
static int enter(struct briq_device *dev, struct test_disk **ret_disk, bool changes)
{
    struct handle *handle = BRIQ_CONTAINER_OF(dev, struct handle, dev);
    struct test_disk *disk = handle->disk;
    pthread_mutex_lock(&disk->mutex);
    bool dead = !handle->view && (disk->cut || handle->generation != disk->generation);
    bool counts = !handle->view && (changes || disk->counts_reads);
    if (!dead && counts && disk->cut_after > 0 && --disk->cut_after == 0)
        disk->cut = true; /* this request is among the last: it may yet have happened */
    *ret_disk = disk;
    if (dead)
        pthread_mutex_unlock(&disk->mutex);
    return dead ? -EIO : 0;
}

/* The request that met the stop gets no answer, and the store cannot know what became of it. */
static int leave(struct briq_device *dev, const struct test_disk_stop *stop)
{
    struct handle *handle = BRIQ_CONTAINER_OF(dev, struct handle, dev);
    struct test_disk *disk = handle->disk;
    bool cut = disk->cut && !handle->view;
    pthread_mutex_unlock(&disk->mutex);
    if (cut && disk->stopped != NULL)
        disk->stopped(disk->stopped_opaque, stop);
    return cut ? -EIO : 0;
}

static int disk_read(struct briq_device *dev, void *buf, size_t len, uint64_t off)
{
    struct test_disk *disk;
    struct test_disk_stop stop = {.kind = TEST_IO_READ, .off = off, .len = len};
    int r = enter(dev, &disk, false);
    if (r != 0)
        return r;
    uint64_t have = off >= disk->size ? 0 : disk->size - off < len ? disk->size - off : len;
    memcpy(buf, disk->current + (have > 0 ? off : 0), have);
    memset((uint8_t *)buf + have, 0, len - have);
    return leave(dev, &stop);
}

static int disk_write(struct briq_device *dev, const void *buf, size_t len, uint64_t off)
{
    struct test_disk *disk;
    struct test_disk_stop stop = {.kind = TEST_IO_WRITE, .off = off, .len = len, .data = buf};
    int r = enter(dev, &disk, true);
    if (r != 0)
        return r;
    struct pending *pending = note_pending(disk, PENDING_WRITE, buf, len, off);
    pending->in_flight = disk->cut;
    if (!disk->cut)
        apply(disk->current, pending);
    return leave(dev, &stop);
}

/* Makes everything up to request `upto` durable that was answered. */
static void flush_upto(struct test_disk *disk, uint64_t upto)
{
    struct pending *pending, **link = &disk->first;
    while ((pending = *link) != NULL) {
        if (pending->number > upto || pending->in_flight) {
            link = &pending->next;
            continue;
        }
        apply(disk->durable, pending);
        *link = pending->next;
        free(pending);
    }
    disk->last = link;
}

static int disk_flush(struct briq_device *dev)
{
    struct test_disk *disk;
    struct test_disk_stop stop = {.kind = TEST_IO_FLUSH};
    int r = enter(dev, &disk, true);
    if (r != 0)
        return r;
    disk->flush_in_hand = disk->cut && !disk->lies;
    if (!disk->cut && !disk->lies) {
        flush_upto(disk, disk->flush_covers);
        disk->flush_covers = UINT64_MAX;
    }
    return leave(dev, &stop);
}

static int disk_discard(struct briq_device *dev, uint64_t off, uint64_t len)
{
    struct test_disk *disk;
    struct test_disk_stop stop = {.kind = TEST_IO_DISCARD, .off = off, .len = len};
    int r = enter(dev, &disk, true);
    if (r != 0)
        return r;
    enum pending_kind kind = PENDING_DISCARD_OLD + briq_prng_below(&disk->prng, 3);
    struct pending *pending = note_pending(disk, kind, NULL, len, off);
    disk->fates.discarded++;
    pending->in_flight = disk->cut;
    if (!disk->cut)
        apply(disk->current, pending);
    return leave(dev, &stop);
}

static int disk_reserve(struct briq_device *dev, uint64_t off, uint64_t len)
{
    struct test_disk *disk;
    int r = enter(dev, &disk, false);
    if (r != 0)
        return r;
    struct test_disk_stop stop = {.kind = TEST_IO_RESERVE, .off = off, .len = len};
    bool fits = off <= disk->size && len <= disk->size - off;
    r = leave(dev, &stop);
    return r != 0 ? r : fits ? 0 : -ENOSPC;
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
    .prefetch = test_idle_prefetch,
    .allocated = test_idle_allocated,
    .close = disk_close,
};

/* ---- the disk -------------------------------------------------------------------------------- */

struct test_disk *test_disk_open(uint64_t size_bytes)
{
    struct test_disk *disk = calloc(1, sizeof *disk);
    BRIQ_ASSERT(disk != NULL);
    pthread_mutex_init(&disk->mutex, NULL);
    disk->size = size_bytes;
    disk->durable = test_idle_memory(size_bytes);
    disk->current = test_idle_memory(size_bytes);
    disk->last = &disk->first;
    disk->flush_covers = UINT64_MAX;
    return disk;
}

static void forget_pending(struct test_disk *disk)
{
    for (struct pending *pending; (pending = take_pending(disk)) != NULL;)
        free(pending);
}

void test_disk_close(struct test_disk *disk)
{
    forget_pending(disk);
    munmap(disk->durable, disk->size);
    munmap(disk->current, disk->size);
    pthread_mutex_destroy(&disk->mutex);
    free(disk);
}

static void begin_generation(struct test_disk *disk)
{
    disk->generation++;
    disk->cut = false;
    disk->cut_after = 0;
    disk->flush_in_hand = false;
    disk->flush_covers = UINT64_MAX;
}

void test_disk_reset(struct test_disk *disk)
{
    forget_pending(disk);
    madvise(disk->durable, disk->size, MADV_DONTNEED);
    madvise(disk->current, disk->size, MADV_DONTNEED);
    disk->prng.state = disk->clock = 0;
    begin_generation(disk);
}

/* Reads up to `len` bytes, all of them if the file has them. Ends the program when it cannot. */
static uint64_t read_some(int fd, const char *path, uint8_t *to, uint64_t len)
{
    uint64_t done = 0;
    ssize_t got = 1;
    while (got > 0 && done < len) {
        got = read(fd, to + done, len - done);
        done += got > 0 ? (uint64_t)got : 0;
    }
    if (got < 0) {
        perror(path);
        exit(2);
    }
    return done;
}

void test_disk_load(struct test_disk *disk, const char *path)
{
    uint8_t bytes[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    test_disk_reset(disk);
    for (uint64_t off = 0, got = 1; got > 0 && off < disk->size; off += got) {
        uint64_t room = disk->size - off < sizeof bytes ? disk->size - off : sizeof bytes;
        got = read_some(fd, path, bytes, room);
        bool zeros = got == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, got - 1) == 0);
        if (zeros)
            continue; /* pages that nobody touches cost nothing */
        memcpy(disk->durable + off, bytes, got);
        memcpy(disk->current + off, bytes, got);
    }
    close(fd);
}

static struct handle *new_handle(struct test_disk *disk)
{
    struct handle *handle = calloc(1, sizeof *handle);
    BRIQ_ASSERT(handle != NULL);
    handle->disk = disk;
    handle->generation = disk->generation;
    handle->dev = (struct briq_device){
        .ops = &disk_ops, .size_bytes = disk->size, .align_bytes = 1, .fd = -1};
    return handle;
}

struct briq_device *test_disk_handle(struct test_disk *disk)
{
    return &new_handle(disk)->dev;
}

struct briq_device *test_disk_view(struct test_disk *disk)
{
    struct handle *handle = new_handle(disk);
    handle->view = true;
    handle->dev.read_only = true;
    return &handle->dev;
}

static void stop_after(struct test_disk *disk, uint64_t requests, bool counts_reads)
{
    pthread_mutex_lock(&disk->mutex);
    disk->cut_after = requests;
    disk->counts_reads = counts_reads;
    pthread_mutex_unlock(&disk->mutex);
}

void test_disk_cut_after(struct test_disk *disk, uint64_t requests)
{
    stop_after(disk, requests, false);
}

void test_disk_cut_after_any(struct test_disk *disk, uint64_t requests)
{
    stop_after(disk, requests, true);
}

void test_disk_on_stop(struct test_disk *disk,
                       void (*stopped)(void *opaque, const struct test_disk_stop *stop),
                       void *opaque)
{
    disk->stopped = stopped;
    disk->stopped_opaque = opaque;
}

void test_disk_in_flight(struct test_disk *disk, const void *data, uint64_t len, uint64_t off)
{
    pthread_mutex_lock(&disk->mutex);
    note_pending(disk, PENDING_WRITE, data, len, off)->in_flight = true;
    pthread_mutex_unlock(&disk->mutex);
}

uint64_t test_disk_clock(const struct test_disk *disk)
{
    return disk->clock;
}

void test_disk_flush_covers(struct test_disk *disk, uint64_t clock)
{
    disk->flush_covers = clock;
}

void test_disk_lie(struct test_disk *disk)
{
    disk->lies = true;
}

bool test_disk_is_cut(const struct test_disk *disk)
{
    return disk->cut;
}

struct test_disk_fates test_disk_fates(const struct test_disk *disk)
{
    return disk->fates;
}

/* ---- what is left ---------------------------------------------------------------------------- */

/* Of the sectors that the request touches, each is kept or not. */
static void apply_torn(uint8_t *image, const struct pending *pending, struct briq_prng *prng)
{
    for (uint64_t done = 0, part; done < pending->len; done += part) {
        part = sector_part(pending, done);
        if (briq_prng_below(prng, 2) == 0)
            apply_part(image, pending, done, part);
    }
}

static void garble(uint8_t *at, uint64_t len, struct briq_prng *prng)
{
    for (uint64_t i = 0; i < len; i += sizeof(uint64_t)) {
        uint64_t word = briq_prng_next(prng);
        memcpy(at + i, &word, len - i < sizeof word ? len - i : sizeof word);
    }
}

/* It is there, but some sectors were being written when the power went; at least one. */
static void apply_garbled(uint8_t *image, const struct pending *pending, struct briq_prng *prng)
{
    apply(image, pending);
    uint64_t sectors = (pending->len + SECTOR_BYTES - 1) / SECTOR_BYTES;
    uint64_t certain = briq_prng_below(prng, sectors), i = 0;
    for (uint64_t done = 0, part; done < pending->len; done += part, i++) {
        part = sector_part(pending, done);
        if (i == certain || briq_prng_below(prng, 8) == 0)
            garble(image + pending->off + done, part, prng);
    }
}

static void decide(struct test_disk *disk, const struct pending *pending, struct briq_prng *prng)
{
    uint64_t lot = briq_prng_below(prng, 10);
    if (lot < 4) {
        disk->fates.kept++;
        apply(disk->durable, pending);
    } else if (lot < 7) {
        disk->fates.lost++;
    } else if (lot < 9 || pending->kind != PENDING_WRITE) {
        disk->fates.torn++;
        apply_torn(disk->durable, pending, prng);
    } else {
        disk->fates.garbled++;
        apply_garbled(disk->durable, pending, prng);
    }
}

void test_disk_cut(struct test_disk *disk, struct briq_prng *prng)
{
    pthread_mutex_lock(&disk->mutex);
    if (disk->flush_in_hand && briq_prng_below(prng, 2) == 0)
        flush_upto(disk, disk->flush_covers);
    for (const struct pending *p = disk->first; p != NULL; p = p->next)
        decide(disk, p, prng);
    for (struct pending *p; (p = take_pending(disk)) != NULL; free(p))
        memcpy(disk->current + p->off, disk->durable + p->off, p->len);
    disk->fates.cuts++;
    begin_generation(disk);
    pthread_mutex_unlock(&disk->mutex);
}

/* Part of an unanswered request happened before its process died: it is like one of its own that
 * was answered. */
static void carry_out(struct test_disk *disk, const struct pending *pending, uint64_t skip,
                      uint64_t len)
{
    bool write = pending->kind == PENDING_WRITE;
    struct pending *done = note_pending(disk, pending->kind, write ? pending->data + skip : NULL,
                                        len, pending->off + skip);
    apply(disk->current, done);
}

static void settle(struct test_disk *disk, const struct pending *pending, struct briq_prng *prng)
{
    switch (briq_prng_below(prng, 3)) {
    case 0:
        break;
    case 1:
        carry_out(disk, pending, 0, pending->len);
        break;
    default:
        for (uint64_t done = 0, part; done < pending->len; done += part) {
            part = sector_part(pending, done);
            if (briq_prng_below(prng, 2) == 0)
                carry_out(disk, pending, done, part);
        }
    }
}

/* The requests without an answer, out of the list of all. */
static struct pending *take_in_flight(struct test_disk *disk)
{
    struct pending *taken = NULL, *pending, **link = &disk->first;
    while ((pending = *link) != NULL) {
        if (!pending->in_flight) {
            link = &pending->next;
            continue;
        }
        *link = pending->next;
        pending->next = taken;
        taken = pending;
    }
    disk->last = link;
    return taken;
}

void test_disk_die(struct test_disk *disk, struct briq_prng *prng)
{
    pthread_mutex_lock(&disk->mutex);
    for (struct pending *p = take_in_flight(disk), *next; p != NULL; p = next) {
        settle(disk, p, prng);
        next = p->next;
        free(p);
    }
    disk->fates.deaths++;
    begin_generation(disk);
    pthread_mutex_unlock(&disk->mutex);
}
