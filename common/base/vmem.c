/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/base/vmem.h"

#include <sys/mman.h>

void *briq_vmem_map(size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    /* Hints: a kernel without them only costs memory. */
    (void)madvise(base, bytes, MADV_NOHUGEPAGE);
    (void)madvise(base, bytes, MADV_DONTDUMP);
    return base;
}

void briq_vmem_unmap(void *base, size_t bytes)
{
    if (base != NULL)
        munmap(base, bytes);
}

void briq_vmem_release(void *base, size_t bytes)
{
    (void)madvise(base, bytes, MADV_DONTNEED);
}
