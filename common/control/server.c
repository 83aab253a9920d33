/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.c - the thread of a control socket, and the requests that run beside it.
 *
 *   a line --> quick verb, under the lock --------------------------------> answer
 *          --> request RUNNING on its own thread --> DONE, the thread is joined --^
 *
 * The thread waits in poll() alone. A request tells it by wake_fd that there is news.
 */
#include "common/control/server.h"

#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/control/fields.h"
#include "common/control/internal.h"

#define MILLISECOND_NS UINT64_C(1000000)
#define RETRY_NS       (100 * MILLISECOND_NS)
#define GOODBYE_NS     (1000 * MILLISECOND_NS)
#define DEPTH_MAX      16

static void wake(const struct briq_control_server *server)
{
    (void)eventfd_write(server->wake_fd, 1);
}

/* ---- requests that last ---------------------------------------------------------------------- */

bool briq_control_cancelled(const struct briq_control_request *request)
{
    return atomic_load(&request->cancelled);
}

bool briq_control_progress(struct briq_control_request *request, uint64_t done, uint64_t total)
{
    struct briq_control_server *server = request->server;
    pthread_mutex_lock(&server->lock);
    bool first = !request->news;
    request->news = true;
    request->done = done;
    request->total = total;
    pthread_mutex_unlock(&server->lock);
    if (first)
        wake(server);
    return !briq_control_cancelled(request);
}

static void *run_request(void *opaque)
{
    struct briq_control_request *request = opaque;
    struct briq_control_server *server = request->server;
    const struct briq_control_entry *entry = request->entry;
    request->code =
        entry->verb->run(entry->opaque, request, request->args, &request->result, &request->err);
    pthread_mutex_lock(&server->lock);
    request->state = BRIQ_CONTROL_DONE;
    pthread_cond_broadcast(&server->ended);
    pthread_mutex_unlock(&server->lock);
    wake(server);
    return NULL;
}

/* Under the lock. Takes a reference of args when it returns 0. */
static int start_request(struct briq_control_server *server, struct briq_control_peer *peer,
                         const struct briq_control_entry *entry, struct json_object *args,
                         struct briq_error *err)
{
    struct briq_control_request *request = server->requests;
    const struct briq_control_request *end = request + BRIQ_CONTROL_LASTING_MAX;
    while (request < end && request->state != BRIQ_CONTROL_FREE)
        request++;
    if (request == end)
        return briq_error_set(err, -EAGAIN, "%u requests are under way already: try again later",
                              BRIQ_CONTROL_LASTING_MAX);
    *request = (struct briq_control_request){.server = server,
                                             .peer = peer,
                                             .entry = entry,
                                             .args = args,
                                             .state = BRIQ_CONTROL_RUNNING};
    int r = -pthread_create(&request->thread, NULL, run_request, request);
    if (r < 0) {
        request->state = BRIQ_CONTROL_FREE;
        return briq_error_set(err, r, "cannot start a thread: %s", strerror(-r));
    }
    json_object_get(args);
    peer->request = request;
    return 0;
}

static const char *reason(const struct briq_error *err, int code)
{
    return err->text[0] != '\0' ? err->text : strerror(-code);
}

static void say_outcome(struct briq_control_peer *peer, int code, struct json_object *result,
                        const struct briq_error *err)
{
    if (code == 0) {
        briq_control_peer_say_result(peer, result);
        return;
    }
    json_object_put(result);
    briq_control_peer_say_error(peer, code, reason(err, code));
}

/* It is done, and its client has nothing to be sent but this. */
static void end_request(struct briq_control_request *request)
{
    struct briq_control_peer *peer = request->peer;
    pthread_join(request->thread, NULL);
    if (peer != NULL) {
        peer->request = NULL;
        say_outcome(peer, request->code, request->result, &request->err);
    } else {
        json_object_put(request->result);
    }
    json_object_put(request->args);
    pthread_mutex_lock(&request->server->lock);
    request->state = BRIQ_CONTROL_FREE;
    pthread_mutex_unlock(&request->server->lock);
}

/* ---- a line ---------------------------------------------------------------------------------- */

static const struct briq_control_entry *find_verb(const struct briq_control_server *server,
                                                  const char *name, struct briq_error *err)
{
    char known[256] = "";
    for (unsigned i = 0; i < server->entry_count; i++) {
        const struct briq_control_entry *entry = &server->entries[i];
        if (strcmp(entry->verb->name, name) == 0)
            return entry;
        size_t len = strlen(known);
        snprintf(known + len, sizeof known - len, "%s%s", i > 0 ? ", " : "", entry->verb->name);
    }
    briq_error_set(err, -EOPNOTSUPP, "there is no verb \"%.64s\"; there are %s", name, known);
    return NULL;
}

/* The object that a line holds, and nothing else; NULL: it does not. */
static struct json_object *parse(const char *line, size_t len, struct briq_error *err)
{
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
        len--;
    struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
    if (tokener == NULL) {
        briq_error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    struct json_object *object = json_tokener_parse_ex(tokener, line, (int)len);
    bool whole = json_tokener_get_error(tokener) == json_tokener_success &&
                 json_tokener_get_parse_end(tokener) == len;
    json_tokener_free(tokener);
    if (whole && json_object_is_type(object, json_type_object))
        return object;
    json_object_put(object);
    briq_error_set(err, -EINVAL, "a request is a JSON object on one line");
    return NULL;
}

/* Answers, or starts what will answer. */
static void dispatch(struct briq_control_server *server, struct briq_control_peer *peer,
                     struct json_object *args)
{
    struct briq_error err = {""};
    struct json_object *result = NULL;
    const struct briq_control_entry *entry = NULL;
    const char *name = "";
    int r = briq_field_text(args, "verb", &name, &err);
    if (r == 0) {
        entry = find_verb(server, name, &err);
        r = entry == NULL ? -EOPNOTSUPP : 0;
    }
    pthread_mutex_lock(&server->lock);
    if (r == 0 && server->quiet)
        r = briq_error_set(&err, -ESHUTDOWN, "the daemon is ending");
    bool lasts = r == 0 && entry->verb->pace != BRIQ_CONTROL_QUICK;
    if (lasts)
        r = start_request(server, peer, entry, args, &err);
    else if (r == 0)
        r = entry->verb->run(entry->opaque, NULL, args, &result, &err);
    pthread_mutex_unlock(&server->lock);
    if (!lasts || r < 0)
        say_outcome(peer, r, result, &err);
}

static void take_lines(struct briq_control_server *server, struct briq_control_peer *peer)
{
    char *line;
    size_t len;
    while (peer->request == NULL && peer->out == NULL && !peer->closing &&
           (line = briq_line_next(&peer->in, &len)) != NULL) {
        struct briq_error err = {""};
        peer->since_ns = briq_clock_ns();
        struct json_object *args = parse(line, len, &err);
        if (args != NULL)
            dispatch(server, peer, args);
        else
            briq_control_peer_say_error(peer, -EINVAL, err.text);
        json_object_put(args);
        if (peer->out != NULL && !briq_control_peer_send(peer))
            peer->closing = true;
    }
    if (peer->request == NULL && peer->out == NULL && !peer->closing && briq_line_full(&peer->in)) {
        briq_control_peer_say_error(peer, -EMSGSIZE, "a request has at most 64 KiB");
        peer->closing = true;
        if (peer->out != NULL)
            (void)briq_control_peer_send(peer);
    }
}

/* ---- clients --------------------------------------------------------------------------------- */

static bool is_over(const struct briq_control_peer *peer)
{
    return peer->request == NULL && peer->out == NULL && (peer->eof || peer->closing);
}

static void serve_peer(struct briq_control_server *server, struct briq_control_peer *peer,
                       short revents)
{
    bool stays = true;
    if ((revents & POLLIN) != 0)
        stays = briq_control_peer_receive(peer);
    else if ((revents & (POLLHUP | POLLERR)) != 0)
        stays = false;
    if (stays && peer->out != NULL)
        stays = briq_control_peer_send(peer);
    if (stays)
        take_lines(server, peer);
    if (!stays || is_over(peer))
        briq_control_peer_close(peer);
}

static void look_at_request(struct briq_control_server *server,
                            struct briq_control_request *request)
{
    struct briq_control_peer *peer = request->peer;
    if (peer != NULL && peer->out != NULL)
        return; /* it reads slowly: what it gets next is the newest */
    pthread_mutex_lock(&server->lock);
    enum briq_control_state state = request->state;
    bool news = request->news;
    uint64_t done = request->done, total = request->total;
    request->news = false;
    pthread_mutex_unlock(&server->lock);
    if (state == BRIQ_CONTROL_DONE)
        end_request(request);
    else if (state == BRIQ_CONTROL_RUNNING && news && peer != NULL)
        briq_control_peer_say_progress(peer, done, total);
    if (peer != NULL && peer->out != NULL)
        serve_peer(server, peer, 0);
}

/* A free place, or that of the client that has been silent longest; NULL: all are busy. */
static struct briq_control_peer *find_place(struct briq_control_server *server)
{
    struct briq_control_peer *oldest = NULL;
    for (unsigned i = 0; i < BRIQ_CONTROL_CLIENTS_MAX; i++) {
        struct briq_control_peer *peer = &server->peers[i];
        if (peer->fd < 0)
            return peer;
        bool idle = peer->request == NULL && peer->out == NULL;
        if (idle && (oldest == NULL || peer->since_ns < oldest->since_ns))
            oldest = peer;
    }
    if (oldest != NULL)
        briq_control_peer_close(oldest);
    return oldest;
}

/* A line, if it fits into the socket, and the end. */
static void turn_away(int fd, int code, const char *why)
{
    struct briq_control_peer peer;
    briq_control_peer_open(&peer, fd);
    briq_control_peer_say_error(&peer, code, why);
    if (peer.out != NULL)
        (void)briq_control_peer_send(&peer);
    briq_control_peer_close(&peer);
}

static void welcome(struct briq_control_server *server, int fd)
{
    struct ucred user;
    socklen_t len = sizeof user;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &len) < 0) {
        close(fd);
        return;
    }
    if (user.uid != geteuid() && user.uid != 0) {
        briq_log_line(&server->log, BRIQ_LOG_WARNING, "%s: process %d of user %u was refused",
                      server->path, (int)user.pid, (unsigned)user.uid);
        turn_away(fd, -EPERM, "this daemon takes orders from its own user and root alone");
        return;
    }
    struct briq_control_peer *peer = find_place(server);
    if (peer == NULL)
        turn_away(fd, -EAGAIN, "there are too many control clients already: try again later");
    else
        briq_control_peer_open(peer, fd);
}

static void accept_all(struct briq_control_server *server)
{
    for (unsigned i = 0; i < BRIQ_CONTROL_CLIENTS_MAX; i++) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            welcome(server, fd);
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR && errno != ECONNABORTED) {
            server->accept_at_ns = briq_clock_ns() + RETRY_NS;
            return;
        }
    }
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Places in what is polled. */
enum { WAKE, LISTEN, PEERS };

struct turn {
    struct pollfd fds[PEERS + BRIQ_CONTROL_CLIENTS_MAX];
    uint64_t until_ns;
    bool closing;
};

static void prepare(struct briq_control_server *server, struct turn *turn)
{
    bool listens = !turn->closing && briq_clock_ns() >= server->accept_at_ns;
    turn->until_ns = listens || turn->closing ? UINT64_MAX : server->accept_at_ns;
    turn->fds[WAKE] = (struct pollfd){.fd = server->wake_fd, .events = POLLIN};
    turn->fds[LISTEN] = (struct pollfd){.fd = listens ? server->listen_fd : -1, .events = POLLIN};
    for (unsigned i = 0; i < BRIQ_CONTROL_CLIENTS_MAX; i++) {
        const struct briq_control_peer *peer = &server->peers[i];
        short events = briq_control_peer_events(peer);
        if (turn->closing)
            events &= ~POLLIN;
        turn->fds[PEERS + i] = (struct pollfd){.fd = peer->fd, .events = events};
        uint64_t deadline = peer->fd >= 0 ? briq_control_peer_deadline(peer) : UINT64_MAX;
        turn->until_ns = deadline < turn->until_ns ? deadline : turn->until_ns;
    }
}

static void wait_for_news(struct turn *turn, uint64_t end_ns)
{
    uint64_t now = briq_clock_ns();
    uint64_t until = turn->until_ns < end_ns ? turn->until_ns : end_ns;
    int ms = -1;
    if (until != UINT64_MAX)
        ms = until <= now ? 0 : (int)((until - now) / MILLISECOND_NS) + 1;
    if (poll(turn->fds, BRIQ_COUNT_OF(turn->fds), ms) >= 0)
        return;
    for (unsigned i = 0; i < BRIQ_COUNT_OF(turn->fds); i++)
        turn->fds[i].revents = 0; /* a signal came */
}

static void drop_late_ones(struct briq_control_server *server)
{
    uint64_t now = briq_clock_ns();
    for (unsigned i = 0; i < BRIQ_CONTROL_CLIENTS_MAX; i++) {
        struct briq_control_peer *peer = &server->peers[i];
        if (peer->fd >= 0 && now >= briq_control_peer_deadline(peer))
            briq_control_peer_close(peer);
    }
}

static void work(struct briq_control_server *server, const struct turn *turn)
{
    eventfd_t count;
    if (turn->fds[WAKE].revents != 0)
        (void)eventfd_read(server->wake_fd, &count);
    for (unsigned i = 0; i < BRIQ_CONTROL_CLIENTS_MAX; i++)
        if (server->peers[i].fd >= 0 && turn->fds[PEERS + i].revents != 0)
            serve_peer(server, &server->peers[i], turn->fds[PEERS + i].revents);
    for (unsigned i = 0; i < BRIQ_CONTROL_LASTING_MAX; i++)
        look_at_request(server, &server->requests[i]);
    drop_late_ones(server);
    if ((turn->fds[LISTEN].revents & POLLIN) != 0)
        accept_all(server);
}

/* Whether anything runs or is to be sent. */
static bool has_business(struct briq_control_server *server, bool *ret_running)
{
    bool sending = false;
    *ret_running = false;
    pthread_mutex_lock(&server->lock);
    for (unsigned i = 0; i < BRIQ_CONTROL_LASTING_MAX; i++)
        *ret_running = *ret_running || server->requests[i].state != BRIQ_CONTROL_FREE;
    pthread_mutex_unlock(&server->lock);
    for (unsigned i = 0; i < BRIQ_CONTROL_CLIENTS_MAX; i++)
        sending = sending || server->peers[i].out != NULL;
    return *ret_running || sending;
}

static bool is_closing(struct briq_control_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool closing = server->closing;
    pthread_mutex_unlock(&server->lock);
    return closing;
}

static void *run_server(void *opaque)
{
    struct briq_control_server *server = opaque;
    uint64_t end_ns = UINT64_MAX; /* when those that do not read are left */
    struct turn turn;
    for (;;) {
        bool running;
        turn.closing = is_closing(server);
        bool business = has_business(server, &running);
        if (turn.closing && !running && end_ns == UINT64_MAX)
            end_ns = briq_clock_ns() + GOODBYE_NS;
        if (turn.closing && (!business || briq_clock_ns() >= end_ns))
            return NULL;
        prepare(server, &turn);
        wait_for_news(&turn, end_ns);
        work(server, &turn);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static int bind_server(struct briq_control_server *server, const char *name, struct briq_error *err)
{
    char own[16], dir[BRIQ_CONTROL_PATH_MAX];
    struct stat st;
    snprintf(own, sizeof own, "%d", (int)getpid());
    name = name == NULL ? own : name;
    int r = strchr(name, '/') == NULL ? briq_control_dir_make(dir, err) : 0;
    if (r == 0)
        r = briq_control_path(name, server->path, err);
    if (r == 0)
        r = briq_control_bind(server->path, err);
    if (r < 0)
        return r;
    server->listen_fd = r;
    if (lstat(server->path, &st) == 0) {
        server->dev = st.st_dev;
        server->ino = st.st_ino;
    }
    return 0;
}

static void unbind_server(const struct briq_control_server *server)
{
    struct stat st;
    if (server->listen_fd < 0)
        return;
    if (lstat(server->path, &st) == 0 && st.st_dev == server->dev && st.st_ino == server->ino)
        (void)unlink(server->path);
    close(server->listen_fd);
}

int briq_control_server_open(const char *name, const struct briq_log *log, struct briq_error *err,
                             struct briq_control_server **ret)
{
    struct briq_control_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    server->log = *log;
    server->listen_fd = -1;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->ended, NULL);
    for (unsigned i = 0; i < BRIQ_CONTROL_CLIENTS_MAX; i++)
        server->peers[i].fd = -1;
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = server->wake_fd < 0 ? briq_error_set(err, -errno, "eventfd: %s", strerror(errno)) : 0;
    if (r == 0)
        r = bind_server(server, name, err);
    if (r < 0) {
        briq_control_server_close(server);
        return r;
    }
    *ret = server;
    return 0;
}

const char *briq_control_server_path(const struct briq_control_server *server)
{
    return server->path;
}

void briq_control_server_add(struct briq_control_server *server,
                             const struct briq_control_verb *verb, void *opaque)
{
    BRIQ_ASSERT(!server->started);
    BRIQ_ASSERT(server->entry_count < BRIQ_CONTROL_VERBS_MAX);
    server->entries[server->entry_count++] =
        (struct briq_control_entry){.verb = verb, .opaque = opaque};
}

int briq_control_server_start(struct briq_control_server *server, struct briq_error *err)
{
    int r = -pthread_create(&server->thread, NULL, run_server, server);
    server->started = r == 0;
    return r < 0 ? briq_error_set(err, r, "cannot start a thread: %s", strerror(-r)) : 0;
}

/* Under the lock. Something runs that must have ended before the daemon's parts go. */
static bool is_disturbing(const struct briq_control_server *server)
{
    for (unsigned i = 0; i < BRIQ_CONTROL_LASTING_MAX; i++) {
        const struct briq_control_request *request = &server->requests[i];
        if (request->state == BRIQ_CONTROL_RUNNING &&
            request->entry->verb->pace != BRIQ_CONTROL_TO_THE_END)
            return true;
    }
    return false;
}

void briq_control_server_quiesce(struct briq_control_server *server)
{
    if (server == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    server->quiet = true;
    for (unsigned i = 0; i < BRIQ_CONTROL_LASTING_MAX; i++)
        atomic_store(&server->requests[i].cancelled, true);
    while (is_disturbing(server))
        pthread_cond_wait(&server->ended, &server->lock);
    pthread_mutex_unlock(&server->lock);
}

void briq_control_server_close(struct briq_control_server *server)
{
    if (server == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    server->quiet = server->closing = true;
    pthread_mutex_unlock(&server->lock);
    if (server->started) {
        wake(server);
        pthread_join(server->thread, NULL);
    }
    for (unsigned i = 0; i < BRIQ_CONTROL_CLIENTS_MAX; i++)
        if (server->peers[i].fd >= 0)
            briq_control_peer_close(&server->peers[i]);
    unbind_server(server);
    if (server->wake_fd >= 0)
        close(server->wake_fd);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->ended);
    free(server);
}
