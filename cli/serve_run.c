/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/serve_run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cancel.h"
#include "cli/serve_control.h"
#include "cli/serve_devices.h"
#include "cli/service.h"
#include "cli/volume.h"
#include "common/exports/source.h"

#define URI_MAX (4 * BRIQ_EXPORT_NAME_MAX)

struct serve_job {
    const struct serve_args *args;
    struct briq_cancel cancel;
    struct briq_server *server;
    struct briq_serve_devices *devices;
    struct briq_serve_control *control;
    struct briq_daemon daemon;
    struct briq_open_options open; /* how volumes are opened, and later ones will be */
    char *own_dir;                 /* of the socket that was made for --run */
    int sockets;                   /* handed over by a service manager */
    pid_t command;
    int command_fd; /* -1: there is no command */
    int exit_code;  /* of the command */
};

static int export_volume(struct serve_job *job, const char *word, struct briq_error *err)
{
    const char *volume;
    char *name;
    int r = briq_volume_split(word, &name, &volume, err);
    if (r == 0)
        r = briq_serve_devices_export(job->devices, job->server, name, volume, &job->open, err);
    free(name);
    return r;
}

static int export_all(struct serve_job *job, struct briq_error *err)
{
    int r = briq_serve_open_options(job->args, &job->open, err);
    for (unsigned i = 0; r == 0 && i < job->args->volumes.count; i++)
        r = export_volume(job, job->args->volumes.list[i], err);
    return r;
}

static int open_devices(struct serve_job *job, struct briq_error *err)
{
    const struct serve_args *a = job->args;
    struct briq_serve_devices_setup setup = {
        .log = briq_serve_log(a),
        .wanted = a->ublk.count > 0,
        .swap = a->swap,
        .volumes = &a->volumes,
        .cancel_fd = job->cancel.fd,
    };
    int r = briq_serve_device_options(a, &setup.options, err);
    return r == 0 ? briq_serve_devices_open(&setup, err, &job->devices) : r;
}

static int name_of(const char *word, char **ret, struct briq_error *err)
{
    const char *volume;
    int r = briq_volume_split(word, ret, &volume, err);
    if (r == 0 && *ret == NULL && (*ret = briq_source_export_name(volume)) == NULL)
        r = briq_error_set(err, -ENOMEM, "out of memory");
    return r;
}

/* `word` is an export, or "": all of them. */
static int make_device(struct serve_job *job, const char *word, const char *name, bool *ret_meant,
                       struct briq_error *err)
{
    uint32_t id;
    bool meant = word[0] == '\0' || strcmp(word, name) == 0;
    *ret_meant |= meant;
    if (!meant || briq_serve_devices_find(job->devices, name, NULL))
        return 0;
    return briq_serve_devices_attach(job->devices, job->server, name, UBLK_ANY_ID, &job->open, &id,
                                     err);
}

static int make_devices_of(struct serve_job *job, const char *word, struct briq_error *err)
{
    const struct briq_words *volumes = &job->args->volumes;
    bool meant = false;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < volumes->count; i++) {
        char *name = NULL;
        r = name_of(volumes->list[i], &name, err);
        if (r == 0)
            r = make_device(job, word, name, &meant, err);
        free(name);
    }
    return r < 0 || meant ? r
                          : briq_error_set(err, -ENOENT, "--ublk: no volume here is '%s'", word);
}

static int print_devices(struct serve_job *job, struct briq_error *err)
{
    const struct briq_words *volumes = &job->args->volumes;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < volumes->count; i++) {
        char *name = NULL;
        uint32_t id;
        r = name_of(volumes->list[i], &name, err);
        if (r == 0 && briq_serve_devices_find(job->devices, name, &id))
            printf("/dev/ublkb%" PRIu32 ": %s\n", id, name);
        free(name);
    }
    fflush(stdout);
    return r;
}

/* Devices that wait for a server have it first: their clients do. */
static int make_devices(struct serve_job *job, struct briq_error *err)
{
    int r = 0;
    briq_serve_devices_adopt(job->devices, job->server);
    for (unsigned i = 0; r == 0 && i < job->args->ublk.count; i++)
        r = make_devices_of(job, job->args->ublk.list[i], err);
    return r == 0 && job->args->ublk.count > 0 ? print_devices(job, err) : r;
}

/* A command needs a socket that nobody else has use for. */
static int listen_for_command(struct serve_job *job, struct briq_error *err)
{
    const char *tmp = getenv("TMPDIR");
    char *address = NULL;
    if (asprintf(&job->own_dir, "%s/briq-serve.XXXXXX", tmp != NULL ? tmp : "/tmp") < 0)
        job->own_dir = NULL;
    if (job->own_dir == NULL || mkdtemp(job->own_dir) == NULL ||
        asprintf(&address, "unix:%s/socket", job->own_dir) < 0)
        return briq_error_set(err, -errno, "a directory for the socket: %s", strerror(errno));
    int r = briq_server_listen(job->server, address, err);
    free(address);
    return r;
}

static int listen_on_all(struct serve_job *job, struct briq_error *err)
{
    const struct briq_words *nbd = &job->args->nbd;
    int r = 0;
    for (unsigned i = 0; r == 0 && i < nbd->count; i++)
        r = briq_server_listen(job->server, nbd->list[i], err);
    for (int i = 0; r == 0 && i < job->sockets; i++)
        r = briq_server_adopt(job->server, BRIQ_SERVICE_FD_FIRST + i, err);
    if (r == 0 && nbd->count == 0 && job->sockets == 0 && job->args->run != NULL)
        r = listen_for_command(job, err);
    return r;
}

static void print_uri(const struct serve_job *job)
{
    char uri[URI_MAX];
    if (briq_server_uri(job->server, NULL, uri, sizeof uri) < 0)
        return;
    printf("%s\n", uri);
    fflush(stdout);
}

static int start_command(struct serve_job *job, struct briq_error *err)
{
    char uri[URI_MAX];
    if (job->args->run == NULL)
        return 0;
    briq_server_uri(job->server, NULL, uri, sizeof uri);
    int r = briq_command_start(job->args->run, uri, &job->command, err);
    job->command_fd = r < 0 ? -1 : r;
    return r < 0 ? r : 0;
}

static int serve_stdio(struct serve_job *job, struct briq_error *err)
{
    struct stat st;
    if (!job->args->stdio)
        return 0;
    if (fstat(STDIN_FILENO, &st) < 0 || !S_ISSOCK(st.st_mode))
        return briq_error_set(err, -ENOTSOCK, "--stdio: standard input is not a socket");
    int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    int r = fd < 0 ? -errno : briq_server_connect(job->server, fd);
    return r < 0 ? briq_error_set(err, r, "--stdio: %s", strerror(-r)) : 0;
}

/* A signal, the end of the command, or of the one connection, or the wish of a control client. */
static int wait_for_the_end(struct serve_job *job, struct briq_error *err)
{
    struct pollfd p[] = {
        {.fd = job->cancel.fd, .events = POLLIN},
        {.fd = job->command_fd, .events = POLLIN},
        {.fd = job->args->stdio ? briq_server_idle_fd(job->server) : -1, .events = POLLIN},
        {.fd = briq_serve_control_fd(job->control), .events = POLLIN},
    };
    while (poll(p, BRIQ_COUNT_OF(p), -1) < 0)
        if (errno != EINTR)
            return briq_error_set(err, -errno, "poll: %s", strerror(errno));
    if (job->command_fd >= 0)
        job->exit_code = briq_command_wait(job->command, p[1].revents == 0);
    return 0;
}

/* One that nobody has asked for may be missing, where there is no place for it. */
static int open_control(struct serve_job *job, struct briq_error *err)
{
    const struct serve_args *a = job->args;
    struct briq_error why = {""};
    struct briq_serve_setup setup = {.server = job->server,
                                     .devices = job->devices,
                                     .open = job->open,
                                     .log = briq_serve_log(a),
                                     .socket = a->control};
    if (a->no_control)
        return 0;
    int r = briq_serve_control_open(&setup, &why, &job->control);
    if (r == 0)
        r = briq_serve_control_start(job->control, &why);
    if (r == 0 || a->control != NULL)
        return r == 0 ? 0 : briq_error_set(err, r, "%s", why.text);
    briq_log_line(&setup.log, BRIQ_LOG_WARNING, "no control socket: %s", why.text);
    return 0;
}

static void say_ready(struct serve_job *job)
{
    char text[160];
    const struct briq_log log = briq_serve_log(job->args);
    briq_log_line(&log, BRIQ_LOG_INFO, "serving with %s",
                  briq_server_describe(job->server, text, sizeof text));
    if (job->control != NULL)
        briq_log_line(&log, BRIQ_LOG_INFO, "control socket: %s",
                      briq_serve_control_path(job->control));
    if (job->args->metrics != NULL)
        briq_log_line(&log, BRIQ_LOG_INFO, "metrics: %s",
                      briq_server_metrics_at(job->server, text, sizeof text));
    if (job->args->print_uri)
        print_uri(job);
    briq_service_tell("READY=1");
    briq_daemon_ready(&job->daemon);
}

/* How clients get here, and whether to stay here. */
static int check_ways(struct serve_job *job, struct briq_error *err)
{
    const struct serve_args *a = job->args;
    int r = briq_service_sockets(err);
    if (r < 0)
        return r;
    job->sockets = r;
    if (a->nbd.count == 0 && r == 0 && a->run == NULL && !a->stdio && a->ublk.count == 0)
        return briq_error_set(
            err, -EINVAL, "where? Give --nbd unix:PATH or --nbd tcp:HOST:PORT, or --ublk as root");
    if (a->ublk.count > 0 && (a->run != NULL || a->stdio))
        return briq_error_set(err, -EINVAL, "--ublk goes with neither --run nor --stdio");
    if (a->stdio && (a->daemon || a->print_uri || a->run != NULL))
        return briq_error_set(err, -EINVAL,
                              "--stdio goes with none of --daemon, --print-uri and --run");
    if (a->control != NULL && a->no_control)
        return briq_error_set(err, -EINVAL, "--control and --no-control contradict each other");
    if (a->daemon && a->run != NULL)
        return briq_error_set(err, -EINVAL, "--daemon and --run contradict each other");
    return a->daemon ? briq_daemon_begin(&job->daemon, err) : 0;
}

static int serve(struct serve_job *job, struct briq_error *err)
{
    struct briq_server_options options;
    struct briq_socket_file file;
    int r = briq_serve_server_options(job->args, &file, &options, err);
    if (r == 0)
        r = check_ways(job, err);
    if (r == 0)
        r = briq_cancel_open(&job->cancel, err);
    if (r == 0)
        r = open_devices(job, err);
    if (r == 0)
        r = briq_server_open(&options, err, &job->server);
    if (r == 0)
        r = briq_serve_security_allow(&job->args->security, job->server, err);
    if (r == 0)
        r = export_all(job, err);
    if (r == 0)
        r = listen_on_all(job, err);
    if (r == 0 && job->args->metrics != NULL)
        r = briq_server_metrics(job->server, job->args->metrics, err);
    if (r == 0)
        r = briq_server_start(job->server, err);
    if (r == 0)
        r = make_devices(job, err);
    if (r == 0)
        r = open_control(job, err);
    if (r == 0 && job->args->pid_file != NULL)
        r = briq_pid_file_write(job->args->pid_file, err);
    if (r < 0)
        return r;
    say_ready(job);
    r = serve_stdio(job, err);
    if (r == 0)
        r = start_command(job, err);
    return r < 0 ? r : wait_for_the_end(job, err);
}

static void clean_up(struct serve_job *job)
{
    briq_cancel_close(&job->cancel);
    if (job->command_fd >= 0)
        close(job->command_fd);
    if (job->own_dir != NULL)
        rmdir(job->own_dir);
    free(job->own_dir);
    if (job->args->pid_file != NULL && job->server != NULL)
        unlink(job->args->pid_file);
}

enum briq_exit briq_serve_run(const struct serve_args *args)
{
    struct serve_job job = {
        .args = args, .cancel = BRIQ_CANCEL_NONE, .daemon = BRIQ_DAEMON_NONE, .command_fd = -1};
    struct briq_error err = {""};
    int r = serve(&job, &err);
    if (r == 0)
        briq_service_tell("STOPPING=1");
    briq_serve_control_quiesce(job.control);
    briq_serve_devices_end(job.devices);
    int closed = briq_server_close(job.server);
    briq_serve_control_close(job.control, closed);
    briq_serve_devices_close(job.devices);
    clean_up(&job);
    if (r < 0) {
        enum briq_exit code = briq_verb_fail("serve", &err, r);
        briq_daemon_fail(&job.daemon, code);
        return code;
    }
    if (closed < 0)
        return BRIQ_EXIT_UNWELL; /* which volume, the log has told */
    return (enum briq_exit)job.exit_code;
}
