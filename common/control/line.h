/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * line.h - takes lines out of a stream of bytes, with a bound on how long a line may be.
 *
 * What is received is put behind what is there (room, added); complete lines are taken from the
 * front (next). Memory grows as lines do, up to the bound. Thread: the owner's.
 */
#ifndef BRIQ_CONTROL_LINE_H
#define BRIQ_CONTROL_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"

struct briq_line_buf {
    char *data;         /* owned */
    size_t room, max;   /* bytes there are; bytes a line may have with its newline */
    size_t start, used; /* what was not taken yet is [start, used) */
    size_t looked;      /* there is no newline before it */
};

/* An empty buffer for lines of up to max_bytes, the newline included. Allocates nothing yet. */
void briq_line_init(struct briq_line_buf *buf, size_t max_bytes);
void briq_line_fini(struct briq_line_buf *buf);

/*
 * Where to receive to: *ret and how many bytes, above 0. Lines taken before are gone by that.
 * 0, -EMSGSIZE (a line is longer than it may be) or -ENOMEM.
 */
int briq_line_room(struct briq_line_buf *buf, char **ret, size_t *ret_len) BRIQ_MUST;
/* So many bytes were received there. */
void briq_line_added(struct briq_line_buf *buf, size_t len);

/*
 * The next line without its newline, ended by a 0, and its length (there may be other zeros in it);
 * NULL: no complete one is there. Valid until briq_line_room().
 */
char *briq_line_next(struct briq_line_buf *buf, size_t *ret_len);

/* Once there is no complete line: this one is longer than it may be. */
static inline bool briq_line_full(const struct briq_line_buf *buf)
{
    return buf->used - buf->start == buf->max;
}

/* Bytes of a line that is not complete. */
static inline size_t briq_line_rest(const struct briq_line_buf *buf)
{
    return buf->used - buf->start;
}

#endif
