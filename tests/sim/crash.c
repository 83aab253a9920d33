/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crash.c - the moment of a crash, and what it leaves of disk, append windows and boot.
 *
 * The store code is not torn out of its call: from that moment the disk answers -EIO and changes no
 * more, and what the store does to its windows until it has noticed is undone, for a dead process
 * would not have done it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/store/engine.h"
#include "tests/sim/sim.h"

/* ---- the files of append windows --------------------------------------------------------------
 */

#define STALE_FILES_MAX 3u

#define HEAD_BYTES 4096u /* of the file: its header; the descriptors begin behind it */

/* A window that does not count is left out: nobody believes its bytes. */
static bool window_counts(const struct briq_windows_header *header, uint32_t i)
{
    const struct briq_window_desc *descs =
        (const struct briq_window_desc *)(const void *)((const uint8_t *)header + HEAD_BYTES);
    return atomic_load(&descs[i].active) != 0;
}

static void copy_windows(const uint8_t *from, uint8_t *to, size_t len)
{
    const struct briq_windows_header *header = (const void *)from;
    size_t mem = len - (size_t)header->window_count * header->window_bytes;
    memcpy(to, from, mem);
    for (uint32_t i = 0; i < header->window_count; i++) {
        size_t at = mem + (size_t)i * header->window_bytes;
        if (window_counts(header, i))
            memcpy(to + at, from + at, header->window_bytes);
    }
}

static void save_file(struct sim_life *life, const char *name)
{
    struct test_path path = test_dir_file(&life->windows, name);
    struct stat st;
    int fd = open(path.text, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || life->saved_count == SIM_WINDOW_FILES)
        sim_fail(life, "%s: cannot save the windows", path.text);
    struct sim_windows *saved = &life->saved[life->saved_count++];
    snprintf(saved->name, sizeof saved->name, "%s", name);
    saved->len = (size_t)st.st_size;
    if (saved->len > saved->max) {
        free(saved->bytes);
        saved->bytes = malloc(saved->len);
        saved->max = saved->bytes != NULL ? saved->len : 0;
    }
    const uint8_t *from = mmap(NULL, saved->len, PROT_READ, MAP_SHARED, fd, 0);
    if (from == MAP_FAILED || saved->bytes == NULL)
        sim_fail(life, "%s: cannot map the windows", path.text);
    copy_windows(from, saved->bytes, saved->len);
    munmap((void *)(uintptr_t)from, saved->len);
    close(fd);
}

static void save_windows(struct sim_life *life)
{
    DIR *dir = opendir(life->windows.path);
    life->saved_count = 0;
    if (dir == NULL)
        sim_fail(life, "%s: %s", life->windows.path, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            save_file(life, entry->d_name);
    closedir(dir);
}

/* Writes the counting parts; the rest is a hole. */
static bool write_windows(int fd, const struct sim_windows *saved)
{
    const struct briq_windows_header *header = (const void *)saved->bytes;
    size_t mem = saved->len - (size_t)header->window_count * header->window_bytes;
    bool ok =
        ftruncate(fd, (off_t)saved->len) == 0 && pwrite(fd, saved->bytes, mem, 0) == (ssize_t)mem;
    for (uint32_t i = 0; i < header->window_count && ok; i++) {
        size_t at = mem + (size_t)i * header->window_bytes;
        if (window_counts(header, i))
            ok = pwrite(fd, saved->bytes + at, header->window_bytes, (off_t)at) ==
                 (ssize_t)header->window_bytes;
    }
    return ok;
}

static void restore_windows(struct sim_life *life)
{
    for (unsigned i = 0; i < life->saved_count; i++) {
        struct test_path path = test_dir_file(&life->windows, life->saved[i].name);
        int fd = open(path.text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || !write_windows(fd, &life->saved[i]))
            sim_fail(life, "%s: cannot restore the windows: %s", path.text, strerror(errno));
        close(fd);
    }
}

void sim_crash_forget_stale(struct sim_life *life)
{
    DIR *dir = opendir(life->windows.path);
    if (dir == NULL)
        sim_fail(life, "%s: %s", life->windows.path, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct test_path path = test_dir_file(&life->windows, entry->d_name);
        if (entry->d_name[0] != '.' && strcmp(path.text, life->store->windows.path) != 0)
            unlink(path.text);
    }
    closedir(dir);
}

/* ---- the moment ------------------------------------------------------------------------------ */

/* What the store was at, when that cannot be told from the call it was in. */
static enum sim_place place_of(const struct sim_life *life, const struct test_disk_stop *stop)
{
    if (life->place != SIM_IN_GC && life->place != SIM_IN_CHECKPOINT)
        return life->place;
    const struct briq_fmt_chunk *chunk = stop->data;
    if (stop->kind == TEST_IO_WRITE && stop->off >= BRIQ_DATA_OFFSET)
        return chunk->kind == BRIQ_KIND_GC ? SIM_IN_GC : SIM_IN_CHECKPOINT;
    if (stop->kind == TEST_IO_WRITE || stop->kind == TEST_IO_FLUSH)
        return SIM_IN_CHECKPOINT;
    return stop->kind == TEST_IO_READ ? SIM_IN_GC : life->place;
}

void sim_crash_note(void *opaque, const struct test_disk_stop *stop)
{
    struct sim_life *life = opaque;
    if (life->stopped)
        return;
    life->stopped = true;
    life->died_in = stop != NULL ? place_of(life, stop) : SIM_BETWEEN_CALLS;
    sim_slots_tell_disk(life);
    save_windows(life);
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static void note_work(struct sim_life *life)
{
    struct briq_maintain *m = &life->store->maintain;
    life->stats->gc_segments += briq_counter_get(&m->gc_segments);
    life->stats->store_checkpoints += briq_counter_get(&m->checkpoints);
}

static void end_store(struct sim_life *life)
{
    if (life->store == NULL)
        return;
    note_work(life);
    /* A recovery that could not read the journal ends so, and writes nothing. */
    bool read_only = life->store->opened_read_only;
    briq_store_latch(life->store, -EIO, "the crash");
    briq_waitq_wake(&life->store->waitq); /* nobody waits any more */
    if (briq_store_close(life->store) == 0 && !read_only)
        sim_fail(life, "the store was closed cleanly on a dead disk");
    life->store = NULL;
    sim_slots_drop(life);
}

void sim_boot(struct sim_life *life)
{
    for (unsigned i = 0; i < sizeof life->boot_id; i++)
        life->boot_id[i] = (uint8_t)briq_prng_next(&life->prng);
}

static void power_cut(struct sim_life *life)
{
    test_disk_cut(life->disk, &life->prng);
    protocol_power_cut(life->protocol);
    life->power_was_cut = true;
    sim_boot(life);
    if (sim_chance(life, 30) && life->saved_count > 0 && life->saved_count <= STALE_FILES_MAX) {
        restore_windows(life);
        life->stats->stale_windows++;
    }
}

static void process_death(struct sim_life *life)
{
    test_disk_die(life->disk, &life->prng);
    protocol_process_death(life->protocol);
    restore_windows(life);
}

void sim_crash(struct sim_life *life)
{
    if (!life->stopped)
        sim_crash_note(life, NULL);
    end_store(life);
    test_dir_empty(&life->windows);
    life->stats->crashes[life->end][life->died_in]++;
    life->crashes++;
    if (life->verbose)
        printf("crash %" PRIu64 ": %s, place %d\n", life->crashes,
               life->end == SIM_POWER_CUT ? "power cut" : "process death", (int)life->died_in);
    if (life->end == SIM_POWER_CUT)
        power_cut(life);
    else
        process_death(life);
    life->stopped = false;
}
