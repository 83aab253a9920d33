/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * client.h - several connections to one server, each with several requests under way, that write
 * down in a struct deeds what they send and what is answered.
 *
 * Each connection has a region of the volume of its own, across the border of two map pages. Writes
 * have 512 bytes to 64 KiB, at any sector; some have FUA; there are trims, zeroes and flushes.
 */
#ifndef BRIQ_TESTS_CRASH_CLIENT_H
#define BRIQ_TESTS_CRASH_CLIENT_H

#include <libnbd.h>

#include "common/base/prng.h"
#include "tests/crash/support/deeds.h"

#define CLIENT_CONNECTIONS     4u
#define CLIENT_DEPTH           4u
#define CLIENT_REGION_SECTORS  (320u * DEEDS_BLOCK_SECTORS)
#define CLIENT_REGION_STEP     (UINT64_C(4) << 20)
#define CLIENT_REGION_BEGIN    (UINT64_C(1) << 20)
#define CLIENT_VOLUME_BYTES    (UINT64_C(20) << 20)
#define CLIENT_REQUEST_SECTORS 128u
#define CLIENT_SECTORS         ((uint32_t)(CLIENT_VOLUME_BYTES / DEEDS_SECTOR_BYTES))

struct client;

struct request {
    struct client *client;
    bool busy;
    size_t deed;
    uint32_t first, count; /* sectors */
    uint8_t bytes[CLIENT_REQUEST_SECTORS * DEEDS_SECTOR_BYTES];
};

struct connection {
    struct nbd_handle *handle;
    struct request requests[CLIENT_DEPTH];
};

struct client {
    struct deeds *deeds;
    struct briq_prng *prng;
    unsigned flush_one_in; /* requests */
    bool dying;            /* the server is being killed: an error is an answer that never came */
    uint64_t answers;
    struct connection connections[CLIENT_CONNECTIONS];
};

/* Connects all. False when the server is dead. */
bool client_connect(struct client *client, const char *socket) BRIQ_MUST;

/* Reads all regions into the deeds. False when the server is dead or a sector holds nonsense. */
bool client_look(struct client *client) BRIQ_MUST;

/* Keeps all connections busy until `answers` more requests were answered. False when the server
 * died before. An answer that is an error ends the program. */
bool client_work(struct client *client, uint64_t answers) BRIQ_MUST;

/* Takes what the dead server had answered, and closes all. */
void client_finish(struct client *client);

/* Takes the answers that are there, waits for no others, and closes all. A server that is to end
 * does so only when its clients have gone. */
void client_close(struct client *client);

#endif
