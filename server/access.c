/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/access.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/account.h"

#define V4_BYTES    4u
#define V6_BYTES    16u
#define MAPPED_BITS 96u

/* ---- rules ----------------------------------------------------------------------------------- */

/* IPv4 inside IPv6 becomes what it stands for. */
static bool unmap(uint8_t address[V6_BYTES])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(address, mapped, sizeof mapped) != 0)
        return false;
    memmove(address, address + sizeof mapped, V4_BYTES);
    return true;
}

static bool has_bits_behind(const uint8_t *address, unsigned bytes, unsigned prefix)
{
    for (unsigned bit = prefix; bit < bytes * 8; bit++)
        if ((address[bit / 8] & 0x80u >> bit % 8) != 0)
            return true;
    return false;
}

/* Digits up to the end; no prefix is the longest one. */
static int parse_prefix(const char *text, unsigned max, unsigned *ret)
{
    char *end;
    *ret = max;
    if (text == NULL)
        return 0;
    if (!isdigit((unsigned char)text[0]) || strlen(text) > 3)
        return -EINVAL;
    unsigned long n = strtoul(text, &end, 10);
    if (*end != '\0' || n > max)
        return -EINVAL;
    *ret = (unsigned)n;
    return 0;
}

static int parse_network(const char *text, struct briq_access_rule *rule, struct briq_error *err)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    rule->kind = BRIQ_ACCESS_NETWORK;
    if (len < sizeof host) {
        memcpy(host, text, len);
        host[len] = '\0';
        rule->bytes = inet_pton(AF_INET, host, rule->address) == 1    ? V4_BYTES
                      : inet_pton(AF_INET6, host, rule->address) == 1 ? V6_BYTES
                                                                      : 0;
    }
    if (rule->bytes == 0 ||
        parse_prefix(slash != NULL ? slash + 1 : NULL, rule->bytes * 8, &rule->prefix) < 0)
        return briq_error_set(err, -EINVAL,
                              "--allow: \"%s\" is not uid:USER, gid:GROUP, unix or ADDRESS/PREFIX",
                              text);
    if (rule->bytes == V6_BYTES && rule->prefix >= MAPPED_BITS && unmap(rule->address)) {
        rule->bytes = V4_BYTES;
        rule->prefix -= MAPPED_BITS;
    }
    if (has_bits_behind(rule->address, rule->bytes, rule->prefix))
        return briq_error_set(err, -EINVAL,
                              "--allow: %s: the address goes on behind its first %u bits: which of "
                              "the two is meant?",
                              text, rule->prefix);
    return 0;
}

static int parse(const char *text, struct briq_access_rule *rule, struct briq_error *err)
{
    *rule = (struct briq_access_rule){.kind = BRIQ_ACCESS_UNIX};
    if (strcmp(text, "unix") == 0)
        return 0;
    if (strncmp(text, "uid:", 4) == 0) {
        rule->kind = BRIQ_ACCESS_UID;
        return briq_account_user("--allow", text + 4, &rule->uid, err);
    }
    if (strncmp(text, "gid:", 4) == 0) {
        rule->kind = BRIQ_ACCESS_GID;
        return briq_account_group("--allow", text + 4, &rule->gid, err);
    }
    return parse_network(text, rule, err);
}

int briq_access_add(struct briq_access *access, const char *text, struct briq_error *err)
{
    if (access->count == BRIQ_ACCESS_RULES_MAX)
        return briq_error_set(err, -E2BIG, "--allow: more than %u rules", BRIQ_ACCESS_RULES_MAX);
    int r = parse(text, &access->rules[access->count], err);
    access->count += r == 0;
    return r;
}

/* ---- clients --------------------------------------------------------------------------------- */

static bool in_network(const struct briq_access_rule *rule, const uint8_t *address, unsigned bytes)
{
    if (rule->kind != BRIQ_ACCESS_NETWORK || rule->bytes != bytes)
        return false;
    unsigned whole = rule->prefix / 8, rest = rule->prefix % 8;
    if (memcmp(rule->address, address, whole) != 0)
        return false;
    return rest == 0 || ((rule->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

bool briq_access_allows_address(const struct briq_access *access,
                                const struct sockaddr_storage *address)
{
    uint8_t raw[V6_BYTES];
    unsigned bytes = 0;
    if (address->ss_family == AF_INET) {
        memcpy(raw, &((const struct sockaddr_in *)address)->sin_addr, V4_BYTES);
        bytes = V4_BYTES;
    } else if (address->ss_family == AF_INET6) {
        memcpy(raw, &((const struct sockaddr_in6 *)address)->sin6_addr, V6_BYTES);
        bytes = unmap(raw) ? V4_BYTES : V6_BYTES;
    }
    for (unsigned i = 0; i < access->count; i++)
        if (in_network(&access->rules[i], raw, bytes))
            return true;
    return access->count == 0;
}

static bool has_group(int fd, const struct ucred *peer, gid_t gid)
{
    gid_t few[64], *groups = few;
    socklen_t len = sizeof few;
    if (peer->gid == gid)
        return true;
    int r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
    if (r < 0 && errno == ERANGE) { /* len says now how much it takes */
        groups = malloc(len);
        r = groups == NULL ? -1 : getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
    }
    bool found = false;
    for (size_t i = 0; r == 0 && i < len / sizeof *groups && !found; i++)
        found = groups[i] == gid;
    if (groups != few)
        free(groups);
    return found;
}

static bool allows_process(const struct briq_access *access, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    for (unsigned i = 0; i < access->count; i++) {
        const struct briq_access_rule *rule = &access->rules[i];
        if (rule->kind == BRIQ_ACCESS_UNIX ||
            (rule->kind == BRIQ_ACCESS_UID && rule->uid == peer.uid) ||
            (rule->kind == BRIQ_ACCESS_GID && has_group(fd, &peer, rule->gid)))
            return true;
    }
    return false;
}

bool briq_access_allows(const struct briq_access *access, int fd)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof address;
    if (access->count == 0)
        return true;
    if (getpeername(fd, (struct sockaddr *)&address, &len) < 0)
        return false;
    if (address.ss_family == AF_UNIX)
        return allows_process(access, fd);
    return briq_access_allows_address(access, &address);
}
