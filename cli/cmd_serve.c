/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_serve.c - "briq serve": gives volumes to NBD clients until it is told to end. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cancel.h"
#include "cli/verb.h"
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
    bool read_only, no_windows_file, print_uri, verbose;
};

struct serve_job {
    const struct serve_args *args;
    struct briq_cancel cancel;
    struct briq_server *server;
};

/* ---- what the options mean ---------------------------------------------------------------------
 */

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

static int server_options(const struct serve_args *a, struct briq_server_options *ret,
                          struct briq_error *err)
{
    *ret = (struct briq_server_options){
        .threads = (unsigned)a->threads,
        .max_connections = (unsigned)a->max_connections,
        .handshake_ns = a->handshake_s * SECOND_NS,
        .drain_ns = a->drain_s * SECOND_NS,
        .spin_ns = a->spin_us * MICROSECOND_NS,
        .send_bytes = (uint32_t)a->send_bytes,
        .recv_bytes = (uint32_t)a->recv_bytes,
        .log = a->verbose ? briq_warnings_everything() : briq_warnings_log(),
    };
    return engine_of(a->engine, &ret->engine, err);
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
        .growth_bytes = BRIQ_VOLUME_BYTES_MAX,
        .no_windows_file = a->no_windows_file,
        .windows_dir = a->windows_dir,
        .log = a->verbose ? briq_warnings_everything() : briq_warnings_log(),
    };
    return 0;
}

/* ---- serving -----------------------------------------------------------------------------------
 */

/* "NAME=VOLUME", unless there is a slash before the equals sign: then it is part of a path. */
static int export_volume(struct serve_job *job, const char *word,
                         const struct briq_open_options *options, struct briq_error *err)
{
    const char *equals = strchr(word, '='), *slash = strchr(word, '/');
    if (equals == NULL || (slash != NULL && slash < equals) || briq_source_in_memory(word))
        return briq_server_export(job->server, NULL, word, options, err);
    char *name = strndup(word, (size_t)(equals - word));
    if (name == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    int r = briq_server_export(job->server, name, equals + 1, options, err);
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

static int listen_on_all(struct serve_job *job, struct briq_error *err)
{
    const struct briq_words *nbd = &job->args->nbd;
    if (nbd->count == 0)
        return briq_error_set(err, -EINVAL, "where? Give --nbd unix:PATH or --nbd tcp:HOST:PORT");
    int r = 0;
    for (unsigned i = 0; r == 0 && i < nbd->count; i++)
        r = briq_server_listen(job->server, nbd->list[i], err);
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

static int wait_for_the_end(struct serve_job *job, struct briq_error *err)
{
    struct pollfd p = {.fd = job->cancel.fd, .events = POLLIN};
    while (poll(&p, 1, -1) < 0)
        if (errno != EINTR)
            return briq_error_set(err, -errno, "poll: %s", strerror(errno));
    return 0;
}

static int serve(struct serve_job *job, struct briq_error *err)
{
    struct briq_server_options options;
    int r = server_options(job->args, &options, err);
    if (r == 0)
        r = briq_cancel_open(&job->cancel, err);
    if (r == 0)
        r = briq_server_open(&options, err, &job->server);
    if (r == 0)
        r = export_all(job, err);
    if (r == 0)
        r = listen_on_all(job, err);
    if (r == 0)
        r = briq_server_start(job->server, err);
    if (r < 0)
        return r;
    if (job->args->print_uri)
        print_uri(job);
    return wait_for_the_end(job, err);
}

static enum briq_exit run(const void *args)
{
    struct serve_job job = {.args = args, .cancel = BRIQ_CANCEL_NONE};
    struct briq_error err = {""};
    int r = serve(&job, &err);
    int closed = briq_server_close(job.server);
    briq_cancel_close(&job.cancel);
    if (r < 0)
        return briq_verb_fail("serve", &err, r);
    return closed < 0 ? BRIQ_EXIT_UNWELL : BRIQ_EXIT_OK; /* which volume, the log has told */
}

static const struct serve_args defaults = {
    .engine = "auto",
    .io = "buffered",
    .cache_bytes = UINT64_MAX,
};

const struct briq_verb briq_verb_serve = {
    .name = "serve",
    .summary = "serve volumes to NBD clients",
    .description =
        (const char *const[]){
            "Serves each VOLUME to NBD clients: QEMU, nbdcopy, the kernel's nbd-client and "
            "whatever "
            "else speaks the protocol. A VOLUME is a file, a block device or mem:SIZE (in memory, "
            "gone with this program); its export name is the file name without \".briq\", or mem, "
            "or NAME when it is written NAME=VOLUME. A client that names no export gets the only "
            "one.",
            "The program stays in the foreground until SIGTERM, SIGINT or SIGHUP. Then it accepts "
            "nothing more, answers what is under way, flushes and closes the volumes.",
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
            {"briq serve mem:8G --nbd unix:/tmp/ram.sock", "A compressed disk in memory."},
            {0},
        },
    .args_bytes = sizeof(struct serve_args),
    .defaults = &defaults,
    .run = run,
};
