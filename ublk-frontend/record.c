/* SPDX-License-Identifier: BSD-3-Clause */
#include "ublk-frontend/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ublk-frontend/process.h"

#define TEXT_MAX (2 * PATH_MAX + 512)
#define FILE_MAX 108 /* what the address of a Unix socket holds */
#define DIR_MAX  80  /* of them for $XDG_RUNTIME_DIR */

/* ---- text ------------------------------------------------------------------------------------ */

int briq_ublk_record_format(const struct briq_ublk_record *record, char *text, size_t room)
{
    if (strchr(record->volume, '\n') != NULL || strchr(record->windows_dir, '\n') != NULL)
        return -EINVAL;
    int n =
        snprintf(text, room,
                 "volume=%s\nwindows_dir=%s\nnull_bytes=%" PRIu64 "\nread_only=%d\ndirect=%d\n"
                 "no_windows_file=%d\ncache_bytes=%" PRIu64 "\npid=%d\n",
                 record->volume, record->windows_dir, record->null_bytes, record->read_only,
                 record->direct, record->no_windows_file, record->cache_bytes, (int)record->pid);
    return n < 0 || (size_t)n >= room ? -ENAMETOOLONG : 0;
}

static int parse_number(const char *text, size_t len, uint64_t *ret)
{
    char copy[24], *end;
    if (len == 0 || len >= sizeof copy)
        return -EUCLEAN;
    memcpy(copy, text, len);
    copy[len] = '\0';
    errno = 0;
    uint64_t n = strtoull(copy, &end, 10);
    if (copy[0] == '-' || *end != '\0' || errno != 0)
        return -EUCLEAN;
    *ret = n;
    return 0;
}

static bool is_name(const char *name, size_t len, const char *wanted)
{
    return strlen(wanted) == len && memcmp(name, wanted, len) == 0;
}

static int parse_path(const char *value, size_t len, char path[PATH_MAX])
{
    if (len >= PATH_MAX)
        return -EUCLEAN;
    memcpy(path, value, len);
    path[len] = '\0';
    return 0;
}

static int parse_flag(const char *value, size_t len, bool *ret)
{
    uint64_t number = 0;
    int r = parse_number(value, len, &number);
    *ret = number != 0;
    return r;
}

static int parse_pid(const char *value, size_t len, pid_t *ret)
{
    uint64_t number = 0;
    int r = parse_number(value, len, &number);
    *ret = (pid_t)number;
    return r;
}

/* A line with a name that is not known is of a newer version, and left out. */
static int parse_line(const char *name, size_t name_len, const char *value, size_t len,
                      struct briq_ublk_record *ret)
{
    if (is_name(name, name_len, "volume"))
        return parse_path(value, len, ret->volume);
    if (is_name(name, name_len, "windows_dir"))
        return parse_path(value, len, ret->windows_dir);
    if (is_name(name, name_len, "null_bytes"))
        return parse_number(value, len, &ret->null_bytes);
    if (is_name(name, name_len, "read_only"))
        return parse_flag(value, len, &ret->read_only);
    if (is_name(name, name_len, "direct"))
        return parse_flag(value, len, &ret->direct);
    if (is_name(name, name_len, "no_windows_file"))
        return parse_flag(value, len, &ret->no_windows_file);
    if (is_name(name, name_len, "cache_bytes"))
        return parse_number(value, len, &ret->cache_bytes);
    if (is_name(name, name_len, "pid"))
        return parse_pid(value, len, &ret->pid);
    return 0;
}

int briq_ublk_record_parse(const char *text, struct briq_ublk_record *ret)
{
    struct briq_ublk_record record = {.pid = 0};
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        const char *equals = memchr(text, '=', len);
        if (equals == NULL || text[len] != '\n')
            return -EUCLEAN;
        size_t name_len = (size_t)(equals - text);
        int r = parse_line(text, name_len, equals + 1, len - name_len - 1, &record);
        if (r < 0)
            return r;
        text += len + 1;
    }
    if (record.volume[0] == '\0' && record.null_bytes == 0)
        return -EUCLEAN;
    *ret = record;
    return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* NULL: there is none that can be used. */
static const char *dir_of_user(void)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    return xdg != NULL && xdg[0] == '/' && strlen(xdg) < DIR_MAX ? xdg : NULL;
}

static void dir_of(char *path, size_t room)
{
    const char *own = dir_of_user();
    if (briq_ublk_is_privileged())
        snprintf(path, room, "/run/briq");
    else
        snprintf(path, room, "%s/briq", own != NULL ? own : "/nonexistent");
}

int briq_ublk_record_check(struct briq_error *err)
{
    if (briq_ublk_is_privileged() || dir_of_user() != NULL)
        return 0;
    return briq_error_set(err, -ENOENT,
                          "XDG_RUNTIME_DIR names no directory: there the server of a device is "
                          "found again by a user without CAP_SYS_ADMIN");
}

static void path_of(uint32_t id, const char *suffix, char *path, size_t room)
{
    dir_of(path, room);
    size_t used = strlen(path);
    snprintf(path + used, room - used, "/ublk%" PRIu32 "%s", id, suffix);
}

void briq_ublk_record_socket(uint32_t id, char *path, size_t room)
{
    path_of(id, ".sock", path, room);
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    size_t len = strlen(text);
    ssize_t n = write(fd, text, len);
    int r = n < 0 ? -errno : (size_t)n < len ? -ENOSPC : 0;
    close(fd);
    return r;
}

int briq_ublk_record_write(uint32_t id, const struct briq_ublk_record *record,
                           struct briq_error *err)
{
    char text[TEXT_MAX], dir[FILE_MAX], path[FILE_MAX], fresh[FILE_MAX];
    path_of(id, "", path, sizeof path);
    path_of(id, ".new", fresh, sizeof fresh);
    int r = briq_ublk_record_format(record, text, sizeof text);
    dir_of(dir, sizeof dir);
    if (r == 0 && mkdir(dir, 0755) < 0 && errno != EEXIST)
        r = -errno;
    if (r == 0)
        r = write_file(fresh, text);
    if (r == 0 && rename(fresh, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(fresh);
        return briq_error_set(err, r, "%s: %s", path, strerror(-r));
    }
    return 0;
}

int briq_ublk_record_read(uint32_t id, struct briq_ublk_record *ret, struct briq_error *err)
{
    char text[TEXT_MAX], path[FILE_MAX];
    path_of(id, "", path, sizeof path);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        int r = -errno;
        return briq_error_set(err, r, "%s: %s", path, strerror(-r));
    }
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    int r = briq_ublk_record_parse(text, ret);
    return r < 0 ? briq_error_set(err, r, "%s: damaged", path) : 0;
}

void briq_ublk_record_remove(uint32_t id)
{
    char path[FILE_MAX];
    path_of(id, "", path, sizeof path);
    (void)unlink(path);
    path_of(id, ".sock", path, sizeof path);
    (void)unlink(path);
}
