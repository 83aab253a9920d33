/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * live.h - asks running daemons for their figures, once or again and again.
 *
 * What is read is an array of reports (serve_report.h), each with the process as its "id" and its
 * socket as "control". Thread: the main one. Reading blocks, but no longer than a daemon that does
 * not answer is waited for.
 */
#ifndef BRIQ_CLI_LIVE_H
#define BRIQ_CLI_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct json_object;

struct briq_live {
    /* set by the caller */
    const char *control; /* the socket of the daemon; NULL: all of this user */
    const char *word;    /* the export, or its volume; NULL: all */
    void (*skipped)(void *opaque, const char *why); /* a daemon that does not answer; may be NULL */
    void *opaque;
    /* private */
    struct json_object *before;
    uint64_t before_ns;
};

void briq_live_fini(struct briq_live *live);

/* What there is now; *ret is the caller's. 0, or -errno explained in err: -ENOENT, there is no such
 * export, or no daemon. */
int briq_live_read(struct briq_live *live, struct json_object **ret,
                   struct briq_error *err) BRIQ_MUST;

/*
 * The same, but what stands under "counters", and the quantiles of exports, are of the time since
 * the last call, *ret_seconds. The first call has no such time: *ret is NULL.
 */
int briq_live_read_change(struct briq_live *live, struct json_object **ret, double *ret_seconds,
                          struct briq_error *err) BRIQ_MUST;

/* An export, or the sum of several, in a time. */
struct briq_live_row {
    const char *name, *volume; /* as long as what was read; NULL of a sum */
    double ops, bytes, read_ops, read_bytes, write_ops, write_bytes, flushes, errors; /* a second */
    uint64_t p99_read_ns, p99_write_ns; /* 0: there were none */
    uint64_t in_flight, connections;
    double ratio; /* NaN: none */
};

/* Calls visit for each export of what was read, or each client ("exports", "clients"). */
void briq_live_each(struct json_object *daemons, const char *list,
                    void (*visit)(void *opaque, struct json_object *object), void *opaque);

/* The row of an export or a client whose counters are of that many seconds. */
void briq_live_row(struct json_object *object, double seconds, struct briq_live_row *ret);

/* Nanoseconds that the value of --interval means: seconds from 0.1 to 3600. 0, or -errno explained
 * in err. */
int briq_live_interval(const char *text, uint64_t *ret_ns, struct briq_error *err) BRIQ_MUST;

/* ---- text that fits where it is shown -------------------------------------------------------- */

/* "216ns", "12.3us": at most 6 columns. 0 is "-". */
#define BRIQ_LIVE_TEXT_MAX 24
const char *briq_live_time(uint64_t ns, char text[BRIQ_LIVE_TEXT_MAX]);
/* "0", "12345", "12.3M": at most 7 columns. */
const char *briq_live_rate(double n, char text[BRIQ_LIVE_TEXT_MAX]);
/* "0", "4.1K", "1023M": bytes, at most 6 columns. */
const char *briq_live_bytes(double n, char text[BRIQ_LIVE_TEXT_MAX]);

struct briq_live_name {
    char text[512];
};
/* A name in exactly that many columns (0: as many as it has), for a character is taken to have one.
 * What a terminal would obey is a question mark. Returns buf's text. */
const char *briq_live_name(const char *name, unsigned columns, struct briq_live_name *buf);

#endif
