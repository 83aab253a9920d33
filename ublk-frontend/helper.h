/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * helper.h - threads that do pieces of large requests in the place of their queue's own thread.
 *
 * A device has one pool of them. Each helper has a ring, a context of the store and a buffer from the
 * start, and does one piece at a time, for which it is claimed; nobody ever waits for one to be idle.
 *
 * Thread: that which controls the device opens, joins and frees; workers do the rest.
 */
#ifndef BRIQ_UBLK_HELPER_H
#define BRIQ_UBLK_HELPER_H

#include "common/base/error.h"
#include "common/ring/ring.h"
#include "common/store/store.h"
#include "ublk-frontend/request.h"

struct briq_ublk_helpers;

#define BRIQ_UBLK_HELPERS_MAX 16u

struct briq_ublk_helpers_setup {
    struct briq_store *store; /* not owned */
    int fd;                   /* /dev/ublkcN; not owned */
    bool user_copy, unprivileged;
    uint32_t piece_bytes; /* of the largest piece */
    unsigned count;       /* 1 .. HELPERS_MAX */
    unsigned workers;     /* how many may claim them */
    bool unasked;         /* to be claimed only while there is a processor with nothing to do */
    int event_fd;         /* written to when a helper fails; not owned */
};

/* How many are worth having: one less than the processors that this process may use, at most 4. */
unsigned briq_ublk_helpers_auto(void);

/* Starts them. 0 and *ret for briq_ublk_helpers_free(), or -errno explained in err. */
int briq_ublk_helpers_open(const struct briq_ublk_helpers_setup *setup, struct briq_error *err,
                           struct briq_ublk_helpers **ret) BRIQ_MUST;
/* 0, or the -errno with which a helper cannot go on; what it was doing stays undone. */
int briq_ublk_helpers_error(const struct briq_ublk_helpers *helpers);
/* When no piece is with a helper: waits until none uses the store any more. NULL is accepted. */
void briq_ublk_helpers_join(struct briq_ublk_helpers *helpers);
/* The same, and frees them. */
void briq_ublk_helpers_free(struct briq_ublk_helpers *helpers);

/* Tells whether worker number `worker` has requests, and so takes a processor. Thread: that worker. */
void briq_ublk_helpers_note(struct briq_ublk_helpers *helpers, unsigned worker, bool has_requests);

/* A piece for a helper. */
struct briq_ublk_help {
    /* filled in by who has claimed it */
    const struct briq_ublk_request *request; /* stays as it is in kind and direction */
    struct briq_ublk_piece piece;
    unsigned queue, tag;
    uint8_t *at;                /* without user copy: where the piece is */
    struct briq_ring *ring;     /* of the worker */
    struct briq_ring_task done; /* run there at the end */
    void *opaque;
    /* the answer */
    int result; /* 0 or -errno */
};

/* A helper with nothing to do, if it may be claimed; else NULL. Does not block. */
struct briq_ublk_help *briq_ublk_helpers_claim(struct briq_ublk_helpers *helpers);
/* Hands the piece over. It is help->done that runs next. */
void briq_ublk_help_begin(struct briq_ublk_help *help);
/* After help->done: others may claim it. */
void briq_ublk_help_release(struct briq_ublk_help *help);

#endif
