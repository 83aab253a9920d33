/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.h - the control socket of a daemon: verbs by name, asked for with lines of JSON (client.h
 * says how they look).
 *
 *     briq_control_server_open()    the socket is there: errors reach the user here
 *     briq_control_server_add()     the verbs, by whoever owns them
 *     briq_control_server_start()   a thread answers from here on
 *     briq_control_server_quiesce() what is under way is cancelled and waited for
 *     briq_control_server_close()   the rest is answered, the socket goes
 *
 * One thread accepts, reads and answers; it never waits for a client. Quick verbs run on it; those
 * that last have a thread of their own, so that others are answered meanwhile. Limits: 32 clients
 * (the one that has been silent longest makes way for another), 16 verbs that last at a time,
 * requests of 64 KiB, answers of 4 MiB. A line must be complete 10 s after it was begun, an answer
 * read after 30 s. Clients must be of the user that the daemon runs as, or root.
 *
 * Thread: one makes these calls, unless a function says otherwise.
 */
#ifndef BRIQ_CONTROL_SERVER_H
#define BRIQ_CONTROL_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/error.h"
#include "common/base/log.h"

struct briq_control_request; /* one that is under way */
struct briq_control_server;
struct json_object;

enum briq_control_pace {
    BRIQ_CONTROL_QUICK,      /* runs on the thread of the socket: must not wait for anything */
    BRIQ_CONTROL_LASTING,    /* runs on a thread of its own */
    BRIQ_CONTROL_TO_THE_END, /* the same, but briq_control_server_quiesce() leaves it alone */
};

struct briq_control_verb {
    const char *name;
    enum briq_control_pace pace;
    /*
     * Does what `args`, the request, asks for; args is not to be changed. 0 and the result, an
     * object that goes over to the caller, or NULL for none; or -errno explained in err.
     */
    int (*run)(void *opaque, struct briq_control_request *request, struct json_object *args,
               struct json_object **ret_result, struct briq_error *err);
};

#define BRIQ_CONTROL_CLIENTS_MAX 32u
#define BRIQ_CONTROL_LASTING_MAX 16u
#define BRIQ_CONTROL_VERBS_MAX   32u

/*
 * Listens at `name`: a path, or a name in the directory of the user (place.h), which is made. NULL:
 * the process id. 0 and *ret, or -errno explained in err.
 */
int briq_control_server_open(const char *name, const struct briq_log *log, struct briq_error *err,
                             struct briq_control_server **ret) BRIQ_MUST;

/* The path of the socket; valid as long as the server. */
const char *briq_control_server_path(const struct briq_control_server *server);

/* Adds a verb, which must stay; run() gets opaque. Before start. */
void briq_control_server_add(struct briq_control_server *server,
                             const struct briq_control_verb *verb, void *opaque);

/* 0, or -errno explained in err. */
int briq_control_server_start(struct briq_control_server *server, struct briq_error *err) BRIQ_MUST;

/*
 * Refuses every request from now on, cancels those that last, and waits for them. After it no verb
 * runs but those TO_THE_END, so what they work on can go away. Blocks. NULL is accepted.
 */
void briq_control_server_quiesce(struct briq_control_server *server);

/* Waits for what is left, sends the last answers (1 s at most), removes the socket. Blocks. NULL is
 * accepted. */
void briq_control_server_close(struct briq_control_server *server);

/* ---- for verbs that last: from their thread -------------------------------------------------- */

/* Tells the client how far it is; costs little, so call it often. False: nobody wants the result
 * any more, end soon. */
bool briq_control_progress(struct briq_control_request *request, uint64_t done, uint64_t total);

/* Nobody wants the result any more. */
bool briq_control_cancelled(const struct briq_control_request *request);

#endif
