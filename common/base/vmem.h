/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmem.h - large zeroed arrays of which only the touched pages cost memory.
 *
 * Address space is reserved for the largest case at open, so that the arrays never move and readers
 * need no lock when a volume grows.
 */
#ifndef BRIQ_BASE_VMEM_H
#define BRIQ_BASE_VMEM_H

#include <stddef.h>

#include "common/base/attr.h"

/* Zeroed, page-aligned, private, not reserved in swap, left out of core dumps and huge pages.
 * NULL when the address space is exhausted. */
void *briq_vmem_map(size_t bytes) BRIQ_MUST;

/* base NULL is accepted. */
void briq_vmem_unmap(void *base, size_t bytes);

/* Gives the touched pages of [base, base+bytes) back; they read as zero again. Page-aligned. */
void briq_vmem_release(void *base, size_t bytes);

#endif
