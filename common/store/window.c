/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/store/window.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "common/base/align.h"
#include "common/base/uuid.h"
#include "common/base/vmem.h"

#define PAGE 4096u

/* ---- layout of the file: header page, descriptors, windows ----------------------------------- */

static size_t descs_bytes(uint32_t count)
{
    return briq_align_up(count * sizeof(struct briq_window_desc), PAGE);
}

static size_t windows_offset(uint32_t count)
{
    return PAGE + descs_bytes(count);
}

/* A name that was cut short would be that of another volume, or of its copy, too. */
static int file_path(const struct briq_windows_options *options, char path[BRIQ_WINDOWS_PATH_MAX],
                     struct briq_error *err)
{
    char uuid[BRIQ_UUID_TEXT_MAX];
    briq_uuid_format(options->uuid, uuid);
    int n = snprintf(path, BRIQ_WINDOWS_PATH_MAX, "%s/briq-%s-%llu-%llx.%llx", options->dir, uuid,
                     (unsigned long long)options->incarnation,
                     (unsigned long long)options->host_dev, (unsigned long long)options->host_ino);
    if (n < BRIQ_WINDOWS_PATH_MAX)
        return 0;
    path[0] = '\0';
    return briq_error_set(err, -ENAMETOOLONG,
                          "%s: append windows there would have too long a name: choose a directory "
                          "with a shorter one",
                          options->dir);
}

/* ---- making the pool ------------------------------------------------------------------------- */

/* Takes memory for [off, off+len) now: a full tmpfs must be an error here, not a SIGBUS later. */
static int back_with_memory(struct briq_windows *pool, size_t off, size_t len)
{
    if (pool->fd < 0)
        return 0;
    int r = posix_fallocate(pool->fd, (off_t)off, (off_t)len);
    return r == 0 ? 0 : -r;
}

static int map_file(struct briq_windows *pool, const struct briq_windows_options *options,
                    struct briq_error *err)
{
    int r = file_path(options, pool->path, err);
    if (r < 0)
        return r;
    /* We hold the volume's lock, and this incarnation has not begun: a file of that name is of an
     * opening that died before it wrote its superblock, and holds nothing. */
    unlink(pool->path);
    pool->fd = open(pool->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (pool->fd < 0)
        return briq_error_set(err, -errno, "%s: cannot create the append windows: %s", pool->path,
                              strerror(errno));
    size_t initial = windows_offset(pool->count) + (size_t)options->initial * pool->window_bytes;
    r = ftruncate(pool->fd, (off_t)pool->file_bytes) < 0 ? -errno : 0;
    if (r == 0)
        r = back_with_memory(pool, 0, initial);
    if (r == 0) {
        pool->file_base =
            mmap(NULL, pool->file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, pool->fd, 0);
        r = pool->file_base == MAP_FAILED ? -errno : 0;
    }
    if (r == 0)
        return 0;
    pool->file_base = NULL;
    unlink(pool->path);
    close(pool->fd);
    pool->fd = -1;
    return briq_error_set(err, r, "%s: cannot take memory for the append windows: %s", pool->path,
                          strerror(-r));
}

static int map_private(struct briq_windows *pool)
{
    pool->path[0] = '\0';
    pool->file_base = briq_vmem_map(pool->file_bytes);
    return pool->file_base == NULL ? -ENOMEM : 0;
}

static void init_windows(struct briq_windows *pool)
{
    struct briq_window_desc *descs =
        (struct briq_window_desc *)(void *)((uint8_t *)pool->file_base + PAGE);
    uint8_t *mem = (uint8_t *)pool->file_base + windows_offset(pool->count);
    for (uint32_t i = 0; i < pool->count; i++) {
        pool->windows[i].desc = &descs[i];
        pool->windows[i].mem = pool->adopts ? NULL : mem + (size_t)i * pool->window_bytes;
        pool->windows[i].id = i + 1;
    }
    for (uint32_t i = pool->usable; i > 0; i--)
        pool->free_stack[pool->free_count++] = &pool->windows[i - 1];
}

static void write_header(struct briq_windows *pool, const struct briq_windows_options *options)
{
    struct briq_windows_header header = {
        .incarnation = options->incarnation,
        .host_dev = options->host_dev,
        .host_ino = options->host_ino,
        .window_bytes = pool->window_bytes,
        .window_count = pool->count,
        .magic = BRIQ_WINDOWS_MAGIC,
    };
    memcpy(header.uuid, options->uuid, sizeof header.uuid);
    memcpy(header.boot_id, options->boot_id, sizeof header.boot_id);
    memcpy(pool->file_base, &header, sizeof header);
}

int briq_windows_init(struct briq_windows *pool, const struct briq_windows_options *options,
                      struct briq_epoch *epoch, struct briq_waitq *waitq, struct briq_error *err)
{
    BRIQ_ASSERT(options->count >= 1 && options->count <= BRIQ_WINDOWS_MAX);
    BRIQ_ASSERT(options->initial >= 1 && options->initial <= options->count);
    BRIQ_ASSERT(!options->adopts || options->dir == NULL);
    memset(pool, 0, sizeof *pool);
    pool->fd = -1;
    pool->epoch = epoch;
    pool->waitq = waitq;
    pool->count = options->count;
    pool->usable = options->initial;
    pool->window_shift = options->window_shift;
    pool->window_bytes = 1u << options->window_shift;
    pool->adopts = options->adopts;
    pool->file_bytes = windows_offset(pool->count) +
                       (options->adopts ? 0 : (size_t)pool->count * pool->window_bytes);
    pool->finder_count = (options->device_bytes_max >> pool->window_shift) + 1;
    pthread_mutex_init(&pool->lock, NULL);
    int r = options->dir != NULL ? map_file(pool, options, err) : map_private(pool);
    if (r == 0) {
        pool->windows = calloc(pool->count, sizeof *pool->windows);
        pool->free_stack = calloc(pool->count, sizeof(struct briq_window *));
        pool->finder = briq_vmem_map(pool->finder_count * sizeof *pool->finder);
        if (!pool->windows || !pool->free_stack || !pool->finder)
            r = -ENOMEM;
    }
    if (r < 0) {
        briq_windows_fini(pool, true);
        return briq_error_set(err, r, "append windows: %s", strerror(-r));
    }
    init_windows(pool);
    write_header(pool, options);
    return 0;
}

void briq_windows_fini(struct briq_windows *pool, bool unlink_file)
{
    if (pool->file_bytes == 0)
        return;
    if (pool->fd >= 0) {
        if (pool->file_base != NULL)
            munmap(pool->file_base, pool->file_bytes);
        if (unlink_file)
            unlink(pool->path);
        close(pool->fd);
    } else {
        briq_vmem_unmap(pool->file_base, pool->file_bytes);
    }
    free(pool->windows);
    free(pool->free_stack);
    briq_vmem_unmap(pool->finder, pool->finder_count * sizeof *pool->finder);
    pthread_mutex_destroy(&pool->lock);
    memset(pool, 0, sizeof *pool);
    pool->fd = -1;
}

/* ---- the life of a window -------------------------------------------------------------------- */

/* One more window gets memory behind it; false when there are no more, or no memory. */
static bool grow(struct briq_windows *pool)
{
    if (pool->usable == pool->count)
        return false;
    size_t off = windows_offset(pool->count) + (size_t)pool->usable * pool->window_bytes;
    if (back_with_memory(pool, off, pool->window_bytes) < 0)
        return false;
    pool->free_stack[pool->free_count++] = &pool->windows[pool->usable++];
    return true;
}

static void reclaim_locked(struct briq_windows *pool)
{
    struct briq_window *w;
    while ((w = pool->retired_head) != NULL && briq_epoch_passed(pool->epoch, w->epoch_tag)) {
        pool->retired_head = w->next_retired;
        pool->free_stack[pool->free_count++] = w;
    }
}

/* Leaves the pool's lock. Who freed windows on the way to something else tells those who starve. */
static void unlock_and_tell(struct briq_windows *pool)
{
    bool tell = pool->starved && pool->free_count > 0;
    if (tell)
        pool->starved = false;
    pthread_mutex_unlock(&pool->lock);
    if (tell)
        briq_waitq_wake(pool->waitq);
}

void briq_windows_reclaim(struct briq_windows *pool)
{
    pthread_mutex_lock(&pool->lock);
    reclaim_locked(pool);
    unlock_and_tell(pool);
}

struct briq_window *briq_windows_get(struct briq_windows *pool)
{
    struct briq_window *w = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->free_count == 0)
        reclaim_locked(pool);
    if (pool->free_count > 0 || grow(pool))
        w = pool->free_stack[--pool->free_count];
    pool->starved = pool->starved || w == NULL;
    unlock_and_tell(pool);
    return w;
}

void briq_windows_put(struct briq_windows *pool, struct briq_window *w)
{
    pthread_mutex_lock(&pool->lock);
    pool->free_stack[pool->free_count++] = w;
    unlock_and_tell(pool);
}

uint32_t briq_window_desc_check(const struct briq_window_desc *desc)
{
    const size_t begin = offsetof(struct briq_window_desc, stream);
    const size_t end = offsetof(struct briq_window_desc, sealed_end);
    return (uint32_t)XXH3_64bits((const uint8_t *)desc + begin, end - begin) | 1;
}

void briq_windows_attach(struct briq_windows *pool, struct briq_window *w, uint64_t where,
                         const struct briq_window_desc *desc)
{
    struct briq_window_desc *d = w->desc;
    BRIQ_ASSERT(atomic_load(&d->active) == 0);
    d->stream = desc->stream;
    d->kind = desc->kind;
    d->seg = desc->seg;
    d->next_seg = desc->next_seg;
    d->base = desc->base;
    d->start = desc->start;
    d->reserved = 0;
    d->segseq = desc->segseq;
    d->cap = 0;
    atomic_store_explicit(&d->sealed_end, desc->start, memory_order_relaxed);
    atomic_store_explicit(&d->open_off, desc->start, memory_order_relaxed);
    atomic_store_explicit(&d->open_nrec, 0, memory_order_relaxed);
    /* From here on a dead process's successor believes the descriptor. */
    atomic_store_explicit(&d->active, briq_window_desc_check(d), memory_order_release);

    w->seg = desc->seg;
    w->base = desc->base;
    w->start = desc->start;
    w->end = pool->window_bytes;
    w->sealed_end = w->claimed_end = desc->start;
    w->inflight = 0;
    w->filled = w->failed = false;
    atomic_store_explicit(&pool->finder[where >> pool->window_shift], (uint16_t)w->id,
                          memory_order_release);
}

void briq_windows_retire(struct briq_windows *pool, struct briq_window *w, uint64_t where)
{
    BRIQ_ASSERT(w->inflight == 0 && w->claimed_end == w->sealed_end);
    atomic_store_explicit(&w->desc->active, 0, memory_order_release);
    atomic_store(&pool->finder[where >> pool->window_shift], 0);

    pthread_mutex_lock(&pool->lock);
    w->epoch_tag = briq_epoch_tag(pool->epoch);
    w->next_retired = NULL;
    if (pool->retired_head == NULL)
        pool->retired_head = w;
    else
        pool->retired_tail->next_retired = w;
    pool->retired_tail = w;
    pthread_mutex_unlock(&pool->lock);
}

int briq_windows_adopt(struct briq_windows *pool, uint64_t where, uint8_t *mem, uint32_t start,
                       uint32_t end)
{
    struct briq_window *w = briq_windows_get(pool);
    if (w == NULL)
        return -ENOMEM;
    w->mem = mem;
    w->start = start;
    w->end = end;
    atomic_store(&pool->finder[where >> pool->window_shift], (uint16_t)w->id);
    return 0;
}

/* ---- what a dead process left ---------------------------------------------------------------- */

static bool header_fits(const struct briq_windows_header *h, size_t bytes)
{
    return h->magic == BRIQ_WINDOWS_MAGIC && h->window_count >= 1 &&
           h->window_count <= BRIQ_WINDOWS_MAX && briq_is_pow2(h->window_bytes) &&
           h->window_bytes >= PAGE && h->window_bytes <= 1u << 18 &&
           windows_offset(h->window_count) + (size_t)h->window_count * h->window_bytes == bytes;
}

static bool header_is_ours(const struct briq_windows_header *h,
                           const struct briq_windows_options *options)
{
    return memcmp(h->uuid, options->uuid, 16) == 0 && h->incarnation == options->incarnation &&
           memcmp(h->boot_id, options->boot_id, 16) == 0 && h->host_dev == options->host_dev &&
           h->host_ino == options->host_ino &&
           h->window_bytes == UINT32_C(1) << options->window_shift;
}

static int map_left(int fd, struct briq_windows_left *left, struct briq_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_uid != geteuid() || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
        return briq_error_set(err, -EACCES,
                              "%s: append windows of a dead server belong to uid %u or are open "
                              "to others: run as that user, or remove the file to give up what "
                              "was not flushed",
                              left->path, (unsigned)st.st_uid);
    if (st.st_size < (off_t)PAGE)
        return 0; /* died while making it: nothing was acknowledged */
    left->bytes = (size_t)st.st_size;
    left->base =
        mmap(NULL, left->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    if (left->base == MAP_FAILED) {
        left->base = NULL;
        return -errno;
    }
    return 0;
}

int briq_windows_left_open(const struct briq_windows_options *options,
                           struct briq_windows_left *left, enum briq_leftover *ret,
                           struct briq_error *err)
{
    memset(left, 0, sizeof *left);
    *ret = BRIQ_LEFTOVER_NONE;
    int r = file_path(options, left->path, err);
    if (r < 0)
        return r;
    int fd = open(left->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return briq_error_set(err, -errno, "%s: cannot open the append windows: %s", left->path,
                              strerror(errno));
    r = map_left(fd, left, err);
    close(fd);
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot map the append windows: %s", left->path,
                              strerror(-r));
    left->header = left->base;
    *ret = BRIQ_LEFTOVER_FOREIGN;
    if (left->base == NULL || !header_fits(left->header, left->bytes) ||
        !header_is_ours(left->header, options))
        return 0;
    left->descs = (struct briq_window_desc *)(void *)((uint8_t *)left->base + PAGE);
    left->mem = (uint8_t *)left->base + windows_offset(left->header->window_count);
    *ret = BRIQ_LEFTOVER_FOUND;
    return 0;
}

void briq_windows_left_close(struct briq_windows_left *left, bool unlink_file)
{
    if (left->base != NULL)
        munmap(left->base, left->bytes);
    if (unlink_file && left->path[0] != '\0')
        unlink(left->path);
    memset(left, 0, sizeof *left);
}
