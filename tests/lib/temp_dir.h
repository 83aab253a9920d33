/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * temp_dir.h - a private directory for one test, gone with all its files when the test ends.
 *
 * It lies below $BRIQ_TEST_DIR, else $TMPDIR, else /tmp, unless the test asks for memory: then it
 * is on /dev/shm where there is one, which spares the disk of the machine tens of thousands of
 * flushes.
 */
#ifndef BRIQ_TESTS_LIB_TEMP_DIR_H
#define BRIQ_TESTS_LIB_TEMP_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"

#define TEST_PATH_MAX 512

struct test_dir {
    char path[TEST_PATH_MAX / 2];
};

enum test_dir_place {
    TEST_DIR_DISK,
    TEST_DIR_MEMORY,
};

/* Makes the directory; ends the program when it cannot. */
void test_dir_open(struct test_dir *dir, enum test_dir_place place);

/* As test_dir_open(), below the directory `base`. */
void test_dir_open_below(struct test_dir *dir, const char *base);

/* Removes the directory and everything in it. A zeroed or closed one is accepted. */
void test_dir_close(struct test_dir *dir);

/* Removes what is in the directory, and keeps the directory. Returns the number of files removed.
 */
unsigned test_dir_empty(const struct test_dir *dir);

struct test_path {
    char text[TEST_PATH_MAX];
};

/* The path of the file `name` in the directory. */
struct test_path test_dir_file(const struct test_dir *dir, const char *name);

#endif
