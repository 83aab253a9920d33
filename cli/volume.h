/* SPDX-License-Identifier: BSD-3-Clause */
/* volume.h - what several verbs do with the name of a volume. */
#ifndef BRIQ_CLI_VOLUME_H
#define BRIQ_CLI_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* Returns 0, or -EINVAL for a volume in memory, which would be gone when this program ends. */
int briq_volume_check_name(const char *name, struct briq_error *err) BRIQ_MUST;

/*
 * Takes "NAME=VOLUME" apart, unless there is a slash before the equals sign: then that is part of a
 * path. *ret_name is the caller's, NULL when there is no name; *ret_volume points into word. 0, or
 * -ENOMEM explained in err.
 */
int briq_volume_split(const char *word, char **ret_name, const char **ret_volume,
                      struct briq_error *err) BRIQ_MUST;

/* Whether both names lead to the same file. */
bool briq_volume_same_file(const char *a, const char *b);

/* A volume that was made a moment ago and is not wanted: removes the file; a block device loses
 * what would make it look like a volume. Failures are not told: there is an error already. */
void briq_volume_discard(const char *name);

/* Bytes of blocks with a payload of their own, over the bytes those take; NaN when there are none.
 */
double briq_volume_ratio(uint64_t mapped_blocks, uint64_t fill_blocks, uint64_t stored_bytes);

#endif
