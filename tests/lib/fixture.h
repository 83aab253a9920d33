/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fixture.h - making and opening a volume in a unit test, where everything is expected to go well.
 * Every failure prints what the store said and ends the program.
 */
#ifndef BRIQ_TESTS_LIB_FIXTURE_H
#define BRIQ_TESTS_LIB_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/store.h"
#include "tests/lib/temp_dir.h"

/* The seed of this run: BRIQ_SEED, else of the clock. Prints it with the command that repeats it.
 */
uint64_t test_seed(const char *program);

/* How often to do what `count` times would show well: less where the thread sanitizer makes opening
 * a volume a hundred times slower. */
unsigned test_repeats(unsigned count);

/* A volume in the file `path`. */
void test_volume_create(const char *path, const struct briq_create_options *options);

/* Opens it. NULL for options means the defaults, with append windows beside the file. */
struct briq_store *test_volume_open(const char *path, const struct briq_open_options *options);

/* Closes it, and insists that it went well. */
void test_volume_close(struct briq_store *store);

/* Whether a check finds nothing wrong, payloads included; prints what it finds. */
bool test_volume_is_sound(const char *path, const char *windows_dir);

/* Removes what processes that died with this file open left in /dev/shm, where programs put append
 * windows that nobody gave another place. To be called while the file is still there. */
void test_windows_forget(const char *path);

/* Memory that this process has resident. */
uint64_t test_resident_bytes(void);

#endif
