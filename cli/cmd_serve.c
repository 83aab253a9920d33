/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_serve.c - "briq serve": gives volumes to NBD clients until it is told to end. */
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
#include "cli/serve_security.h"
#include "cli/service.h"
#include "cli/ublk_options.h"
#include "cli/verb.h"
#include "cli/volume.h"
#include "cli/warnings.h"
#include "common/exports/source.h"
#include "server/server.h"

#define MICROSECOND_NS UINT64_C(1000)
#define SECOND_NS      UINT64_C(1000000000)
#define URI_MAX        (4 * BRIQ_EXPORT_NAME_MAX)

struct serve_args {
    struct briq_words volumes, nbd;
    uint64_t threads, max_connections, handshake_s, drain_s, spin_us, send_bytes, recv_bytes;
    const char *engine, *io, *windows_dir;
    uint64_t cache_bytes, accel, streams;
    const char *run, *pid_file;
    const char *control, *metrics;
    bool no_control;
    bool read_only, no_windows_file, swap, print_uri, verbose, stdio, daemon;
    struct serve_security security;
    struct briq_words ublk;
    uint64_t id;
    struct briq_ublk_shape_words shape;
    struct briq_ublk_thread_words ublk_threads;
};

struct serve_job {
    const struct serve_args *args;
    struct briq_cancel cancel;
    struct briq_server *server;
    struct briq_serve_devices *devices;
    struct briq_serve_control *control;
    struct briq_daemon daemon;
    char *own_dir; /* of the socket that was made for --run */
    int sockets;   /* handed over by a service manager */
    pid_t command;
    int command_fd; /* -1: there is no command */
    int exit_code;  /* of the command */
};

/* ---- what the options mean ------------------------------------------------------------------- */

static int engine_of(const char *text, enum briq_engine *ret, struct briq_error *err)
{
    static const char *const names[] = {[BRIQ_ENGINE_AUTO] = "auto",
                                        [BRIQ_ENGINE_RING] = "ring",
                                        [BRIQ_ENGINE_THREADS] = "threads"};
    for (size_t i = 0; i < BRIQ_COUNT_OF(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum briq_engine)i;
            return 0;
        }
    }
    return briq_error_set(err, -EINVAL, "--engine: \"%s\" is not auto, ring or threads", text);
}

static struct briq_log log_of(const struct serve_args *a)
{
    if (a->daemon)
        return briq_warnings_syslog(a->verbose);
    return a->verbose ? briq_warnings_everything() : briq_warnings_log();
}

static int server_options(const struct serve_args *a, struct briq_socket_file *file,
                          struct briq_server_options *ret, struct briq_error *err)
{
    *ret = (struct briq_server_options){
        .threads = (unsigned)a->threads,
        .max_connections = (unsigned)a->max_connections,
        .handshake_ns = a->handshake_s * SECOND_NS,
        .drain_ns = a->drain_s * SECOND_NS,
        .spin_ns = a->spin_us * MICROSECOND_NS,
        .send_bytes = (uint32_t)a->send_bytes,
        .recv_bytes = (uint32_t)a->recv_bytes,
        .log = log_of(a),
    };
    int r = engine_of(a->engine, &ret->engine, err);
    return r < 0 ? r : briq_serve_security_options(&a->security, file, ret, err);
}

static int open_options(const struct serve_args *a, struct briq_open_options *ret,
                        struct briq_error *err)
{
    bool direct = strcmp(a->io, "direct") == 0;
    if (!direct && strcmp(a->io, "buffered") != 0)
        return briq_error_set(err, -EINVAL, "--io: \"%s\" is not buffered or direct", a->io);
    if (!direct && a->cache_bytes != UINT64_MAX)
        return briq_error_set(err, -EINVAL, "--cache is the cache of --io direct");
    if (a->windows_dir != NULL && a->no_windows_file)
        return briq_error_set(err, -EINVAL,
                              "--windows-dir and --no-windows-file contradict each other");
    *ret = (struct briq_open_options){
        .read_only = a->read_only,
        .direct = direct,
        /* To the store 0 is its default and UINT64_MAX is none; to people 0 is none. */
        .cache_bytes = a->cache_bytes == UINT64_MAX ? 0
                       : a->cache_bytes == 0        ? UINT64_MAX
                                                    : a->cache_bytes,
        .accel = (unsigned)a->accel,
        .streams = (unsigned)a->streams,
        .no_windows_file = a->no_windows_file,
        .windows_dir = a->windows_dir,
        .log = log_of(a),
    };
    return 0;
}

/* ---- serving --------------------------------------------------------------------------------- */

static int export_volume(struct serve_job *job, const char *word,
                         const struct briq_open_options *options, struct briq_error *err)
{
    const char *volume;
    char *name;
    int r = briq_volume_split(word, &name, &volume, err);
    if (r == 0)
        r = briq_serve_devices_export(job->devices, job->server, name, volume, options, err);
    free(name);
    return r;
}

static int export_all(struct serve_job *job, struct briq_error *err)
{
    struct briq_open_options options;
    int r = open_options(job->args, &options, err);
    for (unsigned i = 0; r == 0 && i < job->args->volumes.count; i++)
        r = export_volume(job, job->args->volumes.list[i], &options, err);
    return r;
}

static int open_devices(struct serve_job *job, struct briq_error *err)
{
    const struct serve_args *a = job->args;
    struct briq_serve_devices_setup setup = {
        .log = log_of(a),
        .options = {.id = (uint32_t)a->id, .spin_ns = a->spin_us * MICROSECOND_NS},
        .wanted = a->ublk.count > 0,
        .swap = a->swap,
        .volumes = &a->volumes,
        .cancel_fd = job->cancel.fd,
    };
    int r = briq_ublk_read_threads(&a->ublk_threads, err, &setup.options);
    if (r == 0)
        r = briq_ublk_read_shape(&a->shape, err, &setup.options);
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
    struct briq_open_options options;
    uint32_t id;
    bool meant = word[0] == '\0' || strcmp(word, name) == 0;
    *ret_meant |= meant;
    if (!meant || briq_serve_devices_find(job->devices, name, NULL))
        return 0;
    int r = open_options(job->args, &options, err);
    return r == 0 ? briq_serve_devices_attach(job->devices, job->server, name, UBLK_ANY_ID,
                                              &options, &id, err)
                  : r;
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
    struct briq_serve_setup setup = {
        .server = job->server, .devices = job->devices, .log = log_of(a), .socket = a->control};
    if (a->no_control)
        return 0;
    int r = open_options(a, &setup.open, err);
    if (r == 0)
        r = briq_serve_control_open(&setup, &why, &job->control);
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
    const struct briq_log log = log_of(job->args);
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
    int r = server_options(job->args, &file, &options, err);
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

static enum briq_exit run(const void *args)
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

static const struct serve_args defaults = {
    .engine = "auto",
    .io = "buffered",
    .cache_bytes = UINT64_MAX,
    .id = UBLK_ANY_ID,
    .shape = BRIQ_UBLK_SHAPE_WORDS,
    .ublk_threads = BRIQ_UBLK_THREAD_WORDS,
};

const struct briq_verb briq_verb_serve = {
    .name = "serve",
    .summary = "serve volumes to NBD clients, and as block devices",
    .description =
        (const char *const[]){
            "Serves each VOLUME to NBD clients: QEMU, nbdcopy, the kernel's nbd-client and "
            "whatever "
            "else speaks the protocol. A VOLUME is a file, a block device or mem:SIZE (in memory, "
            "gone with this program); its export name is the file name without \".briq\", or mem, "
            "or NAME when it is written NAME=VOLUME. A client that names no export gets the only "
            "one.",
            "It also takes sockets that a service manager has made (LISTEN_FDS), and tells it when "
            "it is ready (NOTIFY_SOCKET).",
            "The program stays in the foreground until SIGTERM, SIGINT or SIGHUP. Then it accepts "
            "nothing more, answers what is under way, flushes and closes the volumes.",
            "Whoever can open the socket can do everything with the volumes. A Unix socket is "
            "open to the user who starts the program unless --socket-mode and --socket-owner say "
            "otherwise; TCP is open to everybody, unless --allow or TLS keeps others out.",
            "While it runs, `briq list` shows it, `briq attach`, `detach`, `resize`, `compact`, "
            "`checkpoint` and `snapshot-stats` work on what it serves, and `briq shutdown` ends "
            "it, through a control socket that is open to the same user and root alone.",
            "With --ublk volumes are block devices of this machine's kernel as well, coherent with "
            "their exports: what one has acknowledged the other reads. A device whose server has "
            "died waits, and the next `briq serve` of its volume takes it over, with --ublk or "
            "without. At the end of the program devices that nobody uses are removed; one that is "
            "mounted, or held open, waits for the next server in the same way, so that nothing is "
            "lost (a volume in memory cannot, nor with --on-death remove: the device is removed). "
            "A daemon that is to get devices with `briq attach` alone should be started outside of "
            "a container.",
            "All connections are served by a few threads with io_uring. Where the system does not "
            "have it or forbids it, each connection gets a thread of its own; a line says so.",
            NULL,
        },
    .operands =
        (const struct briq_operand[]){
            {"VOLUME", offsetof(struct serve_args, volumes), BRIQ_MANY},
            {0},
        },
    .options =
        (const struct briq_option[]){
            {.name = "nbd",
             .kind = BRIQ_OPTION_LIST,
             .offset = offsetof(struct serve_args, nbd),
             .value = "ADDRESS",
             .help = "Listen there: unix:PATH or tcp:HOST:PORT (an IPv6 address in brackets; "
                     "without HOST on all addresses). Can be given more than once."},
            {.name = "ublk",
             .kind = BRIQ_OPTION_LIST,
             .offset = offsetof(struct serve_args, ublk),
             .value = "NAME",
             .may_be_bare = true,
             .help = "Make export NAME, or every volume, a block device /dev/ublkbN as well, which "
                     "needs root. Can be given more than once; what was made is printed."},
            {.name = "id",
             .letter = 'n',
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, id),
             .value = "N",
             .min = 0,
             .max = 1 << 20,
             .help = "The number of the first device; further ones get the next. Default: those "
                     "that are free."},
            BRIQ_UBLK_SHAPE_OPTIONS(offsetof(struct serve_args, shape)),
            BRIQ_UBLK_THREAD_OPTIONS(offsetof(struct serve_args, ublk_threads)),
            BRIQ_UBLK_SWAP_OPTION(struct serve_args, swap),
            {.name = "read-only",
             .letter = 'r',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, read_only),
             .help = "Open the volumes without changing anything, beside other readers."},
            {.name = "threads",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, threads),
             .value = "N",
             .min = 1,
             .max = BRIQ_SERVER_THREADS_MAX,
             .help = "Threads that serve connections. Default: one for each processor."},
            {.name = "max-connections",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, max_connections),
             .value = "N",
             .min = 1,
             .max = BRIQ_SERVER_CONNECTIONS_MAX,
             .help = "Close further connections when there are so many. Default: 100."},
            {.name = "handshake-timeout",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, handshake_s),
             .value = "SECONDS",
             .min = 1,
             .max = 3600,
             .help = "Close a connection that has not chosen its export by then. Default: 10."},
            {.name = "drain-timeout",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, drain_s),
             .value = "SECONDS",
             .min = 1,
             .max = 3600,
             .help = "At the end, wait so long for clients to take their replies. Default: 5."},
            {.name = "engine",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, engine),
             .value = "ENGINE",
             .help = "ring (io_uring), threads (one for each connection), or auto: ring where it "
                     "can be had. Default: auto."},
            {.name = "spin",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, spin_us),
             .value = "MICROSECONDS",
             .min = 0,
             .max = 1000,
             .help =
                 "Before a thread sleeps, look so long for the next request; halves the latency "
                 "of one request at a time and takes processor time. Default: 0."},
            {.name = "sndbuf",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct serve_args, send_bytes),
             .value = "SIZE",
             .min = 4096,
             .max = 1 << 30,
             .help = "Send buffer of each socket. Default: the system's."},
            {.name = "rcvbuf",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct serve_args, recv_bytes),
             .value = "SIZE",
             .min = 4096,
             .max = 1 << 30,
             .help = "Receive buffer of each socket. Default: the system's."},
            {.name = "io",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, io),
             .value = "HOW",
             .help = "buffered (through the system's page cache) or direct. Default: buffered."},
            {.name = "cache",
             .kind = BRIQ_OPTION_SIZE,
             .offset = offsetof(struct serve_args, cache_bytes),
             .value = "SIZE",
             .help = "Cache of compressed sectors for direct I/O; 0: none. Default: 128M."},
            {.name = "accel",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, accel),
             .value = "N",
             .min = 1,
             .max = 64,
             .help = "LZ4 acceleration: higher is faster and packs less. Default: the volume's."},
            {.name = "streams",
             .kind = BRIQ_OPTION_NUMBER,
             .offset = offsetof(struct serve_args, streams),
             .value = "N",
             .min = 1,
             .max = 8,
             .help = "Places where writers append at the same time. Default: one for each "
                     "processor."},
            {.name = "windows-dir",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, windows_dir),
             .value = "DIR",
             .help = "Directory on a tmpfs for the append windows. Default: /dev/shm."},
            {.name = "no-windows-file",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, no_windows_file),
             .help = "Keep the append windows in private memory, and write before acknowledging."},
            {.name = "tls",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.tls),
             .value = "HOW",
             .help = "off, on (for clients that ask for it) or require (nothing without). Default: "
                     "require when certificates or keys are given, else off."},
            {.name = "tls-certificates",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.tls_certificates),
             .value = "DIR",
             .help = "Directory of the server's X.509 certificate: ca-cert.pem, server-cert.pem, "
                     "server-key.pem and, if there is one, ca-crl.pem."},
            {.name = "tls-psk",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.tls_psk),
             .value = "FILE",
             .help = "Pre-shared keys of clients: lines USER:HEXKEY, as psktool writes them."},
            {.name = "tls-verify-peer",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, security.tls_verify_peer),
             .help =
                 "Turn clients away whose certificate is not signed by ca-cert.pem, or who have "
                 "none; those with a pre-shared key need none."},
            {.name = "tls-priority",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.tls_priority),
             .value = "STRING",
             .help = "Versions and algorithms, as GnuTLS writes them. Default: TLS 1.2 and newer, "
                     "what GnuTLS takes for normal."},
            {.name = "allow",
             .kind = BRIQ_OPTION_LIST,
             .offset = offsetof(struct serve_args, security.allow),
             .value = "WHO",
             .help = "Let WHO connect and nobody else: uid:USER or gid:GROUP (a process at the "
                     "other end of a Unix socket, by name or number), unix (any of those), or "
                     "ADDRESS[/PREFIX] (IPv4 or IPv6). Can be given more than once: each opens to "
                     "more."},
            {.name = "socket-mode",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.socket_mode),
             .value = "MODE",
             .help = "Mode of the files of Unix sockets, in octal. Connecting takes the right to "
                     "write. Default: 0600."},
            {.name = "socket-owner",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, security.socket_owner),
             .value = "USER[:GROUP]",
             .help =
                 "Owner of those files; :GROUP changes the group alone. Default: who starts the "
                 "program."},
            {.name = "one-writer",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, security.one_writer),
             .help = "Let the first client of each export write, with one connection. Those that "
                     "come while it is there get the export read-only; when it has gone, the next "
                     "that comes may write."},
            {.name = "control",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, control),
             .value = "NAME",
             .help = "The control socket, for `briq list`, `attach` and the like: a path, or a "
                     "name in the directory of this user's daemons. Default: the process id, in "
                     "that directory."},
            {.name = "no-control",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, no_control),
             .help = "Have no control socket."},
            {.name = "metrics",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, metrics),
             .value = "ADDRESS",
             .help = "Answer Prometheus there, GET /metrics over HTTP: unix:PATH, tcp:PORT (at "
                     "127.0.0.1) or tcp:HOST:PORT, where an address that others can reach must be "
                     "written as a number, such as 0.0.0.0."},
            {.name = "run",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, run),
             .value = "COMMAND",
             .help = "Run COMMAND with sh, $uri being the default export, and end when it does, "
                     "with its exit code. Without --nbd there is a socket for it alone."},
            {.name = "stdio",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, stdio),
             .help = "Serve one client on standard input, which must be a socket, and end when it "
                     "goes."},
            {.name = "daemon",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, daemon),
             .help = "Go to the background when clients can connect; what is wrong before that is "
                     "told here, and what comes later to the system's log."},
            {.name = "pid-file",
             .kind = BRIQ_OPTION_TEXT,
             .offset = offsetof(struct serve_args, pid_file),
             .value = "FILE",
             .help = "Write the process id there when clients can connect."},
            {.name = "print-uri",
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, print_uri),
             .help = "Print the NBD URI of the default export, when clients can connect."},
            {.name = "verbose",
             .letter = 'v',
             .kind = BRIQ_OPTION_FLAG,
             .offset = offsetof(struct serve_args, verbose),
             .help = "Say more on standard error than errors and warnings."},
            {0},
        },
    .examples =
        (const struct briq_example[]){
            {"briq serve disk.briq --nbd unix:/run/disk.sock", "One disk for one machine."},
            {"briq serve a.briq spare=b.briq --nbd unix:/run/briq.sock --nbd tcp:[::1]:10809",
             "Two exports, a and spare, each at both addresses."},
            {"briq serve a.briq --nbd tcp::10809 --tls-certificates pki --tls-verify-peer",
             "Over the network, for clients with a certificate of the same authority."},
            {"briq serve a.briq --nbd unix:a.sock --socket-mode 0660 --socket-owner :kvm",
             "For the members of a group."},
            {"briq serve mem:8G --nbd unix:/tmp/ram.sock", "A compressed disk in memory."},
            {"briq serve disk.briq --ublk --nbd unix:/run/disk.sock",
             "A block device of this machine, which others can back up over NBD."},
            {0},
        },
    .args_bytes = sizeof(struct serve_args),
    .defaults = &defaults,
    .run = run,
};
