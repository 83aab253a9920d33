/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * client.h - talks to the control socket of a daemon.
 *
 * A request is a JSON object on a line, with the verb in "verb"; the answer is one too:
 *
 *     {"verb": "list"}
 *     {"ok": true, "result": {...}}
 *     {"ok": false, "errno": 16, "error": "disk: 2 clients are connected; ..."}
 *
 * and before the answer to a verb that lasts there may be lines {"progress": {"done": 3, "total":
 * 12}}. Requests of a connection are answered one after the other. Whoever closes the connection
 * gives up what he has asked for.
 *
 * Thread: a connection belongs to one thread at a time.
 */
#ifndef BRIQ_CONTROL_CLIENT_H
#define BRIQ_CONTROL_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/error.h"

struct briq_control;
struct json_object;

/* Lines with their newline: a request may be so long, an answer so long. */
#define BRIQ_CONTROL_REQUEST_MAX (64u << 10)
#define BRIQ_CONTROL_REPLY_MAX   (4u << 20)

/*
 * Connects to the socket `name`: a path, or the name of a daemon (see place.h). *ret is the
 * caller's. 0, or -errno explained in err: -ECONNREFUSED, -ENOENT (nobody listens), -EPERM (whoever
 * listens is neither this user nor root). Blocks.
 */
int briq_control_open(const char *name, struct briq_error *err,
                      struct briq_control **ret) BRIQ_MUST;
/* NULL is accepted. */
void briq_control_close(struct briq_control *c);

/* The socket, and the process behind it. */
const char *briq_control_socket(const struct briq_control *c);
pid_t briq_control_pid(const struct briq_control *c);

/*
 * Sends a request, which stays the caller's, and waits for its answer: at most 10 s without a word,
 * but see briq_control_watch(). 0 and the result in *ret_reply, which is the caller's
 * (json_object_put) and may be NULL when the verb has none; or -errno explained in err: what the
 * daemon has answered, -ETIMEDOUT, -ECONNRESET, -EPROTO (no answer that makes sense), -EMSGSIZE.
 * After a failure that the daemon did not answer with the connection is of no use any more. Blocks.
 */
int briq_control_call(struct briq_control *c, struct json_object *request,
                      struct json_object **ret_reply, struct briq_error *err) BRIQ_MUST;

/* How to wait for the answers from now on. Zero-initialised: as at first. */
struct briq_control_watch {
    bool patient;  /* however long it takes */
    int cancel_fd; /* with patient: when it becomes readable the call ends, -EINTR; -1: none */
    void (*progress)(void *opaque, uint64_t done, uint64_t total); /* may be NULL */
    void *opaque;
};
void briq_control_set_watch(struct briq_control *c, const struct briq_control_watch *watch);
/* From now on waits however long it takes, and nobody wants to know how far it is. */
void briq_control_be_patient(struct briq_control *c);

/*
 * Connects to each daemon of this user in turn and calls visit, until it does not answer 0. A
 * socket whose daemon has died is removed; one that cannot be talked to is left out, and `skipped`
 * (may be NULL) is told. Returns what visit answered last, 0 (also when there is no daemon), or
 * -errno explained in err: the directory cannot be trusted. Blocks.
 */
int briq_control_each(int (*visit)(void *opaque, struct briq_control *c),
                      void (*skipped)(void *opaque, const char *why), void *opaque,
                      struct briq_error *err) BRIQ_MUST;

#endif
