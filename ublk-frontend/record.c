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

#define TEXT_MAX (PATH_MAX + 512)

/* ---- text ------------------------------------------------------------------------------------ */

int briq_ublk_record_format(const struct briq_ublk_record *record, char *text, size_t room)
{
    if (strchr(record->volume, '\n') != NULL)
        return -EINVAL;
    int n = snprintf(text, room,
                     "volume=%s\nnull_bytes=%" PRIu64 "\nread_only=%d\ndirect=%d\n"
                     "cache_bytes=%" PRIu64 "\npid=%d\n",
                     record->volume, record->null_bytes, record->read_only, record->direct,
                     record->cache_bytes, (int)record->pid);
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

/* A line with a name that is not known is of a newer version, and left out. */
static int parse_line(const char *name, size_t name_len, const char *value, size_t len,
                      struct briq_ublk_record *ret)
{
    uint64_t number = 0;
    if (name_len == 6 && memcmp(name, "volume", 6) == 0) {
        if (len >= sizeof ret->volume)
            return -EUCLEAN;
        memcpy(ret->volume, value, len);
        ret->volume[len] = '\0';
        return 0;
    }
    int r = parse_number(value, len, &number);
    if (name_len == 10 && memcmp(name, "null_bytes", 10) == 0)
        ret->null_bytes = number;
    else if (name_len == 9 && memcmp(name, "read_only", 9) == 0)
        ret->read_only = number != 0;
    else if (name_len == 6 && memcmp(name, "direct", 6) == 0)
        ret->direct = number != 0;
    else if (name_len == 11 && memcmp(name, "cache_bytes", 11) == 0)
        ret->cache_bytes = number;
    else if (name_len == 3 && memcmp(name, "pid", 3) == 0)
        ret->pid = (pid_t)number;
    else
        return 0;
    return r;
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

static void path_of(uint32_t id, const char *suffix, char *path, size_t room)
{
    snprintf(path, room, BRIQ_UBLK_RUN_DIR "/ublk%" PRIu32 "%s", id, suffix);
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
    char text[TEXT_MAX], path[64], fresh[64];
    path_of(id, "", path, sizeof path);
    path_of(id, ".new", fresh, sizeof fresh);
    int r = briq_ublk_record_format(record, text, sizeof text);
    if (r == 0 && mkdir(BRIQ_UBLK_RUN_DIR, 0755) < 0 && errno != EEXIST)
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
    char text[TEXT_MAX], path[64];
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
    char path[64];
    path_of(id, "", path, sizeof path);
    (void)unlink(path);
    path_of(id, ".sock", path, sizeof path);
    (void)unlink(path);
}
