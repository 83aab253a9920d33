/* SPDX-License-Identifier: BSD-3-Clause */
/* test_lock.c - one writer a volume, and whoever comes second learns who the first is. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/device/device.h"
#include "common/device/lock.h"
#include "tests/lib/child.h"
#include "tests/lib/temp_dir.h"

#define NOBODY      65534
#define HOLDER_NAME "briq-holder"

struct fixture {
    struct test_dir dir;
    struct test_path path;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    test_dir_open(&f->dir, TEST_DIR_DISK);
    f->path = test_dir_file(&f->dir, "disk.briq");
    int fd = open(f->path.text, O_CREAT | O_EXCL | O_WRONLY, 0644);
    assert_true(fd >= 0);
    close(fd);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    test_dir_close(&f->dir);
    free(f);
    return 0;
}

/* ---- those who hold it ----------------------------------------------------------------------- */

static struct briq_device *open_or_die(const char *path, unsigned flags)
{
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    int r = briq_file_open(path, flags, &err, &dev);
    if (r < 0) {
        fprintf(stderr, "open: %d: %s\n", r, err.text);
        abort();
    }
    return dev;
}

static void hold(const struct test_parent *parent, const char *path, unsigned flags)
{
    prctl(PR_SET_NAME, HOLDER_NAME);
    struct briq_device *dev = open_or_die(path, flags);
    test_child_tell(parent, getpid());
    test_child_await(parent);
    briq_device_close(dev);
}

static void write_holder(const struct test_parent *parent, void *arg)
{
    hold(parent, arg, 0);
}

static void read_holder(const struct test_parent *parent, void *arg)
{
    hold(parent, arg, BRIQ_FILE_READ_ONLY);
}

/* Takes the lock and goes into the background, as a server does: what holds it is a grandchild. */
static void daemon_holder(const struct test_parent *parent, void *arg)
{
    struct briq_device *dev = open_or_die(arg, 0);
    if (fork() > 0)
        _exit(0);
    setsid();
    prctl(PR_SET_NAME, HOLDER_NAME);
    test_child_tell(parent, getpid());
    test_child_await(parent);
    briq_device_close(dev);
    test_child_tell(parent, getpid());
}

static pid_t start_holder(struct test_child *child, struct fixture *f,
                          void (*body)(const struct test_parent *, void *))
{
    test_child_start(child, body, f->path.text);
    pid_t pid = test_child_hear(child);
    assert_true(pid > 0);
    return pid;
}

/* ---- what the others see --------------------------------------------------------------------- */

static void assert_busy(const struct fixture *f, unsigned flags, pid_t holder)
{
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    char expected[BRIQ_ERROR_TEXT_MAX];
    assert_int_equal(briq_file_open(f->path.text, flags, &err, &dev), -EBUSY);
    assert_null(dev);
    snprintf(expected, sizeof expected,
             "%.300s: in use by " HOLDER_NAME " (pid %d); stop it first, or open a copy",
             f->path.text, (int)holder);
    assert_string_equal(err.text, expected);
}

static void assert_free(const struct fixture *f, unsigned flags)
{
    briq_device_close(open_or_die(f->path.text, flags));
}

static void assert_owner(const struct fixture *f, pid_t holder, const char *name)
{
    pid_t pid = -2;
    char got[BRIQ_LOCK_NAME_MAX] = "untouched";
    assert_int_equal(briq_lock_owner(f->path.text, &pid, got), 0);
    assert_int_equal(pid, holder);
    assert_string_equal(got, name);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_writer_excludes_everybody_and_is_named(void **state)
{
    struct fixture *f = *state;
    struct test_child child;
    pid_t pid = start_holder(&child, f, write_holder);

    assert_busy(f, 0, pid);
    assert_busy(f, BRIQ_FILE_READ_ONLY, pid);
    assert_busy(f, BRIQ_FILE_CREATE | BRIQ_FILE_FORCE, pid);
    assert_owner(f, pid, HOLDER_NAME);
    assert_free(f, BRIQ_FILE_READ_ONLY | BRIQ_FILE_UNLOCKED);

    assert_int_equal(test_child_release(&child), 0);
    assert_owner(f, 0, "");
    assert_free(f, 0);
}

static void readers_share_and_exclude_a_writer(void **state)
{
    struct fixture *f = *state;
    struct test_child child;
    pid_t pid = start_holder(&child, f, read_holder);

    assert_free(f, BRIQ_FILE_READ_ONLY);
    assert_busy(f, 0, pid);
    assert_owner(f, 0, ""); /* nobody writes */

    assert_int_equal(test_child_release(&child), 0);
    assert_free(f, 0);
}

static void the_holder_is_named_after_it_forked(void **state)
{
    struct fixture *f = *state;
    struct test_child child;
    pid_t pid = start_holder(&child, f, daemon_holder);
    assert_int_not_equal(pid, child.pid);
    int status;
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid); /* it is gone, its lock is not */

    assert_busy(f, 0, pid);
    assert_busy(f, BRIQ_FILE_READ_ONLY, pid);
    assert_owner(f, pid, HOLDER_NAME);

    close(child.to_child); /* lets the grandchild go on */
    assert_int_equal(test_child_hear(&child), pid);
    close(child.from_child);
    assert_free(f, 0);
}

static void a_lock_ends_with_a_killed_process(void **state)
{
    struct fixture *f = *state;
    struct test_child child;
    pid_t pid = start_holder(&child, f, write_holder);
    assert_busy(f, 0, pid);
    test_child_kill(&child);
    assert_owner(f, 0, "");
    assert_free(f, 0);
}

static void a_second_opening_in_the_same_process_is_told_so(void **state)
{
    struct fixture *f = *state;
    struct briq_device *dev = open_or_die(f->path.text, 0), *second = NULL;
    struct briq_error err = {.text = ""};
    char expected[BRIQ_ERROR_TEXT_MAX], name[BRIQ_LOCK_NAME_MAX];
    pid_t pid = 0;

    assert_int_equal(briq_file_open(f->path.text, 0, &err, &second), -EBUSY);
    snprintf(expected, sizeof expected, "%.300s: already open in this process (pid %d)",
             f->path.text, (int)getpid());
    assert_string_equal(err.text, expected);
    assert_int_equal(briq_lock_owner(f->path.text, &pid, name), 0);
    assert_int_equal(pid, getpid());
    briq_device_close(dev);
}

/* Becomes another user, who can reach the file in the working directory and nothing above it. */
static void become_nobody(const struct fixture *f)
{
    assert(chdir(f->dir.path) == 0 && chmod(".", 0711) == 0);
    assert(setresuid(NOBODY, NOBODY, NOBODY) == 0);
}

/* The holder's descriptors are hidden from another user; its record and its name are not. */
static void look_as_nobody(void *arg)
{
    struct fixture *f = ((void **)arg)[0];
    pid_t holder = *(pid_t *)((void **)arg)[1], pid = 0;
    char name[BRIQ_LOCK_NAME_MAX];
    become_nobody(f);

    int r = briq_lock_owner("disk.briq", &pid, name);
    assert(r == 0);
    assert(pid == holder);
    assert(strcmp(name, HOLDER_NAME) == 0);
}

/* After the fork there is no record either that could be believed: held, but by whom is unknown. */
static void look_at_daemon_as_nobody(void *arg)
{
    struct fixture *f = arg;
    struct briq_error err = {.text = ""};
    struct briq_device *dev = NULL;
    pid_t pid = 0;
    char name[BRIQ_LOCK_NAME_MAX];
    become_nobody(f);

    int r = briq_lock_owner("disk.briq", &pid, name);
    assert(r == 0);
    assert(pid == -1 && name[0] == '\0');
    r = briq_file_open("disk.briq", BRIQ_FILE_READ_ONLY, &err, &dev);
    assert(r == -EBUSY);
    assert(strstr(err.text, "disk.briq: in use by a process that cannot be seen from here") !=
           NULL);
}

static void the_holder_of_another_user_is_named_as_far_as_known(void **state)
{
    struct fixture *f = *state;
    if (geteuid() != 0)
        skip();
    struct test_child child;
    pid_t pid = start_holder(&child, f, write_holder);
    void *args[] = {f, &pid};
    assert_int_equal(test_in_child(look_as_nobody, args), 0);
    assert_int_equal(test_child_release(&child), 0);

    pid = start_holder(&child, f, daemon_holder);
    int status;
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_int_equal(test_in_child(look_at_daemon_as_nobody, f), 0);
    close(child.to_child);
    assert_int_equal(test_child_hear(&child), pid);
    close(child.from_child);
}

static void the_owner_of_a_missing_file_is_an_error(void **state)
{
    struct fixture *f = *state;
    pid_t pid = -2;
    char name[BRIQ_LOCK_NAME_MAX] = "untouched";
    struct test_path missing = test_dir_file(&f->dir, "missing");
    assert_int_equal(briq_lock_owner(missing.text, &pid, name), -ENOENT);
    assert_int_equal(pid, -2);
    assert_string_equal(name, "untouched");
}

/* Looking must not be in the way of an opening: it takes a lock itself for an instant. */
struct looking {
    const char *path;
    atomic_bool end;
    atomic_uint looks;
};

static void *look_again_and_again(void *arg)
{
    struct looking *looking = arg;
    while (!atomic_load(&looking->end)) {
        pid_t pid;
        char name[BRIQ_LOCK_NAME_MAX];
        int r = briq_lock_owner(looking->path, &pid, name);
        assert(r == 0);
        assert(pid == 0 || pid == getpid() || pid == -1);
        atomic_fetch_add(&looking->looks, 1);
    }
    return NULL;
}

static void looking_is_not_in_the_way_of_an_opening(void **state)
{
    struct fixture *f = *state;
    struct looking looking = {.path = f->path.text};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look_again_and_again, &looking), 0);
    unsigned opened = 0;
    while (opened < 200 || atomic_load(&looking.looks) < 20) {
        assert_free(f, 0);
        opened++;
    }
    atomic_store(&looking.end, true);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        TEST(a_writer_excludes_everybody_and_is_named),
        TEST(readers_share_and_exclude_a_writer),
        TEST(the_holder_is_named_after_it_forked),
        TEST(a_lock_ends_with_a_killed_process),
        TEST(a_second_opening_in_the_same_process_is_told_so),
        TEST(the_holder_of_another_user_is_named_as_far_as_known),
        TEST(the_owner_of_a_missing_file_is_an_error),
        TEST(looking_is_not_in_the_way_of_an_opening),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
