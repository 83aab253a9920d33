/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_file_faults.c - the file device where system calls answer as they may but seldom do: with
 * less than was asked for, interrupted, or with a lock that somebody has for an instant.
 *
 * This program brings its own pread, pwrite, fdatasync, flock and open, which the linker prefers to
 * those of the C library. They do the real thing and then spoil the answer, as `faults` says.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/device/device.h"
#include "common/device/lock.h"
#include "tests/lib/loop.h"
#include "tests/lib/scratch.h"
#include "tests/lib/temp_dir.h"

#define BUFFER_BYTES (128u << 10)

/* The one state that the replaced calls share with the tests; all zero: nothing is spoiled. */
static struct {
    struct briq_prng prng;
    size_t grain;         /* transfers are cut to a random multiple of it; 0: not cut */
    bool interrupt;       /* every other call is interrupted before it did anything */
    unsigned sync_faults; /* so many fdatasync answer sync_error */
    int sync_error;
    bool write_lost;        /* each open file is told once, as Linux does */
    uint64_t told;          /* a bit for each descriptor that was */
    unsigned lock_faults;   /* so many flock find somebody else's lock */
    unsigned release_after; /* at the so many-th flock, release_fd is closed before */
    int release_fd;
    bool no_direct; /* as a file system without direct I/O: the file is made, then refused */
    unsigned calls, interrupts, cuts;
} faults;

static bool interrupted(void)
{
    if (faults.interrupt && faults.calls++ % 2 == 0) {
        faults.interrupts++;
        errno = EINTR;
        return true;
    }
    return false;
}

/* What is told of a transfer of n bytes: at least one grain, at most all. */
static ssize_t cut(ssize_t n)
{
    if (faults.grain == 0 || n <= (ssize_t)faults.grain)
        return n;
    uint64_t grains = (uint64_t)n / faults.grain;
    ssize_t told = (ssize_t)((1 + briq_prng_below(&faults.prng, grains)) * faults.grain);
    faults.cuts += told < n;
    return told;
}

ssize_t pread(int fd, void *buf, size_t len, off_t off)
{
    if (interrupted())
        return -1;
    ssize_t n = syscall(SYS_pread64, fd, buf, len, off);
    ssize_t told = cut(n);
    if (n > told) /* what was not told is not there */
        memset((char *)buf + told, 0xdd, (size_t)(n - told));
    return told;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
    if (interrupted())
        return -1;
    return cut(syscall(SYS_pwrite64, fd, buf, len, off));
}

int fdatasync(int fd)
{
    uint64_t self = UINT64_C(1) << (fd & 63);
    if (faults.write_lost && (faults.told & self) == 0) {
        faults.told |= self;
        errno = EIO;
        return -1;
    }
    if (faults.sync_faults > 0) {
        faults.sync_faults--;
        errno = faults.sync_error;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int flock(int fd, int operation)
{
    if (interrupted())
        return -1;
    if (faults.release_after > 0 && --faults.release_after == 0)
        close(faults.release_fd);
    if (faults.lock_faults > 0) {
        faults.lock_faults--;
        errno = EWOULDBLOCK;
        return -1;
    }
    return (int)syscall(SYS_flock, fd, operation);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    bool refuse = faults.no_direct && (flags & O_DIRECT);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags & ~(refuse ? O_DIRECT : 0), mode);
    if (refuse && fd >= 0) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

/* ---- fixture --------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    const char *seed = getenv("BRIQ_SEED");
    memset(&faults, 0, sizeof faults);
    faults.prng.state = seed != NULL ? strtoull(seed, NULL, 0) : 1;
    print_message("seed %" PRIu64 "\n", faults.prng.state);

    struct test_scratch *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_scratch_open(f, BUFFER_BYTES, &faults.prng);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    test_scratch_close(*state);
    free(*state);
    return 0;
}

static void assert_content(struct test_scratch *f, struct briq_device *dev, size_t len,
                           uint64_t off)
{
    memset(f->in, 0xee, len);
    assert_int_equal(briq_device_read(dev, f->in, len, off), 0);
    assert_memory_equal(f->in, f->out + off, len);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void short_transfers_are_continued(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = test_device_open(f->path.text, BRIQ_FILE_CREATE);
    faults.grain = 1;
    for (int round = 0; round < 20; round++) {
        assert_int_equal(briq_device_write(dev, f->out, BUFFER_BYTES, 0), 0);
        assert_content(f, dev, BUFFER_BYTES, 0);
        assert_content(f, dev, BUFFER_BYTES / 2 - 77, 33);
        assert_int_equal(ftruncate(dev->fd, 0), 0);
    }
    assert_true(faults.cuts > 40);
    briq_device_close(dev);
}

/* With direct I/O nothing can go on at a place off the alignment: it steps back to the last one. */
static void short_transfers_keep_the_alignment(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = test_device_open_direct(f->path.text);
    if (dev == NULL)
        skip();
    for (int round = 0; round < 20; round++) {
        faults.grain = round % 2 == 0 ? dev->align_bytes : dev->align_bytes + 100;
        assert_int_equal(briq_device_write(dev, f->out, BUFFER_BYTES, 0), 0);
        assert_content(f, dev, BUFFER_BYTES, 0);
        assert_content(f, dev, BUFFER_BYTES / 2, 8192);
    }
    assert_true(faults.cuts > 40);
    briq_device_close(dev);
}

static void interrupted_transfers_are_repeated(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = test_device_open(f->path.text, BRIQ_FILE_CREATE);
    faults.interrupt = true;
    faults.grain = 4096;
    assert_int_equal(briq_device_write(dev, f->out, BUFFER_BYTES, 0), 0);
    assert_content(f, dev, BUFFER_BYTES, 0);
    assert_true(faults.interrupts >= 2);
    faults.interrupt = false;
    faults.grain = 0;
    assert_content(f, dev, BUFFER_BYTES, 0);
    briq_device_close(dev);
}

static void an_interrupted_flush_is_repeated_and_a_failed_one_is_not(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = test_device_open(f->path.text, BRIQ_FILE_CREATE);
    faults.sync_error = EINTR;
    faults.sync_faults = 3;
    assert_int_equal(briq_device_flush(dev), 0);
    assert_int_equal(faults.sync_faults, 0);

    faults.sync_error = EIO; /* the next call would succeed, and prove nothing */
    faults.sync_faults = 1;
    assert_int_equal(briq_device_flush(dev), -EIO);
    briq_device_close(dev);
}

/* The superblock's flush may come between a request's write and its flush. */
static void a_lost_write_is_told_to_requests_and_to_maintenance(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = test_device_open(f->path.text, BRIQ_FILE_CREATE);
    faults.write_lost = true;
    assert_int_equal(briq_device_flush_apart(dev), -EIO);
    assert_int_equal(briq_device_flush(dev), -EIO);
    faults.write_lost = false;
    briq_device_close(dev);
}

/* Another process asked for the lock's owner just now, which takes the lock for an instant. */
static void a_lock_held_for_an_instant_is_waited_out(void **state)
{
    struct test_scratch *f = *state;
    faults.lock_faults = 3;
    faults.interrupt = true;
    struct briq_device *dev = test_device_open(f->path.text, BRIQ_FILE_CREATE);
    assert_int_equal(faults.lock_faults, 0);
    briq_device_close(dev);
}

/* What udev does after a writer closed the device: a writer waits for it, not for another writer.
 */
static void a_writer_of_a_block_device_waits_for_readers(void **state)
{
    struct test_scratch *f = *state;
    struct briq_device *dev = test_device_open(f->path.text, BRIQ_FILE_CREATE);
    assert_int_equal(ftruncate(dev->fd, 1 << 20), 0);
    briq_device_close(dev);
    char name[TEST_LOOP_NAME_MAX];
    int loop = test_loop_open(f->path.text, name);
    if (loop < 0)
        skip();

    struct briq_error err = {.text = ""};
    faults.release_fd = open(name, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(faults.release_fd, LOCK_SH), 0);
    faults.release_after = 3;
    assert_int_equal(briq_file_open(name, 0, &err, &dev), 0);
    assert_int_equal(faults.release_after, 0);
    briq_device_close(dev);

    int writer = open(name, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(writer, LOCK_EX), 0);
    faults.release_fd = writer;
    faults.release_after = 2;
    assert_int_equal(briq_file_open(name, 0, &err, &dev), -EBUSY);
    assert_int_equal(faults.release_after, 1); /* asked once */
    faults.release_after = 0;
    close(writer);
    test_loop_close(loop);
}

/* In another container or on another host, and so not to be found in /proc. */
static void a_holder_that_cannot_be_seen_is_unknown(void **state)
{
    struct test_scratch *f = *state;
    briq_device_close(test_device_open(f->path.text, BRIQ_FILE_CREATE));
    pid_t pid = 0;
    char name[BRIQ_LOCK_NAME_MAX] = "untouched";
    faults.lock_faults = 1;
    assert_int_equal(briq_lock_owner(f->path.text, &pid, name), 0);
    assert_int_equal(pid, -1);
    assert_string_equal(name, "");

    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    faults.lock_faults = 1000000;
    assert_int_equal(briq_file_open(f->path.text, 0, &err, &dev), -EBUSY);
    assert_null(dev);
    assert_non_null(
        strstr(err.text, "disk.briq: in use by a process that cannot be seen from here"));
}

static void no_file_is_left_where_direct_is_unsupported(void **state)
{
    struct test_scratch *f = *state;
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    faults.no_direct = true;
    assert_int_equal(briq_file_open(f->path.text, BRIQ_FILE_CREATE | BRIQ_FILE_DIRECT, &err, &dev),
                     -EINVAL);
    assert_null(dev);
    assert_non_null(strstr(err.text, "disk.briq: the file system does not support direct I/O"));
    assert_int_equal(access(f->path.text, F_OK), -1);

    briq_device_close(
        test_device_open(f->path.text, BRIQ_FILE_CREATE)); /* but one that was there is kept */
    assert_int_equal(briq_file_open(f->path.text,
                                    BRIQ_FILE_CREATE | BRIQ_FILE_FORCE | BRIQ_FILE_DIRECT, NULL,
                                    &dev),
                     -EINVAL);
    assert_int_equal(access(f->path.text, F_OK), 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        TEST(short_transfers_are_continued),
        TEST(short_transfers_keep_the_alignment),
        TEST(interrupted_transfers_are_repeated),
        TEST(an_interrupted_flush_is_repeated_and_a_failed_one_is_not),
        TEST(a_lost_write_is_told_to_requests_and_to_maintenance),
        TEST(a_lock_held_for_an_instant_is_waited_out),
        TEST(a_writer_of_a_block_device_waits_for_readers),
        TEST(a_holder_that_cannot_be_seen_is_unknown),
        TEST(no_file_is_left_where_direct_is_unsupported),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("file faults", tests, NULL, NULL);
}
