/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source.h - what every server of volumes does with the name of one: the export name that follows
 * from it, its absolute form, and a line that describes the open volume to clients.
 */
#ifndef BRIQ_EXPORTS_SOURCE_H
#define BRIQ_EXPORTS_SOURCE_H

#include <stdbool.h>

#include "common/store/store.h"

#define BRIQ_EXPORT_NAME_MAX 4096 /* the NBD protocol's limit, bytes without the final 0 */
#define BRIQ_EXPORT_TEXT_MAX 128

/* Whether it is "mem:SIZE...", a volume that is gone with its process. */
bool briq_source_in_memory(const char *source);

/*
 * The export name of a volume: the file name without directories and without ".briq", or "mem".
 * It may be empty ("dir/"). The caller frees it. NULL: out of memory.
 */
char *briq_source_export_name(const char *source);

/*
 * The same volume for a process that may change its directory; "mem:..." stays as it is. The file
 * need not exist. The caller frees it. NULL: errno says why.
 */
char *briq_source_absolute(const char *source);

/* Writes "8 GiB, 3.1 GiB of data stored in 1.6 GiB, ratio 1.94" into text; returns text.
 * Thread: any. */
const char *briq_source_describe(struct briq_store *store, char text[BRIQ_EXPORT_TEXT_MAX]);

#endif
