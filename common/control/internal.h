/* SPDX-License-Identifier: BSD-3-Clause */
/* internal.h - the parts of a control server. For server.c and peer.c alone. */
#ifndef BRIQ_CONTROL_INTERNAL_H
#define BRIQ_CONTROL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "common/control/line.h"
#include "common/control/place.h"
#include "common/control/server.h"

/* A client. Thread: the server's. */
struct briq_control_peer {
    int fd; /* -1: a free place */
    struct briq_line_buf in;
    char *out; /* owned; NULL: there is nothing to send */
    size_t out_len, out_at;
    uint64_t since_ns; /* that it is silent, in the middle of a line, or does not read */
    bool eof;          /* nothing more comes from it */
    bool closing;      /* when all is sent */
    struct briq_control_request *request; /* that lasts; NULL: none */
};

/* Begins to serve a connected socket. */
void briq_control_peer_open(struct briq_control_peer *peer, int fd);
/* Closes it and cancels what it has asked for. */
void briq_control_peer_close(struct briq_control_peer *peer);

/* What to poll its socket for. */
short briq_control_peer_events(const struct briq_control_peer *peer);
/* When it has to have moved; UINT64_MAX: it may take its time. */
uint64_t briq_control_peer_deadline(const struct briq_control_peer *peer);

/* Takes in what there is. False: it has gone, or must go. */
bool briq_control_peer_receive(struct briq_control_peer *peer);
/* Sends as much as goes out without waiting. False: it has gone. */
bool briq_control_peer_send(struct briq_control_peer *peer);

/* Lines to be sent; the peer has nothing else to send. The result is taken over. */
void briq_control_peer_say_result(struct briq_control_peer *peer, struct json_object *result);
void briq_control_peer_say_error(struct briq_control_peer *peer, int code, const char *text);
void briq_control_peer_say_progress(struct briq_control_peer *peer, uint64_t done, uint64_t total);

enum briq_control_state {
    BRIQ_CONTROL_FREE,
    BRIQ_CONTROL_RUNNING,
    BRIQ_CONTROL_DONE, /* its thread is to be joined, the client to be answered */
};

struct briq_control_entry {
    const struct briq_control_verb *verb;
    void *opaque;
};

struct briq_control_request {
    struct briq_control_server *server;
    struct briq_control_peer *peer; /* NULL: it has gone. Thread: the server's */
    const struct briq_control_entry *entry;
    struct json_object *args, *result; /* owned */
    struct briq_error err;
    int code;
    pthread_t thread;
    atomic_bool cancelled;
    /* under the server's lock */
    enum briq_control_state state;
    bool news; /* of its progress */
    uint64_t done, total;
};

struct briq_control_server {
    char path[BRIQ_CONTROL_PATH_MAX];
    dev_t dev; /* of the socket file: it is removed only if it is still this one */
    ino_t ino;
    struct briq_log log;
    int listen_fd, wake_fd;
    uint64_t accept_at_ns; /* not before: there were no descriptors left */
    pthread_t thread;
    bool started;
    struct briq_control_entry entries[BRIQ_CONTROL_VERBS_MAX];
    unsigned entry_count;
    struct briq_control_peer peers[BRIQ_CONTROL_CLIENTS_MAX];
    struct briq_control_request requests[BRIQ_CONTROL_LASTING_MAX];
    pthread_mutex_t lock; /* quick verbs run under it */
    pthread_cond_t ended; /* a request */
    bool quiet, closing;  /* under the lock */
};

#endif
