/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ublk_server.c - opens the volume, brings the device to live, and waits for the end.
 *
 * Signals end it: at SIGTERM and its like it answers what is under way, closes the volume cleanly
 * and deletes the device, or, when that is in use, leaves it to the next server. Whatever else makes
 * the process end leaves the device to `recover`, with everything that was acknowledged.
 */
#include "cli/ublk_server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "cli/cancel.h"
#include "cli/service.h"
#include "cli/ublk_devices.h"
#include "cli/ublk_socket.h"
#include "cli/ublk_takeover.h"
#include "cli/ublk_unit.h"
#include "cli/warnings.h"

#define LEAVE_MS 60000 /* a server closes its volume, checkpoint and all */

struct server {
    struct briq_ublk_job *job;
    struct briq_daemon daemon;
    bool in_background; /* it has let go of the terminal: lines go to the system log */
    struct briq_cancel cancel;
    struct briq_store *store; /* NULL for the device without one */
    struct briq_ublk_control *control;
    struct briq_ublk_unit *unit;
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

static int open_volume(void *opaque, struct briq_error *err)
{
    struct server *server = opaque;
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
        r = briq_ublk_wait_for_end(info.server_pid,
                                   server->job->replace ? LEAVE_MS : BRIQ_UBLK_DYING_MS,
                                   server->cancel.fd);
    if (r < 0)
        return briq_error_set(
            err, r, "device %" PRIu32 " has a server (pid %d)%s", id, info.server_pid,
            server->job->replace ? " which does not end" : "; --replace takes over from it");
    return 0;
}

static int resize(void *opaque, uint64_t bytes, bool more, struct briq_error *err)
{
    const struct server *server = opaque;
    uint64_t size = briq_store_size(server->store);
    return briq_store_resize(server->store, more ? size + bytes : bytes, err);
}

/* This process has nothing else to do. */
static int agree_to_leave(void *opaque, struct briq_error *err)
{
    (void)opaque;
    (void)err;
    return 0;
}

static int open_unit(struct server *server, struct briq_error *err)
{
    struct briq_ublk_job *job = server->job;
    struct briq_ublk_unit_setup *setup = malloc(sizeof *setup);
    if (setup == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    *setup = (struct briq_ublk_unit_setup){
        .control = server->control,
        .store = server->store,
        .recover = job->recover,
        .options = job->options,
        .what = job->what,
        .owner = {.resize = resize, .leave = agree_to_leave, .opaque = server},
    };
    setup->options.cancel_fd = server->cancel.fd;
    int r = briq_ublk_unit_open(setup, err, &server->unit);
    free(setup);
    return r;
}

/* Two devices of a volume would each cache what the other changes. The volume is open here, so a
 * device of it has no server that lives on. */
static int check_orphans(const struct server *server, struct briq_error *err)
{
    const struct briq_ublk_record *what = &server->job->what;
    uint32_t id = 0;
    if (server->store == NULL || what->read_only)
        return 0;
    struct briq_ublk_record *other = malloc(sizeof *other);
    if (other == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    bool found = briq_ublk_find_orphan(what->volume, &id, other);
    free(other);
    if (!found)
        return 0;
    return briq_error_set(err, -EBUSY,
                          "%s: its device /dev/ublkb%" PRIu32 " waits for a server: take it over "
                          "with `briq ublk recover %" PRIu32 "`, or give it up with `briq ublk "
                          "del %" PRIu32 "`",
                          what->volume, id, id, id);
}

/* Before any thread is made: all of them, and the kernel's helpers, take it from here. */
static int prepare_process(const struct server *server, struct briq_error *err)
{
    if (server->job->options.wishes.unprivileged)
        return server->job->swap ? briq_error_set(err, -EPERM, "--swap: run it as root") : 0;
    int r = briq_ublk_mark_flusher();
    if (r < 0)
        return briq_error_set(err, r, "PR_SET_IO_FLUSHER: %s; run it as root", strerror(-r));
    return server->job->swap ? briq_ublk_use_reserves(err) : 0;
}

static int bring_up(struct server *server, struct briq_error *err)
{
    bool recover = server->job->recover;
    int r = prepare_process(server, err);
    if (r < 0)
        return r;
    r = recover ? settle_predecessor(server, err) : 0;
    if (r == 0)
        r = recover ? briq_ublk_open_again(open_volume, server, server->cancel.fd, err)
                    : open_volume(server, err);
    if (r == 0 && !recover)
        r = check_orphans(server, err);
    return r == 0 ? open_unit(server, err) : r;
}

/* What the process cannot have without privileges matters as soon as memory is short. */
static void harden(struct server *server)
{
    const struct briq_log log = log_of(server);
    if (!server->job->options.wishes.unprivileged)
        briq_ublk_harden_process(&log);
    else
        briq_log_line(&log, BRIQ_LOG_WARNING,
                      "this user lacks CAP_SYS_ADMIN: the device is removed if its server dies, or "
                      "leaves a request for 30 s, and should not be used as swap");
}

static void say_ready(struct server *server)
{
    const struct ublk_dev_info *info = briq_ublk_device_info(briq_ublk_unit_device(server->unit));
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

/* ---- serving and ending ---------------------------------------------------------------------- */

/* A server that cannot go on must not stop the device, nor touch what its threads may still use:
 * it dies, and whoever recovers the device finds everything that was acknowledged. */
static void die(struct server *server, struct briq_error *err)
{
    (void)complain(server, err, -EIO);
    briq_ublk_die();
}

static int end_as_told(struct server *server, struct briq_ublk_device *device,
                       struct briq_error *err)
{
    const struct ublk_dev_info *info = briq_ublk_device_info(device);
    const struct briq_log log = log_of(server);
    if (!briq_ublk_is_to_wait(info->dev_id, (info->flags & UBLK_F_USER_RECOVERY) != 0, &log))
        return briq_ublk_device_stop(device, err);
    briq_ublk_device_leave(device);
    return 0;
}

static int serve(struct server *server, struct briq_error *err)
{
    struct briq_ublk_device *device = briq_ublk_unit_device(server->unit);
    switch (briq_ublk_unit_serve(server->unit, server->cancel.fd, err)) {
    case BRIQ_UBLK_UNIT_TOLD:
        return end_as_told(server, device, err);
    case BRIQ_UBLK_UNIT_ENDED:
        return 0;
    case BRIQ_UBLK_UNIT_LEAVE:
        briq_ublk_device_leave(device);
        return 0;
    case BRIQ_UBLK_UNIT_FAILED:
        break;
    }
    return -EIO;
}

/* The volume first: the device's next server opens it. */
static int close_all(struct server *server, struct briq_error *err)
{
    bool left = false;
    if (server->unit != NULL)
        briq_ublk_unit_join(server->unit);
    int r = briq_store_close(server->store);
    if (r < 0)
        r = briq_error_set(err, r, "%s: closing it: %s", server->job->what.volume, strerror(-r));
    int closed = briq_ublk_unit_close(server->unit, err, &left);
    return r < 0 ? r : closed;
}

static int run_device(struct server *server, struct briq_error *err)
{
    struct briq_error later = {""};
    int r = bring_up(server, err);
    if (r == 0) {
        harden(server);
        say_ready(server);
        if (serve(server, err) < 0)
            die(server, err);
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
    r = server->job->options.wishes.unprivileged ? briq_ublk_record_check(err)
                                                 : briq_ublk_leave_mounts(err);
    if (r == 0 && server->job->recover)
        briq_ublk_drop_mounts(server->job->options.id);
    if (r == 0)
        r = run_device(server, err);
    briq_ublk_control_close(server->control);
    return r;
}

enum briq_exit briq_ublk_server_run(struct briq_ublk_job *job)
{
    struct server server = {.job = job, .cancel = BRIQ_CANCEL_NONE, .daemon = BRIQ_DAEMON_NONE};
    struct briq_error err = {""};
    job->options.wishes.unprivileged = !briq_ublk_is_privileged();
    /* First of all: the kernel ties a device to the process that makes it. */
    int r = job->foreground ? 0 : briq_daemon_begin(&server.daemon, &err);
    if (r == 0)
        r = run_server(&server, &err);
    if (r == 0)
        return BRIQ_EXIT_OK;
    enum briq_exit code = complain(&server, &err, r);
    briq_daemon_fail(&server.daemon, code);
    return code;
}
