/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_bad_input.c - what is not a volume, or a damaged one, or must not be opened: one clear line
 * that names the file, and never wrong bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/store/encode.h"
#include "tests/lib/child.h"
#include "tests/lib/fixture.h"
#include "tests/lib/temp_dir.h"

#define NOBODY 65534

struct fixture {
    struct test_dir dir;
    struct test_path path;
};

static struct fixture *fixture_of(void **state)
{
    return *state;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    test_dir_open(&f->dir, TEST_DIR_MEMORY);
    f->path = test_dir_file(&f->dir, "input.briq");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    test_dir_close(&fixture_of(state)->dir);
    free(*state);
    return 0;
}

/* One line, not empty, that names the file and says what is expected of it. */
static void expect_line(const struct briq_error *err, const char *path, const char *says)
{
    if (err->text[0] == '\0' || strchr(err->text, '\n') != NULL || strstr(err->text, path) == NULL)
        fail_msg("not one line about %s: \"%s\"", path, err->text);
    if (says != NULL && strstr(err->text, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err->text, says);
}

static void expect_open_refused_as(const struct fixture *f, const char *name, bool read_only,
                                   int code, const char *says)
{
    struct briq_open_options options = {.read_only = read_only, .windows_dir = f->dir.path};
    struct briq_error err = {0};
    struct briq_store *store = NULL;
    int r = briq_store_open(name, &options, &err, &store);
    if (r != code)
        fail_msg("opening %s returned %d (%s) instead of %d", name, r, err.text, code);
    assert_null(store);
    expect_line(&err, name, says);
}

/* However it is looked at. */
static void expect_refused(const struct fixture *f, int code, const char *says)
{
    struct briq_volume_info info;
    struct briq_check_options options = {.windows_dir = f->dir.path};
    struct briq_check_result result;
    struct briq_error err = {0}, check_err = {0};
    const char *name = f->path.text;
    expect_open_refused_as(f, name, false, code, says);
    expect_open_refused_as(f, name, true, code, says);
    assert_int_equal(briq_volume_info(name, &info, &err), code);
    expect_line(&err, name, says);
    assert_int_equal(briq_check(name, &options, &result, &check_err), code);
    expect_line(&check_err, name, says);
}

static void make_file(const struct fixture *f, const void *bytes, size_t len, uint64_t size)
{
    int fd = open(f->path.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static void make_volume(const struct fixture *f)
{
    struct briq_create_options options = {.size_bytes = UINT64_C(1) << 20, .segment_shift = 16};
    test_volume_create(f->path.text, &options);
}

/* ---- what is no volume ----------------------------------------------------------------------- */

static void a_missing_file_is_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    expect_open_refused_as(f, f->path.text, false, -ENOENT, NULL);
}

static void a_directory_is_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    struct briq_open_options options = {0};
    struct briq_error err = {0};
    struct briq_store *store = NULL;
    int r = briq_store_open(f->dir.path, &options, &err, &store);
    assert_true(r == -EINVAL || r == -EISDIR);
    expect_line(&err, f->dir.path, NULL);
}

static void an_empty_file_is_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    make_file(f, "", 0, 0);
    expect_refused(f, -EUCLEAN, NULL);
}

static void a_text_file_is_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    static const char text[] = "This is not a volume.\n";
    make_file(f, text, strlen(text), strlen(text));
    expect_refused(f, -EUCLEAN, NULL);
}

static void a_large_file_of_something_else_is_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    static const char text[] = "QFI\xfb and the rest of another format";
    make_file(f, text, sizeof text, UINT64_C(64) << 20);
    expect_refused(f, -EUCLEAN, NULL);
    make_file(f, "", 0, UINT64_C(64) << 20); /* all zeros */
    expect_refused(f, -EUCLEAN, NULL);
}

/* ---- versions and features ------------------------------------------------------------------- */

/* Changes both superblocks by `change`, with good checksums. */
static void rewrite_superblocks(const struct fixture *f, void (*change)(struct briq_superblock *sb))
{
    static const uint64_t offsets[] = {BRIQ_SB_A_OFFSET, BRIQ_SB_B_OFFSET};
    uint8_t sector[BRIQ_SB_BYTES];
    struct briq_superblock sb;
    int fd = open(f->path.text, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pread(fd, sector, sizeof sector, (off_t)offsets[i]), sizeof sector);
        if (briq_superblock_decode(sector, &sb) != BRIQ_SB_OK)
            continue; /* a fresh volume may have one of them only */
        change(&sb);
        briq_superblock_encode(&sb, sector);
        assert_int_equal(pwrite(fd, sector, sizeof sector, (off_t)offsets[i]), sizeof sector);
    }
    close(fd);
}

static void raise_version(struct briq_superblock *sb)
{
    sb->version = 7;
}

static void set_incompatible(struct briq_superblock *sb)
{
    sb->features_incompat |= UINT64_C(1) << 61;
}

static void set_read_only_compatible(struct briq_superblock *sb)
{
    sb->features_ro |= UINT64_C(1) << 61;
}

static void set_compatible(struct briq_superblock *sb)
{
    sb->features_compat |= UINT64_C(1) << 61;
}

static void a_newer_version_is_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    make_volume(f);
    rewrite_superblocks(f, raise_version);
    expect_open_refused_as(f, f->path.text, false, -ENOTSUP, "7");
    expect_open_refused_as(f, f->path.text, true, -ENOTSUP, "7");
}

static void an_unknown_incompatible_feature_is_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    make_volume(f);
    rewrite_superblocks(f, set_incompatible);
    expect_open_refused_as(f, f->path.text, false, -ENOTSUP, "feature");
    expect_open_refused_as(f, f->path.text, true, -ENOTSUP, "feature");
}

static void an_unknown_read_only_compatible_feature_allows_reading(void **state)
{
    const struct fixture *f = fixture_of(state);
    struct briq_open_options options = {.windows_dir = f->dir.path};
    struct briq_error err = {0};
    struct briq_store *store = NULL;
    char byte = 1;
    make_volume(f);
    rewrite_superblocks(f, set_read_only_compatible);
    int r = briq_store_open(f->path.text, &options, &err, &store);
    if (r == 0) {
        assert_true(briq_store_read_only(store));
        assert_int_equal(briq_write(store, &byte, 1, 0, 0), -EROFS);
        test_volume_close(store);
    } else {
        assert_int_equal(r, -ENOTSUP);
        expect_line(&err, f->path.text, "feature");
    }
    options.read_only = true;
    store = test_volume_open(f->path.text, &options);
    assert_int_equal(briq_read(store, &byte, 1, 0), 0);
    assert_int_equal(byte, 0);
    test_volume_close(store);
}

static void an_unknown_compatible_feature_is_no_obstacle(void **state)
{
    const struct fixture *f = fixture_of(state);
    struct briq_volume_info info;
    struct briq_error err = {0};
    make_volume(f);
    rewrite_superblocks(f, set_compatible);
    struct briq_store *store = test_volume_open(f->path.text, NULL);
    assert_int_equal(briq_write(store, "x", 1, 0, 0), 0);
    test_volume_close(store);
    assert_int_equal(briq_volume_info(f->path.text, &info, &err), 0);
    assert_int_equal(info.features_compat, UINT64_C(1) << 61); /* and it is kept */
}

/* ---- somebody else's ------------------------------------------------------------------------- */

struct holding {
    const struct fixture *fixture;
    bool read_only;
};

static void keep_open(const struct test_parent *parent, void *arg)
{
    const struct holding *holding = arg;
    struct briq_open_options options = {.read_only = holding->read_only,
                                        .windows_dir = holding->fixture->dir.path};
    struct briq_store *store = test_volume_open(holding->fixture->path.text, &options);
    test_child_tell(parent, getpid());
    test_child_await(parent);
    test_volume_close(store);
}

/* Another process opens the volume and keeps it until it is released. */
static void hold(const struct fixture *f, bool read_only, struct test_child *child)
{
    struct holding holding = {.fixture = f, .read_only = read_only};
    test_child_start(child, keep_open, &holding);
    assert_int_equal(test_child_hear(child), child->pid);
}

static void a_volume_in_use_names_the_process_that_has_it(void **state)
{
    const struct fixture *f = fixture_of(state);
    struct briq_volume_info info;
    struct briq_error err = {0};
    char pid[16];
    make_volume(f);
    struct test_child holder;
    hold(f, false, &holder);
    snprintf(pid, sizeof pid, "%d", (int)holder.pid);
    expect_open_refused_as(f, f->path.text, false, -EBUSY, pid);
    expect_open_refused_as(f, f->path.text, true, -EBUSY, pid);
    assert_int_equal(briq_volume_info(f->path.text, &info, &err), 0);
    assert_int_equal(info.owner_pid, holder.pid);
    struct briq_create_options options = {.size_bytes = 4096, .force = true};
    err = (struct briq_error){0};
    assert_int_equal(briq_store_create(f->path.text, &options, &err), -EBUSY);
    expect_line(&err, f->path.text, pid);
    assert_int_equal(test_child_release(&holder), 0);
    test_volume_close(test_volume_open(f->path.text, NULL));
}

static void readers_share_and_keep_writers_out(void **state)
{
    const struct fixture *f = fixture_of(state);
    make_volume(f);
    struct test_child holder;
    hold(f, true, &holder);
    struct briq_open_options options = {.read_only = true, .windows_dir = f->dir.path};
    test_volume_close(test_volume_open(f->path.text, &options));
    expect_open_refused_as(f, f->path.text, false, -EBUSY, NULL);
    assert_int_equal(test_child_release(&holder), 0);
}

/* Permissions mean nothing to root: the file is looked at as nobody. */
static void a_file_without_write_permission_can_only_be_read(void **state)
{
    const struct fixture *f = fixture_of(state);
    struct briq_open_options options = {.read_only = true, .windows_dir = f->dir.path};
    bool root = geteuid() == 0;
    make_volume(f);
    assert_int_equal(chmod(f->dir.path, 0755), 0);
    assert_int_equal(chmod(f->path.text, 0444), 0);
    if (root)
        assert_int_equal(seteuid(NOBODY), 0);
    struct briq_error err = {0};
    struct briq_store *store = NULL;
    struct briq_open_options writing = {.windows_dir = f->dir.path};
    int r = briq_store_open(f->path.text, &writing, &err, &store);
    struct briq_store *reader = test_volume_open(f->path.text, &options);
    test_volume_close(reader);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(r, -EACCES);
    expect_line(&err, f->path.text, NULL);
}

static void a_volume_opened_for_reading_refuses_changes(void **state)
{
    const struct fixture *f = fixture_of(state);
    struct briq_open_options options = {.read_only = true, .windows_dir = f->dir.path};
    make_volume(f);
    struct briq_store *store = test_volume_open(f->path.text, &options);
    assert_true(briq_store_read_only(store));
    assert_int_equal(briq_write(store, "x", 1, 0, 0), -EROFS);
    assert_int_equal(briq_trim(store, 4096, 0, 0), -EROFS);
    assert_int_equal(briq_zero(store, 4096, 0, 0), -EROFS);
    assert_int_equal(briq_store_resize(store, UINT64_C(2) << 20, NULL), -EROFS);
    test_volume_close(store);
}

/* ---- creating -------------------------------------------------------------------------------- */

static void expect_create_refused(const struct fixture *f,
                                  const struct briq_create_options *options)
{
    struct briq_error err = {0};
    int r = briq_store_create(f->path.text, options, &err);
    if (r != -EINVAL)
        fail_msg("creating %llu bytes returned %d (%s)", (unsigned long long)options->size_bytes, r,
                 err.text);
    expect_line(&err, f->path.text, NULL);
    assert_int_equal(access(f->path.text, F_OK), -1);
}

static void impossible_sizes_are_refused_and_leave_no_file(void **state)
{
    const struct fixture *f = fixture_of(state);
    static const uint64_t sizes[] = {
        0,
        1,
        511,
        513,
        4095,
        1000000,
        BRIQ_VOLUME_BYTES_MAX + 512,
        BRIQ_VOLUME_BYTES_MAX * 2,
        UINT64_MAX,
        UINT64_MAX - 511,
        UINT64_C(1) << 63,
    };
    for (unsigned i = 0; i < BRIQ_COUNT_OF(sizes); i++) {
        struct briq_create_options options = {.size_bytes = sizes[i]};
        expect_create_refused(f, &options);
    }
}

static void impossible_options_are_refused_and_leave_no_file(void **state)
{
    const struct fixture *f = fixture_of(state);
    static const struct briq_create_options options[] = {
        {.size_bytes = 1 << 20, .accel = 65},
        {.size_bytes = 1 << 20, .segment_shift = 15},
        {.size_bytes = 1 << 20, .segment_shift = 23},
        {.size_bytes = 1 << 20, .limit_bytes = 4096},
    };
    for (unsigned i = 0; i < BRIQ_COUNT_OF(options); i++)
        expect_create_refused(f, &options[i]);
}

static void possible_sizes_are_not_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    static const uint64_t sizes[] = {512, 4096, 4608, UINT64_C(1) << 30, BRIQ_VOLUME_BYTES_MAX};
    for (unsigned i = 0; i < BRIQ_COUNT_OF(sizes); i++) {
        struct briq_create_options options = {.size_bytes = sizes[i]};
        test_volume_create(f->path.text, &options);
        struct briq_store *store = test_volume_open(f->path.text, NULL);
        assert_int_equal(briq_store_size(store), sizes[i]);
        char byte = 'x';
        assert_int_equal(briq_write(store, &byte, 1, sizes[i] - 1, BRIQ_OP_FUA), 0);
        assert_int_equal(briq_write(store, &byte, 1, sizes[i], 0), -ENOSPC);
        byte = 0;
        assert_int_equal(briq_read(store, &byte, 1, sizes[i] - 1), 0);
        assert_int_equal(byte, 'x');
        test_volume_close(store);
        assert_int_equal(unlink(f->path.text), 0);
    }
}

static void an_existing_file_is_replaced_by_force_only(void **state)
{
    const struct fixture *f = fixture_of(state);
    static const char text[] = "precious";
    struct briq_create_options options = {.size_bytes = 4096};
    struct briq_error err = {0};
    char kept[sizeof text];
    make_file(f, text, sizeof text, sizeof text);
    assert_int_equal(briq_store_create(f->path.text, &options, &err), -EEXIST);
    expect_line(&err, f->path.text, NULL);
    int fd = open(f->path.text, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, kept, sizeof kept), sizeof kept);
    close(fd);
    assert_memory_equal(kept, text, sizeof text);
    options.force = true;
    test_volume_create(f->path.text, &options);
    test_volume_close(test_volume_open(f->path.text, NULL));
}

/* What is wrong with the options is told before the file is emptied. */
static void a_volume_that_cannot_be_made_replaces_nothing(void **state)
{
    const struct fixture *f = fixture_of(state);
    static const struct briq_create_options wrong[] = {
        {.size_bytes = UINT64_C(1) << 30, .limit_bytes = 1 << 20, .force = true},
        {.size_bytes = UINT64_C(1) << 30, .segment_shift = 23, .force = true},
        {.size_bytes = 1000, .force = true},
    };
    struct briq_create_options options = {.size_bytes = 4096};
    test_volume_create(f->path.text, &options);
    for (unsigned i = 0; i < BRIQ_COUNT_OF(wrong); i++) {
        struct briq_error err = {0};
        assert_int_equal(briq_store_create(f->path.text, &wrong[i], &err), -EINVAL);
        expect_line(&err, f->path.text, NULL);
        test_volume_close(test_volume_open(f->path.text, NULL));
    }
}

static void a_file_in_a_missing_directory_cannot_be_created(void **state)
{
    const struct fixture *f = fixture_of(state);
    struct briq_create_options options = {.size_bytes = 4096};
    struct briq_error err = {0};
    struct test_path path = test_dir_file(&f->dir, "missing/volume.briq");
    assert_int_equal(briq_store_create(path.text, &options, &err), -ENOENT);
    expect_line(&err, path.text, NULL);
}

/* ---- memory volumes and options -------------------------------------------------------------- */

static void malformed_memory_volumes_are_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    static const char *const names[] = {
        "mem:",
        "mem:0",
        "mem:100",
        "mem:-1",
        "mem:1Q",
        "mem:5T",
        "mem:1M,",
        "mem:1M,limit",
        "mem:1M,limit=",
        "mem:1M,limit=x",
        "mem:1M,foo=1M",
        "mem:1M limit=2M",
        "mem:99999999999999999999",
    };
    for (unsigned i = 0; i < BRIQ_COUNT_OF(names); i++)
        expect_open_refused_as(f, names[i], false, -EINVAL, NULL);
}

static void impossible_open_options_are_refused(void **state)
{
    const struct fixture *f = fixture_of(state);
    static const struct briq_open_options options[] = {
        {.accel = 65},
        {.streams = 9},
        {.windows = 1},
        {.streams = 4, .windows = 11},
    };
    make_volume(f);
    for (unsigned i = 0; i < BRIQ_COUNT_OF(options); i++) {
        struct briq_open_options with_dir = options[i];
        struct briq_error err = {0};
        struct briq_store *store = NULL;
        with_dir.windows_dir = f->dir.path;
        int r = briq_store_open(f->path.text, &with_dir, &err, &store);
        if (r != -EINVAL)
            fail_msg("options %u: %d (%s)", i, r, err.text);
        expect_line(&err, f->path.text, NULL);
    }
}

static void requests_that_are_too_large_are_refused(void **state)
{
    (void)state;
    struct briq_store *store = test_volume_open("mem:256M", NULL);
    size_t len = (size_t)BRIQ_REQUEST_BYTES_MAX + 1;
    void *buf = calloc(1, len);
    assert_non_null(buf);
    assert_int_equal(briq_read(store, buf, len, 0), -EINVAL);
    assert_int_equal(briq_write(store, buf, len, 0, 0), -EINVAL);
    assert_int_equal(briq_read(store, buf, len - 1, 0), 0);
    assert_int_equal(briq_write(store, buf, len - 1, 1, 0), 0);
    assert_int_equal(briq_trim(store, UINT64_C(256) << 20, 0, 0), 0);
    free(buf);
    test_volume_close(store);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_missing_file_is_refused),
        CASE(a_directory_is_refused),
        CASE(an_empty_file_is_refused),
        CASE(a_text_file_is_refused),
        CASE(a_large_file_of_something_else_is_refused),
        CASE(a_newer_version_is_refused),
        CASE(an_unknown_incompatible_feature_is_refused),
        CASE(an_unknown_read_only_compatible_feature_allows_reading),
        CASE(an_unknown_compatible_feature_is_no_obstacle),
        CASE(a_volume_in_use_names_the_process_that_has_it),
        CASE(readers_share_and_keep_writers_out),
        CASE(a_file_without_write_permission_can_only_be_read),
        CASE(a_volume_opened_for_reading_refuses_changes),
        CASE(impossible_sizes_are_refused_and_leave_no_file),
        CASE(impossible_options_are_refused_and_leave_no_file),
        CASE(possible_sizes_are_not_refused),
        CASE(an_existing_file_is_replaced_by_force_only),
        CASE(a_volume_that_cannot_be_made_replaces_nothing),
        CASE(a_file_in_a_missing_directory_cannot_be_created),
        CASE(malformed_memory_volumes_are_refused),
        CASE(impossible_open_options_are_refused),
        CASE(requests_that_are_too_large_are_refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
