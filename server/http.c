/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "server/listener.h"

#define SECOND_NS       UINT64_C(1000000000)
#define REQUEST_NS      (5 * SECOND_NS)
#define ANSWER_NS       (10 * SECOND_NS)
#define GOODBYE_NS      SECOND_NS
#define RETRY_NS        (SECOND_NS / 10)
#define HTTP_SOCKETS    4u
#define FIRST_LISTENER  1u
#define POLL_MAX        (FIRST_LISTENER + HTTP_SOCKETS + BRIQ_HTTP_CLIENTS_MAX)
#define STATUS_OK       "200 OK"
#define STATUS_MISSING  "404 Not Found"
#define STATUS_METHOD   "405 Method Not Allowed"
#define STATUS_BAD      "400 Bad Request"
#define STATUS_TOO_LONG "431 Request Header Fields Too Large"
#define STATUS_FAILED   "500 Internal Server Error"

enum phase {
    PHASE_FREE,    /* there is no client here */
    PHASE_REQUEST, /* it sends its request */
    PHASE_ANSWER,  /* it reads the answer */
    PHASE_GOODBYE, /* it was told that this is all, and has not closed yet */
};

struct client {
    enum phase phase;
    int fd;
    uint64_t until_ns; /* it is dropped then */
    char in[BRIQ_HTTP_REQUEST_MAX];
    size_t in_len;
    char *out; /* owned */
    size_t out_len, out_at;
};

struct briq_http {
    struct briq_http_page page;
    struct briq_listener listeners[HTTP_SOCKETS];
    unsigned listener_count;
    int stop_fd; /* an eventfd */
    pthread_t thread;
    bool started;
    uint64_t accept_ns; /* not before: there were no descriptors left */
    struct client clients[BRIQ_HTTP_CLIENTS_MAX];
};

/* ---- answers --------------------------------------------------------------------------------- */

static void drop(struct client *client)
{
    close(client->fd);
    free(client->out);
    client->out = NULL;
    client->phase = PHASE_FREE;
}

/* Takes over the body; `head_only` keeps it back, as HEAD wants. */
static void answer(struct client *client, const char *status, const char *type, char *body,
                   size_t body_len, bool head_only)
{
    char *head = NULL;
    int head_len = asprintf(&head,
                            "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                            "%sConnection: close\r\n\r\n",
                            status, type, body_len,
                            strcmp(status, STATUS_METHOD) == 0 ? "Allow: GET, HEAD\r\n" : "");
    size_t len = head_len < 0 ? 0 : (size_t)head_len;
    char *out = head_len < 0 ? NULL : realloc(head, len + body_len);
    if (out == NULL) {
        if (head_len >= 0)
            free(head);
        free(body);
        drop(client);
        return;
    }
    if (!head_only)
        memcpy(out + len, body, body_len);
    free(body);
    client->out = out;
    client->out_len = len + (head_only ? 0 : body_len);
    client->out_at = 0;
    client->phase = PHASE_ANSWER;
    client->until_ns = briq_clock_ns() + ANSWER_NS;
}

static void answer_plainly(struct client *client, const char *status)
{
    char *body = NULL;
    if (asprintf(&body, "%s\n", status) < 0) {
        drop(client);
        return;
    }
    answer(client, status, "text/plain; charset=utf-8", body, strlen(body), false);
}

static void answer_page(const struct briq_http *http, struct client *client, bool head_only)
{
    char *body = NULL;
    size_t len = 0;
    if (http->page.make(http->page.opaque, &body, &len) < 0)
        answer_plainly(client, STATUS_FAILED);
    else
        answer(client, STATUS_OK, http->page.type, body, len, head_only);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* The word at *at, up to a space, which is taken too. NULL: there is none. */
static char *take_word(char **at)
{
    char *word = *at, *space = strchr(word, ' ');
    if (space == NULL || space == word)
        return NULL;
    *space = '\0';
    *at = space + 1;
    return word;
}

/* The whole head is there, ended by a 0. */
static void take_request(const struct briq_http *http, struct client *client)
{
    char *at = client->in;
    at[strcspn(at, "\r\n")] = '\0';
    const char *method = take_word(&at);
    char *path = method != NULL ? take_word(&at) : NULL;
    if (path == NULL || strncmp(at, "HTTP/1.", 7) != 0) {
        answer_plainly(client, STATUS_BAD);
        return;
    }
    path[strcspn(path, "?")] = '\0';
    bool head_only = strcmp(method, "HEAD") == 0;
    if (!head_only && strcmp(method, "GET") != 0)
        answer_plainly(client, STATUS_METHOD);
    else if (strcmp(path, http->page.path) != 0)
        answer_plainly(client, STATUS_MISSING);
    else
        answer_page(http, client, head_only);
}

static bool is_complete(const struct client *client)
{
    return memmem(client->in, client->in_len, "\r\n\r\n", 4) != NULL ||
           memmem(client->in, client->in_len, "\n\n", 2) != NULL;
}

static void receive_request(const struct briq_http *http, struct client *client)
{
    size_t room = sizeof client->in - 1 - client->in_len;
    ssize_t n = recv(client->fd, client->in + client->in_len, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(client);
        return;
    }
    client->in_len += (size_t)n;
    client->in[client->in_len] = '\0';
    if (is_complete(client))
        take_request(http, client);
    else if (client->in_len == sizeof client->in - 1)
        answer_plainly(client, STATUS_TOO_LONG);
}

/* ---- the way of a client --------------------------------------------------------------------- */

/* A close with bytes that were not read would take the answer back: the client closes first. */
static void say_goodbye(struct client *client)
{
    shutdown(client->fd, SHUT_WR);
    client->phase = PHASE_GOODBYE;
    client->until_ns = briq_clock_ns() + GOODBYE_NS;
}

static void send_answer(struct client *client)
{
    ssize_t n = send(client->fd, client->out + client->out_at, client->out_len - client->out_at,
                     MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        drop(client);
        return;
    }
    client->out_at += n > 0 ? (size_t)n : 0;
    if (client->out_at == client->out_len)
        say_goodbye(client);
}

static void hear_goodbye(struct client *client)
{
    ssize_t n = recv(client->fd, client->in, sizeof client->in, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        drop(client);
}

static void serve(const struct briq_http *http, struct client *client)
{
    if (client->phase == PHASE_REQUEST)
        receive_request(http, client);
    else if (client->phase == PHASE_GOODBYE)
        hear_goodbye(client);
    if (client->phase == PHASE_ANSWER)
        send_answer(client);
}

/* ---- accepting ------------------------------------------------------------------------------- */

/* A free place, or that of the client that has kept others waiting longest. NULL: all are being
 * answered. */
static struct client *find_place(struct briq_http *http)
{
    struct client *oldest = NULL;
    for (unsigned i = 0; i < BRIQ_HTTP_CLIENTS_MAX; i++) {
        struct client *client = &http->clients[i];
        if (client->phase == PHASE_FREE)
            return client;
        if (client->phase != PHASE_ANSWER &&
            (oldest == NULL || client->until_ns < oldest->until_ns))
            oldest = client;
    }
    if (oldest != NULL)
        drop(oldest);
    return oldest;
}

static void accept_one(struct briq_http *http, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            http->accept_ns = briq_clock_ns() + RETRY_NS;
        return;
    }
    struct client *client = find_place(http);
    if (client == NULL) {
        close(fd);
        return;
    }
    client->phase = PHASE_REQUEST;
    client->fd = fd;
    client->in_len = 0;
    client->until_ns = briq_clock_ns() + REQUEST_NS;
}

/* Whether another client can be taken in. */
static bool has_place(const struct briq_http *http, uint64_t now)
{
    bool place = false;
    for (unsigned i = 0; i < BRIQ_HTTP_CLIENTS_MAX; i++)
        place = place || http->clients[i].phase != PHASE_ANSWER;
    return place && now >= http->accept_ns;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static short events_of(const struct client *client)
{
    if (client->phase == PHASE_FREE)
        return 0;
    return client->phase == PHASE_ANSWER ? POLLOUT : POLLIN;
}

static int timeout_of(const struct briq_http *http, uint64_t now)
{
    uint64_t until = http->accept_ns > now ? http->accept_ns : UINT64_MAX;
    for (unsigned i = 0; i < BRIQ_HTTP_CLIENTS_MAX; i++)
        if (http->clients[i].phase != PHASE_FREE && http->clients[i].until_ns < until)
            until = http->clients[i].until_ns;
    if (until == UINT64_MAX)
        return -1;
    return until > now ? (int)((until - now) / 1000000u) + 1 : 0;
}

static void fill_poll(const struct briq_http *http, uint64_t now, struct pollfd p[POLL_MAX])
{
    bool place = has_place(http, now);
    p[0] = (struct pollfd){.fd = http->stop_fd, .events = POLLIN};
    for (unsigned i = 0; i < HTTP_SOCKETS; i++)
        p[FIRST_LISTENER + i] = (struct pollfd){
            .fd = i < http->listener_count && place ? http->listeners[i].fd : -1, .events = POLLIN};
    for (unsigned i = 0; i < BRIQ_HTTP_CLIENTS_MAX; i++) {
        const struct client *client = &http->clients[i];
        p[FIRST_LISTENER + HTTP_SOCKETS + i] = (struct pollfd){
            .fd = client->phase != PHASE_FREE ? client->fd : -1, .events = events_of(client)};
    }
}

static void serve_all(struct briq_http *http, const struct pollfd p[POLL_MAX])
{
    for (unsigned i = 0; i < BRIQ_HTTP_CLIENTS_MAX; i++)
        if (http->clients[i].phase != PHASE_FREE &&
            p[FIRST_LISTENER + HTTP_SOCKETS + i].revents != 0)
            serve(http, &http->clients[i]);
    uint64_t now = briq_clock_ns();
    for (unsigned i = 0; i < BRIQ_HTTP_CLIENTS_MAX; i++)
        if (http->clients[i].phase != PHASE_FREE && http->clients[i].until_ns <= now)
            drop(&http->clients[i]);
    for (unsigned i = 0; i < http->listener_count; i++)
        if (p[FIRST_LISTENER + i].revents != 0)
            accept_one(http, http->listeners[i].fd);
}

static void *run(void *opaque)
{
    struct briq_http *http = opaque;
    struct pollfd p[POLL_MAX];
    for (;;) {
        uint64_t now = briq_clock_ns();
        fill_poll(http, now, p);
        if (poll(p, POLL_MAX, timeout_of(http, now)) < 0)
            continue;
        if (p[0].revents != 0)
            return NULL;
        serve_all(http, p);
    }
}

/* ---- where ----------------------------------------------------------------------------------- */

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 ==
               127;
    const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(in6);
}

static int check_name(const char *host, const char *address, struct briq_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *info;
    int r = getaddrinfo(host, NULL, &hints, &info);
    if (r != 0)
        return briq_error_set(err, -EINVAL, "%s: %s", address, gai_strerror(r));
    r = 0;
    for (const struct addrinfo *i = info; i != NULL && r == 0; i = i->ai_next)
        if (!is_loopback(i->ai_addr))
            r = briq_error_set(err, -EACCES,
                               "%s: that is not this machine alone: write the address out, such "
                               "as tcp:0.0.0.0:9100, if others shall read there",
                               address);
    freeaddrinfo(info);
    return r;
}

static bool is_number(const char *host)
{
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

/* A host that is no number must be this machine alone. */
static int check_host(const char *rest, const char *colon, const char *address,
                      struct briq_error *err)
{
    char host[NI_MAXHOST];
    bool bracket = rest[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - rest) - 2 * bracket, rest + bracket);
    return is_number(host) ? 0 : check_name(host, address, err);
}

/* The same address with a host in it, for free(); or -errno explained in err. */
static int complete(const char *address, char **ret, struct briq_error *err)
{
    const char *rest = strncmp(address, "tcp:", 4) == 0 ? address + 4 : NULL;
    const char *colon = rest != NULL ? strrchr(rest, ':') : NULL;
    bool no_host = rest != NULL && (colon == NULL || colon == rest);
    int r = rest == NULL || no_host ? 0 : check_host(rest, colon, address, err);
    if (r < 0)
        return r;
    int len = no_host ? asprintf(ret, "tcp:127.0.0.1:%s", colon == NULL ? rest : colon + 1)
                      : asprintf(ret, "%s", address);
    return len < 0 ? briq_error_set(err, -ENOMEM, "out of memory") : 0;
}

static int listen_at(struct briq_http *http, const char *address, struct briq_error *err)
{
    char *full;
    int r = complete(address, &full, err);
    if (r < 0)
        return r;
    const struct briq_socket_file file = BRIQ_SOCKET_FILE_DEFAULT;
    r = briq_listener_open(full, &file, http->listeners, HTTP_SOCKETS, err);
    free(full);
    if (r < 0)
        return r;
    http->listener_count = (unsigned)r;
    for (unsigned i = 0; i < http->listener_count; i++)
        (void)fcntl(http->listeners[i].fd, F_SETFL, O_NONBLOCK); /* who knocked may be gone */
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

int briq_http_open(const char *address, const struct briq_http_page *page, struct briq_error *err,
                   struct briq_http **ret)
{
    struct briq_http *http = calloc(1, sizeof *http);
    if (http == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    http->page = *page;
    http->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = http->stop_fd < 0 ? briq_error_set(err, -errno, "eventfd: %s", strerror(errno)) : 0;
    if (r == 0)
        r = listen_at(http, address, err);
    if (r < 0) {
        briq_http_close(http);
        return r;
    }
    *ret = http;
    return 0;
}

int briq_http_start(struct briq_http *http, struct briq_error *err)
{
    int r = -pthread_create(&http->thread, NULL, run, http);
    http->started = r == 0;
    return r < 0 ? briq_error_set(err, r, "cannot start a thread: %s", strerror(-r)) : 0;
}

void briq_http_close(struct briq_http *http)
{
    if (http == NULL)
        return;
    if (http->started) {
        (void)eventfd_write(http->stop_fd, 1);
        pthread_join(http->thread, NULL);
    }
    for (unsigned i = 0; i < BRIQ_HTTP_CLIENTS_MAX; i++)
        if (http->clients[i].phase != PHASE_FREE)
            drop(&http->clients[i]);
    while (http->listener_count > 0)
        briq_listener_close(&http->listeners[--http->listener_count]);
    if (http->stop_fd >= 0)
        close(http->stop_fd);
    free(http);
}

const char *briq_http_describe(const struct briq_http *http, char *text, size_t room)
{
    const struct briq_listener *first = &http->listeners[0];
    if (first->path != NULL)
        snprintf(text, room, "%s", first->path);
    else
        snprintf(text, room, "http://%s%s", first->uri, http->page.path);
    return text;
}
