/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon.h - how verbs find the running daemon that serves something, and talk to it.
 *
 * Thread: the main one. All block, but no longer than a daemon that does not answer is waited for.
 */
#ifndef BRIQ_CLI_DAEMON_H
#define BRIQ_CLI_DAEMON_H

#include "cli/verb.h"
#include "common/base/error.h"
#include "common/control/client.h"

struct json_object;

/* An export of a daemon. */
struct briq_served {
    struct briq_control *daemon; /* owned */
    char *name, *volume;         /* owned */
    uint64_t size_bytes;
};

/*
 * The export that `word` means: its name, or any path of its volume. It is looked for in the daemon
 * with the socket `control`, or, with NULL, in all of this user. 0 and *ret, for
 * briq_served_close(); or -errno explained in err: -ENOENT, nobody serves it; -ENOTUNIQ, several
 * do.
 */
int briq_served_find(const char *control, const char *word, struct briq_served *ret,
                     struct briq_error *err) BRIQ_MUST;
/* Zeroed is accepted. */
void briq_served_close(struct briq_served *served);

/*
 * For a verb that works on a volume itself, and was told r and err when it tried to (r is -EBUSY
 * when it was told --control and did not try): whether a daemon has it, in *ret, so that the verb
 * can go there. If not, err may have become a better one.
 */
bool briq_served_instead(const char *control, const char *volume, int r, struct briq_served *ret,
                         struct briq_error *err);

/*
 * For a verb that needs a volume to itself, and was told r and err when it tried to: if a daemon
 * has it, err becomes what to do about that. Returns r.
 */
int briq_served_explain(const char *volume, int r, struct briq_error *err);

/* The daemon with the socket `control`, or, with NULL, the only one of this user. 0 and *ret, for
 * briq_control_close(); or -errno explained in err. */
int briq_daemon_open(const char *control, struct briq_control **ret,
                     struct briq_error *err) BRIQ_MUST;

/* A request with the verb alone, and one with the export it is about too; the caller's. NULL: out
 * of memory. */
struct json_object *briq_daemon_request(const char *verb);
struct json_object *briq_served_request(const struct briq_served *served, const char *verb);

/* Sends a request, of which `fine` tells that it could be put together, and takes it over. As
 * briq_control_call(); ret_reply may be NULL. */
int briq_daemon_call(struct briq_control *daemon, struct json_object *request, bool fine,
                     struct json_object **ret_reply, struct briq_error *err) BRIQ_MUST;

/* Of what a daemon reports: whether `word` means that export (its name, or any path of its volume);
 * and the export of that name in an array of them, which keeps it, or NULL. */
bool briq_served_is(struct json_object *export, const char *word);
struct json_object *briq_served_named(struct json_object *exports, const char *name);

/* The option of all verbs that talk to a daemon; `field` is a const char * of the args. */
#define BRIQ_CONTROL_OPTION(args, field)                                                           \
    {                                                                                              \
        .name = "control", .kind = BRIQ_OPTION_TEXT, .offset = offsetof(args, field),              \
        .value = "NAME",                                                                           \
        .help = "Talk to the daemon with that control socket: a path, or the name given to "       \
                "`briq serve --control`, or its process id. Default: whichever it is."             \
    }

#endif
