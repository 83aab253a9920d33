/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/faults/seam.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/attr.h"

#define SECTOR_BYTES 512u
#define BLOCK_BYTES  4096u

/* The one state that the replaced calls share with the tests. */
static struct {
    struct seam_fault fault;
    bool planted;
    _Atomic bool inside;
    atomic_ullong calls, struck;
} seam;

void seam_plant(const struct seam_fault *fault)
{
    seam.fault = *fault;
    atomic_store(&seam.calls, 0);
    atomic_store(&seam.struck, 0);
    seam.planted = true;
}

uint64_t seam_clear(void)
{
    seam.planted = false;
    return atomic_load(&seam.struck);
}

uint64_t seam_struck(void)
{
    return atomic_load(&seam.struck);
}

void seam_enter(void)
{
    BRIQ_ASSERT(!atomic_load(&seam.inside));
    atomic_store(&seam.inside, true);
}

void seam_leave(void)
{
    BRIQ_ASSERT(atomic_load(&seam.inside));
    atomic_store(&seam.inside, false);
}

const char *seam_name(const struct seam_fault *fault)
{
    static const char *const kinds[SEAM_KINDS] = {"read",       "write",   "flush",
                                                  "reserve",    "discard", "file call",
                                                  "allocation", "mapping", "thread"};
    static const char *const ways[] = {"fails",           "fails half way", "is short",
                                       "is interrupted",  "is lost",        "goes astray",
                                       "has a wrong bit", "is stale"};
    static char text[64];
    snprintf(text, sizeof text, "%s %s", kinds[fault->kind], ways[fault->way]);
    return text;
}

/* Whether this call is to be spoiled. */
static bool strikes(enum seam_kind kind)
{
    if (!atomic_load(&seam.inside) || !seam.planted || seam.fault.kind != kind)
        return false;
    uint64_t number = atomic_fetch_add(&seam.calls, 1);
    bool hit = seam.fault.ever ? number >= seam.fault.skip : number == seam.fault.skip;
    if (hit)
        atomic_fetch_add(&seam.struck, 1);
    return hit;
}

/* The plain case: -1 and errno. An interrupted call is so only once. */
static bool fails(enum seam_kind kind)
{
    if (!strikes(kind))
        return false;
    errno = seam.fault.way == SEAM_INTERRUPT ? EINTR : seam.fault.error;
    return true;
}

/* ---- reading and writing ----------------------------------------------------------------------
 */

ssize_t __real_pread(int fd, void *buf, size_t len, off_t off);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t off);
ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t off);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t off);

static void flip(uint8_t *bytes, size_t len)
{
    uint64_t bit = seam.fault.seed % (len * 8);
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void make_stale(uint8_t *bytes, size_t len, uint64_t off)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = off + i < seam.fault.old_bytes ? seam.fault.old[off + i] : 0;
}

/* A part of a transfer: whole sectors where there is more than one; of what direct I/O could have
 * asked for, whole blocks, as its alignment wants them. */
static size_t part_of(size_t len, off_t off)
{
    bool blocks = len % BLOCK_BYTES == 0 && off % BLOCK_BYTES == 0;
    size_t unit = blocks ? BLOCK_BYTES : SECTOR_BYTES;
    size_t half = len / 2 / unit * unit;
    return half > 0 ? half : len;
}

ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t off)
{
    if (!strikes(SEAM_READ))
        return __real_pread(fd, buf, len, off);
    ssize_t n;
    switch (seam.fault.way) {
    case SEAM_SHORT:
        return __real_pread(fd, buf, part_of(len, off), off);
    case SEAM_FLIP:
        n = __real_pread(fd, buf, len, off);
        if (n > 0)
            flip(buf, (size_t)n);
        return n;
    case SEAM_STALE:
        n = __real_pread(fd, buf, len, off);
        if (n > 0)
            make_stale(buf, (size_t)n, (uint64_t)off);
        return n;
    case SEAM_INTERRUPT:
        errno = EINTR;
        return -1;
    default:
        errno = seam.fault.error;
        return -1;
    }
}

/* A copy with one bit wrong reaches the medium. */
static ssize_t write_flipped(int fd, const void *buf, size_t len, off_t off)
{
    uint8_t *copy;
    atomic_store(&seam.inside, false); /* this allocation is ours */
    int r = posix_memalign((void **)&copy, 4096, len);
    atomic_store(&seam.inside, true);
    BRIQ_ASSERT(r == 0);
    memcpy(copy, buf, len);
    flip(copy, len);
    ssize_t n = __real_pwrite(fd, copy, len, off);
    free(copy);
    return n;
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t off)
{
    if (!strikes(SEAM_WRITE))
        return __real_pwrite(fd, buf, len, off);
    switch (seam.fault.way) {
    case SEAM_SHORT:
        return __real_pwrite(fd, buf, part_of(len, off), off);
    case SEAM_LOSE:
        return (ssize_t)len;
    case SEAM_MISDIRECT:
        return __real_pwrite(fd, buf, len, off + seam.fault.distance);
    case SEAM_FLIP:
        return write_flipped(fd, buf, len, off);
    case SEAM_HALF:
        if (part_of(len, off) < len)
            (void)!__real_pwrite(fd, buf, part_of(len, off), off);
        break;
    default:
        break;
    }
    errno = seam.fault.way == SEAM_INTERRUPT ? EINTR : seam.fault.error;
    return -1;
}

/* ---- flushing and space -----------------------------------------------------------------------
 */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len);
int __real_posix_fallocate(int fd, off_t off, off_t len);
int __wrap_posix_fallocate(int fd, off_t off, off_t len);

int __wrap_fdatasync(int fd)
{
    return fails(SEAM_FLUSH) ? -1 : __real_fdatasync(fd);
}

int __wrap_fsync(int fd)
{
    return fails(SEAM_FLUSH) ? -1 : __real_fsync(fd);
}

int __wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
    return fails(mode == 0 ? SEAM_RESERVE : SEAM_DISCARD) ? -1
                                                          : __real_fallocate(fd, mode, off, len);
}

int __wrap_posix_fallocate(int fd, off_t off, off_t len)
{
    return fails(SEAM_RESERVE) ? errno : __real_posix_fallocate(fd, off, len);
}

/* ---- files ------------------------------------------------------------------------------------
 */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails(SEAM_FILE) ? -1 : __real_open(path, flags, mode);
}

int __wrap_fstat(int fd, struct stat *st)
{
    return fails(SEAM_FILE) ? -1 : __real_fstat(fd, st);
}

int __wrap_ftruncate(int fd, off_t len)
{
    return fails(SEAM_FILE) ? -1 : __real_ftruncate(fd, len);
}

/* ---- memory and threads -----------------------------------------------------------------------
 */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
int __real_posix_memalign(void **ret, size_t align, size_t size);
int __wrap_posix_memalign(void **ret, size_t align, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __real_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*body)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*body)(void *),
                          void *arg);

void *__wrap_malloc(size_t size)
{
    return fails(SEAM_ALLOC) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(SEAM_ALLOC) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails(SEAM_ALLOC) ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return fails(SEAM_ALLOC) ? NULL : __real_aligned_alloc(align, size);
}

int __wrap_posix_memalign(void **ret, size_t align, size_t size)
{
    return fails(SEAM_ALLOC) ? ENOMEM : __real_posix_memalign(ret, align, size);
}

char *__wrap_strdup(const char *text)
{
    return fails(SEAM_ALLOC) ? NULL : __real_strdup(text);
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    return fails(SEAM_MAP) ? MAP_FAILED : __real_mmap(at, len, prot, flags, fd, off);
}

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*body)(void *),
                          void *arg)
{
    return fails(SEAM_THREAD) ? EAGAIN : __real_pthread_create(ret, attr, body, arg);
}
