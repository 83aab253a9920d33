/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page.h - a map page as it is stored: packed to the bits in which its words differ.
 *
 * Most of a map word is the same in a whole page (the type, the upper bits of places and lengths,
 * what is reserved), and holes are zero. docs/format.md has the layout. A page
 * has one packed form: what unpacks packs to the same bytes again.
 *
 * Pure functions: no I/O, no allocation, any thread.
 */
#ifndef BRIQ_STORE_PAGE_H
#define BRIQ_STORE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/store/format.h"

/* Packs the 512 words at `words` into dst, which has room for BRIQ_PAGE_BYTES. Returns how many
 * bytes that are, always less than BRIQ_PAGE_BYTES; or 0: packing gains nothing. */
uint32_t briq_page_pack(const briq_le64 *words, uint8_t *dst);

/* The 4096 bytes of the page that `len` bytes at src are packed from go to dst. Any input bytes are
 * safe. False: they are no packed page; dst is undefined then. */
bool briq_page_unpack(const uint8_t *src, uint32_t len, uint8_t *dst) BRIQ_MUST;

/* The most bytes that a page of valid map words is stored in, if all granules are below
 * `granule_end`, more than 0. */
uint32_t briq_page_bytes_max(uint64_t granule_end);

#endif
