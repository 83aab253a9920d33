/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/control/line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 1024u

void briq_line_init(struct briq_line_buf *buf, size_t max_bytes)
{
    *buf = (struct briq_line_buf){.max = max_bytes};
}

void briq_line_fini(struct briq_line_buf *buf)
{
    free(buf->data);
    *buf = (struct briq_line_buf){.max = buf->max};
}

/* What was taken makes room. */
static void move_down(struct briq_line_buf *buf)
{
    if (buf->start == 0)
        return;
    memmove(buf->data, buf->data + buf->start, buf->used - buf->start);
    buf->used -= buf->start;
    buf->looked -= buf->start;
    buf->start = 0;
}

int briq_line_room(struct briq_line_buf *buf, char **ret, size_t *ret_len)
{
    move_down(buf);
    if (buf->used == buf->max)
        return -EMSGSIZE;
    if (buf->used == buf->room) {
        size_t room = buf->room == 0 ? ROOM_FIRST : 2 * buf->room;
        room = room < buf->max ? room : buf->max;
        char *data = realloc(buf->data, room);
        if (data == NULL)
            return -ENOMEM;
        buf->data = data;
        buf->room = room;
    }
    *ret = buf->data + buf->used;
    *ret_len = buf->room - buf->used;
    return 0;
}

void briq_line_added(struct briq_line_buf *buf, size_t len)
{
    BRIQ_ASSERT(len <= buf->room - buf->used);
    buf->used += len;
}

char *briq_line_next(struct briq_line_buf *buf, size_t *ret_len)
{
    if (buf->looked == buf->used)
        return NULL;
    char *end = memchr(buf->data + buf->looked, '\n', buf->used - buf->looked);
    if (end == NULL) {
        buf->looked = buf->used;
        return NULL;
    }
    char *line = buf->data + buf->start;
    *end = '\0';
    *ret_len = (size_t)(end - line);
    buf->start = buf->looked = (size_t)(end - buf->data) + 1;
    return line;
}
