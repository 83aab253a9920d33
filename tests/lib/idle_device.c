/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/idle_device.h"

#include <sys/mman.h>

#include "common/base/attr.h"

void *test_idle_memory(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    BRIQ_ASSERT(memory != MAP_FAILED);
    return memory;
}

void test_idle_prefetch(struct briq_device *dev, uint64_t off, uint64_t len)
{
    (void)dev;
    (void)off;
    (void)len;
}

int test_idle_allocated(struct briq_device *dev, uint64_t *ret_bytes)
{
    *ret_bytes = dev->size_bytes;
    return 0;
}
