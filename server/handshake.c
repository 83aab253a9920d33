/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/handshake.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/align.h"
#include "common/base/utf8.h"
#include "server/limits.h"
#include "server/nbd.h"

#define ALLOCATION      "base:allocation"
#define BASE_NAMESPACE  "base:"
#define ERROR_TEXT_MAX  256
#define OLD_STYLE_ZEROS 124

/* ---- reading an option's payload ------------------------------------------------------------- */

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad; /* it was shorter than it said */
};

struct text {
    const char *bytes;
    uint32_t len;
};

static const uint8_t *read_bytes(struct reader *reader, size_t n)
{
    if (reader->bad || n > reader->left) {
        reader->bad = true;
        return NULL;
    }
    const uint8_t *at = reader->at;
    reader->at += n;
    reader->left -= n;
    return at;
}

static uint16_t read16(struct reader *reader)
{
    const uint8_t *at = read_bytes(reader, 2);
    return at == NULL ? 0 : nbd_get16(at);
}

static uint32_t read32(struct reader *reader)
{
    const uint8_t *at = read_bytes(reader, 4);
    return at == NULL ? 0 : nbd_get32(at);
}

/* A string with its length before it. */
static struct text read_text(struct reader *reader)
{
    struct text text = {.len = read32(reader)};
    if (text.len > NBD_STRING_MAX)
        reader->bad = true;
    text.bytes = (const char *)read_bytes(reader, reader->bad ? 0 : text.len);
    return text;
}

/* ---- replies --------------------------------------------------------------------------------- */

static void put_reply(struct briq_nbd_handshake *hs, uint32_t type, const void *data, size_t len)
{
    uint8_t *p = briq_bytes_add(&hs->out, NBD_OPTION_REPLY_HEAD);
    if (p == NULL)
        return;
    p = nbd_put64(p, NBD_OPTION_REPLY);
    p = nbd_put32(p, hs->option);
    p = nbd_put32(p, type);
    nbd_put32(p, (uint32_t)len);
    briq_bytes_append(&hs->out, data, len);
}

static enum briq_nbd_next ack(struct briq_nbd_handshake *hs)
{
    put_reply(hs, NBD_REP_ACK, NULL, 0);
    return NBD_NEXT_HAGGLE;
}

/* An error with its reason, which newer clients show to people. */
static enum briq_nbd_next BRIQ_PRINTF(3, 4)
    refuse(struct briq_nbd_handshake *hs, uint32_t type, const char *fmt, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    size_t shown = len < 0 ? 0 : briq_min_u64((uint64_t)len, sizeof text - 1);
    briq_utf8_clean(text, shown); /* a client's own bytes may be among it */
    put_reply(hs, type, text, shown);
    return NBD_NEXT_HAGGLE;
}

static enum briq_nbd_next refuse_malformed(struct briq_nbd_handshake *hs)
{
    return refuse(hs, NBD_REP_ERR_INVALID, "option %u is malformed", hs->option);
}

static enum briq_nbd_next refuse_export(struct briq_nbd_handshake *hs, const struct text *name,
                                        int r)
{
    if (r == -ESHUTDOWN)
        return refuse(hs, NBD_REP_ERR_SHUTDOWN, "the server is shutting down");
    if (name->len == 0)
        return refuse(hs, NBD_REP_ERR_UNKNOWN, "there is no default export: name one");
    return refuse(hs, NBD_REP_ERR_UNKNOWN, "unknown export '%.*s'",
                  (int)briq_utf8_clip(name->bytes, name->len, NBD_NAME_SHOWN_MAX), name->bytes);
}

/* ---- exports --------------------------------------------------------------------------------- */

static int find(struct briq_nbd_handshake *hs, const struct text *name,
                struct briq_nbd_export_info *info)
{
    if (name->len > 0 && memchr(name->bytes, '\0', name->len) != NULL)
        return -ENOENT;
    return hs->catalog->find(hs->catalog->opaque, name->bytes, name->len, info);
}

static void release(struct briq_nbd_handshake *hs, struct briq_nbd_export_info *info)
{
    hs->catalog->release(hs->catalog->opaque, info->handle);
}

/* Whether its block status may be asked for. */
static bool has_context(const struct briq_nbd_handshake *hs,
                        const struct briq_nbd_export_info *info)
{
    return hs->session.allocation && hs->session.context_of == info->id;
}

/* A list of contexts makes sense where there is one to list. */
static uint16_t transmission_flags(const struct briq_nbd_handshake *hs,
                                   const struct briq_nbd_export_info *info)
{
    bool lists = hs->session.extended && has_context(hs, info);
    return (uint16_t)(info->flags | NBD_FLAG_HAS_FLAGS |
                      (hs->session.structured ? NBD_FLAG_SEND_DF : 0) |
                      (lists ? NBD_FLAG_BLOCK_STAT_PAYLOAD : 0));
}

static enum briq_nbd_next enter(struct briq_nbd_handshake *hs,
                                const struct briq_nbd_export_info *info)
{
    struct briq_nbd_session *session = &hs->session;
    session->size_bytes = info->size_bytes;
    session->flags = transmission_flags(hs, info);
    session->handle = info->handle;
    session->writer = info->writer;
    session->allocation = has_context(hs, info);
    return NBD_NEXT_TRANSMIT;
}

/* There is no way to say why an export cannot be had, so the connection is closed. */
static enum briq_nbd_next take_export_name(struct briq_nbd_handshake *hs, struct reader *reader)
{
    struct briq_nbd_export_info info;
    struct text name = {.bytes = (const char *)reader->at, .len = (uint32_t)reader->left};
    if (name.len > NBD_STRING_MAX || hs->session.extended || find(hs, &name, &info) < 0)
        return NBD_NEXT_DROP;
    hs->catalog->enter(hs->catalog->opaque, &info);
    uint8_t *p = briq_bytes_add(&hs->out, 10);
    if (p != NULL)
        nbd_put16(nbd_put64(p, info.size_bytes), transmission_flags(hs, &info));
    if (!hs->no_zeroes) {
        uint8_t *zeros = briq_bytes_add(&hs->out, OLD_STYLE_ZEROS);
        if (zeros != NULL)
            memset(zeros, 0, OLD_STYLE_ZEROS);
    }
    return enter(hs, &info);
}

static void put_info_text(struct briq_nbd_handshake *hs, uint16_t type, const char *text)
{
    size_t len = strlen(text);
    uint8_t bytes[2 + NBD_STRING_MAX];
    if (len > NBD_STRING_MAX)
        len = NBD_STRING_MAX;
    memcpy(nbd_put16(bytes, type), text, len);
    put_reply(hs, NBD_REP_INFO, bytes, 2 + len);
}

static void put_info_block_size(struct briq_nbd_handshake *hs)
{
    uint8_t bytes[14], *p = nbd_put16(bytes, NBD_INFO_BLOCK_SIZE);
    p = nbd_put32(p, 1);
    p = nbd_put32(p, BRIQ_BLOCK_BYTES);
    nbd_put32(p, NBD_PAYLOAD_ADVERTISED);
    put_reply(hs, NBD_REP_INFO, bytes, sizeof bytes);
}

static void put_info_export(struct briq_nbd_handshake *hs, const struct briq_nbd_export_info *info)
{
    uint8_t bytes[12], *p = nbd_put16(bytes, NBD_INFO_EXPORT);
    p = nbd_put64(p, info->size_bytes);
    nbd_put16(p, transmission_flags(hs, info));
    put_reply(hs, NBD_REP_INFO, bytes, sizeof bytes);
}

static void put_info(struct briq_nbd_handshake *hs, uint16_t wanted,
                     const struct briq_nbd_export_info *info)
{
    if (wanted == NBD_INFO_NAME)
        put_info_text(hs, wanted, info->name);
    else if (wanted == NBD_INFO_DESCRIPTION)
        put_info_text(hs, wanted, info->description);
    else if (wanted == NBD_INFO_BLOCK_SIZE)
        put_info_block_size(hs);
}

/* Each kind is answered once, however often it was asked for; unknown ones are ignored. */
static void put_infos(struct briq_nbd_handshake *hs, struct reader wanted,
                      const struct briq_nbd_export_info *info)
{
    unsigned given = 0;
    put_info_export(hs, info);
    while (wanted.left > 0) {
        uint16_t type = read16(&wanted);
        if (type <= NBD_INFO_BLOCK_SIZE && (given & 1u << type) == 0)
            put_info(hs, type, info);
        given |= type <= NBD_INFO_BLOCK_SIZE ? 1u << type : 0;
    }
}

static enum briq_nbd_next take_info_or_go(struct briq_nbd_handshake *hs, struct reader *reader)
{
    struct briq_nbd_export_info info;
    struct text name = read_text(reader);
    uint16_t count = read16(reader);
    if (reader->bad || reader->left != 2u * count)
        return refuse_malformed(hs);
    int r = find(hs, &name, &info);
    if (r < 0)
        return refuse_export(hs, &name, r);
    if (hs->option == NBD_OPT_GO)
        hs->catalog->enter(hs->catalog->opaque, &info);
    put_infos(hs, *reader, &info);
    enum briq_nbd_next next = ack(hs);
    if (hs->option == NBD_OPT_GO)
        return enter(hs, &info);
    release(hs, &info);
    return next;
}

static void put_listed(void *opaque, const struct briq_nbd_export_info *info)
{
    struct briq_nbd_handshake *hs = opaque;
    size_t name = strlen(info->name), text = strlen(info->description);
    uint8_t length[4];
    nbd_put32(length, (uint32_t)name);
    put_reply(hs, NBD_REP_SERVER, NULL, 0);
    if (hs->out.failed)
        return;
    nbd_put32(hs->out.data + hs->out.len - 4, (uint32_t)(4 + name + text));
    briq_bytes_append(&hs->out, length, sizeof length);
    briq_bytes_append(&hs->out, info->name, name);
    briq_bytes_append(&hs->out, info->description, text);
}

static enum briq_nbd_next take_list(struct briq_nbd_handshake *hs, struct reader *reader)
{
    if (reader->left != 0)
        return refuse_malformed(hs);
    hs->catalog->each(hs->catalog->opaque, put_listed, hs);
    return ack(hs);
}

/* ---- meta contexts --------------------------------------------------------------------------- */

static bool is_text(const struct text *text, const char *word)
{
    return text->len == strlen(word) && memcmp(text->bytes, word, text->len) == 0;
}

static void put_context(struct briq_nbd_handshake *hs, uint32_t id)
{
    uint8_t bytes[4 + sizeof ALLOCATION - 1];
    memcpy(nbd_put32(bytes, id), ALLOCATION, sizeof ALLOCATION - 1);
    put_reply(hs, NBD_REP_META_CONTEXT, bytes, sizeof bytes);
}

/* Whether our context is among the queries. A list that is empty or has the namespace alone asks
 * what there is. */
static bool wants_allocation(struct reader *reader, uint32_t queries, bool listing)
{
    bool wanted = listing && queries == 0;
    for (uint32_t i = 0; i < queries && !reader->bad; i++) {
        struct text query = read_text(reader);
        if (reader->bad)
            break;
        if (is_text(&query, ALLOCATION) || (listing && is_text(&query, BASE_NAMESPACE)))
            wanted = true;
    }
    return wanted;
}

static enum briq_nbd_next take_meta_context(struct briq_nbd_handshake *hs, struct reader *reader)
{
    bool listing = hs->option == NBD_OPT_LIST_META_CONTEXT;
    struct briq_nbd_export_info info;
    if (!listing)
        hs->session.allocation = false; /* also when this one fails */
    if (!hs->session.structured)
        return refuse(hs, NBD_REP_ERR_INVALID, "structured replies come first");
    struct text name = read_text(reader);
    bool wanted = wants_allocation(reader, read32(reader), listing);
    if (reader->bad || reader->left != 0)
        return refuse_malformed(hs);
    int r = find(hs, &name, &info);
    if (r < 0)
        return refuse_export(hs, &name, r);
    if (wanted)
        put_context(hs, listing ? 0 : NBD_CONTEXT_ID);
    if (wanted && !listing) {
        hs->session.allocation = true;
        hs->session.context_of = info.id;
    }
    release(hs, &info);
    return ack(hs);
}

/* ---- options --------------------------------------------------------------------------------- */

static enum briq_nbd_next take_structured(struct briq_nbd_handshake *hs, struct reader *reader)
{
    if (reader->left != 0)
        return refuse_malformed(hs);
    if (hs->session.extended)
        return refuse(hs, NBD_REP_ERR_EXT_HEADER_REQ, "extended headers were agreed on");
    hs->session.structured = true;
    return ack(hs);
}

static enum briq_nbd_next take_extended(struct briq_nbd_handshake *hs, struct reader *reader)
{
    if (reader->left != 0)
        return refuse_malformed(hs);
    if (hs->session.extended)
        return refuse(hs, NBD_REP_ERR_INVALID, "extended headers were agreed on already");
    hs->session.structured = hs->session.extended = true;
    return ack(hs);
}

static enum briq_nbd_next take_starttls(struct briq_nbd_handshake *hs, struct reader *reader)
{
    if (reader->left != 0)
        return refuse_malformed(hs);
    if (!hs->tls_offered)
        return refuse(hs, NBD_REP_ERR_UNSUP, "this server has no TLS");
    if (!hs->fixed)
        return refuse(hs, NBD_REP_ERR_POLICY, "TLS is for clients of the fixed newstyle handshake");
    if (hs->secured)
        return refuse(hs, NBD_REP_ERR_INVALID, "TLS is in use already");
    /* Whoever was between us and the client may have agreed on all that. */
    hs->session = (struct briq_nbd_session){.handle = NULL};
    hs->secured = true;
    (void)ack(hs);
    return NBD_NEXT_SECURE;
}

static enum briq_nbd_next take_abort(struct briq_nbd_handshake *hs, struct reader *reader)
{
    (void)reader;
    (void)ack(hs);
    return NBD_NEXT_CLOSE;
}

static const struct {
    uint32_t option;
    enum briq_nbd_next (*take)(struct briq_nbd_handshake *hs, struct reader *reader);
} known[] = {
    {NBD_OPT_EXPORT_NAME, take_export_name},
    {NBD_OPT_ABORT, take_abort},
    {NBD_OPT_LIST, take_list},
    {NBD_OPT_STARTTLS, take_starttls},
    {NBD_OPT_INFO, take_info_or_go},
    {NBD_OPT_GO, take_info_or_go},
    {NBD_OPT_STRUCTURED_REPLY, take_structured},
    {NBD_OPT_LIST_META_CONTEXT, take_meta_context},
    {NBD_OPT_SET_META_CONTEXT, take_meta_context},
    {NBD_OPT_EXTENDED_HEADERS, take_extended},
};

/* Old clients, who name their export at once or cannot have TLS, can be told nothing. */
static enum briq_nbd_next refuse_plain(struct briq_nbd_handshake *hs)
{
    if (hs->option == NBD_OPT_EXPORT_NAME || !hs->fixed)
        return NBD_NEXT_DROP;
    return refuse(hs, NBD_REP_ERR_TLS_REQD, "this server talks to clients over TLS alone");
}

static enum briq_nbd_next take_payload(struct briq_nbd_handshake *hs, const uint8_t *bytes)
{
    struct reader reader = {.at = bytes, .left = hs->len};
    hs->want = NBD_WANT_OPTION;
    if (hs->tls_required && !hs->secured && hs->option != NBD_OPT_STARTTLS &&
        hs->option != NBD_OPT_ABORT)
        return refuse_plain(hs);
    for (size_t i = 0; i < BRIQ_COUNT_OF(known); i++)
        if (known[i].option == hs->option)
            return known[i].take(hs, &reader);
    return refuse(hs, NBD_REP_ERR_UNSUP, "option %u is not known here", hs->option);
}

static enum briq_nbd_next take_option(struct briq_nbd_handshake *hs, const uint8_t *bytes)
{
    if (nbd_get64(bytes) != NBD_OPTION_MAGIC || ++hs->options > NBD_OPTIONS_MAX)
        return NBD_NEXT_DROP;
    hs->option = nbd_get32(bytes + 8);
    hs->len = nbd_get32(bytes + 12);
    if (hs->len > NBD_OPTION_BYTES_MAX) {
        (void)refuse(hs, NBD_REP_ERR_TOO_BIG, "option %u of %u bytes", hs->option, hs->len);
        return hs->option == NBD_OPT_EXPORT_NAME ? NBD_NEXT_DROP : NBD_NEXT_CLOSE;
    }
    hs->want = NBD_WANT_PAYLOAD;
    return NBD_NEXT_HAGGLE;
}

static enum briq_nbd_next take_flags(struct briq_nbd_handshake *hs, const uint8_t *bytes)
{
    uint32_t flags = nbd_get32(bytes);
    if ((flags & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) != 0)
        return NBD_NEXT_DROP;
    hs->fixed = (flags & NBD_FLAG_FIXED_NEWSTYLE) != 0;
    hs->no_zeroes = (flags & NBD_FLAG_NO_ZEROES) != 0;
    hs->want = NBD_WANT_OPTION;
    return NBD_NEXT_HAGGLE;
}

void briq_nbd_handshake_begin(struct briq_nbd_handshake *hs, const struct briq_nbd_catalog *catalog)
{
    *hs = (struct briq_nbd_handshake){.catalog = catalog, .want = NBD_WANT_FLAGS};
    uint8_t *p = briq_bytes_add(&hs->out, 18);
    if (p == NULL)
        return;
    p = nbd_put64(p, NBD_MAGIC);
    p = nbd_put64(p, NBD_OPTION_MAGIC);
    nbd_put16(p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

void briq_nbd_handshake_end(struct briq_nbd_handshake *hs)
{
    briq_bytes_fini(&hs->out);
}

size_t briq_nbd_handshake_need(const struct briq_nbd_handshake *hs)
{
    switch (hs->want) {
    case NBD_WANT_FLAGS:
        return 4;
    case NBD_WANT_OPTION:
        return NBD_OPTION_HEADER;
    case NBD_WANT_PAYLOAD:
        return hs->len;
    }
    return 0;
}

enum briq_nbd_next briq_nbd_handshake_take(struct briq_nbd_handshake *hs, const uint8_t *bytes)
{
    enum briq_nbd_next next = NBD_NEXT_DROP;
    switch (hs->want) {
    case NBD_WANT_FLAGS:
        next = take_flags(hs, bytes);
        break;
    case NBD_WANT_OPTION:
        next = take_option(hs, bytes);
        break;
    case NBD_WANT_PAYLOAD:
        next = take_payload(hs, bytes);
        break;
    }
    if (BRIQ_LIKELY(!hs->out.failed))
        return next;
    if (next == NBD_NEXT_TRANSMIT)
        hs->catalog->leave(hs->catalog->opaque, hs->session.handle, hs->session.writer);
    return NBD_NEXT_DROP;
}
