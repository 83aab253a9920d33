/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/ublk_devices.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLASS_DIR "/sys/class/ublk-char"

/* Digits alone; false for anything else. */
static bool read_id(const char *text, uint32_t *ret)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return false;
    unsigned long n = strtoul(text, &end, 10);
    if (*end != '\0' || n >= UBLK_ANY_ID)
        return false;
    *ret = (uint32_t)n;
    return true;
}

int briq_ublk_parse_id(const char *text, struct briq_error *err, uint32_t *ret)
{
    const char *rest = text;
    if (strncmp(rest, "/dev/", 5) == 0)
        rest += 5;
    if (strncmp(rest, "ublkb", 5) == 0 || strncmp(rest, "ublkc", 5) == 0)
        rest += 5;
    if (!read_id(rest, ret))
        return briq_error_set(
            err, -EINVAL, "\"%s\" is no device: give its number, or a name like /dev/ublkb0", text);
    return 0;
}

/* ---- all devices ----------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int append(uint32_t id, uint32_t **list, size_t *count)
{
    uint32_t *more = reallocarray(*list, *count + 1, sizeof more[0]);
    if (more == NULL)
        return -ENOMEM;
    more[(*count)++] = id;
    *list = more;
    return 0;
}

int briq_ublk_find_all(struct briq_error *err, uint32_t **ret, size_t *ret_count)
{
    uint32_t *list = NULL, id;
    size_t count = 0;
    int r = 0;
    DIR *dir = opendir(CLASS_DIR);
    if (dir == NULL)
        return briq_error_set(err, -errno, CLASS_DIR ": %s; is the module ublk_drv loaded?",
                              strerror(errno));
    const struct dirent *entry;
    while (r == 0 && (entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, "ublkc", 5) == 0 && read_id(entry->d_name + 5, &id))
            r = append(id, &list, &count);
    closedir(dir);
    if (r < 0) {
        free(list);
        return briq_error_set(err, r, "out of memory");
    }
    if (count > 1)
        qsort(list, count, sizeof list[0], compare_ids);
    *ret = list;
    *ret_count = count;
    return 0;
}

int briq_ublk_explain(uint32_t id, const char *command, int r, struct briq_error *err)
{
    switch (r) {
    case -ENODEV:
    case -ENOENT:
        return briq_error_set(err, r, "there is no device %" PRIu32 "; see `briq ublk list`", id);
    case -EPERM:
    case -EACCES:
        return briq_error_set(err, r, "device %" PRIu32 ": permission denied; run it as root", id);
    case -EOPNOTSUPP:
        return briq_error_set(err, r, "device %" PRIu32 ": %s: this kernel cannot do that", id,
                              command);
    default:
        return briq_error_set(err, r, "device %" PRIu32 ": %s: %s", id, command, strerror(-r));
    }
}

int briq_ublk_check_unused(uint32_t id, struct briq_error *err)
{
    char path[32];
    snprintf(path, sizeof path, "/dev/ublkb%" PRIu32, id);
    int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    if (errno != EBUSY)
        return 0; /* there is none, or not one that could be in use */
    return briq_error_set(err, -EBUSY,
                          "%s is mounted, or swap, or part of another device: end that first, or "
                          "use --force and lose what it has not written",
                          path);
}

/* ---- holders --------------------------------------------------------------------------------- */

static bool is_link_to(const char *link, const char *path_b, const char *path_c)
{
    char target[64];
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    char *deleted = strstr(target, " (deleted)"); /* the node goes before its last holder */
    if (deleted != NULL)
        *deleted = '\0';
    return strcmp(target, path_b) == 0 || strcmp(target, path_c) == 0;
}

static bool process_holds(const char *pid, uint32_t id)
{
    char dir_path[64], link[320], path_b[32], path_c[32];
    bool holds = false;
    snprintf(dir_path, sizeof dir_path, "/proc/%.20s/fd", pid);
    snprintf(path_b, sizeof path_b, "/dev/ublkb%" PRIu32, id);
    snprintf(path_c, sizeof path_c, "/dev/ublkc%" PRIu32, id);
    DIR *dir = opendir(dir_path);
    if (dir == NULL)
        return false;
    const struct dirent *entry;
    while (!holds && (entry = readdir(dir)) != NULL) {
        snprintf(link, sizeof link, "%s/%.255s", dir_path, entry->d_name);
        holds = is_link_to(link, path_b, path_c);
    }
    closedir(dir);
    return holds;
}

static void append_name(const char *pid, char *text, size_t room)
{
    char path[64], name[32] = "";
    size_t used = strlen(text);
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(name, sizeof name, file) == NULL)
            name[0] = '\0';
        fclose(file);
    }
    name[strcspn(name, "\n")] = '\0';
    snprintf(text + used, room - used, "%s%s (%s)", used > 0 ? ", " : "", name, pid);
}

unsigned briq_ublk_holders(uint32_t id, char *text, size_t room)
{
    unsigned count = 0;
    text[0] = '\0';
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]) ||
            strtol(entry->d_name, NULL, 10) == (long)getpid() || !process_holds(entry->d_name, id))
            continue;
        append_name(entry->d_name, text, room);
        count++;
    }
    closedir(dir);
    return count;
}

int briq_ublk_check_unheld(uint32_t id, struct briq_error *err)
{
    char holders[256];
    int r = briq_ublk_check_unused(id, err);
    if (r < 0 || briq_ublk_holders(id, holders, sizeof holders) == 0)
        return r;
    return briq_error_set(err, -EBUSY,
                          "/dev/ublkb%" PRIu32 " is held open by %s: end that first, "
                          "or use --force",
                          id, holders);
}

bool briq_ublk_is_to_wait(uint32_t id, bool can_wait, const struct briq_log *log)
{
    struct briq_error why = {""};
    if (briq_ublk_check_unheld(id, &why) == 0)
        return false;
    if (can_wait)
        briq_log_line(log, BRIQ_LOG_WARNING,
                      "/dev/ublkb%" PRIu32 " is in use: it waits for the next `briq serve` of its "
                      "volume, or `briq ublk recover %" PRIu32 "`; `briq ublk del --force %" PRIu32
                      "` gives it up",
                      id, id, id);
    else
        briq_log_line(log, BRIQ_LOG_WARNING,
                      "/dev/ublkb%" PRIu32 " is in use, and cannot wait for another server: it is "
                      "removed",
                      id);
    return can_wait;
}
