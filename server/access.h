/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * access.h - who may connect: a list of rules, of which a client must match one. No rules: everybody.
 *
 *     uid:NAME, uid:N       the process at the other end of a Unix socket has this user
 *     gid:NAME, gid:N       or this group, as its own or among its supplementary ones
 *     unix                  it is at the other end of a Unix socket, whoever it is
 *     ADDRESS[/PREFIX]      its address lies in this network, IPv4 or IPv6; without a prefix it is
 *                           this one. IPv4 inside IPv6 (::ffff:a.b.c.d) is IPv4, in rules and clients
 *
 * The kernel vouches for users and groups as of when the client called connect(), and for addresses
 * as far as the network does.
 *
 * Thread: rules are added before there are clients; asking: any.
 */
#ifndef BRIQ_SERVER_ACCESS_H
#define BRIQ_SERVER_ACCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/error.h"

#define BRIQ_ACCESS_RULES_MAX 64u

struct briq_access_rule {
    enum { BRIQ_ACCESS_UNIX, BRIQ_ACCESS_UID, BRIQ_ACCESS_GID, BRIQ_ACCESS_NETWORK } kind;
    uid_t uid;
    gid_t gid;
    uint8_t address[16]; /* of a network: in network order; IPv4 in the first 4 */
    unsigned bytes;      /* 4 or 16 */
    unsigned prefix;     /* bits */
};

/* Zero-initialised: everybody. */
struct briq_access {
    struct briq_access_rule rules[BRIQ_ACCESS_RULES_MAX];
    unsigned count;
};

/* Adds a rule. 0, or -EINVAL, -ENOENT (no such user or group), -E2BIG, explained in err. Blocks
 * where names are looked up. */
int briq_access_add(struct briq_access *access, const char *text, struct briq_error *err) BRIQ_MUST;

/* Whether the peer of this connected socket may stay. One whose identity cannot be found out may
 * not. */
bool briq_access_allows(const struct briq_access *access, int fd);

/* The same for an address of AF_INET or AF_INET6; any other matches no network. */
bool briq_access_allows_address(const struct briq_access *access,
                                const struct sockaddr_storage *address);

#endif
