/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_broken_windows.c - the append windows of a dead server are damaged: who reads finds the same
 * as who writes, both say so, nothing is written before a repair, and a repair mends it.
 */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/attr.h"
#include "common/store/encode.h"
#include "common/store/window.h"
#include "tests/lib/child.h"
#include "tests/lib/fixture.h"
#include "tests/lib/ward.h"

#define HEADER_BYTES 4096u
#define WRITES       40u

static int set_up(void **state)
{
    return test_ward_open(state, "build/tests/unit/test_broken_windows", 16, TEST_PATIENT_CLEAN);
}

static void write_and_die(const struct test_patient *p, uint64_t count)
{
    struct briq_store *store = test_patient_store(p);
    uint8_t bytes[BRIQ_BLOCK_BYTES];
    for (uint64_t i = 0; i < count; i++) {
        memset(bytes, (int)i, sizeof bytes);
        bytes[0] = 'y';
        assert(briq_write(store, bytes, sizeof bytes, i * 31 * sizeof bytes, 0) == 0);
        assert(i % 16 != 9 || briq_flush(store) == 0);
    }
    _exit(0);
}

/* Some of it flushed, some sealed, some in a chunk that is open. */
static void die_late(void *arg)
{
    write_and_die(arg, WRITES);
}

/* All of it in the first chunk. */
static void die_early(void *arg)
{
    write_and_die(arg, 3);
}

/* ---- the file -------------------------------------------------------------------------------- */

struct left {
    uint8_t *base;
    size_t bytes;
    struct briq_window_desc *desc; /* of the first window with data */
    uint8_t *mem;
};

static void left_open(struct left *left, const struct test_dir *dir)
{
    DIR *stream = opendir(dir->path);
    struct dirent *entry;
    struct stat st;
    assert_non_null(stream);
    while ((entry = readdir(stream)) != NULL && entry->d_name[0] == '.')
        ;
    assert_non_null(entry);
    int fd = open(test_dir_file(dir, entry->d_name).text, O_RDWR | O_CLOEXEC);
    closedir(stream);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    left->bytes = (size_t)st.st_size;
    left->base = mmap(NULL, left->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(left->base, MAP_FAILED);
    close(fd);
    const struct briq_windows_header *header = (const void *)left->base;
    struct briq_window_desc *descs = (void *)(left->base + HEADER_BYTES);
    uint32_t i = 0;
    while (atomic_load(&descs[i].active) == 0 || descs[i].kind != BRIQ_KIND_USER)
        assert_true(++i < header->window_count);
    left->desc = &descs[i];
    left->mem = left->base + left->bytes - (size_t)header->window_count * header->window_bytes +
                (size_t)i * header->window_bytes;
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void another_segment(struct left *left)
{
    left->desc->seg--;
}

static void another_place(struct left *left)
{
    left->desc->start += BRIQ_CHUNK_ALIGN;
}

static void another_use(struct left *left)
{
    left->desc->segseq--;
}

static void another_stream(struct left *left)
{
    left->desc->stream++;
}

static void an_end_inside_a_chunk(struct left *left)
{
    atomic_fetch_sub(&left->desc->sealed_end, BRIQ_CHUNK_ALIGN);
}

static void an_odd_end(struct left *left)
{
    atomic_fetch_sub(&left->desc->sealed_end, 1);
}

static void an_end_too_far(struct left *left)
{
    atomic_store(&left->desc->sealed_end, UINT32_MAX);
}

static void a_chunk_header(struct left *left)
{
    left->mem[left->desc->start + 40] ^= 1;
}

static void an_open_chunk_too_far(struct left *left)
{
    atomic_fetch_add(&left->desc->open_off, BRIQ_CHUNK_ALIGN);
}

static void too_many_open_records(struct left *left)
{
    atomic_store(&left->desc->open_nrec, left->desc->cap + 1);
}

static void an_odd_capacity(struct left *left)
{
    left->desc->cap++;
}

/* ---- what must hold -------------------------------------------------------------------------- */

static void read_all(struct briq_store *store, uint8_t *content, bool *readable)
{
    for (uint64_t block = 0; block < TEST_PATIENT_BLOCKS; block++) {
        uint64_t off = block * BRIQ_BLOCK_BYTES, left = TEST_PATIENT_BYTES - off;
        size_t len = left < BRIQ_BLOCK_BYTES ? left : BRIQ_BLOCK_BYTES;
        readable[block] = briq_read(store, content + off, len, off) == 0;
    }
}

static void expect_writer_agrees(struct test_ward *f, const struct test_reading *read)
{
    struct briq_store *store = test_patient_store(&f->patient);
    struct test_reading *found = calloc(1, sizeof *found);
    found->content = calloc(TEST_PATIENT_BLOCKS, BRIQ_BLOCK_BYTES);
    assert_true(briq_store_read_only(store));
    read_all(store, found->content, found->readable);
    assert_memory_equal(found->readable, read->readable, sizeof read->readable);
    assert_memory_equal(found->content, read->content, TEST_PATIENT_BYTES);
    test_volume_close(store);
    test_reading_free(found);
    free(found);
}

static void expect_mended(struct test_ward *f)
{
    test_patient_check(&f->patient, NULL, true, false, &f->findings);
    assert_int_equal(f->findings.error, 0);
    if (strstr(f->findings.text, "append windows of the server that died are damaged") == NULL)
        fail_msg("the damage is not told: %s", f->findings.text);
    test_patient_check(&f->patient, NULL, true, true, &f->findings);
    assert_int_equal(f->findings.error, 0);
    assert_int_equal(f->findings.result.unrepaired, 0);
    test_patient_check(&f->patient, NULL, true, false, &f->findings);
    if (f->findings.error != 0 || f->findings.lines != 0)
        fail_msg("not sound after a repair: %s%s", f->findings.err.text, f->findings.text);
    struct briq_store *store = test_patient_store(&f->patient);
    assert_false(briq_store_read_only(store));
    test_volume_close(store);
}

static void expect_agreement(struct test_ward *f, void (*die)(void *arg),
                             void (*damage)(struct left *left))
{
    struct left left;
    struct test_reading reading;
    assert_int_equal(test_in_child(die, &f->patient), 0);
    left_open(&left, &f->patient.windows);
    assert_true((atomic_load(&left.desc->sealed_end) > left.desc->start) == (die == die_late));
    assert_true(atomic_load(&left.desc->open_nrec) > 0);
    damage(&left);
    munmap(left.base, left.bytes);
    test_patient_read(&f->patient, NULL, &reading);
    assert_true(reading.opened);
    expect_writer_agrees(f, &reading);
    test_reading_free(&reading);
    expect_mended(f);
    test_patient_restore(&f->patient);
}

static void reader_and_writer_agree_and_say_so(void **state)
{
    static void (*const damages[])(struct left * left) = {
        another_segment,       another_place,         another_use,
        another_stream,        an_end_inside_a_chunk, an_odd_end,
        an_end_too_far,        a_chunk_header,        an_open_chunk_too_far,
        too_many_open_records, an_odd_capacity,
    };
    for (unsigned i = 0; i < BRIQ_COUNT_OF(damages); i++)
        expect_agreement(*state, die_late, damages[i]);
}

/* No chunk is there yet to tell whether the window is where it should be. */
static void also_when_nothing_is_sealed(void **state)
{
    static void (*const damages[])(struct left * left) = {
        another_segment,
        another_place,
        another_use,
        another_stream,
    };
    for (unsigned i = 0; i < BRIQ_COUNT_OF(damages); i++)
        expect_agreement(*state, die_early, damages[i]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reader_and_writer_agree_and_say_so, set_up,
                                        test_ward_close),
        cmocka_unit_test_setup_teardown(also_when_nothing_is_sealed, set_up, test_ward_close),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
