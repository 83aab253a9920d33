/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/control/client.h"

#include <dirent.h>
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/control/fields.h"
#include "common/control/line.h"
#include "common/control/place.h"

#define REPLY_MS 10000
#define DEPTH    32

struct briq_control {
    int fd;
    pid_t pid;
    char path[BRIQ_CONTROL_PATH_MAX];
    struct briq_line_buf in;
    struct briq_control_watch watch;
};

/* ---- connecting ------------------------------------------------------------------------------ */

static int check_peer(struct briq_control *c, struct briq_error *err)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return briq_error_set(err, -errno, "%s: %s", c->path, strerror(errno));
    if (peer.uid != geteuid() && peer.uid != 0)
        return briq_error_set(err, -EPERM, "%s: a process of user %u listens there", c->path,
                              (unsigned)peer.uid);
    c->pid = peer.pid;
    return 0;
}

static int connect_to(struct briq_control *c, struct briq_error *err)
{
    c->fd = briq_control_connect(c->path);
    if (c->fd == -ENOENT || c->fd == -ECONNREFUSED)
        return briq_error_set(err, c->fd, "%s: no daemon listens there; see `briq list`", c->path);
    if (c->fd < 0)
        return briq_error_set(err, c->fd, "%s: cannot connect: %s", c->path, strerror(-c->fd));
    return check_peer(c, err);
}

int briq_control_open(const char *name, struct briq_error *err, struct briq_control **ret)
{
    struct briq_control *c = calloc(1, sizeof *c);
    if (c == NULL)
        return briq_error_set(err, -ENOMEM, "out of memory");
    c->fd = -1;
    c->watch.cancel_fd = -1;
    briq_line_init(&c->in, BRIQ_CONTROL_REPLY_MAX);
    int r = briq_control_path(name, c->path, err);
    if (r == 0)
        r = connect_to(c, err);
    if (r < 0) {
        briq_control_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

void briq_control_close(struct briq_control *c)
{
    if (c == NULL)
        return;
    if (c->fd >= 0)
        close(c->fd);
    briq_line_fini(&c->in);
    free(c);
}

const char *briq_control_socket(const struct briq_control *c)
{
    return c->path;
}

pid_t briq_control_pid(const struct briq_control *c)
{
    return c->pid;
}

void briq_control_set_watch(struct briq_control *c, const struct briq_control_watch *watch)
{
    c->watch = *watch;
    if (!watch->patient)
        c->watch.cancel_fd = -1;
}

void briq_control_be_patient(struct briq_control *c)
{
    briq_control_set_watch(c, &(struct briq_control_watch){.patient = true, .cancel_fd = -1});
}

/* ---- calling --------------------------------------------------------------------------------- */

static int send_bytes(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int send_request(struct briq_control *c, struct json_object *request)
{
    size_t len = 0;
    const char *text =
        json_object_to_json_string_length(request, JSON_C_TO_STRING_NOSLASHESCAPE, &len);
    if (text == NULL)
        return -ENOMEM;
    if (len >= BRIQ_CONTROL_REQUEST_MAX)
        return -EMSGSIZE;
    int r = send_bytes(c->fd, text, len);
    return r < 0 ? r : send_bytes(c->fd, "\n", 1);
}

static int wait_for_bytes(struct briq_control *c)
{
    for (;;) {
        struct pollfd p[] = {{.fd = c->fd, .events = POLLIN},
                             {.fd = c->watch.cancel_fd, .events = POLLIN}};
        int n = poll(p, BRIQ_COUNT_OF(p), c->watch.patient ? -1 : REPLY_MS);
        if (n == 0)
            return -ETIMEDOUT;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && p[1].revents != 0)
            return -EINTR;
        if (n > 0)
            return 0;
    }
}

static int receive(struct briq_control *c)
{
    char *to;
    size_t room;
    int r = briq_line_room(&c->in, &to, &room);
    if (r == 0)
        r = wait_for_bytes(c);
    if (r < 0)
        return r;
    ssize_t n = recv(c->fd, to, room, 0);
    if (n == 0)
        return -ECONNRESET;
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    briq_line_added(&c->in, (size_t)n);
    return 0;
}

/* The next line as an object, which is the caller's. */
static int receive_object(struct briq_control *c, struct json_object **ret)
{
    char *line;
    size_t len;
    while ((line = briq_line_next(&c->in, &len)) == NULL) {
        int r = receive(c);
        if (r < 0)
            return r;
    }
    struct json_tokener *tokener = json_tokener_new_ex(DEPTH);
    if (tokener == NULL)
        return -ENOMEM;
    struct json_object *object = json_tokener_parse_ex(tokener, line, (int)len + 1);
    json_tokener_free(tokener);
    if (json_object_is_type(object, json_type_object)) {
        *ret = object;
        return 0;
    }
    json_object_put(object);
    return -EPROTO;
}

static bool is_progress(struct briq_control *c, struct json_object *line)
{
    struct json_object *progress = NULL;
    if (!json_object_object_get_ex(line, "progress", &progress))
        return false;
    if (c->watch.progress != NULL)
        c->watch.progress(c->watch.opaque, briq_field_number_or_0(progress, "done"),
                          briq_field_number_or_0(progress, "total"));
    return true;
}

/* What the daemon has answered. Takes the line over. */
static int take_reply(struct json_object *line, struct json_object **ret, struct briq_error *err)
{
    struct json_object *ok = NULL, *text = NULL;
    if (!json_object_object_get_ex(line, "ok", &ok))
        return -EPROTO;
    if (json_object_get_boolean(ok)) {
        struct json_object *result = NULL;
        (void)json_object_object_get_ex(line, "result", &result);
        *ret = json_object_get(result);
        return 0;
    }
    uint64_t code = briq_field_number_or_0(line, "errno");
    (void)json_object_object_get_ex(line, "error", &text);
    return briq_error_set(err, code > 0 && code < 4096 ? -(int)code : -EIO, "%s",
                          text != NULL ? json_object_get_string(text)
                                       : "the daemon gave no reason");
}

static int receive_reply(struct briq_control *c, struct json_object **ret, struct briq_error *err)
{
    for (;;) {
        struct json_object *line = NULL;
        int r = receive_object(c, &line);
        if (r < 0)
            return r;
        bool progress = is_progress(c, line);
        r = progress ? 0 : take_reply(line, ret, err);
        json_object_put(line);
        if (!progress)
            return r;
    }
}

static const char *what_happened(int r)
{
    switch (r) {
    case -ECONNRESET:
    case -EPIPE:
        return "the daemon closed the connection";
    case -ETIMEDOUT:
        return "the daemon does not answer";
    case -EPROTO:
        return "the answer makes no sense: is that a daemon of Briq?";
    case -EMSGSIZE:
        return "too much for one request or answer";
    case -EINTR:
        return "interrupted";
    default:
        return strerror(-r);
    }
}

int briq_control_call(struct briq_control *c, struct json_object *request,
                      struct json_object **ret_reply, struct briq_error *err)
{
    int r = send_request(c, request);
    /* A daemon that has too many clients answers and closes: its answer is there all the same. */
    if (r == 0 || r == -EPIPE)
        r = receive_reply(c, ret_reply, err);
    return r < 0 ? briq_error_set(err, r, "%s: %s", c->path, what_happened(r)) : r;
}

/* ---- all daemons ----------------------------------------------------------------------------- */

static int is_socket(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name), suffix = strlen(BRIQ_CONTROL_SUFFIX);
    return entry->d_name[0] != '.' && len > suffix &&
           strcmp(entry->d_name + len - suffix, BRIQ_CONTROL_SUFFIX) == 0;
}

static int visit_one(const char *path, int (*visit)(void *, struct briq_control *),
                     void (*skipped)(void *, const char *), void *opaque)
{
    struct briq_error err = {""};
    struct briq_control *c = NULL;
    int r = briq_control_open(path, &err, &c);
    if (r == 0) {
        r = visit(opaque, c);
        briq_control_close(c);
        return r;
    }
    if (r == -ECONNREFUSED)
        briq_control_clean_up(path);
    else if (r != -ENOENT && skipped != NULL)
        skipped(opaque, err.text);
    return 0;
}

int briq_control_each(int (*visit)(void *opaque, struct briq_control *c),
                      void (*skipped)(void *opaque, const char *why), void *opaque,
                      struct briq_error *err)
{
    char dir[BRIQ_CONTROL_PATH_MAX], path[2 * BRIQ_CONTROL_PATH_MAX + sizeof(struct dirent)];
    struct briq_error unsafe = {""};
    struct dirent **entries = NULL;
    int r = briq_control_dir(dir, err);
    if (r == 0)
        r = briq_control_dir_check(dir, &unsafe);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return briq_error_set(err, r, "%s", unsafe.text);
    int count = scandir(dir, &entries, is_socket, alphasort);
    if (count < 0)
        return briq_error_set(err, -errno, "%s: %s", dir, strerror(errno));
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        if (r == 0)
            r = visit_one(path, visit, skipped, opaque);
        free(entries[i]);
    }
    free(entries);
    return r;
}
