/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_windows.c - the shared memory that a dead server left, damaged anywhere: opening the volume
 * takes it or leaves it, reads nothing outside it, and who opens for writing finds what who only
 * reads finds.
 *
 *   byte 0: bit 0 also open for writing; bits 1-2 how much of the file is there (0: all); then
 *   changes of 8 bytes: where (0 header, 1 a descriptor, 2 a window, 3 its records), which, an
 *   offset (2 bytes), width, 3 bytes of value; changes of window memory stand in for what a process
 *   that died at any moment may leave.
 */
#include "tests/fuzz/support/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/boot_id.h"
#include "common/base/uuid.h"
#include "common/store/window.h"
#include "tests/fuzz/support/reading.h"
#include "tests/fuzz/support/volume.h"
#include "tests/lib/temp_dir.h"

#define PAGE         4096u
#define WINDOW_BYTES (1u << FUZZ_SEG_SHIFT)
#define CHANGES_MAX  32u
#define LENGTHS      4u

/* A file of one length that lies beside and is never removed: the dead server's name is given to it
 * anew. Making a file each time would cost more than all the rest. */
struct left {
    char path[512];
    size_t bytes;
    uint8_t *mem; /* shared with the file */
    struct {
        size_t at, width;
    } changes[CHANGES_MAX];
    unsigned change_count;
};

struct scene {
    struct test_dir dir;
    struct fuzz_volume *volume;
    struct briq_store *dead;
    char path[512];
    uint8_t *sound; /* as the dead server left it */
    size_t bytes;
    struct left left[LENGTHS];
};

static struct scene *the_scene(void)
{
    static struct scene scene;
    return &scene;
}

static void remove_dir(void)
{
    test_dir_close(&the_scene()->dir);
}

/* The store that fuzz_volume_make_windows() left open counts as dead, but its file must be ours. */
static void adopt_file(struct scene *s)
{
    char uuid[BRIQ_UUID_TEXT_MAX];
    struct stat st;
    briq_uuid_format(s->volume->sb.uuid, uuid);
    snprintf(s->path, sizeof s->path, "%s/briq-%s-%llu-0.0", s->dir.path, uuid,
             (unsigned long long)s->volume->sb.incarnation);
    BRIQ_ASSERT(stat(s->path, &st) == 0);
    s->bytes = (size_t)st.st_size;
    s->sound = malloc(s->bytes);
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    BRIQ_ASSERT(s->sound != NULL && pread(fd, s->sound, s->bytes, 0) == (ssize_t)s->bytes);
    close(fd);
}

static void make_left(const struct scene *s, unsigned which, struct left *left)
{
    left->bytes = s->bytes >> which;
    snprintf(left->path, sizeof left->path, "%s/left-%u", s->dir.path, which);
    int fd = open(left->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    BRIQ_ASSERT(fd >= 0 && ftruncate(fd, (off_t)left->bytes) == 0);
    left->mem = mmap(NULL, left->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    BRIQ_ASSERT(left->mem != MAP_FAILED);
    memcpy(left->mem, s->sound, left->bytes);
    close(fd);
}

/* Undoes what the last input did to it. */
static void restore(const struct scene *s, struct left *left)
{
    while (left->change_count > 0) {
        left->change_count--;
        size_t at = left->changes[left->change_count].at;
        memcpy(left->mem + at, s->sound + at, left->changes[left->change_count].width);
    }
}

/* It becomes the dead server's file. Opening for writing removes that name. */
static void put_file(const struct scene *s, const struct left *left)
{
    unlink(s->path);
    BRIQ_ASSERT(link(left->path, s->path) == 0);
}

static struct scene *make_scene(void)
{
    struct scene *s = the_scene();
    if (s->volume != NULL)
        return s;
    test_dir_open(&s->dir, TEST_DIR_MEMORY);
    atexit(remove_dir);
    s->volume = fuzz_volume_make_windows(s->dir.path, &s->dead);
    adopt_file(s);
    for (unsigned i = 0; i < LENGTHS; i++)
        make_left(s, i, &s->left[i]);
    return s;
}

/* ---- changes --------------------------------------------------------------------------------- */

struct place {
    size_t at, len;
};

static struct place place_of(const struct scene *s, unsigned kind, unsigned which)
{
    const struct briq_windows_header *header = (const void *)s->sound;
    unsigned window = which % header->window_count;
    size_t descs = PAGE, windows = s->bytes - (size_t)header->window_count * WINDOW_BYTES;
    const struct briq_window_desc *desc = (const void *)(s->sound + descs);
    switch (kind % 4) {
    case 0:
        return (struct place){0, sizeof *header};
    case 1:
        return (struct place){descs + window * sizeof *desc, sizeof *desc};
    case 2:
        return (struct place){windows + (size_t)window * WINDOW_BYTES, WINDOW_BYTES};
    default:
        return (struct place){windows + (size_t)window * WINDOW_BYTES +
                                  atomic_load(&desc[window].open_off) % WINDOW_BYTES,
                              briq_chunk_header_bytes(BRIQ_CHUNK_CAP_MAX)};
    }
}

static void change(const struct scene *s, struct left *left, struct fuzz_input *in)
{
    unsigned kind = (unsigned)fuzz_number(in, 1), which = (unsigned)fuzz_number(in, 1);
    struct place p = place_of(s, kind, which);
    size_t where = fuzz_number(in, 2) % p.len;
    unsigned how = (unsigned)fuzz_number(in, 1), width = 1u << (how & 3);
    uint64_t value = fuzz_number(in, 3), old = 0;
    where -= where % width;
    size_t at = p.at + where;
    if (at + width > left->bytes)
        return;
    memcpy(&old, left->mem + at, width);
    value = (how & 4) != 0 ? old + value : (how & 8) != 0 ? old - value : value;
    memcpy(left->mem + at, &value, width);
    left->changes[left->change_count].at = at;
    left->changes[left->change_count++].width = width;
}

static void open_for_writing(struct scene *s, const struct fuzz_reading *before)
{
    static struct fuzz_reading now;
    struct briq_store *store = NULL;
    if (fuzz_volume_open(s->volume->disk, false, s->dir.path, &store) < 0)
        return;
    BRIQ_ASSERT(before->opened);
    fuzz_read_store(store, &now);
    fuzz_expect_same(before, &now);
    BRIQ_ASSERT(briq_store_close(store) == 0);
    fuzz_read_disk(s->volume->disk, s->dir.path, &now);
    fuzz_expect_same(before, &now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_reading before;
    struct scene *s = make_scene();
    struct fuzz_input in = {data, size};
    unsigned how = (unsigned)fuzz_number(&in, 1);
    struct left *left = &s->left[how >> 1 & 3];
    restore(s, left);
    for (unsigned i = 0; i < CHANGES_MAX && in.left > 0; i++)
        change(s, left, &in);
    put_file(s, left);
    fuzz_disk_reset(s->volume->disk);
    fuzz_read_disk(s->volume->disk, s->dir.path, &before);
    if ((how & 1) != 0)
        open_for_writing(s, &before);
    return 0;
}
