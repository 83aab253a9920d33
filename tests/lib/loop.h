/* SPDX-License-Identifier: BSD-3-Clause */
/* loop.h - a file of a test as a block device, where the user and the machine allow it. */
#ifndef BRIQ_TESTS_LIB_LOOP_H
#define BRIQ_TESTS_LIB_LOOP_H

#include "common/base/attr.h"

#define TEST_LOOP_NAME_MAX 32

/*
 * Makes a loop device over the file `backing` and writes its path into name. Returns a descriptor
 * for test_loop_close(); -1 when this user or machine has none to give, which is no failure.
 */
int test_loop_open(const char *backing, char name[TEST_LOOP_NAME_MAX]) BRIQ_MUST;

/* Takes the loop device away, as soon as nobody has it open. */
void test_loop_close(int loop);

#endif
