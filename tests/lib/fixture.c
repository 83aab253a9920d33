/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fixture.h"

#include <glob.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/prng.h"

uint64_t test_seed(const char *program)
{
    struct briq_prng prng = {.state = briq_clock_ns() ^ (uint64_t)getpid() << 32};
    uint64_t seed = briq_prng_next(&prng) % 1000000000;
    const char *asked = getenv("BRIQ_SEED");
    if (asked != NULL && asked[0] != '\0')
        seed = strtoull(asked, NULL, 0);
    fprintf(stderr, "seed %" PRIu64 "; repeat: BRIQ_SEED=%" PRIu64 " %s\n", seed, seed, program);
    return seed;
}

unsigned test_repeats(unsigned count)
{
#if defined(__SANITIZE_THREAD__)
    return (count + 7) / 8;
#else
    return count;
#endif
}

static void need(int r, const char *what, const char *path, const struct briq_error *err)
{
    if (r == 0)
        return;
    fprintf(stderr, "%s %s: %s: %s\n", what, path, strerror(-r), err->text);
    exit(1);
}

void test_volume_create(const char *path, const struct briq_create_options *options)
{
    struct briq_error err = {0};
    need(briq_store_create(path, options, &err), "create", path, &err);
}

struct briq_store *test_volume_open(const char *path, const struct briq_open_options *options)
{
    char dir[TEST_PATH_MAX];
    snprintf(dir, sizeof dir, "%s", path);
    struct briq_open_options defaults = {.windows_dir = dirname(dir)};
    struct briq_error err = {0};
    struct briq_store *store = NULL;
    need(briq_store_open(path, options != NULL ? options : &defaults, &err, &store), "open", path,
         &err);
    return store;
}

void test_volume_close(struct briq_store *store)
{
    struct briq_error err = {0};
    need(briq_store_close(store), "close", "the volume", &err);
}

static void print_finding(void *opaque, const char *line)
{
    (void)opaque;
    fprintf(stderr, "check: %s\n", line);
}

bool test_volume_is_sound(const char *path, const char *windows_dir)
{
    struct briq_check_options options = {
        .deep = true, .report = print_finding, .windows_dir = windows_dir};
    struct briq_check_result result = {0};
    struct briq_error err = {0};
    int r = briq_check(path, &options, &result, &err);
    if (r != 0)
        fprintf(stderr, "check %s: %s: %s\n", path, strerror(-r), err.text);
    return r == 0 && result.superblock_errors + result.map_errors + result.segment_errors +
                             result.chunk_errors + result.payload_errors + result.lost_flushed ==
                         0;
}

void test_windows_forget(const char *path)
{
    char pattern[128];
    struct stat st;
    glob_t found;
    if (stat(path, &st) < 0)
        return;
    snprintf(pattern, sizeof pattern, "/dev/shm/briq-*-%llx.%llx", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        unlink(found.gl_pathv[i]);
    globfree(&found);
}

uint64_t test_resident_bytes(void)
{
    unsigned long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%llu %llu", &total, &resident) != 2) {
        perror("/proc/self/statm");
        exit(2);
    }
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
