/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * host.c - a host that is always the same, linked in place of two files of common/base.
 *
 * The boot id is fixed, so that an input means the same on every machine and after every boot.
 * Arrays that the store maps come from the heap, where the address sanitizer sees their ends; the
 * large ones, which are hardly touched, are mapped once and used again.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/boot_id.h"
#include "common/base/vmem.h"

#define HEAP_BYTES_MAX ((size_t)64 << 10)
#define KEPT_MAX       32

static struct {
    void *base;
    size_t bytes;
} kept[KEPT_MAX];

int briq_boot_id(uint8_t ret[BRIQ_BOOT_ID_BYTES])
{
    memset(ret, 0xb0, BRIQ_BOOT_ID_BYTES);
    return 0;
}

static void *from_heap(size_t bytes)
{
    void *base = NULL;
    if (posix_memalign(&base, 4096, bytes) != 0)
        return NULL;
    memset(base, 0, bytes);
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
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return base == MAP_FAILED ? NULL : base;
}

void briq_vmem_unmap(void *base, size_t bytes)
{
    if (base == NULL)
        return;
    if (bytes <= HEAP_BYTES_MAX) {
        free(base);
        return;
    }
    for (unsigned i = 0; i < KEPT_MAX && bytes <= (size_t)64 << 20; i++) {
        if (kept[i].bytes == 0) {
            madvise(base, bytes, MADV_DONTNEED);
            kept[i].base = base;
            kept[i].bytes = bytes;
            return;
        }
    }
    munmap(base, bytes);
}

void briq_vmem_release(void *base, size_t bytes)
{
    if (bytes <= HEAP_BYTES_MAX)
        memset(base, 0, bytes);
    else
        madvise(base, bytes, MADV_DONTNEED);
}
