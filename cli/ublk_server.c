/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ublk_server.c - opens the volume, brings the device to live, and waits for the end.
 *
 * Signals end it: SIGTERM and its like stop the device, answer what is under way, close the volume
 * cleanly and delete the device. Whatever else makes the process end leaves the device to
 * `recover`, with everything that was acknowledged.
 */
#include "cli/ublk_server.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include "cli/cancel.h"
#include "cli/service.h"
#include "cli/ublk_devices.h"
#include "cli/ublk_socket.h"
#include "cli/warnings.h"
#include "common/base/clock.h"

#define DYING_MS   2000  /* from a signal that kills to the end of the process */
#define RELEASE_MS 10000 /* from there until the kernel has let go of its files */
#define RETRY_MS   50
#define LEAVE_MS   60000 /* a server closes its volume, checkpoint and all */

struct server {
    struct briq_ublk_job *job;
    struct briq_daemon daemon;
    bool in_background; /* it has let go of the terminal: lines go to the system log */
    struct briq_cancel cancel;
    struct briq_store *store; /* NULL for the device without one */
    struct briq_ublk_control *control;
    struct briq_ublk_device *device;
    int socket_fd; /* other verbs ask here */
    bool leaving;  /* another server is to take the device over */
};

static void log_line(void *opaque, enum briq_log_level level, const char *line)
{
    const struct server *server = opaque;
    struct briq_log terminal = briq_warnings_log();
    static const int priorities[] = {
        [BRIQ_LOG_ERROR] = LOG_ERR, [BRIQ_LOG_WARNING] = LOG_WARNING, [BRIQ_LOG_INFO] = LOG_INFO};
    if (server->in_background)
        syslog(priorities[level], "%s", line);
    else
        terminal.sink(terminal.opaque, level, line);
}

static struct briq_log log_of(struct server *server)
{
    return (struct briq_log){.sink = log_line, .opaque = server};
}

static enum briq_exit complain(const struct server *server, const struct briq_error *err, int code)
{
    const char *why = err->text[0] != '\0' ? err->text : strerror(-code);
    if (!server->in_background)
        return briq_verb_fail(server->job->verb, err, code);
    syslog(LOG_ERR, "%s: %s", server->job->verb, why);
    return BRIQ_EXIT_FAILED;
}

static bool has_store(const struct briq_ublk_job *job)
{
    return job->what.volume[0] != '\0';
}

/* ---- starting -------------------------------------------------------------------------------- */

static int open_volume(struct server *server, struct briq_error *err)
{
    const struct briq_ublk_record *what = &server->job->what;
    const struct briq_open_options options = {
        .read_only = what->read_only,
        .direct = what->direct,
        .cache_bytes = what->cache_bytes,
        .no_windows_file = what->no_windows_file,
        .windows_dir = what->windows_dir[0] != '\0' ? what->windows_dir : NULL,
        .log = log_of(server),
    };
    if (!has_store(server->job))
        return 0;
    int r = briq_store_open(what->volume, &options, err, &server->store);
    if (r < 0)
        return r;
    r = briq_store_start(server->store);
    return r < 0 ? briq_error_set(err, r, "%s: its maintenance thread: %s", what->volume,
                                  strerror(-r))
                 : 0;
}

/* Waits for the process to end. 0, or -EBUSY when it lives on. */
static int wait_for_end(const struct server *server, pid_t pid, int ms)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return errno == ESRCH ? 0 : -errno;
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                            {.fd = server->cancel.fd, .events = POLLIN}};
    int n = poll(fds, 2, ms);
    bool ended = n > 0 && fds[0].revents != 0;
    close(fd);
    return ended ? 0 : -EBUSY;
}

/* A server that was just killed may still be on its way out, with the volume's lock. */
static int settle_predecessor(struct server *server, struct briq_error *err)
{
    uint32_t id = server->job->options.id;
    struct ublk_dev_info info;
    char reply[BRIQ_ERROR_TEXT_MAX];
    int r = briq_ublk_get_info(server->control, id, &info);
    if (r < 0)
        return briq_ublk_explain(id, "GET_DEV_INFO", r, err);
    if (info.state != UBLK_STATE_LIVE || info.server_pid <= 0)
        return 0;
    if (server->job->replace)
        r = briq_ublk_socket_ask(id, "leave", reply, sizeof reply, err);
    if (r == 0)
        r = wait_for_end(server, info.server_pid, server->job->replace ? LEAVE_MS : DYING_MS);
    if (r < 0)
        return briq_error_set(
            err, r, "device %" PRIu32 " has a server (pid %d)%s", id, info.server_pid,
            server->job->replace ? " which does not end" : "; --replace takes over from it");
    return 0;
}

/* The kernel lets go of a dead server's volume when the last of its requests to the medium has come
 * back, which may be after the process has ended and has no event. */
static int open_volume_again(struct server *server, struct briq_error *err)
{
    uint64_t end = briq_clock_ns() + RELEASE_MS * UINT64_C(1000000);
    struct pollfd cancel = {.fd = server->cancel.fd, .events = POLLIN};
    int r;
    do {
        err->text[0] = '\0';
        r = open_volume(server, err);
    } while (r == -EBUSY && briq_clock_ns() < end && poll(&cancel, 1, RETRY_MS) == 0);
    return r;
}

/* A volume in memory dies with its server: a device that waited for another one would wait for
 * ever, or show zeros where there was data. */
static void settle_death(struct server *server)
{
    if (server->store != NULL && briq_store_in_memory(server->store))
        server->job->options.wishes.on_death = BRIQ_UBLK_REMOVE;
}

static int bring_up(struct server *server, struct briq_error *err)
{
    struct briq_ublk_options *options = &server->job->options;
    options->cancel_fd = server->cancel.fd;
    options->null_bytes = server->job->what.null_bytes;
    /* Before any thread is made: all of them, and the kernel's helpers, take it from here. */
    int r = briq_ublk_mark_flusher();
    if (r < 0)
        return briq_error_set(err, r, "PR_SET_IO_FLUSHER: %s; run it as root", strerror(-r));
    r = server->job->recover ? settle_predecessor(server, err) : 0;
    if (r == 0)
        r = server->job->recover ? open_volume_again(server, err) : open_volume(server, err);
    if (r < 0)
        return r;
    settle_death(server);
    r = server->job->recover
            ? briq_ublk_device_recover(server->control, server->store, options, err,
                                       &server->device)
            : briq_ublk_device_add(server->control, server->store, options, err, &server->device);
    if (r < 0)
        return r;
    server->job->what.pid = getpid();
    uint32_t id = briq_ublk_device_id(server->device);
    r = briq_ublk_record_write(id, &server->job->what, err);
    if (r < 0)
        return r;
    server->socket_fd = briq_ublk_socket_listen(id, err);
    return server->socket_fd < 0 ? server->socket_fd : 0;
}

static void say_ready(struct server *server)
{
    const struct ublk_dev_info *info = briq_ublk_device_info(server->device);
    const struct briq_log log = log_of(server);
    if (server->store != NULL && briq_store_in_memory(server->store))
        briq_log_line(&log, BRIQ_LOG_WARNING,
                      "%s is in memory alone: if its server dies, the device is removed",
                      server->job->what.volume);
    printf("/dev/ublkb%" PRIu32 ": %u queue%s of %u requests, pid %d\n", info->dev_id, info->queues,
           info->queues == 1 ? "" : "s", info->depth, (int)getpid());
    (void)fflush(stdout);
    briq_service_tell("READY=1");
    server->in_background = server->daemon.ready_fd >= 0;
    if (server->in_background)
        openlog("briq", LOG_PID, LOG_DAEMON);
    briq_daemon_ready(&server->daemon);
}

/* ---- what others ask ------------------------------------------------------------------------- */

/* "1073741824" or "+1073741824": the new size. */
static int grow(struct server *server, const char *text, struct briq_error *err)
{
    if (server->store == NULL)
        return briq_error_set(err, -EOPNOTSUPP, "it has no volume that could grow");
    bool more = text[0] == '+';
    uint64_t bytes = strtoull(more ? text + 1 : text, NULL, 10);
    uint64_t size = briq_store_size(server->store);
    int r = briq_ublk_device_can_grow(server->device, err);
    if (r == 0)
        r = briq_store_resize(server->store, more ? size + bytes : bytes, err);
    return r == 0 ? briq_ublk_device_grown(server->device, err) : r;
}

static void print_stat(const struct server *server, char *reply, size_t room)
{
    FILE *out = fmemopen(reply, room, "w");
    if (out == NULL) {
        snprintf(reply, room, "error out of memory");
        return;
    }
    fprintf(out, "ok ");
    briq_ublk_device_print(server->device, out);
    fclose(out);
}

static void handle(void *opaque, const char *request, char *reply, size_t room)
{
    struct server *server = opaque;
    struct briq_error err = {""};
    if (strcmp(request, "stat") == 0) {
        print_stat(server, reply, room);
        return;
    }
    int r = -EINVAL;
    if (strcmp(request, "leave") == 0) {
        server->leaving = true;
        r = 0;
    } else if (strncmp(request, "resize ", 7) == 0) {
        r = grow(server, request + 7, &err);
    } else {
        (void)briq_error_set(&err, r, "this server does not know \"%s\"", request);
    }
    if (r < 0)
        snprintf(reply, room, "error %s", err.text[0] != '\0' ? err.text : strerror(-r));
    else
        snprintf(reply, room, "ok");
}

/* ---- serving and ending ---------------------------------------------------------------------- */

/* 1: go on. 0: the device ended, or was told to. Else why it cannot go on. */
static int serve_events(struct server *server, const struct pollfd fds[3], struct briq_error *err)
{
    if (fds[0].revents != 0)
        return briq_ublk_device_stop(server->device, err);
    if (fds[1].revents != 0) {
        enum briq_ublk_end end = briq_ublk_device_ended(server->device, err);
        if (end != BRIQ_UBLK_SERVING)
            return end == BRIQ_UBLK_FAILED ? -EIO : 0;
    }
    if (fds[2].revents != 0)
        briq_ublk_socket_serve(server->socket_fd, handle, server);
    if (!server->leaving)
        return 1;
    briq_ublk_device_leave(server->device);
    return 0;
}

static int serve(struct server *server, struct briq_error *err)
{
    struct pollfd fds[3] = {
        {.fd = server->cancel.fd, .events = POLLIN},
        {.fd = briq_ublk_device_event_fd(server->device), .events = POLLIN},
        {.fd = server->socket_fd, .events = POLLIN},
    };
    for (;;) {
        int n = poll(fds, 3, -1);
        if (n < 0 && errno != EINTR) {
            n = -errno;
            return briq_error_set(err, n, "poll: %s", strerror(-n));
        }
        int r = n > 0 ? serve_events(server, fds, err) : 1;
        if (r <= 0)
            return r;
    }
}

/* A server that cannot go on must not stop the device, nor touch what its threads may still use:
 * it dies, and whoever recovers the device finds everything that was acknowledged. */
static void die(struct server *server, struct briq_error *err, int code)
{
    (void)complain(server, err, code);
    _exit(BRIQ_EXIT_FAILED);
}

static int close_all(struct server *server, struct briq_error *err)
{
    uint32_t id = server->device != NULL ? briq_ublk_device_id(server->device) : UBLK_ANY_ID;
    bool left = false;
    if (server->socket_fd >= 0)
        close(server->socket_fd);
    if (server->device != NULL)
        briq_ublk_device_join(server->device);
    int r = briq_store_close(server->store);
    if (r < 0)
        r = briq_error_set(err, r, "%s: closing it: %s", server->job->what.volume, strerror(-r));
    int closed = briq_ublk_device_close(server->device, err, &left);
    if (id != UBLK_ANY_ID && !left)
        briq_ublk_record_remove(id);
    return r < 0 ? r : closed;
}

static int run_device(struct server *server, struct briq_error *err)
{
    struct briq_error later = {""};
    int r = bring_up(server, err);
    if (r == 0) {
        const struct briq_log log = log_of(server);
        briq_ublk_harden_process(&log);
        say_ready(server);
        r = serve(server, err);
        if (r < 0)
            die(server, err, r);
    } else if (server->device != NULL && briq_ublk_device_stop(server->device, &later) < 0) {
        die(server, err, r);
    }
    int closed = close_all(server, r < 0 ? &later : err);
    return r < 0 ? r : closed;
}

static int run_server(struct server *server, struct briq_error *err)
{
    int r = briq_cancel_open(&server->cancel, err);
    if (r < 0)
        return r;
    r = briq_ublk_control_open(err, &server->control);
    if (r < 0)
        return r;
    r = briq_ublk_leave_mounts(server->job->options.id, err);
    if (r == 0)
        r = run_device(server, err);
    briq_ublk_control_close(server->control);
    return r;
}

enum briq_exit briq_ublk_server_run(struct briq_ublk_job *job)
{
    struct server server = {
        .job = job, .cancel = BRIQ_CANCEL_NONE, .daemon = BRIQ_DAEMON_NONE, .socket_fd = -1};
    struct briq_error err = {""};
    /* First of all: the kernel ties a device to the process that makes it. */
    int r = job->foreground ? 0 : briq_daemon_begin(&server.daemon, &err);
    if (r == 0)
        r = run_server(&server, &err);
    return r < 0 ? complain(&server, &err, r) : BRIQ_EXIT_OK;
}
