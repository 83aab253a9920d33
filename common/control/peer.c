/* SPDX-License-Identifier: BSD-3-Clause */
/* peer.c - a client of the control socket: its bytes, in and out. */
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/control/client.h"
#include "common/control/fields.h"
#include "common/control/internal.h"

#define SECOND_NS UINT64_C(1000000000)
#define LINE_NS   (10 * SECOND_NS)
#define READ_NS   (30 * SECOND_NS)

void briq_control_peer_open(struct briq_control_peer *peer, int fd)
{
    *peer = (struct briq_control_peer){.fd = fd, .since_ns = briq_clock_ns()};
    briq_line_init(&peer->in, BRIQ_CONTROL_REQUEST_MAX);
}

void briq_control_peer_close(struct briq_control_peer *peer)
{
    if (peer->request != NULL) {
        atomic_store(&peer->request->cancelled, true);
        peer->request->peer = NULL;
    }
    close(peer->fd);
    briq_line_fini(&peer->in);
    free(peer->out);
    *peer = (struct briq_control_peer){.fd = -1};
}

short briq_control_peer_events(const struct briq_control_peer *peer)
{
    if (peer->out != NULL)
        return POLLOUT;
    return peer->request == NULL && !peer->eof && !peer->closing ? POLLIN : 0;
}

uint64_t briq_control_peer_deadline(const struct briq_control_peer *peer)
{
    if (peer->out != NULL)
        return peer->since_ns + READ_NS;
    if (peer->request == NULL && briq_line_rest(&peer->in) > 0)
        return peer->since_ns + LINE_NS;
    return UINT64_MAX;
}

bool briq_control_peer_receive(struct briq_control_peer *peer)
{
    char *to;
    size_t room;
    if (briq_line_room(&peer->in, &to, &room) < 0)
        return false; /* no memory: a full buffer is not received into */
    ssize_t n = recv(peer->fd, to, room, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (briq_line_rest(&peer->in) == 0)
        peer->since_ns = briq_clock_ns();
    peer->eof = n == 0;
    briq_line_added(&peer->in, (size_t)n);
    return true;
}

bool briq_control_peer_send(struct briq_control_peer *peer)
{
    while (peer->out_at < peer->out_len) {
        ssize_t n = send(peer->fd, peer->out + peer->out_at, peer->out_len - peer->out_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        peer->out_at += (size_t)n;
        peer->since_ns = briq_clock_ns();
    }
    free(peer->out);
    peer->out = NULL;
    return true;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Takes the object over. Without memory the client is let go: it sees that it was closed. */
static void say(struct briq_control_peer *peer, struct json_object *line)
{
    size_t len = 0;
    const char *text = NULL;
    BRIQ_ASSERT(peer->out == NULL);
    if (line != NULL)
        text = json_object_to_json_string_length(
            line, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
    if (text != NULL && len < BRIQ_CONTROL_REPLY_MAX)
        peer->out = malloc(len + 1);
    if (peer->out != NULL) {
        memcpy(peer->out, text, len);
        peer->out[len] = '\n';
        peer->out_len = len + 1;
        peer->out_at = 0;
    }
    json_object_put(line);
    peer->since_ns = briq_clock_ns();
    if (peer->out != NULL)
        return;
    if (len >= BRIQ_CONTROL_REPLY_MAX)
        briq_control_peer_say_error(peer, -EMSGSIZE, "the answer is longer than 4 MiB");
    else
        peer->closing = true;
}

static void say_if(struct briq_control_peer *peer, bool complete, struct json_object *line)
{
    if (!complete) {
        json_object_put(line);
        line = NULL;
    }
    say(peer, line);
}

void briq_control_peer_say_result(struct briq_control_peer *peer, struct json_object *result)
{
    struct json_object *line = json_object_new_object();
    bool fine = briq_field_set_bool(line, "ok", true);
    if (result != NULL)
        fine = briq_field_set(line, "result", result) && fine;
    say_if(peer, fine, line);
}

void briq_control_peer_say_error(struct briq_control_peer *peer, int code, const char *text)
{
    struct json_object *line = json_object_new_object();
    bool fine = briq_field_set_bool(line, "ok", false) &&
                briq_field_set_number(line, "errno", (uint64_t)-code) &&
                briq_field_set_text(line, "error", text);
    say_if(peer, fine, line);
}

void briq_control_peer_say_progress(struct briq_control_peer *peer, uint64_t done, uint64_t total)
{
    struct json_object *line = json_object_new_object();
    struct json_object *progress = json_object_new_object();
    bool fine = briq_field_set_number(progress, "done", done) &&
                briq_field_set_number(progress, "total", total);
    fine = briq_field_set(line, "progress", progress) && fine;
    say_if(peer, fine, line);
}
