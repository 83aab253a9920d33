/* SPDX-License-Identifier: BSD-3-Clause */
/* test_file_device.c - a file or block device behaves as device.h promises, also when it fails. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/align.h"
#include "common/base/prng.h"
#include "common/device/device.h"
#include "tests/lib/child.h"
#include "tests/lib/loop.h"
#include "tests/lib/scratch.h"
#include "tests/lib/temp_dir.h"

#define BUFFER_BYTES (256u << 10)
#define NOBODY       65534

static int set_up(void **state)
{
    struct briq_prng prng = {.state = 7};
    struct test_scratch *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_scratch_open(f, BUFFER_BYTES, &prng);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    test_scratch_close(*state);
    free(*state);
    return 0;
}

/* ---- helpers ----------------------------------------------------------------------------------
 */

static struct briq_device *create(const struct test_scratch *f)
{
    return test_device_open(f->path.text, BRIQ_FILE_CREATE);
}

static void assert_open_fails(const char *path, unsigned flags, int error, const char *line)
{
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    assert_int_equal(briq_file_open(path, flags, &err, &dev), error);
    assert_null(dev);
    char expected[BRIQ_ERROR_TEXT_MAX];
    snprintf(expected, sizeof expected, "%.200s: %.250s", path, line);
    assert_string_equal(err.text, expected);
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;
    assert(stat(path, &st) == 0);
    return (uint64_t)st.st_size;
}

static uint64_t allocated(struct briq_device *dev)
{
    uint64_t bytes = UINT64_MAX;
    int r = briq_device_allocated(dev, &bytes);
    assert(r == 0);
    return bytes;
}

static void write_all(struct briq_device *dev, const void *buf, size_t len, uint64_t off)
{
    int r = briq_device_write(dev, buf, len, off);
    assert(r == 0);
}

static void assert_zeros(struct briq_device *dev, size_t len, uint64_t off)
{
    unsigned char *zeros = calloc(1, len);
    test_device_expect(dev, zeros, len, off);
    free(zeros);
}

/* ---- reading and writing ----------------------------------------------------------------------
 */

static void any_offset_and_length_when_buffered(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = create(f);
    assert_int_equal(dev->align_bytes, 1);
    assert_false(dev->fixed_size);
    assert_false(dev->read_only);
    assert_null(dev->memory);

    write_all(dev, f->out, 777, 12345);
    write_all(dev, f->out + 777, 1, 12345 + 777);
    test_device_expect(dev, f->out, 778, 12345);
    assert_zeros(dev, 12345, 0);
    write_all(dev, f->out, 0, 0);
    assert_int_equal(file_bytes(f->path.text), 12345 + 778);
    assert_int_equal(briq_device_flush(dev), 0);
    briq_device_close(dev);

    dev = test_device_open(f->path.text, BRIQ_FILE_READ_ONLY);
    assert_int_equal(dev->size_bytes, 12345 + 778);
    test_device_expect(dev, f->out, 778, 12345);
    briq_device_close(dev);
}

static void reading_past_the_end_gives_zeros(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = create(f);
    write_all(dev, f->out, 5000, 0);

    memcpy(f->in, f->out, 5000);
    memset(f->in + 5000, 0, 3192);
    test_device_expect(dev, f->in, 8192, 0);
    assert_zeros(dev, 4096, 5000);
    assert_zeros(dev, 4096, UINT64_C(1) << 40);
    assert_int_equal(file_bytes(f->path.text), 5000);
    briq_device_close(dev);
}

/* Where the end is not aligned, a direct read ends early at a place from which none can go on. */
static void direct_reads_meet_an_unaligned_end(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = test_device_open_direct(f->path.text);
    if (dev == NULL)
        skip();
    assert_true(briq_is_pow2(dev->align_bytes) && dev->align_bytes <= 4096);
    assert_true(dev->align_bytes > 1);
    write_all(dev, f->out, 65536, 0);

    static const unsigned ends[] = {1, 511, 512, 513, 4095, 4096, 4097, 5000, 32768, 65535};
    for (size_t i = BRIQ_COUNT_OF(ends); i-- > 0;) {
        assert_int_equal(truncate(f->path.text, ends[i]), 0);
        memset(f->in, 0, 65536);
        memcpy(f->in, f->out, ends[i]);
        test_device_expect(dev, f->in, 65536, 0);
        test_device_expect(dev, f->in + 4096, 4096, 4096);
        assert_zeros(dev, 4096, 65536);
    }
    write_all(dev, f->out, 65536, 65536); /* and grow it again, from an end off the alignment */
    test_device_expect(dev, f->out, 65536, 65536);
    memset(f->in, 0, 65536);
    f->in[0] = f->out[0];
    test_device_expect(dev, f->in, 65536, 0);
    briq_device_close(dev);
}

static void a_read_only_device_is_not_written(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = create(f);
    write_all(dev, f->out, 8192, 0);
    briq_device_close(dev);

    dev = test_device_open(f->path.text, BRIQ_FILE_READ_ONLY);
    assert_true(dev->read_only);
    assert_int_equal(briq_device_write(dev, f->in, 4096, 0), -EROFS);
    assert_int_equal(briq_device_reserve(dev, 0, 1 << 20), -EROFS);
    assert_int_equal(briq_device_discard(dev, 0, 8192), 0);
    assert_int_equal(briq_device_flush(dev), 0);
    briq_device_prefetch(dev, 0, 8192);
    test_device_expect(dev, f->out, 8192, 0);
    assert_int_equal(file_bytes(f->path.text), 8192);
    briq_device_close(dev);
}

/* ---- space ------------------------------------------------------------------------------------
 */

static void reserve_grows_and_keeps_content(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = create(f);
    write_all(dev, f->out, 10000, 70000);

    assert_int_equal(briq_device_reserve(dev, 65536, 1 << 20), 0);
    assert_int_equal(file_bytes(f->path.text), 65536 + (1 << 20));
    assert_true(allocated(dev) >= 1 << 20);
    test_device_expect(dev, f->out, 10000, 70000);
    assert_zeros(dev, 4464, 65536);
    assert_zeros(dev, 65536, 80000);
    assert_int_equal(briq_device_reserve(dev, 0, 0), 0);
    briq_device_close(dev);
}

static void discard_gives_space_back(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = create(f);
    write_all(dev, f->out, 65536, 0);
    write_all(dev, f->out, 65536, 65536);
    assert_int_equal(briq_device_flush(dev), 0);
    uint64_t before = allocated(dev);

    assert_int_equal(briq_device_discard(dev, 0, 65536), 0);
    assert_true(allocated(dev) <= before - 65536);
    test_device_expect(dev, f->out, 65536, 65536);
    assert_int_equal(file_bytes(f->path.text), 131072);
    briq_device_close(dev);
}

static void reserve_without_fallocate(struct test_scratch *f, unsigned flags)
{
    struct briq_device *dev = test_device_open(f->path.text, flags);
    /* Holes before, between and behind two islands, the last of which ends off every alignment. */
    write_all(dev, f->out, 8192, 65536);
    write_all(dev, f->out, 4096, 262144);
    assert(truncate(f->path.text, 262144 + 1000) == 0);

    int r = briq_device_reserve(dev, 4096, (1 << 20) - 4096);
    assert(r == 0);
    assert(file_bytes(f->path.text) == 1 << 20);
    assert(allocated(dev) >= (1 << 20) - 4096);
    assert(allocated(dev) < (1 << 20) + 65536);
    assert_zeros(dev, 65536, 0);
    test_device_expect(dev, f->out, 8192, 65536);
    memset(f->in, 0, 65536);
    memcpy(f->in, f->out, 1000);
    test_device_expect(dev, f->in, 65536, 262144);
    assert_zeros(dev, 65536, (1 << 20) - 65536);
    briq_device_close(dev);
}

static void reserve_without_fallocate_buffered(void *arg)
{
    int r = test_fail_syscall(SYS_fallocate, EOPNOTSUPP);
    assert(r == 0);
    reserve_without_fallocate(arg, BRIQ_FILE_CREATE);
}

static void reserve_without_fallocate_direct(void *arg)
{
    int r = test_fail_syscall(SYS_fallocate, EOPNOTSUPP);
    assert(r == 0);
    reserve_without_fallocate(arg, BRIQ_FILE_DIRECT);
}

static void reserve_fills_holes_where_there_is_no_fallocate(void **state)
{
    struct test_scratch *f = *state;
    assert_int_equal(test_in_child(reserve_without_fallocate_buffered, f), 0);
    assert_int_equal(unlink(f->path.text), 0);

    struct briq_device *dev = test_device_open_direct(f->path.text);
    if (dev == NULL)
        skip();
    briq_device_close(dev);
    assert_int_equal(test_in_child(reserve_without_fallocate_direct, f), 0);
}

/* ---- failures of the system -------------------------------------------------------------------
 */

static void discard_is_unsupported(void *arg)
{
    struct test_scratch *f = arg;
    struct briq_device *dev = create(f);
    write_all(dev, f->out, 4096, 0);
    int r = test_fail_syscall(SYS_fallocate, EOPNOTSUPP);
    assert(r == 0);
    r = briq_device_discard(dev, 0, 4096);
    assert(r == 0);
    briq_device_close(dev);
}

static void discard_is_a_hint(void **state)
{
    assert_int_equal(test_in_child(discard_is_unsupported, *state), 0);
}

static void reserve_has_no_space(void *arg)
{
    struct briq_device *dev = create(arg);
    int r = test_fail_syscall(SYS_fallocate, ENOSPC);
    assert(r == 0);
    r = briq_device_reserve(dev, 0, 1 << 20);
    assert(r == -ENOSPC);
    briq_device_close(dev);
}

static void reserve_says_when_there_is_no_space(void **state)
{
    assert_int_equal(test_in_child(reserve_has_no_space, *state), 0);
}

static void medium_is_broken(void *arg)
{
    struct test_scratch *f = arg;
    struct briq_device *dev = create(f);
    write_all(dev, f->out, 4096, 0);
    int r = test_fail_syscall(SYS_fdatasync, EIO);
    assert(r == 0);
    r = briq_device_flush(dev);
    assert(r == -EIO);
    r = test_fail_syscall(SYS_pread64, EIO);
    assert(r == 0);
    r = briq_device_read(dev, f->in, 4096, 0);
    assert(r == -EIO);
    r = test_fail_syscall(SYS_pwrite64, ENOSPC);
    assert(r == 0);
    r = briq_device_write(dev, f->out, 4096, 0);
    assert(r == -ENOSPC);
    briq_device_close(dev);
}

static void errors_of_the_medium_are_passed_on(void **state)
{
    assert_int_equal(test_in_child(medium_is_broken, *state), 0);
}

static void write_takes_nothing(void *arg)
{
    struct test_scratch *f = arg;
    struct briq_device *dev = create(f);
    int r = test_fail_syscall(SYS_pwrite64, 0);
    assert(r == 0);
    r = briq_device_write(dev, f->out, 4096, 0);
    assert(r == -EIO);
    briq_device_close(dev);
}

static void a_write_that_takes_nothing_fails(void **state)
{
    assert_int_equal(test_in_child(write_takes_nothing, *state), 0);
}

/* The limit cuts a write short; going on behind it is what fails. */
static void write_past_the_limit(void *arg)
{
    struct test_scratch *f = arg;
    struct briq_device *dev = create(f);
    struct rlimit limit = {.rlim_cur = 10000, .rlim_max = 10000};
    signal(SIGXFSZ, SIG_IGN);
    assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);

    int r = briq_device_write(dev, f->out, 20000, 0);
    assert(r == -EFBIG);
    assert(file_bytes(f->path.text) == 10000);
    test_device_expect(dev, f->out, 10000, 0);
    r = briq_device_reserve(dev, 0, 20000);
    assert(r == -EFBIG);
    briq_device_close(dev);
}

static void a_short_write_is_continued(void **state)
{
    assert_int_equal(test_in_child(write_past_the_limit, *state), 0);
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void a_new_file_is_private(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = create(f);
    struct stat st;
    assert_int_equal(stat(f->path.text, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 0);
    assert_true(dev->host_dev == st.st_dev && dev->host_ino == st.st_ino);
    assert_int_equal(dev->size_bytes, 0);
    briq_device_close(dev);
}

static void an_existing_file_is_replaced_by_force_only(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = create(f);
    write_all(dev, f->out, 4096, 0);
    briq_device_close(dev);

    assert_open_fails(f->path.text, BRIQ_FILE_CREATE, -EEXIST,
                      "exists already; replace it by force, or choose another name");
    dev = test_device_open(f->path.text, 0);
    test_device_expect(dev, f->out, 4096, 0);

    struct briq_error err = {.text = ""};
    struct briq_device *other = NULL;
    assert_int_equal(briq_file_open(f->path.text, BRIQ_FILE_CREATE | BRIQ_FILE_FORCE, &err, &other),
                     -EBUSY);
    assert_int_equal(file_bytes(f->path.text), 4096); /* it is in use: not emptied */
    briq_device_close(dev);

    dev = test_device_open(f->path.text, BRIQ_FILE_CREATE | BRIQ_FILE_FORCE);
    assert_int_equal(dev->size_bytes, 0);
    assert_int_equal(file_bytes(f->path.text), 0);
    briq_device_close(dev);
}

static void what_is_no_file_is_refused(void **state)
{
    struct test_scratch *f = *state;
    static const unsigned ways[] = {0, BRIQ_FILE_READ_ONLY, BRIQ_FILE_CREATE | BRIQ_FILE_FORCE};
    struct test_path fifo = test_dir_file(&f->dir, "fifo"), sock = test_dir_file(&f->dir, "sock");
    assert_int_equal(mkfifo(fifo.text, 0600), 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    assert_true(strlen(sock.text) < sizeof addr.sun_path);
    memcpy(addr.sun_path, sock.text, strlen(sock.text) + 1);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof addr), 0);

    for (size_t i = 0; i < BRIQ_COUNT_OF(ways); i++) {
        assert_open_fails(f->dir.path, ways[i], -EINVAL,
                          "is a directory; a file or a block device is needed");
        assert_open_fails(fifo.text, ways[i], -EINVAL,
                          "is a fifo; a file or a block device is needed");
        assert_open_fails(sock.text, ways[i], -EINVAL,
                          "is a socket; a file or a block device is needed");
        assert_open_fails("/dev/full", ways[i], -EINVAL,
                          "is a character device; a file or a block device is needed");
    }
    close(listener);
}

static void what_cannot_be_opened_is_explained(void **state)
{
    struct test_scratch *f = *state;
    struct test_path lost = test_dir_file(&f->dir, "no/such/disk.briq");
    assert_open_fails(f->path.text, 0, -ENOENT, "does not exist");
    assert_open_fails(f->path.text, BRIQ_FILE_READ_ONLY, -ENOENT, "does not exist");
    assert_open_fails(lost.text, BRIQ_FILE_CREATE, -ENOENT, "the directory for it does not exist");
    struct test_path below = test_dir_file(&f->dir, "disk.briq/disk.briq");
    briq_device_close(create(f));
    assert_open_fails(below.text, 0, -ENOTDIR, "cannot open: Not a directory");
    assert_open_fails("/proc/version", BRIQ_FILE_READ_ONLY | BRIQ_FILE_DIRECT, -EINVAL,
                      "the file system does not support direct I/O (tmpfs?); leave out io=direct");
}

static void open_as_nobody(void *arg)
{
    struct test_scratch *f = arg;
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    assert(chdir(f->dir.path) == 0 && chmod(".", 0711) == 0);
    if (geteuid() == 0)
        assert(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    assert(access("disk.briq", F_OK) == 0); /* it can be found, but not opened */
    int r = briq_file_open("disk.briq", 0, &err, &dev);
    assert(r == -EACCES);
    assert(strcmp(err.text, "disk.briq: cannot open: Permission denied") == 0);
}

static void a_file_of_others_is_refused(void **state)
{
    struct test_scratch *f = *state;
    briq_device_close(create(f));
    assert_int_equal(chmod(f->path.text, 0400), 0);
    assert_int_equal(test_in_child(open_as_nobody, f), 0);
}

static void cannot_sync_directory(void *arg)
{
    struct test_scratch *f = arg;
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    int r = test_fail_syscall(SYS_fsync, EIO);
    assert(r == 0);
    r = briq_file_open(f->path.text, BRIQ_FILE_CREATE, &err, &dev);
    assert(r == -EIO && dev == NULL);
    assert(strstr(err.text, "disk.briq: cannot write its directory: Input/output error") != NULL);
    assert(access(f->path.text, F_OK) < 0 && errno == ENOENT);
}

static void cannot_lock(void *arg)
{
    struct test_scratch *f = arg;
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    int r = test_fail_syscall(SYS_flock, ENOLCK);
    assert(r == 0);
    r = briq_file_open(f->path.text, BRIQ_FILE_CREATE, &err, &dev);
    assert(r == -ENOLCK && dev == NULL);
    assert(strstr(err.text, "disk.briq: cannot lock it: No locks available") != NULL);
    assert(access(f->path.text, F_OK) < 0 && errno == ENOENT);
}

static void cannot_be_direct(void *arg)
{
    struct test_scratch *f = arg;
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    int r = test_fail_syscall(SYS_openat, EINVAL);
    assert(r == 0);
    r = briq_file_open(f->path.text, BRIQ_FILE_CREATE | BRIQ_FILE_DIRECT, &err, &dev);
    assert(r == -EINVAL && dev == NULL);
    assert(strstr(err.text, "does not support direct I/O") != NULL);
    assert(access(f->path.text, F_OK) < 0 && errno == ENOENT);
}

static void a_failed_creation_leaves_nothing(void **state)
{
    assert_int_equal(test_in_child(cannot_sync_directory, *state), 0);
    assert_int_equal(test_in_child(cannot_lock, *state), 0);
    assert_int_equal(test_in_child(cannot_be_direct, *state), 0);
}

/* Before Linux 6.1 the kernel does not tell: then the largest supported alignment is assumed. */
static void alignment_is_unknown(void *arg)
{
    struct test_scratch *f = arg;
    int r = test_fail_syscall(SYS_statx, ENOSYS);
    assert(r == 0);
    struct briq_device *dev = test_device_open(f->path.text, BRIQ_FILE_DIRECT);
    assert(dev->align_bytes == 4096);
    write_all(dev, f->out, 8192, 0);
    test_device_expect(dev, f->out, 8192, 0);
    briq_device_close(dev);
}

static void direct_works_where_the_kernel_tells_no_alignment(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = test_device_open_direct(f->path.text);
    if (dev == NULL)
        skip();
    briq_device_close(dev);
    assert_int_equal(test_in_child(alignment_is_unknown, f), 0);
}

/* ---- block devices ----------------------------------------------------------------------------
 */

static void use_block_device(struct test_scratch *f, const char *name, unsigned flags)
{
    struct briq_device *dev = test_device_open(name, flags);
    struct stat st;
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(dev->size_bytes, 1 << 20);
    assert_true(dev->fixed_size);
    assert_true(dev->host_dev == st.st_rdev && dev->host_ino == 0);
    assert_int_equal(dev->align_bytes, flags & BRIQ_FILE_DIRECT ? 512 : 1);
    assert_int_equal(allocated(dev), 1 << 20);

    write_all(dev, f->out, 65536, 65536);
    test_device_expect(dev, f->out, 65536, 65536);
    assert_int_equal(briq_device_reserve(dev, 0, 1 << 20), 0);
    test_device_expect(dev, f->out, 65536, 65536);
    assert_int_equal(briq_device_flush(dev), 0);
    assert_int_equal(briq_device_discard(dev, 65536, 65536), 0);
    briq_device_prefetch(dev, 0, 1 << 20);
    memset(f->in, 0, 65536);
    write_all(dev, f->out, 65536, (1 << 20) - 65536);
    test_device_expect(dev, f->out, 65536, (1 << 20) - 65536);
    assert_zeros(dev, 4096, 1 << 20);
    assert_int_equal(briq_device_write(dev, f->out, 4096, 1 << 20), -ENOSPC);

    assert_open_fails(name, 0, -EBUSY,
                      "the device is in use (mounted, swap, or part of another device)");
    briq_device_close(dev);
}

static void a_block_device_is_opened_as_it_is(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = create(f);
    assert_int_equal(briq_device_reserve(dev, 0, 1 << 20), 0);
    briq_device_close(dev);
    char name[TEST_LOOP_NAME_MAX];
    int loop = test_loop_open(f->path.text, name);
    if (loop < 0)
        skip();

    use_block_device(f, name, 0);
    use_block_device(f, name, BRIQ_FILE_CREATE); /* nothing to create: it is there */
    use_block_device(f, name, BRIQ_FILE_DIRECT);
    test_loop_close(loop);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        TEST(any_offset_and_length_when_buffered),
        TEST(reading_past_the_end_gives_zeros),
        TEST(direct_reads_meet_an_unaligned_end),
        TEST(a_read_only_device_is_not_written),
        TEST(reserve_grows_and_keeps_content),
        TEST(discard_gives_space_back),
        TEST(reserve_fills_holes_where_there_is_no_fallocate),
        TEST(discard_is_a_hint),
        TEST(reserve_says_when_there_is_no_space),
        TEST(errors_of_the_medium_are_passed_on),
        TEST(a_write_that_takes_nothing_fails),
        TEST(a_short_write_is_continued),
        TEST(a_new_file_is_private),
        TEST(an_existing_file_is_replaced_by_force_only),
        TEST(what_is_no_file_is_refused),
        TEST(what_cannot_be_opened_is_explained),
        TEST(a_file_of_others_is_refused),
        TEST(a_failed_creation_leaves_nothing),
        TEST(direct_works_where_the_kernel_tells_no_alignment),
        TEST(a_block_device_is_opened_as_it_is),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("file device", tests, NULL, NULL);
}
