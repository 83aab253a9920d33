/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * host.c - a host that is always the same, linked in place of two files of common/base.
 *
 * The boot id is fixed, so that an input means the same on every machine and after every boot.
 * Arrays that the store maps come from the heap, where the address sanitizer sees their ends; the
 * large ones, which are hardly touched, are kept when they are given back, and only what was
 * changed in them is made zero again. Memory that is freed stays with the process: an execution
 * begins with no page fault that the one before it had already.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/align.h"
#include "common/base/boot_id.h"
#include "common/base/vmem.h"

#define PAGE             4096u
#define HEAP_BYTES_MAX   ((size_t)64 << 10)
#define KEPT_BYTES_MAX   ((size_t)16 << 20) /* of one; of what is larger a damaged volume tells */
#define KEPT_MAX         32u
#define MALLOC_BYTES_MAX (64 << 20)

/* Arrays given back, all zeros. */
static struct {
    void *base;
    size_t bytes;
} kept[KEPT_MAX];
static unsigned oldest; /* gives way to the next, when all are taken */

__attribute__((constructor)) static void keep_freed_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, MALLOC_BYTES_MAX / 2);
    (void)mallopt(M_TRIM_THRESHOLD, MALLOC_BYTES_MAX);
    (void)mallopt(M_TOP_PAD, 1 << 20);
}

/* There is always memory. To take it at once would be most of what opening a volume costs. */
int posix_fallocate(int fd, off_t off, off_t len)
{
    (void)fd;
    (void)off;
    (void)len;
    return 0;
}

int briq_boot_id(uint8_t ret[BRIQ_BOOT_ID_BYTES])
{
    memset(ret, 0xb0, BRIQ_BOOT_ID_BYTES);
    return 0;
}

static void *from_heap(size_t bytes)
{
    void *base = NULL;
    if (posix_memalign(&base, PAGE, bytes) != 0)
        return NULL;
    memset(base, 0, bytes);
    return base;
}

static void *map(size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    (void)madvise(base, bytes, MADV_NOHUGEPAGE);
    return base;
}

void *briq_vmem_map(size_t bytes)
{
    if (bytes <= HEAP_BYTES_MAX)
        return from_heap(bytes);
    for (unsigned i = 0; i < KEPT_MAX; i++) {
        if (kept[i].bytes == bytes) {
            kept[i].bytes = 0;
            return kept[i].base;
        }
    }
    return map(bytes);
}

/* Looks at the pages that were ever touched, and writes to those that are not zero. */
static void clear(uint8_t *base, size_t bytes)
{
    static const uint8_t zeros[PAGE];
    static unsigned char touched[KEPT_BYTES_MAX / PAGE];
    size_t pages = briq_div_up(bytes, PAGE);
    if (mincore(base, bytes, touched) < 0)
        memset(touched, 1, pages);
    for (size_t i = 0; i < pages; i++)
        if ((touched[i] & 1) != 0 && memcmp(base + i * PAGE, zeros, PAGE) != 0)
            memset(base + i * PAGE, 0, PAGE);
}

static unsigned place_to_keep(void)
{
    for (unsigned i = 0; i < KEPT_MAX; i++)
        if (kept[i].bytes == 0)
            return i;
    oldest = (oldest + 1) % KEPT_MAX;
    munmap(kept[oldest].base, kept[oldest].bytes);
    return oldest;
}

void briq_vmem_unmap(void *base, size_t bytes)
{
    if (base == NULL)
        return;
    if (bytes <= HEAP_BYTES_MAX) {
        free(base);
    } else if (bytes > KEPT_BYTES_MAX) {
        munmap(base, bytes);
    } else {
        unsigned place = place_to_keep();
        clear(base, bytes);
        kept[place].base = base;
        kept[place].bytes = bytes;
    }
}

void briq_vmem_release(void *base, size_t bytes)
{
    if (bytes <= KEPT_BYTES_MAX)
        clear(base, bytes);
    else
        madvise(base, bytes, MADV_DONTNEED);
}
