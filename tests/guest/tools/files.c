/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * files - changes files, each change with fsync, and judges later which changes are there.
 *
 *   files write DIR SEED COUNT   makes COUNT changes; prints the number of each once it is durable
 *   files verify DIR SEED N      all changes up to N must be there; prints how many there are
 *
 * Change n, drawn from the seed, either replaces one of a few files in the way programs do it
 * (write a new one, fsync, rename it over the old, fsync the directory), or appends a record to a
 * journal and calls fdatasync. So after change n is durable a file holds the content of the last
 * change up to n that replaced it, or of a later one, as a whole; and the journal all its records
 * up to n, in order.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/base/prng.h"

#define FILES           24u
#define FILE_BYTES_MAX  40000u
#define RECORD_BYTES    768u
#define NUMBERS_PER_RUN 8u /* equal words in a row, so that content compresses */

struct change {
    uint64_t number, state;
    bool append;
    unsigned file;
    size_t bytes;
};

struct header {
    char magic[8];
    uint64_t seed, number, bytes;
};

static const char magic[8] = "briqfile";

static void BRIQ_PRINTF(1, 2) __attribute__((noreturn)) die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("files: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static struct change change_of(uint64_t seed, uint64_t number)
{
    struct briq_prng prng = {.state = seed * 1000003 + number};
    struct change change = {.number = number};

    change.append = briq_prng_below(&prng, 3) == 0;
    change.file = (unsigned)briq_prng_below(&prng, FILES);
    change.bytes = change.append ? RECORD_BYTES
                                 : sizeof(struct header) + briq_prng_below(&prng, FILE_BYTES_MAX);
    change.state = prng.state;
    return change;
}

/* A header that says what it is, and words of which most repeat. */
static void fill(const struct change *change, uint64_t seed, unsigned char *buffer)
{
    struct briq_prng prng = {.state = change->state};
    struct header header = {.seed = seed, .number = change->number, .bytes = change->bytes};
    uint64_t word = 0;
    size_t i;

    memcpy(header.magic, magic, sizeof(magic));
    for (i = 0; i + 8 <= change->bytes; i += 8) {
        if (i / 8 % NUMBERS_PER_RUN == 0)
            word = briq_prng_next(&prng);
        memcpy(buffer + i, &word, 8);
    }
    memset(buffer + i, 0x5a, change->bytes - i);
    memcpy(buffer, &header, sizeof(header));
}

static int open_file(int dir, const char *name, int flags)
{
    int fd = openat(dir, name, flags | O_CLOEXEC, 0644);

    if (fd < 0)
        die("%s: %s", name, strerror(errno));
    return fd;
}

static void put(int fd, const char *name, const unsigned char *buffer, size_t bytes)
{
    ssize_t put = write(fd, buffer, bytes);

    if (put != (ssize_t)bytes)
        die("%s: write: %s", name, put < 0 ? strerror(errno) : "no room");
}

static void name_of(unsigned file, char name[static 16])
{
    snprintf(name, 16, "f%u", file);
}

static void replace_file(int dir, const struct change *change, const unsigned char *buffer)
{
    int fd = open_file(dir, "new", O_WRONLY | O_CREAT | O_TRUNC);
    char name[16];

    name_of(change->file, name);
    put(fd, "new", buffer, change->bytes);
    if (fsync(fd) != 0 || close(fd) != 0 || renameat(dir, "new", dir, name) != 0 || fsync(dir) != 0)
        die("%s: %s", name, strerror(errno));
}

static void append_record(int dir, const struct change *change, const unsigned char *buffer)
{
    int fd = open_file(dir, "journal", O_WRONLY | O_CREAT | O_APPEND);

    put(fd, "journal", buffer, change->bytes);
    if (fdatasync(fd) != 0 || close(fd) != 0)
        die("journal: %s", strerror(errno));
}

static void write_changes(int dir, uint64_t seed, uint64_t count, unsigned char *buffer)
{
    uint64_t number;

    /* The names themselves must not be what is lost. */
    close(open_file(dir, "journal", O_WRONLY | O_CREAT));
    if (fsync(dir) != 0)
        die("the directory: %s", strerror(errno));
    for (number = 1; number <= count; number++) {
        struct change change = change_of(seed, number);

        fill(&change, seed, buffer);
        if (change.append)
            append_record(dir, &change, buffer);
        else
            replace_file(dir, &change, buffer);
        printf("%" PRIu64 "\n", number);
        fflush(stdout);
    }
}

/* All of a file, at most `room` bytes; 0 when there is none of that name. */
static size_t take(int dir, const char *name, unsigned char *buffer, size_t room)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    size_t bytes = 0;
    ssize_t got;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        die("%s: %s", name, strerror(errno));
    while ((got = read(fd, buffer + bytes, room - bytes)) > 0)
        bytes += (size_t)got;
    if (got < 0)
        die("%s: read: %s", name, strerror(errno));
    close(fd);
    return bytes;
}

/* The change that the bytes are the work of, or 0. */
static uint64_t author(const unsigned char *bytes, size_t count, uint64_t seed,
                       unsigned char *scratch)
{
    struct header header;
    struct change change;

    if (count < sizeof(header))
        return 0;
    memcpy(&header, bytes, sizeof(header));
    if (memcmp(header.magic, magic, sizeof(magic)) != 0 || header.seed != seed)
        return 0;
    change = change_of(seed, header.number);
    if (change.bytes != count)
        return 0;
    fill(&change, seed, scratch);
    return memcmp(bytes, scratch, count) == 0 ? header.number : 0;
}

/* Returns the newest change seen. */
static uint64_t verify_file(int dir, unsigned file, uint64_t seed, uint64_t floor,
                            unsigned char *buffer)
{
    unsigned char *scratch = buffer + FILE_BYTES_MAX + sizeof(struct header);
    uint64_t wanted = 0, number, found;
    size_t bytes;
    char name[16];

    for (number = 1; number <= floor; number++) {
        struct change change = change_of(seed, number);

        if (!change.append && change.file == file)
            wanted = number;
    }
    name_of(file, name);
    bytes = take(dir, name, buffer, FILE_BYTES_MAX + sizeof(struct header));
    found = author(buffer, bytes, seed, scratch);
    if (bytes > 0 &&
        (!found || change_of(seed, found).append || change_of(seed, found).file != file))
        die("%s: its %zu bytes are not what one change wrote", name, bytes);
    if (found < wanted)
        die("%s: is of change %" PRIu64 ", and change %" PRIu64 " was durable", name, found,
            wanted);
    return found;
}

/* Returns the newest change seen. Behind the records up to `floor` there may be half a one. */
static uint64_t verify_journal(int dir, uint64_t seed, uint64_t floor, unsigned char *buffer)
{
    unsigned char *scratch = buffer + RECORD_BYTES;
    int fd = openat(dir, "journal", O_RDONLY | O_CLOEXEC);
    uint64_t number, newest = 0;

    if (fd < 0 && floor == 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        die("journal: %s", strerror(errno));
    for (number = 1;; number++) {
        if (!change_of(seed, number).append)
            continue;
        ssize_t got = read(fd, buffer, RECORD_BYTES);
        if (got < 0)
            die("journal: read: %s", strerror(errno));
        if (author(buffer, (size_t)got, seed, scratch) != number) {
            if (number <= floor)
                die("journal: the record of change %" PRIu64 " is not there; %" PRIu64
                    " was durable",
                    number, floor);
            break;
        }
        newest = number;
    }
    close(fd);
    return newest;
}

static void verify_changes(int dir, uint64_t seed, uint64_t floor, unsigned char *buffer)
{
    uint64_t newest = verify_journal(dir, seed, floor, buffer);
    unsigned file;

    for (file = 0; file < FILES; file++) {
        uint64_t found = verify_file(dir, file, seed, floor, buffer);

        if (found > newest)
            newest = found;
    }
    printf("%" PRIu64 "\n", newest);
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
    unsigned char *buffer;
    int dir;

    if (argc != 5 || (strcmp(argv[1], "write") != 0 && strcmp(argv[1], "verify") != 0)) {
        fputs("usage: files write|verify DIR SEED COUNT\n", stderr);
        return 2;
    }
    buffer = malloc(2 * (FILE_BYTES_MAX + sizeof(struct header)));
    if (!buffer)
        die("out of memory");
    dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        die("%s: %s", argv[2], strerror(errno));
    if (strcmp(argv[1], "write") == 0)
        write_changes(dir, number_of(argv[3]), number_of(argv[4]), buffer);
    else
        verify_changes(dir, number_of(argv[3]), number_of(argv[4]), buffer);
    close(dir);
    free(buffer);
    return 0;
}
