/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replay_log - what a disk held at each moment when its writer could rely on something.
 *
 * The kernel's device-mapper target log-writes passes requests on to a disk and keeps a log of them
 * on another. A write is entered into the log when a flush (or its own FUA) has made it durable, so
 * any beginning of the log that ends with a flush is what the disk must hold after a power cut
 * right then. The entries up to the next flush are writes that had no promise yet: any of them may
 * be there.
 *
 * The format is that of Linux, Documentation/admin-guide/device-mapper/log-writes.rst, and of
 * drivers/md/dm-log-writes.c where that says nothing: a superblock in the first sector, then the
 * entries, each a sector of header (with the text of a mark in it) and, but for discards, its data.
 * Sectors are those of the superblock, numbers are little-endian.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/base/le.h"
#include "common/base/prng.h"

#define LOG_MAGIC      UINT64_C(0x6a736677736872)
#define LOG_VERSION    1
#define SECTOR_MAX     4096u
#define ENTRY_DATA_MAX (64u << 20) /* far more than a request can be */

enum { ENTRY_FLUSH = 1, ENTRY_FUA = 2, ENTRY_DISCARD = 4, ENTRY_MARK = 8 };

struct super_on_disk {
    briq_le64 magic, version, entries;
    briq_le32 sector_bytes;
};

struct entry_on_disk {
    briq_le64 sector, sectors, flags, text_bytes;
};

struct log {
    int fd;
    uint64_t entries;
    uint64_t at; /* byte offset of the next entry */
    uint32_t sector_bytes;
};

struct entry {
    uint64_t offset, bytes, flags; /* in bytes, on the disk that was logged */
    uint64_t data_at;              /* where its data begins in the log */
    char text[SECTOR_MAX];         /* of a mark */
};

static void BRIQ_PRINTF(1, 2) __attribute__((noreturn)) die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("replay_log: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static void read_all(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    ssize_t got = pread(fd, buffer, bytes, (off_t)offset);

    if (got != (ssize_t)bytes)
        die("cannot read %zu bytes at %" PRIu64 ": %s", bytes, offset,
            got < 0 ? strerror(errno) : "the log ends there");
}

static void write_all(int fd, const void *buffer, size_t bytes, uint64_t offset)
{
    ssize_t put = pwrite(fd, buffer, bytes, (off_t)offset);

    if (put != (ssize_t)bytes)
        die("cannot write %zu bytes at %" PRIu64 ": %s", bytes, offset,
            put < 0 ? strerror(errno) : "there is no room");
}

static int open_or_die(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);

    if (fd < 0)
        die("%s: %s", path, strerror(errno));
    return fd;
}

static struct log log_open(const char *path)
{
    struct super_on_disk super;
    struct log log = {.fd = open_or_die(path, O_RDONLY)};

    read_all(log.fd, &super, sizeof(super), 0);
    if (briq_le64_get(super.magic) != LOG_MAGIC || briq_le64_get(super.version) != LOG_VERSION)
        die("%s: is not a log of dm-log-writes, version %d", path, LOG_VERSION);
    log.entries = briq_le64_get(super.entries);
    log.sector_bytes = briq_le32_get(super.sector_bytes);
    if (log.sector_bytes < 512 || log.sector_bytes > SECTOR_MAX)
        die("%s: has sectors of %" PRIu32 " bytes", path, log.sector_bytes);
    log.at = log.sector_bytes;
    return log;
}

static void log_next(struct log *log, struct entry *entry)
{
    unsigned char sector[SECTOR_MAX];
    struct entry_on_disk raw;
    uint64_t text_bytes;

    read_all(log->fd, sector, log->sector_bytes, log->at);
    memcpy(&raw, sector, sizeof(raw));
    entry->offset = briq_le64_get(raw.sector) * log->sector_bytes;
    entry->bytes = briq_le64_get(raw.sectors) * log->sector_bytes;
    entry->flags = briq_le64_get(raw.flags);
    entry->data_at = log->at + log->sector_bytes;
    text_bytes = briq_le64_get(raw.text_bytes);
    if (entry->flags & ENTRY_MARK) {
        if (text_bytes > log->sector_bytes - sizeof(raw))
            die("the mark at %" PRIu64 " has %" PRIu64 " bytes", log->at, text_bytes);
        memcpy(entry->text, sector + sizeof(raw), text_bytes);
        entry->text[text_bytes] = 0;
    }
    log->at = entry->data_at;
    if (!(entry->flags & ENTRY_DISCARD)) {
        if (entry->bytes > ENTRY_DATA_MAX)
            die("the entry at %" PRIu64 " has %" PRIu64 " bytes", log->at, entry->bytes);
        log->at += entry->bytes;
    }
}

/* A line for each flush: how many entries there are up to and with it, and the last mark before. */
static void print_points(struct log *log)
{
    struct entry entry;
    char mark[SECTOR_MAX] = "-";
    uint64_t i;

    for (i = 1; i <= log->entries; i++) {
        log_next(log, &entry);
        if (entry.flags & ENTRY_MARK)
            memcpy(mark, entry.text, sizeof(mark));
        else if (entry.flags & (ENTRY_FLUSH | ENTRY_FUA))
            printf("%" PRIu64 " %s\n", i, mark);
    }
}

/* What was discarded reads as zeros here; a disk may also go on returning the old data. */
static void apply(const struct log *log, const struct entry *entry, int to)
{
    static const size_t piece_max = 1u << 20;
    unsigned char *buffer = calloc(1, piece_max);
    uint64_t done;

    if (!buffer)
        die("out of memory");
    for (done = 0; done < entry->bytes;) {
        size_t piece = entry->bytes - done < piece_max ? (size_t)(entry->bytes - done) : piece_max;

        if (!(entry->flags & ENTRY_DISCARD))
            read_all(log->fd, buffer, piece, entry->data_at + done);
        write_all(to, buffer, piece, entry->offset + done);
        done += piece;
    }
    free(buffer);
}

/* Applies the entries behind the first `from` of them, up to `until`; with a seed about half. */
static void replay(struct log *log, int to, uint64_t from, uint64_t until, const uint64_t *seed)
{
    struct briq_prng prng = {.state = seed ? *seed : 0};
    struct entry entry;
    uint64_t i;

    if (until > log->entries)
        die("the log has only %" PRIu64 " entries", log->entries);
    for (i = 0; i < until; i++) {
        log_next(log, &entry);
        if (i < from || (entry.flags & ENTRY_MARK) || entry.bytes == 0)
            continue;
        if (!seed || briq_prng_below(&prng, 2) == 0)
            apply(log, &entry, to);
    }
}

static uint64_t number_of(const char *text)
{
    char *end;
    uint64_t number = strtoull(text, &end, 10);

    if (*text == 0 || *end != 0)
        die("'%s' is not a number", text);
    return number;
}

int main(int argc, char **argv)
{
    struct log log;

    if (argc == 3 && strcmp(argv[1], "points") == 0) {
        log = log_open(argv[2]);
        print_points(&log);
    } else if ((argc == 6 || argc == 7) && strcmp(argv[1], "replay") == 0) {
        uint64_t seed = argc == 7 ? number_of(argv[6]) : 0;
        int to = open_or_die(argv[3], O_WRONLY);

        log = log_open(argv[2]);
        replay(&log, to, number_of(argv[4]), number_of(argv[5]), argc == 7 ? &seed : NULL);
        if (close(to) != 0)
            die("%s: %s", argv[3], strerror(errno));
    } else {
        fputs("usage: replay_log points LOG\n"
              "       replay_log replay LOG TO FROM UNTIL [SEED]\n",
              stderr);
        return 2;
    }
    close(log.fd);
    return fflush(stdout) == 0 ? 0 : 2;
}
