/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * http.h - a very small HTTP server: one page, made anew for each GET.
 *
 * One thread, which never waits for a client. Limits: BRIQ_HTTP_CLIENTS_MAX clients (when there are
 * more, the one that has been thinking about its request longest makes way), requests of
 * BRIQ_HTTP_REQUEST_MAX bytes that must be complete after 5 s, answers that must be read after
 * 10 s. Each connection is for one request.
 */
#ifndef BRIQ_SERVER_HTTP_H
#define BRIQ_SERVER_HTTP_H

#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/error.h"

#define BRIQ_HTTP_CLIENTS_MAX 32u
#define BRIQ_HTTP_REQUEST_MAX 8192u

struct briq_http;

struct briq_http_page {
    const char *path, *type; /* "/metrics"; of the content */
    /* Makes the page: 0, and *ret for free(), or -errno. Thread: the server's. */
    int (*make)(void *opaque, char **ret, size_t *ret_len);
    void *opaque;
};

/*
 * Listens at "unix:PATH", "tcp:HOST:PORT" or "tcp:PORT". Without HOST at the loopback address; a
 * HOST that is a name must mean loopback addresses alone: whoever wants others in writes the address
 * out. 0 and *ret, or -errno explained in err. Blocks (names).
 */
int briq_http_open(const char *address, const struct briq_http_page *page, struct briq_error *err,
                   struct briq_http **ret) BRIQ_MUST;
/* Answers from here on. 0, or -errno explained in err. */
int briq_http_start(struct briq_http *http, struct briq_error *err) BRIQ_MUST;
/* Drops all clients and closes the socket. NULL is accepted. Blocks until a page that is being made
 * is done. */
void briq_http_close(struct briq_http *http);

/* Where the page is: "http://127.0.0.1:9100/metrics", or "/run/x.sock" for a Unix socket. */
const char *briq_http_describe(const struct briq_http *http, char *text, size_t room);

#endif
