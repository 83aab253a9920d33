/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loosen.h - map pages stored as they are.
 *
 * In a packed page no word can be changed in place. Here pages of a volume move to a free segment,
 * where they stand raw, with everything that tells of them made right: a volume like any other.
 * Every failure ends the program.
 */
#ifndef BRIQ_TESTS_LIB_LOOSEN_H
#define BRIQ_TESTS_LIB_LOOSEN_H

#include <stdint.h>

/* Loosens those of the first 64 map pages whose bits are set, in the `size` bytes of a volume at
 * `volume`. It has one map node and one segment page, and one of its segments is the same byte all over.
 */
void test_loosen(uint8_t *volume, uint64_t size, uint64_t pages);

#endif
