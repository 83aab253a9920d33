/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/exports/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/size.h"

#define MEMORY_PREFIX "mem:"
#define FILE_SUFFIX   ".briq"

bool briq_source_in_memory(const char *source)
{
    return strncmp(source, MEMORY_PREFIX, strlen(MEMORY_PREFIX)) == 0;
}

char *briq_source_export_name(const char *source)
{
    if (briq_source_in_memory(source))
        return strdup("mem");

    const char *slash = strrchr(source, '/');
    const char *base = slash == NULL ? source : slash + 1;
    size_t len = strlen(base), suffix = strlen(FILE_SUFFIX);
    if (len > suffix && strcmp(base + len - suffix, FILE_SUFFIX) == 0)
        len -= suffix;
    return strndup(base, len);
}

char *briq_source_absolute(const char *source)
{
    if (briq_source_in_memory(source) || source[0] == '/')
        return strdup(source);

    char *here = getcwd(NULL, 0), *path = NULL;
    if (here != NULL && asprintf(&path, "%s/%s", here, source) < 0)
        path = NULL;
    free(here);
    return path;
}

const char *briq_source_describe(struct briq_store *store, char text[BRIQ_EXPORT_TEXT_MAX])
{
    struct briq_usage usage;
    char size[BRIQ_SIZE_TEXT_MAX], data[BRIQ_SIZE_TEXT_MAX], stored[BRIQ_SIZE_TEXT_MAX];

    briq_store_usage(store, &usage);
    briq_size_format(usage.size_bytes, size);
    if (usage.mapped_blocks == 0) {
        snprintf(text, BRIQ_EXPORT_TEXT_MAX, "%s, empty", size);
        return text;
    }

    briq_size_format(usage.mapped_blocks * BRIQ_BLOCK_BYTES, data);
    briq_size_format(usage.stored_bytes, stored);
    int len =
        snprintf(text, BRIQ_EXPORT_TEXT_MAX, "%s, %s of data stored in %s", size, data, stored);
    /* Same-filled blocks have no payload: counting them would flatter the compressor. Figures of
     * two instants may make the difference negative. */
    if (usage.stored_bytes != 0 && usage.mapped_blocks > usage.fill_blocks) {
        double packed = (double)(usage.mapped_blocks - usage.fill_blocks) * BRIQ_BLOCK_BYTES;
        snprintf(text + len, BRIQ_EXPORT_TEXT_MAX - (size_t)len, ", ratio %.2f",
                 packed / (double)usage.stored_bytes);
    }
    return text;
}
