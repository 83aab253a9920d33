/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qemu.c - runs qemu-nbd and qemu-img.
 *
 * Everything of a run lies in one private temporary directory: the socket, the process id of the
 * server, and what the program complained of. Readiness is an event: qemu-nbd --fork returns when
 * the socket listens. So is the end: a pidfd becomes readable.
 */
#include "cli/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_BYTES     108 /* what fits in the address of a Unix socket */
#define STOP_SIGNAL_MS 200 /* between one and the next */
#define STOP_SIGNALS   300 /* then it is killed: a minute is enough to write an image's tables */
#define FORMAT_MAX     32

struct briq_qemu {
    char dir[PATH_BYTES - 8];
    char socket[PATH_BYTES], pid_file[PATH_BYTES], log[PATH_BYTES];
    int pid_fd; /* of the server; -1 while there is none */
};

extern char **environ;

const char *briq_qemu_format(const void *head, size_t len)
{
    static const struct {
        const char *format;
        size_t off;
        const char *magic;
    } formats[] = {
        {"qcow2", 0, "QFI\xfb"},
        {"vmdk", 0, "KDMV"},
        {"vmdk", 0, "COWD"},
        {"vmdk", 0, "# Disk DescriptorFile"},
        {"vdi", 0x40, "\x7f\x10\xda\xbe"},
        {"vhdx", 0, "vhdxfile"},
        {"vpc", 0, "conectix"},
        {"qed", 0, "QED"},
        {"parallels", 0, "WithoutFreeSpace"},
        {"parallels", 0, "WithouFreSpacExt"},
        {"bochs", 0, "Bochs Virtual HD Image"},
    };
    for (size_t i = 0; i < BRIQ_COUNT_OF(formats); i++) {
        size_t off = formats[i].off, magic_len = strlen(formats[i].magic);
        if (off + magic_len <= len &&
            memcmp((const char *)head + off, formats[i].magic, magic_len) == 0)
            return formats[i].format;
    }
    return NULL;
}

/* ---- running a program ----------------------------------------------------------------------- */

/* The program starts with the signals as they are by default, whatever this process blocks, and in
 * its own process group, so that Ctrl-C reaches it only through us. */
static void set_spawn_attributes(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(attr);
    posix_spawnattr_setsigmask(attr, &none);
    posix_spawnattr_setsigdefault(attr, &all);
    posix_spawnattr_setpgroup(attr, 0);
    posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                       POSIX_SPAWN_SETPGROUP);
}

/* Returns the exit status of the program, or -errno. */
static int spawn_and_wait(char *const argv[], const char *log)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    set_spawn_attributes(&attr);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
    pid_t pid = -1;
    int status = 0, r = -posix_spawnp(&pid, argv[0], &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    if (r < 0)
        return r;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* The first line the program printed, without its name in front. */
static void read_complaint(const char *log, const char *program, char *line, size_t max)
{
    snprintf(line, max, "it failed and gave no reason");
    FILE *f = fopen(log, "re");
    char text[256];
    if (f != NULL && fgets(text, sizeof text, f) != NULL) {
        text[strcspn(text, "\n")] = '\0';
        size_t len = strlen(program);
        bool named = strncmp(text, program, len) == 0 && strncmp(text + len, ": ", 2) == 0;
        snprintf(line, max, "%s", named ? text + len + 2 : text);
    }
    if (f != NULL)
        fclose(f);
}

static int run(char *const argv[], const char *path, const char *log, struct briq_error *err)
{
    int r = spawn_and_wait(argv, log);
    if (r == 0)
        return 0;
    if (r == -ENOENT)
        return briq_error_set(err, r,
                              "%s: this format needs %s, which is not installed (Debian: apt "
                              "install qemu-utils)",
                              path, argv[0]);
    if (r < 0)
        return briq_error_set(err, r, "%s: cannot run %s: %s", path, argv[0], strerror(-r));
    char line[256];
    read_complaint(log, argv[0], line, sizeof line);
    return briq_error_set(err, -EIO, "%s: %s: %s", path, argv[0], line);
}

/* ---- the temporary directory ----------------------------------------------------------------- */

static int make_dir(struct briq_qemu *qemu, struct briq_error *err)
{
    const char *tmp = getenv("TMPDIR");
    if (tmp == NULL || strlen(tmp) > sizeof qemu->dir - sizeof "/briq-XXXXXX")
        tmp = "/tmp"; /* a socket's path must be short */
    snprintf(qemu->dir, sizeof qemu->dir, "%s/briq-XXXXXX", tmp);
    if (mkdtemp(qemu->dir) == NULL) {
        int r = -errno;
        qemu->dir[0] = '\0';
        return briq_error_set(err, r, "cannot make a directory in %s: %s", tmp, strerror(-r));
    }
    snprintf(qemu->socket, sizeof qemu->socket, "%s/nbd", qemu->dir);
    snprintf(qemu->pid_file, sizeof qemu->pid_file, "%s/pid", qemu->dir);
    snprintf(qemu->log, sizeof qemu->log, "%s/log", qemu->dir);
    return 0;
}

static void remove_dir(struct briq_qemu *qemu)
{
    if (qemu->dir[0] == '\0')
        return;
    unlink(qemu->socket);
    unlink(qemu->pid_file);
    unlink(qemu->log);
    rmdir(qemu->dir);
}

static struct briq_qemu *new_qemu(struct briq_error *err)
{
    struct briq_qemu *qemu = calloc(1, sizeof *qemu);
    if (qemu == NULL)
        (void)briq_error_set(err, -ENOMEM, "out of memory");
    else
        qemu->pid_fd = -1;
    return qemu;
}

/* ---- serving --------------------------------------------------------------------------------- */

/* Without this a name such as "a:b" would mean protocol a. The caller frees the result. */
static char *plain_path(const char *path)
{
    char *plain = NULL;
    if (asprintf(&plain, "%s%s", path[0] == '/' ? "" : "./", path) < 0)
        return NULL;
    return plain;
}

static int start_server(struct briq_qemu *qemu, char *path, const char *format, bool read_only,
                        unsigned clients, struct briq_error *err)
{
    char socket[PATH_BYTES + 16], pid_file[PATH_BYTES + 16], shared[32], format_is[FORMAT_MAX + 16];
    snprintf(socket, sizeof socket, "--socket=%s", qemu->socket);
    snprintf(pid_file, sizeof pid_file, "--pid-file=%s", qemu->pid_file);
    snprintf(shared, sizeof shared, "--shared=%u", clients);
    snprintf(format_is, sizeof format_is, "--format=%s", format);
    char program[] = "qemu-nbd", fork[] = "--fork", discard[] = "--discard=unmap";
    char mode[] = "--read-only", end[] = "--";
    char *const argv[] = {
        program, fork, socket, pid_file, shared, format_is, read_only ? mode : discard,
        end,     path, NULL};
    return run(argv, path, qemu->log, err);
}

static int find_server(struct briq_qemu *qemu, const char *path, struct briq_error *err)
{
    long pid = 0;
    FILE *f = fopen(qemu->pid_file, "re");
    if (f != NULL) {
        if (fscanf(f, "%ld", &pid) != 1)
            pid = 0;
        fclose(f);
    }
    if (pid > 0)
        qemu->pid_fd = pidfd_open((pid_t)pid, 0);
    if (qemu->pid_fd < 0)
        return briq_error_set(err, -EIO, "%s: qemu-nbd started, but ended at once", path);
    return 0;
}

int briq_qemu_serve(const char *path, const char *format, bool read_only, unsigned clients,
                    struct briq_error *err, struct briq_qemu **ret)
{
    if (strlen(format) > FORMAT_MAX)
        return briq_error_set(err, -EINVAL, "there is no format \"%s\"", format);
    struct briq_qemu *qemu = new_qemu(err);
    char *plain = plain_path(path);
    int r = qemu == NULL || plain == NULL ? -ENOMEM : make_dir(qemu, err);
    if (r == 0)
        r = start_server(qemu, plain, format, read_only, clients, err);
    if (r == 0)
        r = find_server(qemu, path, err);
    free(plain);
    if (r < 0) {
        (void)briq_qemu_stop(qemu);
        return r;
    }
    *ret = qemu;
    return 0;
}

const char *briq_qemu_socket(const struct briq_qemu *qemu)
{
    return qemu->socket;
}

static bool wait_for_end(const struct briq_qemu *qemu, int timeout_ms)
{
    struct pollfd p = {.fd = qemu->pid_fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) > 0;
}

static int stop_server(struct briq_qemu *qemu)
{
    /* It ends by itself when its last client leaves; the signal is for when none ever came. It is
     * sent again because qemu-nbd forgets one that comes just after its start. */
    bool ended = false;
    for (int i = 0; i < STOP_SIGNALS && !ended; i++) {
        (void)pidfd_send_signal(qemu->pid_fd, SIGTERM, NULL, 0);
        ended = wait_for_end(qemu, STOP_SIGNAL_MS);
    }
    if (!ended) {
        (void)pidfd_send_signal(qemu->pid_fd, SIGKILL, NULL, 0);
        (void)wait_for_end(qemu, -1);
    }
    close(qemu->pid_fd);
    return ended ? 0 : -ETIMEDOUT;
}

int briq_qemu_stop(struct briq_qemu *qemu)
{
    if (qemu == NULL)
        return 0;
    int r = qemu->pid_fd >= 0 ? stop_server(qemu) : 0;
    remove_dir(qemu);
    free(qemu);
    return r;
}

int briq_qemu_create(const char *path, const char *format, uint64_t size_bytes,
                     struct briq_error *err)
{
    struct briq_qemu *qemu = new_qemu(err);
    char *plain = plain_path(path), size[32];
    int r = qemu == NULL || plain == NULL ? -ENOMEM : make_dir(qemu, err);
    if (r == 0) {
        char program[] = "qemu-img", verb[] = "create", quiet[] = "-q", format_is[] = "-f";
        char format_name[FORMAT_MAX + 1], end[] = "--";
        snprintf(size, sizeof size, "%" PRIu64, size_bytes);
        snprintf(format_name, sizeof format_name, "%s", format);
        char *const argv[] = {program, verb, quiet, format_is, format_name, end, plain, size, NULL};
        r = run(argv, path, qemu->log, err);
    }
    free(plain);
    (void)briq_qemu_stop(qemu);
    return r;
}
