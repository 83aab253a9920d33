/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * remote.h - an NBD export, reached over one connection or, when the server allows it, several.
 * The one place that includes <libnbd.h>.
 *
 * All functions return 0 or a negative errno explained in err. A worker uses the connection of its
 * number; workers that share one take turns. A request may have any length: it is
 * split into what the server takes.
 */
#ifndef BRIQ_CLI_REMOTE_H
#define BRIQ_CLI_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cancel.h"
#include "common/base/error.h"

struct briq_remote;

struct briq_remote_options {
    const char *name;        /* for messages; must stay valid */
    const char *uri;         /* where it is ... */
    const char *socket_path; /* ... or the Unix socket of a server that has one nameless export */
    unsigned connections;    /* at most; one when the server is not multi-conn */
    bool writable;           /* refuse a read-only export */
};

/* Whether the text is an NBD URI. */
bool briq_remote_is_uri(const char *text);

/* Connects; blocks until cancelled. *ret is the caller's, for briq_remote_close(). */
int briq_remote_open(const struct briq_remote_options *options, const struct briq_cancel *cancel,
                     struct briq_error *err, struct briq_remote **ret) BRIQ_MUST;

/* Says goodbye and frees. NULL is accepted. */
void briq_remote_close(struct briq_remote *remote);

uint64_t briq_remote_size(const struct briq_remote *remote);

int briq_remote_read(struct briq_remote *remote, unsigned worker, void *buf, size_t len,
                     uint64_t off, struct briq_error *err) BRIQ_MUST;
int briq_remote_write(struct briq_remote *remote, unsigned worker, const void *buf, size_t len,
                      uint64_t off, struct briq_error *err) BRIQ_MUST;
/* Writes zeros itself where the server has no request for it. */
int briq_remote_zero(struct briq_remote *remote, unsigned worker, uint64_t len, uint64_t off,
                     struct briq_error *err) BRIQ_MUST;
/* As briq_source_ops.extent; without block status everything is data. One call at a time. */
int briq_remote_extent(struct briq_remote *remote, unsigned worker, uint64_t off, uint64_t len,
                       uint64_t *ret_len, bool *ret_zero, struct briq_error *err) BRIQ_MUST;
/* What all connections wrote is on stable storage, as far as the server can tell. */
int briq_remote_flush(struct briq_remote *remote, struct briq_error *err) BRIQ_MUST;

/* Cuts the connections: requests under way and later ones fail. Any thread. */
void briq_remote_interrupt(struct briq_remote *remote);

#endif
