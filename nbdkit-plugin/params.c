/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/params.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "common/base/size.h"

#define ACCEL_MAX   64
#define STREAMS_MAX 8

static int parse_io(struct briq_params *params, const char *value)
{
    if (strcmp(value, "buffered") == 0)
        params->direct = false;
    else if (strcmp(value, "direct") == 0)
        params->direct = true;
    else {
        nbdkit_error("io=%s: must be 'buffered' or 'direct'", value);
        return -1;
    }
    return 1;
}

/* The store's 0 means its default and UINT64_MAX means none; to people 0 is none. */
static int parse_cache(struct briq_params *params, const char *value)
{
    uint64_t bytes;
    if (briq_size_parse(value, &bytes) != 0) {
        nbdkit_error("cache=%s: not a size; write it like 256M, or 0 for no cache", value);
        return -1;
    }
    params->cache_given = true;
    params->cache_bytes = bytes == 0 ? UINT64_MAX : bytes;
    return 1;
}

/* Not nbdkit_parse_unsigned(): it says "empty string" of a word that is no number. */
static int parse_number(const char *key, const char *value, unsigned max, unsigned *ret_number)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || number < 1 || number > max) {
        nbdkit_error("%s=%s: must be a number from 1 to %u", key, value, max);
        return -1;
    }
    *ret_number = (unsigned)number;
    return 1;
}

static int parse_accel(struct briq_params *params, const char *value)
{
    return parse_number("accel", value, ACCEL_MAX, &params->accel);
}

static int parse_streams(struct briq_params *params, const char *value)
{
    return parse_number("streams", value, STREAMS_MAX, &params->streams);
}

/* Not nbdkit_parse_bool(): its message does not say which parameter is meant. */
static int parse_windows_file(struct briq_params *params, const char *value)
{
    static const char *const off[] = {"off", "no", "false", "0"};
    static const char *const on[] = {"on", "yes", "true", "1"};

    for (size_t i = 0; i < BRIQ_COUNT_OF(on); i++) {
        if (strcasecmp(value, on[i]) == 0 || strcasecmp(value, off[i]) == 0) {
            params->no_windows_file = strcasecmp(value, off[i]) == 0;
            return 1;
        }
    }
    nbdkit_error("windows-file=%s: must be 'on' or 'off'", value);
    return -1;
}

/* nbdkit changes its directory when it goes to the background, and the store comes back to this one
 * when it closes: so it must be absolute. */
static int parse_windows_dir(struct briq_params *params, const char *value)
{
    if (value[0] == '\0') {
        nbdkit_error("windows-dir=: must name a directory on a tmpfs");
        return -1;
    }
    char *dir = nbdkit_absolute_path(value);
    if (dir == NULL)
        return -1;
    free(params->windows_dir);
    params->windows_dir = dir;
    return 1;
}

int briq_params_set(struct briq_params *params, const char *key, const char *value)
{
    static const struct {
        const char *key;
        int (*parse)(struct briq_params *params, const char *value);
    } known[] = {
        {"io", parse_io},
        {"cache", parse_cache},
        {"accel", parse_accel},
        {"streams", parse_streams},
        {"windows-file", parse_windows_file},
        {"windows-dir", parse_windows_dir},
    };

    for (size_t i = 0; i < BRIQ_COUNT_OF(known); i++) {
        if (strcmp(key, known[i].key) == 0)
            return known[i].parse(params, value);
    }
    return 0;
}

int briq_params_complete(const struct briq_params *params)
{
    if (params->cache_given && !params->direct) {
        nbdkit_error("cache= is the cache of direct I/O: add io=direct, or leave cache= out "
                     "(buffered I/O uses the kernel's page cache)");
        return -1;
    }
    if (params->windows_dir != NULL && params->no_windows_file) {
        nbdkit_error("windows-dir= and windows-file=off contradict each other: give only one");
        return -1;
    }
    return 0;
}

struct briq_open_options briq_params_open_options(const struct briq_params *params)
{
    return (struct briq_open_options){
        .direct = params->direct,
        .cache_bytes = params->cache_bytes,
        .accel = params->accel,
        .streams = params->streams,
        .no_windows_file = params->no_windows_file,
        .windows_dir = params->windows_dir,
    };
}

void briq_params_fini(struct briq_params *params)
{
    free(params->windows_dir);
    *params = (struct briq_params){0};
}
