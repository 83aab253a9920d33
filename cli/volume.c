/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/exports/source.h"
#include "common/store/store.h"

#define WIPE_BYTES (4u << 20) /* the start of a device: both superblocks of a volume lie there */

int briq_volume_check_name(const char *name, struct briq_error *err)
{
    if (strncmp(name, "mem:", 4) != 0)
        return 0;
    return briq_error_set(err, -EINVAL,
                          "%s: a volume in memory is gone when this program ends; give a file, or "
                          "./%s for a file of that name",
                          name, name);
}

int briq_volume_split(const char *word, char **ret_name, const char **ret_volume,
                      struct briq_error *err)
{
    const char *equals = strchr(word, '='), *slash = strchr(word, '/');
    *ret_name = NULL;
    *ret_volume = word;
    if (equals == NULL || (slash != NULL && slash < equals) || briq_source_in_memory(word))
        return 0;
    *ret_name = strndup(word, (size_t)(equals - word));
    *ret_volume = equals + 1;
    return *ret_name != NULL ? 0 : briq_error_set(err, -ENOMEM, "out of memory");
}

bool briq_volume_same_file(const char *a, const char *b)
{
    struct stat st_a, st_b;
    return stat(a, &st_a) == 0 && stat(b, &st_b) == 0 && st_a.st_dev == st_b.st_dev &&
           st_a.st_ino == st_b.st_ino;
}

static void wipe_start(const char *name)
{
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    void *zeros = calloc(1, WIPE_BYTES);
    if (fd >= 0 && zeros != NULL && pwrite(fd, zeros, WIPE_BYTES, 0) > 0)
        (void)fsync(fd);
    if (fd >= 0)
        close(fd);
    free(zeros);
}

void briq_volume_discard(const char *name)
{
    struct stat st;
    if (stat(name, &st) < 0)
        return;
    if (S_ISREG(st.st_mode))
        unlink(name);
    else if (S_ISBLK(st.st_mode))
        wipe_start(name);
}

double briq_volume_ratio(uint64_t mapped_blocks, uint64_t fill_blocks, uint64_t stored_bytes)
{
    if (stored_bytes == 0 || mapped_blocks < fill_blocks)
        return NAN;
    return (double)(mapped_blocks - fill_blocks) * BRIQ_BLOCK_BYTES / (double)stored_bytes;
}
