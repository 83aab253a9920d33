/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/ring/ring.h"
#include "server/engine.h"
#include "server/http.h"
#include "server/metrics.h"

#define CONNECTIONS_DEFAULT 100u
#define SECOND_NS           UINT64_C(1000000000)
#define HANDSHAKE_DEFAULT   (10 * SECOND_NS)
#define DRAIN_DEFAULT       (5 * SECOND_NS)

static unsigned processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (n < 1)
        return 1;
    return n < (long)BRIQ_SERVER_THREADS_MAX ? (unsigned)n : BRIQ_SERVER_THREADS_MAX;
}

static void complete(struct briq_server_options *options)
{
    if (options->threads == 0)
        options->threads = processors();
    if (options->max_connections == 0)
        options->max_connections = CONNECTIONS_DEFAULT;
    if (options->handshake_ns == 0)
        options->handshake_ns = HANDSHAKE_DEFAULT;
    if (options->drain_ns == 0)
        options->drain_ns = DRAIN_DEFAULT;
    /* The files were named for briq_server_open() alone. */
    options->tls = (struct briq_tls_options){.certificates = NULL};
    options->unix_file = NULL;
}

static int choose_engine(struct briq_server *server, struct briq_error *err)
{
    struct briq_error why = {""};
    const struct briq_log *log = &server->options.log;
    server->ops = &briq_thread_engine;
    if (server->options.engine == BRIQ_ENGINE_THREADS)
        return 0;
    int r = briq_ring_probe(&why);
    if (r < 0 && server->options.engine == BRIQ_ENGINE_RING)
        return briq_error_set(err, r, "%s", why.text);
    if (r < 0)
        briq_log_line(log, BRIQ_LOG_WARNING, "%s: serving with a thread for each connection",
                      why.text);
    else
        server->ops = &briq_ring_engine;
    return 0;
}

static void free_server(struct briq_server *server)
{
    if (server->idle_fd >= 0)
        close(server->idle_fd);
    briq_tls_creds_close(server->tls);
    free(server);
}

int briq_server_open(const struct briq_server_options *options, struct briq_error *err,
                     struct briq_server **ret)
{
    if (options->threads > BRIQ_SERVER_THREADS_MAX ||
        options->max_connections > BRIQ_SERVER_CONNECTIONS_MAX)
        return briq_error_set(err, -EINVAL, "at most %u threads and %u connections",
                              BRIQ_SERVER_THREADS_MAX, BRIQ_SERVER_CONNECTIONS_MAX);
    struct briq_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    server->options = *options;
    complete(&server->options);
    server->unix_file = options->unix_file != NULL ? *options->unix_file : BRIQ_SOCKET_FILE_DEFAULT;
    int r = choose_engine(server, err);
    if (r == 0 && options->tls_mode != BRIQ_TLS_OFF)
        r = briq_tls_creds_open(&options->tls, err, &server->tls);
    server->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r == 0 && server->idle_fd < 0)
        r = briq_error_set(err, -errno, "eventfd: %s", strerror(errno));
    if (r < 0) {
        free_server(server);
        return r;
    }
    pthread_mutex_init(&server->care, NULL);
    pthread_mutex_init(&server->watch, NULL);
    briq_exports_init(&server->exports, &server->options.log);
    server->exports.one_writer = server->options.one_writer;
    server->exports.one_connection = server->options.max_connections == 1;
    *ret = server;
    return 0;
}

int briq_server_export(struct briq_server *server, const char *name, const char *source,
                       const struct briq_open_options *options, struct briq_error *err)
{
    return briq_exports_add(&server->exports, name, source, options, err);
}

int briq_server_allow(struct briq_server *server, const char *rule, struct briq_error *err)
{
    return briq_access_add(&server->access, rule, err);
}

int briq_server_listen(struct briq_server *server, const char *address, struct briq_error *err)
{
    int r =
        briq_listener_open(address, &server->unix_file, &server->listeners[server->listener_count],
                           BRIQ_LISTENERS_MAX - server->listener_count, err);
    if (r < 0)
        return r;
    server->listener_count += (unsigned)r;
    return 0;
}

int briq_server_adopt(struct briq_server *server, int fd, struct briq_error *err)
{
    if (server->listener_count == BRIQ_LISTENERS_MAX)
        return briq_error_set(err, -E2BIG, "more than %u sockets", BRIQ_LISTENERS_MAX);
    int r = briq_listener_adopt(fd, &server->listeners[server->listener_count], err);
    server->listener_count += r == 0;
    return r;
}

/* ---- metrics --------------------------------------------------------------------------------- */

static int make_metrics(void *opaque, char **ret, size_t *ret_len)
{
    struct briq_server *server = opaque;
    struct briq_server_stats *stats = NULL;
    char engine[160];
    int r = briq_server_stats(server, &stats);
    if (r < 0)
        return r;
    r = briq_metrics_text(stats, briq_server_describe(server, engine, sizeof engine), ret, ret_len);
    briq_server_stats_free(stats);
    return r;
}

int briq_server_metrics(struct briq_server *server, const char *address, struct briq_error *err)
{
    const struct briq_http_page page = {
        .path = "/metrics", .type = BRIQ_METRICS_TYPE, .make = make_metrics, .opaque = server};
    if (server->metrics != NULL)
        return briq_error_set(err, -EBUSY, "%s: metrics are at one address alone", address);
    return briq_http_open(address, &page, err, &server->metrics);
}

const char *briq_server_metrics_at(const struct briq_server *server, char *text, size_t room)
{
    return server->metrics != NULL ? briq_http_describe(server->metrics, text, room) : "";
}

/* ---- running --------------------------------------------------------------------------------- */

int briq_server_start(struct briq_server *server, struct briq_error *err)
{
    server->started_ns = briq_clock_ns();
    int r = server->ops->start(server, err);
    server->started = r == 0;
    if (r == 0 && server->metrics != NULL)
        r = briq_http_start(server->metrics, err);
    return r;
}

/* Counts one more. Whether to tell: once, and then for each power of two: a flood must not become a
 * flood of lines. */
static bool is_worth_a_line(_Atomic uint64_t *counter, uint64_t *ret)
{
    *ret = atomic_fetch_add(counter, 1) + 1;
    return (*ret & (*ret - 1)) == 0;
}

static bool is_allowed(struct briq_server *server, int fd)
{
    uint64_t denied;
    if (briq_access_allows(&server->access, fd))
        return true;
    if (is_worth_a_line(&server->denied, &denied))
        briq_log_line(&server->options.log, BRIQ_LOG_WARNING,
                      "a client that is not allowed was turned away (%llu so far)",
                      (unsigned long long)denied);
    return false;
}

bool briq_server_admit(struct briq_server *server, int fd)
{
    uint64_t refused;
    if (!is_allowed(server, fd))
        return false;
    unsigned now = atomic_fetch_add(&server->connections, 1);
    if (now < server->options.max_connections) {
        atomic_fetch_add(&server->accepted, 1);
        return true;
    }
    atomic_fetch_sub(&server->connections, 1);
    if (is_worth_a_line(&server->refused, &refused))
        briq_log_line(&server->options.log, BRIQ_LOG_WARNING,
                      "a connection was refused, there are %u already (%llu refused so far)",
                      server->options.max_connections, (unsigned long long)refused);
    return false;
}

void briq_server_leave(struct briq_server *server)
{
    if (atomic_fetch_sub(&server->connections, 1) == 1)
        (void)eventfd_write(server->idle_fd, 1);
}

void briq_server_each_export(struct briq_server *server,
                             void (*visit)(void *opaque, const struct briq_export_facts *facts),
                             void *opaque)
{
    briq_exports_each(&server->exports, visit, opaque);
}

int briq_server_idle_fd(const struct briq_server *server)
{
    return server->idle_fd;
}

int briq_server_connect(struct briq_server *server, int fd)
{
    if (!briq_server_admit(server, fd)) {
        int r = briq_access_allows(&server->access, fd) ? -EBUSY : -EACCES;
        close(fd);
        return r;
    }
    return server->ops->connect(server, fd);
}

unsigned briq_server_connections(const struct briq_server *server)
{
    return atomic_load(&server->connections);
}

int briq_server_uri(const struct briq_server *server, const char *name, char *text, size_t room)
{
    if (server->listener_count == 0)
        return -ENOENT;
    return briq_listener_uri(&server->listeners[0], name != NULL ? name : "",
                             server->options.tls_mode == BRIQ_TLS_REQUIRE, text, room);
}

const char *briq_server_describe(const struct briq_server *server, char *text, size_t room)
{
    server->ops->describe(server, text, room);
    return text;
}

void briq_server_stop(struct briq_server *server)
{
    briq_http_close(server->metrics);
    server->metrics = NULL;
    briq_exports_refuse(&server->exports);
    if (server->started)
        server->ops->stop(server);
    server->started = false;
    while (server->listener_count > 0)
        briq_listener_close(&server->listeners[--server->listener_count]);
}

int briq_server_close(struct briq_server *server)
{
    if (server == NULL)
        return 0;
    briq_server_stop(server);
    int r = briq_exports_close(&server->exports);
    if (server->engine != NULL)
        server->ops->free(server);
    pthread_mutex_destroy(&server->care);
    pthread_mutex_destroy(&server->watch);
    free_server(server);
    return r;
}
