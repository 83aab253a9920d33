/* SPDX-License-Identifier: BSD-3-Clause */
/* size.h - sizes as people write and read them: bytes with an optional K M G T P suffix (1024). */
#ifndef BRIQ_BASE_SIZE_H
#define BRIQ_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"

#define BRIQ_SIZE_TEXT_MAX 32

/*
 * Parses "4096", "512K", "1.5G", "8GiB", "8gb": digits, an optional fraction, an optional suffix
 * K M G T P in either case with an optional "iB" or "B". The suffix is a power of 1024. A fraction
 * needs such a suffix, and a part of a byte that it leaves is dropped. What briq_size_format()
 * writes is read back too: "8 GiB", "512 B".
 * Returns 0 and sets *ret_bytes; -EINVAL when the text is anything else; -ERANGE when the value
 * does not fit in 63 bits. *ret_bytes is untouched on failure. Thread: any.
 */
int briq_size_parse(const char *text, uint64_t *ret_bytes) BRIQ_MUST;

/*
 * Writes `bytes` for people into text: exact for whole units ("8 GiB"), else one decimal ("1.5
 * GiB"). text holds BRIQ_SIZE_TEXT_MAX bytes. Returns text. Thread: any.
 */
const char *briq_size_format(uint64_t bytes, char text[BRIQ_SIZE_TEXT_MAX]);

#endif
