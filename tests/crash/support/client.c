/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/crash/support/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 8u

static void give_up(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, nbd_get_error());
    exit(1);
}

/* ---- connecting and reading --------------------------------------------------------------------
 */

bool client_connect(struct client *client, const char *socket)
{
    memset(client->connections, 0, sizeof client->connections);
    for (unsigned i = 0; i < CLIENT_CONNECTIONS; i++) {
        struct connection *c = &client->connections[i];
        c->handle = nbd_create();
        if (c->handle == NULL)
            give_up("nbd_create");
        if (nbd_connect_unix(c->handle, socket) < 0)
            return false;
    }
    return true;
}

static uint32_t region_of(unsigned connection)
{
    uint64_t off = connection * CLIENT_REGION_STEP + CLIENT_REGION_BEGIN;
    return (uint32_t)(off / DEEDS_SECTOR_BYTES);
}

bool client_look(struct client *client)
{
    size_t len = CLIENT_REGION_SECTORS * DEEDS_SECTOR_BYTES;
    uint8_t *bytes = malloc(len);
    bool well = bytes != NULL;
    for (unsigned i = 0; i < CLIENT_CONNECTIONS && well; i++) {
        uint32_t first = region_of(i);
        well = nbd_pread(client->connections[i].handle, bytes, len,
                         (uint64_t)first * DEEDS_SECTOR_BYTES, 0) == 0 &&
               deeds_look(client->deeds, first, CLIENT_REGION_SECTORS, bytes);
    }
    free(bytes);
    return well;
}

/* ---- sending -----------------------------------------------------------------------------------
 */

static int take_answer(void *opaque, int *error)
{
    struct request *request = opaque;
    struct client *client = request->client;
    request->busy = false;
    if (*error == 0) {
        client->answers++;
        deeds_answer(client->deeds, request->deed);
    } else if (!client->dying && *error != ENOTCONN && *error != ESHUTDOWN) {
        fprintf(stderr, "the server answered: %s\n", strerror(*error));
        exit(1);
    }
    return 1;
}

/* Do two requests touch the same block? */
static bool collide(const struct request *a, uint32_t first, uint32_t count)
{
    return a->busy && a->count > 0 && count > 0 &&
           a->first / DEEDS_BLOCK_SECTORS <= (first + count - 1) / DEEDS_BLOCK_SECTORS &&
           first / DEEDS_BLOCK_SECTORS <= (a->first + a->count - 1) / DEEDS_BLOCK_SECTORS;
}

static bool is_free(const struct connection *c, uint32_t first, uint32_t count)
{
    for (unsigned i = 0; i < CLIENT_DEPTH; i++)
        if (collide(&c->requests[i], first, count))
            return false;
    return true;
}

/* A place in the region that no request is under way to. */
static bool draw_place(struct client *client, unsigned connection, bool blocks, uint32_t *ret_first,
                       uint32_t *ret_count)
{
    static const uint8_t counts[] = {1, 2, 3, 8, 8, 8, 8, 16, 64, 128};
    for (unsigned i = 0; i < TRIES; i++) {
        uint32_t count = counts[briq_prng_below(client->prng, sizeof counts)];
        uint32_t room = CLIENT_REGION_SECTORS - count;
        uint32_t off = (uint32_t)briq_prng_below(client->prng, room + 1);
        if (blocks || briq_prng_below(client->prng, 2) == 0)
            off -= off % DEEDS_BLOCK_SECTORS;
        if (blocks)
            count = (count + DEEDS_BLOCK_SECTORS - 1) / DEEDS_BLOCK_SECTORS * DEEDS_BLOCK_SECTORS;
        *ret_first = region_of(connection) + off;
        *ret_count = count;
        if (off + count <= CLIENT_REGION_SECTORS &&
            is_free(&client->connections[connection], *ret_first, count))
            return true;
    }
    return false;
}

static void fill(struct client *client, struct request *request)
{
    uint64_t number = client->deeds->list[request->deed].number;
    for (uint32_t i = 0; i < request->count; i++)
        deeds_content(number, request->first + i, request->bytes + (size_t)i * DEEDS_SECTOR_BYTES);
}

static int64_t submit(struct client *client, struct nbd_handle *handle, struct request *request,
                      enum deed_kind kind, bool fua)
{
    nbd_completion_callback done = {.callback = take_answer, .user_data = request};
    uint64_t off = (uint64_t)request->first * DEEDS_SECTOR_BYTES;
    uint64_t len = (uint64_t)request->count * DEEDS_SECTOR_BYTES;
    uint32_t flags = fua ? LIBNBD_CMD_FLAG_FUA : 0;
    request->client = client;
    request->busy = true;
    request->deed = deeds_send(client->deeds, kind, fua, request->first, request->count);
    switch (kind) {
    case DEED_WRITE:
        fill(client, request);
        return nbd_aio_pwrite(handle, request->bytes, len, off, done, flags);
    case DEED_TRIM:
        return nbd_aio_trim(handle, len, off, done, flags);
    case DEED_ZERO:
        return nbd_aio_zero(handle, len, off, done, flags);
    case DEED_FLUSH:
        break;
    }
    return nbd_aio_flush(handle, done, 0);
}

/* False when the connection is gone. */
static bool send_one(struct client *client, unsigned connection, struct request *request)
{
    struct nbd_handle *handle = client->connections[connection].handle;
    uint64_t lot = briq_prng_below(client->prng, 20);
    enum deed_kind kind = lot == 0 ? DEED_TRIM : lot == 1 ? DEED_ZERO : DEED_WRITE;
    bool fua = briq_prng_below(client->prng, 40) == 0;
    if (briq_prng_below(client->prng, client->flush_one_in) == 0)
        kind = DEED_FLUSH;
    request->first = request->count = 0;
    if (kind != DEED_FLUSH &&
        !draw_place(client, connection, kind == DEED_TRIM, &request->first, &request->count))
        return true; /* too much is under way: another time */
    return submit(client, handle, request, kind, fua && kind != DEED_FLUSH) >= 0;
}

static bool fill_up(struct client *client)
{
    for (unsigned i = 0; i < CLIENT_CONNECTIONS; i++)
        for (unsigned k = 0; k < CLIENT_DEPTH; k++)
            if (!client->connections[i].requests[k].busy &&
                !send_one(client, i, &client->connections[i].requests[k]))
                return false;
    return true;
}

/* ---- waiting -----------------------------------------------------------------------------------
 */

static bool is_over(struct nbd_handle *handle)
{
    return handle == NULL || nbd_aio_is_dead(handle) != 0 || nbd_aio_is_closed(handle) != 0;
}

/* Waits until something can be done on any connection, and does it. False when all are gone, or
 * (timeout_ms 0: does not wait) when there is nothing to do. */
static bool turn(struct client *client, int timeout_ms)
{
    struct pollfd polls[CLIENT_CONNECTIONS];
    unsigned alive = 0;
    for (unsigned i = 0; i < CLIENT_CONNECTIONS; i++) {
        struct nbd_handle *handle = client->connections[i].handle;
        bool over = is_over(handle);
        unsigned direction = over ? 0 : nbd_aio_get_direction(handle);
        polls[i] = (struct pollfd){
            .fd = over ? -1 : nbd_aio_get_fd(handle),
            .events = (short)(((direction & LIBNBD_AIO_DIRECTION_READ) != 0 ? POLLIN : 0) |
                              ((direction & LIBNBD_AIO_DIRECTION_WRITE) != 0 ? POLLOUT : 0))};
        alive += !over;
    }
    if (alive == 0 || poll(polls, CLIENT_CONNECTIONS, timeout_ms) <= 0)
        return false;
    for (unsigned i = 0; i < CLIENT_CONNECTIONS; i++) {
        struct nbd_handle *handle = client->connections[i].handle;
        if ((polls[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            (void)nbd_aio_notify_read(handle);
        else if ((polls[i].revents & POLLOUT) != 0)
            (void)nbd_aio_notify_write(handle);
    }
    return true;
}

static bool any_is_over(const struct client *client)
{
    for (unsigned i = 0; i < CLIENT_CONNECTIONS; i++)
        if (is_over(client->connections[i].handle))
            return true;
    return false;
}

bool client_work(struct client *client, uint64_t answers)
{
    uint64_t enough = client->answers + answers;
    client->dying = false;
    while (client->answers < enough)
        if (any_is_over(client) || !fill_up(client) || !turn(client, -1))
            return false;
    return fill_up(client); /* the server is never idle when it dies */
}

void client_finish(struct client *client)
{
    client->dying = true;
    while (turn(client, -1))
        ;
    client_close(client);
}

void client_close(struct client *client)
{
    client->dying = true;
    while (turn(client, 0))
        ;
    for (unsigned i = 0; i < CLIENT_CONNECTIONS; i++) {
        nbd_close(client->connections[i].handle);
        client->connections[i].handle = NULL;
    }
}
