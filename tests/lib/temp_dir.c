/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/temp_dir.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPEN_FILES_MAX 16

static void give_up(const char *what, const char *path)
{
    fprintf(stderr, "%s: %s: %s\n", path, what, strerror(errno));
    exit(2);
}

static const char *base_of(enum test_dir_place place)
{
    const char *asked = getenv("BRIQ_TEST_DIR");
    if (asked != NULL && asked[0] != '\0')
        return asked;
    if (place == TEST_DIR_MEMORY && access("/dev/shm", W_OK | X_OK) == 0)
        return "/dev/shm";
    const char *temp = getenv("TMPDIR");
    return temp != NULL && temp[0] != '\0' ? temp : "/tmp";
}

void test_dir_open_below(struct test_dir *dir, const char *base)
{
    int len = snprintf(dir->path, sizeof dir->path, "%s/briq-test-XXXXXX", base);
    if (len < 0 || (size_t)len >= sizeof dir->path) {
        errno = ENAMETOOLONG;
        give_up("test directory", base);
    }
    if (mkdtemp(dir->path) == NULL)
        give_up("cannot make a test directory", dir->path);
}

void test_dir_open(struct test_dir *dir, enum test_dir_place place)
{
    test_dir_open_below(dir, base_of(place));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

void test_dir_close(struct test_dir *dir)
{
    if (dir->path[0] == '\0')
        return;
    if (nftw(dir->path, remove_one, OPEN_FILES_MAX, FTW_DEPTH | FTW_PHYS) != 0)
        fprintf(stderr, "%s: could not be removed: %s\n", dir->path, strerror(errno));
    dir->path[0] = '\0';
}

unsigned test_dir_empty(const struct test_dir *dir)
{
    DIR *stream = opendir(dir->path);
    if (stream == NULL)
        give_up("cannot list", dir->path);
    unsigned removed = 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        struct test_path path = test_dir_file(dir, entry->d_name);
        if (nftw(path.text, remove_one, OPEN_FILES_MAX, FTW_DEPTH | FTW_PHYS) != 0)
            give_up("cannot remove", path.text);
        removed++;
    }
    closedir(stream);
    return removed;
}

struct test_path test_dir_file(const struct test_dir *dir, const char *name)
{
    struct test_path path;
    int len = snprintf(path.text, sizeof path.text, "%s/%s", dir->path, name);
    if (len < 0 || (size_t)len >= sizeof path.text) {
        errno = ENAMETOOLONG;
        give_up("file of a test", name);
    }
    return path;
}
