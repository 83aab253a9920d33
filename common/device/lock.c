/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock.c - taking the lock of a volume, and finding out who has it.
 *
 * The kernel records with a flock the process that took it. That is the wrong one to name after a
 * fork: a server that went into the background took the lock in a parent that is gone, and its
 * number may belong to something else by now. So the record in /proc/locks is only a hint. What
 * decides is /proc/PID/fdinfo/FD, which shows the locks of the open file behind each descriptor of
 * a process: a process that shows a lock there holds it, whoever took it.
 *
 * Descriptors of other users' processes are hidden from us; of those the record is all there is,
 * and it is believed when that process is alive. A holder in another container or on another host
 * (NFS) shows up nowhere, and is called unknown.
 */
#include "common/device/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"

#define PROC_PATH_MAX  64
#define LINE_MAX_BYTES 256
#define PID_UNKNOWN    ((pid_t)-1)

/* A briq_lock_owner() elsewhere may hold a shared lock for the length of two system calls. */
#define TAKE_ATTEMPTS 20

#define READER_WAIT_NS  UINT64_C(2000000000)
#define READER_PAUSE_NS 10000000

/* Whose lock is looked for: on which file, and of which kind. */
struct wanted {
    dev_t dev;
    ino_t ino;
    bool write_only; /* shared locks do not count */
};

static void wanted_init(struct wanted *wanted, const struct stat *st, bool write_only)
{
    *wanted = (struct wanted){.dev = st->st_dev, .ino = st->st_ino, .write_only = write_only};
}

/* ---- lines of /proc -------------------------------------------------------------------------- */

/*
 * Takes apart "1: FLOCK  ADVISORY  WRITE 1234 08:01:56789 0 EOF". Returns whether it tells of a
 * granted flock of the wanted kind. A waiting one has "->" behind its number and matches nothing.
 */
static bool parse_lock(const char *line, bool write_only, pid_t *ret_pid, dev_t *ret_dev,
                       ino_t *ret_ino)
{
    char kind[16];
    int pid;
    unsigned maj, min;
    unsigned long ino;

    if (sscanf(line, " %*d: FLOCK %*s %15s %d %x:%x:%lu", kind, &pid, &maj, &min, &ino) != 5)
        return false;
    if (write_only && strcmp(kind, "WRITE") != 0)
        return false;
    *ret_pid = (pid_t)pid;
    *ret_dev = makedev(maj, min);
    *ret_ino = (ino_t)ino;
    return true;
}

/* Whether the open file behind a descriptor of another process has a lock of the wanted kind. */
static bool descriptor_locked(pid_t pid, int fd, bool write_only)
{
    char path[PROC_PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)pid, fd);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;

    bool found = false;
    char line[LINE_MAX_BYTES];
    static const char tag[] = "lock:";
    while (!found && fgets(line, sizeof line, file) != NULL) {
        pid_t taker;
        dev_t dev;
        ino_t ino;
        if (strncmp(line, tag, sizeof tag - 1) == 0)
            found = parse_lock(line + sizeof tag - 1, write_only, &taker, &dev, &ino);
    }
    fclose(file);
    return found;
}

/* ---- processes ------------------------------------------------------------------------------- */

enum holding {
    HOLDS_NOT,
    HOLDS,
    HOLDS_HIDDEN, /* alive, but its descriptors are not for us to see */
};

static int number_of(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && value <= INT32_MAX ? (int)value : -1;
}

static bool is_wanted_file(const struct wanted *wanted, int dir_fd, const char *name)
{
    struct stat st;
    return fstatat(dir_fd, name, &st, 0) == 0 && st.st_dev == wanted->dev &&
           st.st_ino == wanted->ino;
}

static enum holding process_holds(const struct wanted *wanted, pid_t pid)
{
    char path[PROC_PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return errno == EACCES || errno == EPERM ? HOLDS_HIDDEN : HOLDS_NOT;

    enum holding result = HOLDS_NOT;
    const struct dirent *entry;
    while (result == HOLDS_NOT && (entry = readdir(dir)) != NULL) {
        int fd = number_of(entry->d_name);
        if (fd >= 0 && is_wanted_file(wanted, dirfd(dir), entry->d_name) &&
            descriptor_locked(pid, fd, wanted->write_only))
            result = HOLDS;
    }
    closedir(dir);
    return result;
}

/* The process named in /proc/locks, when it is still the one; else 0. *ret_listed: it was there. */
static pid_t find_listed(const struct wanted *wanted, bool *ret_listed)
{
    *ret_listed = false;
    FILE *file = fopen("/proc/locks", "re");
    if (file == NULL)
        return 0;

    pid_t found = 0;
    char line[LINE_MAX_BYTES];
    while (found == 0 && fgets(line, sizeof line, file) != NULL) {
        pid_t pid;
        dev_t dev;
        ino_t ino;
        if (!parse_lock(line, wanted->write_only, &pid, &dev, &ino) || dev != wanted->dev ||
            ino != wanted->ino)
            continue;
        *ret_listed = true;
        if (pid > 0 && process_holds(wanted, pid) != HOLDS_NOT)
            found = pid;
    }
    fclose(file);
    return found;
}

/* Looks through all processes that we may look into; 0 when none of them has the lock. */
static pid_t find_holding(const struct wanted *wanted)
{
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return 0;

    pid_t found = 0;
    const struct dirent *entry;
    while (found == 0 && (entry = readdir(dir)) != NULL) {
        int pid = number_of(entry->d_name);
        if (pid > 0 && process_holds(wanted, (pid_t)pid) == HOLDS)
            found = (pid_t)pid;
    }
    closedir(dir);
    return found;
}

/* Leaves "" when the process is gone. */
static void process_name(pid_t pid, char name[BRIQ_LOCK_NAME_MAX])
{
    char path[PROC_PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    name[0] = '\0';
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(name, BRIQ_LOCK_NAME_MAX, file) != NULL)
        name[strcspn(name, "\n")] = '\0';
    fclose(file);
}

/* The holder's pid; 0 when no lock was seen; PID_UNKNOWN when one was seen but nobody with it. */
static pid_t find_owner(const struct wanted *wanted)
{
    bool listed;
    pid_t pid = find_listed(wanted, &listed);
    if (pid == 0)
        pid = find_holding(wanted);
    if (pid == 0 && listed)
        pid = PID_UNKNOWN;
    return pid;
}

/* ---- taking it ------------------------------------------------------------------------------- */

static int explain_conflict(const char *path, pid_t pid, struct briq_error *err)
{
    if (pid == getpid())
        return briq_error_set(err, -EBUSY, "%s: already open in this process (pid %d)", path,
                              (int)pid);
    if (pid <= 0)
        return briq_error_set(
            err, -EBUSY,
            "%s: in use by a process that cannot be seen from here (another user, "
            "container or host); stop it first, or open a copy",
            path);

    char name[BRIQ_LOCK_NAME_MAX];
    process_name(pid, name);
    return briq_error_set(err, -EBUSY, "%s: in use by %s (pid %d); stop it first, or open a copy",
                          path, name[0] != '\0' ? name : "a process", (int)pid);
}

/* 0, -EWOULDBLOCK on a conflict, or -errno. */
static int try_lock(int fd, bool shared)
{
    int r;
    do
        r = flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

/* Whether a writer may try once more: what excludes it are readers of a block device, and they have
 * not been waited for too long. Waits a little before it says so. */
static bool wait_for_readers(const struct stat *st, uint64_t since_ns)
{
    if (!S_ISBLK(st->st_mode) || briq_clock_ns() - since_ns > READER_WAIT_NS)
        return false;
    nanosleep(&(struct timespec){.tv_nsec = READER_PAUSE_NS}, NULL);
    return true;
}

/* 0 and the lock; or -EWOULDBLOCK and who has it, as find_owner() tells; or -errno. A writer has it
 * for long; a shared lock may be that of somebody who only looks, and counts when it stays. */
static int take(int fd, bool shared, const struct stat *st, pid_t *ret_owner)
{
    uint64_t since_ns = briq_clock_ns();
    struct wanted writer, any;
    wanted_init(&writer, st, true);
    wanted_init(&any, st, false);

    for (unsigned attempts = 1;; attempts++) {
        int r = try_lock(fd, shared);
        if (r != -EWOULDBLOCK)
            return r;
        *ret_owner = find_owner(&writer);
        if (*ret_owner != 0)
            return r;
        if (attempts < TAKE_ATTEMPTS || (!shared && wait_for_readers(st, since_ns)))
            continue;
        if (!shared)
            *ret_owner = find_owner(&any);
        return r;
    }
}

int briq_lock_take(int fd, bool shared, const char *path, struct briq_error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        int r = -errno;
        return briq_error_set(err, r, "%s: cannot look at it: %s", path, strerrordesc_np(-r));
    }
    pid_t owner = 0;
    int r = take(fd, shared, &st, &owner);
    if (r == -EWOULDBLOCK)
        return explain_conflict(path, owner, err);
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot lock it: %s", path, strerrordesc_np(-r));
    return 0;
}

/* Asks the kernel itself: 1 when somebody has the file locked for writing. */
static int probe(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int r = try_lock(fd, true);
    close(fd); /* and the lock with it */
    return r == -EWOULDBLOCK ? 1 : r;
}

int briq_lock_owner(const char *path, pid_t *ret_pid, char name[BRIQ_LOCK_NAME_MAX])
{
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    struct wanted wanted;
    wanted_init(&wanted, &st, true);

    pid_t pid = find_owner(&wanted);
    if (pid == 0) {
        int r = probe(path);
        if (r < 0)
            return r;
        pid = r == 0 ? 0 : PID_UNKNOWN;
    }

    name[0] = '\0';
    if (pid > 0)
        process_name(pid, name);
    *ret_pid = pid;
    return 0;
}
