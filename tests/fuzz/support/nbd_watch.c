/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/support/nbd_watch.h"

#include <string.h>

#include "common/base/attr.h"
#include "server/limits.h"
#include "server/nbd.h"
#include "tests/fuzz/support/plain_tls.h"

#define GREETING_BYTES     18u
#define CLIENT_FLAGS_BYTES 4u

void fuzz_nbd_watch_begin(struct fuzz_nbd_watch *w, const uint8_t *stream, size_t size,
                          const uint8_t *(*content)(uint64_t size_bytes))
{
    memset(w, 0, offsetof(struct fuzz_nbd_watch, requests));
    w->replies_len = 0;
    w->stream = stream;
    w->size = size;
    w->content = content;
}

/* ---- what the client sends ------------------------------------------------------------------- */

bool fuzz_nbd_request_read(const uint8_t *header, bool extended, struct fuzz_nbd_request *ret)
{
    if (nbd_get32(header) != (extended ? NBD_EXTENDED_REQUEST : NBD_REQUEST_MAGIC))
        return false;
    *ret = (struct fuzz_nbd_request){
        .flags = nbd_get16(header + 4),
        .type = nbd_get16(header + 6),
        .cookie = nbd_get64(header + 8),
        .off = nbd_get64(header + 16),
        .len = extended ? nbd_get64(header + 24) : nbd_get32(header + 24),
    };
    bool told = extended && (ret->flags & NBD_CMD_FLAG_PAYLOAD_LEN) != 0;
    ret->payload = ret->type == NBD_CMD_WRITE || told ? ret->len : 0;
    return true;
}

static void note_request(struct fuzz_nbd_watch *w, const struct fuzz_nbd_request *request)
{
    for (unsigned i = 0; i < w->request_count; i++)
        if (w->requests[i].cookie == request->cookie)
            w->ambiguous = true;
    if (w->request_count == FUZZ_NBD_REQUESTS_MAX)
        w->ambiguous = true;
    else
        w->requests[w->request_count++] = *request;
}

/* The next request at w->at. False: there is none, or none any more. */
static bool read_request(struct fuzz_nbd_watch *w)
{
    size_t header = w->extended ? NBD_EXTENDED_BYTES : NBD_REQUEST_BYTES;
    size_t left = w->size - w->at;
    struct fuzz_nbd_request request;
    if (left < header)
        return false;
    if (!fuzz_nbd_request_read(w->stream + w->at, w->extended, &request) ||
        request.payload > NBD_PAYLOAD_MAX) {
        w->lost = true;
        return false;
    }
    /* Also of a write that never comes whole a part may be written. */
    w->changes |= request.type == NBD_CMD_WRITE || request.type == NBD_CMD_TRIM ||
                  request.type == NBD_CMD_WRITE_ZEROES;
    if (request.type == NBD_CMD_DISC || request.payload > left - header)
        return false;
    w->at += header + request.payload;
    request.end = w->at;
    note_request(w, &request);
    return true;
}

static void enter_transmission(struct fuzz_nbd_watch *w)
{
    w->transmission = true;
    while (read_request(w))
        ;
    w->bytes = w->changes ? NULL : w->content(w->size_bytes);
}

/* ---- handshake ------------------------------------------------------------------------------- */

/* How long its message is that begins the replies; 0: too little has come. */
static size_t greeting(struct fuzz_nbd_watch *w)
{
    if (w->replies_len < GREETING_BYTES)
        return 0;
    BRIQ_ASSERT(nbd_get64(w->replies) == NBD_MAGIC);
    BRIQ_ASSERT(nbd_get64(w->replies + 8) == NBD_OPTION_MAGIC);
    BRIQ_ASSERT(nbd_get16(w->replies + 16) == (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
    w->greeted = true;
    w->at = CLIENT_FLAGS_BYTES;
    return GREETING_BYTES;
}

/* The header of the option that is to be answered next: it must have come. */
static const uint8_t *option_asked(const struct fuzz_nbd_watch *w)
{
    BRIQ_ASSERT(w->given >= w->at + NBD_OPTION_HEADER);
    const uint8_t *header = w->stream + w->at;
    BRIQ_ASSERT(nbd_get64(header) == NBD_OPTION_MAGIC);
    return header;
}

static void option_ends(struct fuzz_nbd_watch *w, uint32_t option, uint32_t len, bool well)
{
    w->at += (size_t)NBD_OPTION_HEADER + len;
    if (w->at > w->given) {
        BRIQ_ASSERT(!well); /* it was answered without its payload: too long, and the end */
        w->closing = true;
        return;
    }
    w->closing |= option == NBD_OPT_ABORT;
    if (well && option == NBD_OPT_STARTTLS) {
        BRIQ_ASSERT(!w->secured && len == 0);
        BRIQ_ASSERT((nbd_get32(w->stream) & NBD_FLAG_FIXED_NEWSTYLE) != 0);
        w->secured = w->shaking = true;
        w->structured = w->extended = false;
    }
    w->extended |= well && option == NBD_OPT_EXTENDED_HEADERS;
    w->structured |= w->extended || (well && option == NBD_OPT_STRUCTURED_REPLY);
    if (well && option == NBD_OPT_GO)
        enter_transmission(w);
}

/* The end of the handshake of TLS: a welcome, or an alert and nothing more. */
static size_t handshake_reply(struct fuzz_nbd_watch *w)
{
    BRIQ_ASSERT(w->given >= w->at + PLAIN_TLS_HELLO_BYTES);
    bool bad = w->stream[w->at] == PLAIN_TLS_BAD;
    const char *want = bad ? PLAIN_TLS_ALERT : PLAIN_TLS_WELCOME;
    if (w->replies_len < strlen(want))
        return 0;
    BRIQ_ASSERT(memcmp(w->replies, want, strlen(want)) == 0);
    w->at += PLAIN_TLS_HELLO_BYTES;
    w->shaking = false;
    w->closing = bad;
    return strlen(want);
}

/* The reply to EXPORT_NAME has no header. */
static size_t old_style_reply(struct fuzz_nbd_watch *w, uint32_t len)
{
    bool no_zeroes = (nbd_get32(w->stream) & NBD_FLAG_NO_ZEROES) != 0;
    size_t want = no_zeroes ? 10 : 10 + 124;
    if (w->replies_len < want)
        return 0;
    BRIQ_ASSERT(!w->extended);
    w->size_bytes = nbd_get64(w->replies);
    w->at += (size_t)NBD_OPTION_HEADER + len;
    BRIQ_ASSERT(w->at <= w->given);
    enter_transmission(w);
    return want;
}

static void note_info(struct fuzz_nbd_watch *w, const uint8_t *data, uint32_t len)
{
    BRIQ_ASSERT(len >= 2);
    if (nbd_get16(data) == NBD_INFO_EXPORT) {
        BRIQ_ASSERT(len == 12);
        w->size_bytes = nbd_get64(data + 2);
    }
}

static size_t option_reply(struct fuzz_nbd_watch *w)
{
    BRIQ_ASSERT(!w->closing);
    const uint8_t *asked = option_asked(w), *reply = w->replies;
    uint32_t option = nbd_get32(asked + 8), asked_len = nbd_get32(asked + 12);
    if (option == NBD_OPT_EXPORT_NAME)
        return old_style_reply(w, asked_len);
    if (w->replies_len < NBD_OPTION_REPLY_HEAD)
        return 0;
    uint32_t type = nbd_get32(reply + 12), len = nbd_get32(reply + 16);
    BRIQ_ASSERT(nbd_get64(reply) == NBD_OPTION_REPLY && nbd_get32(reply + 8) == option);
    BRIQ_ASSERT(len <= 2 + NBD_STRING_MAX + 4);
    if (w->replies_len < NBD_OPTION_REPLY_HEAD + len)
        return 0;
    if (type == NBD_REP_INFO)
        note_info(w, reply + NBD_OPTION_REPLY_HEAD, len);
    BRIQ_ASSERT(type != NBD_REP_ACK || len == 0);
    if (type == NBD_REP_ACK || (type & NBD_REP_ERROR) != 0)
        option_ends(w, option, asked_len, type == NBD_REP_ACK);
    return NBD_OPTION_REPLY_HEAD + len;
}

/* ---- transmission ---------------------------------------------------------------------------- */

static struct fuzz_nbd_request *request_of(struct fuzz_nbd_watch *w, uint64_t cookie)
{
    for (unsigned i = 0; i < w->request_count; i++) {
        struct fuzz_nbd_request *request = &w->requests[i];
        if (request->cookie == cookie && !request->answered) {
            BRIQ_ASSERT(request->end <= w->given);
            return request;
        }
    }
    BRIQ_ASSERT(!"a reply that nobody asked for");
    return NULL;
}

static void expect_inside(const struct fuzz_nbd_request *request, uint64_t off, uint64_t len)
{
    BRIQ_ASSERT(len > 0 || request->len == 0);
    BRIQ_ASSERT(off >= request->off && len <= request->len &&
                off - request->off <= request->len - len);
}

static void expect_data(const struct fuzz_nbd_watch *w, uint64_t off, const uint8_t *data,
                        uint64_t len)
{
    BRIQ_ASSERT(off + len <= w->size_bytes);
    BRIQ_ASSERT(w->bytes == NULL || len == 0 || memcmp(w->bytes + off, data, len) == 0);
}

static void expect_zeros(const struct fuzz_nbd_watch *w, uint64_t off, uint64_t len)
{
    BRIQ_ASSERT(off + len <= w->size_bytes);
    for (uint64_t i = 0; w->bytes != NULL && i < len; i++)
        BRIQ_ASSERT(w->bytes[off + i] == 0);
}

static size_t simple_reply(struct fuzz_nbd_watch *w)
{
    if (w->replies_len < NBD_SIMPLE_REPLY_BYTES)
        return 0;
    uint32_t error = nbd_get32(w->replies + 4);
    struct fuzz_nbd_request *request = request_of(w, nbd_get64(w->replies + 8));
    bool read = request->type == NBD_CMD_READ;
    BRIQ_ASSERT(!w->extended && !(read && w->structured));
    uint64_t len = read && error == 0 ? request->len : 0;
    if (w->replies_len < NBD_SIMPLE_REPLY_BYTES + len)
        return 0;
    expect_data(w, len > 0 ? request->off : 0, w->replies + NBD_SIMPLE_REPLY_BYTES, len);
    request->answered = true;
    return NBD_SIMPLE_REPLY_BYTES + len;
}

static void data_chunk(struct fuzz_nbd_watch *w, struct fuzz_nbd_request *request,
                       const uint8_t *data, uint64_t len)
{
    BRIQ_ASSERT(request->type == NBD_CMD_READ && len >= 8);
    uint64_t off = nbd_get64(data);
    expect_inside(request, off, len - 8);
    expect_data(w, off, data + 8, len - 8);
    request->told += len - 8;
    request->contents++;
}

static void hole_chunk(struct fuzz_nbd_watch *w, struct fuzz_nbd_request *request,
                       const uint8_t *data, uint64_t len)
{
    BRIQ_ASSERT(request->type == NBD_CMD_READ && len == 12);
    uint64_t off = nbd_get64(data);
    uint32_t count = nbd_get32(data + 8);
    BRIQ_ASSERT(count > 0);
    expect_inside(request, off, count);
    expect_zeros(w, off, count);
    request->told += count;
    request->contents++;
}

static void status_chunk(struct fuzz_nbd_watch *w, struct fuzz_nbd_request *request,
                         const uint8_t *data, uint64_t len)
{
    uint64_t head = w->extended ? 8 : 4, each = w->extended ? 16 : 8, sum = 0;
    BRIQ_ASSERT(request->type == NBD_CMD_BLOCK_STATUS && request->contents++ == 0);
    BRIQ_ASSERT(len >= head + each && (len - head) % each == 0);
    BRIQ_ASSERT(!w->extended || nbd_get32(data + 4) == (len - head) / each);
    for (uint64_t at = head; at < len; at += each) {
        uint64_t extent = w->extended ? nbd_get64(data + at) : nbd_get32(data + at);
        BRIQ_ASSERT(extent > 0);
        sum += extent;
    }
    BRIQ_ASSERT(sum <= w->size_bytes);
    BRIQ_ASSERT(request->payload > 0 || sum <= request->len);
    BRIQ_ASSERT((request->flags & NBD_CMD_FLAG_REQ_ONE) == 0 || len == head + each);
}

static void error_chunk(struct fuzz_nbd_request *request, const uint8_t *data, uint64_t len)
{
    BRIQ_ASSERT(len >= 6 && len == 6u + nbd_get16(data + 4));
    BRIQ_ASSERT(nbd_get32(data) != 0);
    request->failed = true;
}

static void take_chunk(struct fuzz_nbd_watch *w, struct fuzz_nbd_request *request, uint16_t type,
                       const uint8_t *data, uint64_t len)
{
    switch (type) {
    case NBD_REPLY_NONE:
        BRIQ_ASSERT(len == 0);
        return;
    case NBD_REPLY_OFFSET_DATA:
        data_chunk(w, request, data, len);
        return;
    case NBD_REPLY_OFFSET_HOLE:
        hole_chunk(w, request, data, len);
        return;
    case NBD_REPLY_BLOCK_STATUS:
    case NBD_REPLY_BLOCK_STATUS_EXT:
        BRIQ_ASSERT((type == NBD_REPLY_BLOCK_STATUS_EXT) == w->extended);
        status_chunk(w, request, data, len);
        return;
    default:
        BRIQ_ASSERT(type == NBD_REPLY_ERROR || type == NBD_REPLY_ERROR_OFFSET);
        error_chunk(request, data, len);
    }
}

static void last_chunk(struct fuzz_nbd_request *request)
{
    bool read = request->type == NBD_CMD_READ;
    BRIQ_ASSERT(!read || request->failed || request->told == request->len);
    BRIQ_ASSERT((request->flags & NBD_CMD_FLAG_DF) == 0 || request->contents <= 1);
    request->answered = true;
}

static size_t chunk(struct fuzz_nbd_watch *w)
{
    const uint8_t *p = w->replies;
    size_t head = w->extended ? NBD_EXTENDED_BYTES : NBD_CHUNK_BYTES;
    if (w->replies_len < head)
        return 0;
    uint64_t len = w->extended ? nbd_get64(p + 24) : nbd_get32(p + 16);
    BRIQ_ASSERT(w->structured && len <= NBD_PAYLOAD_ADVERTISED + 8);
    if (w->replies_len - head < len)
        return 0;
    struct fuzz_nbd_request *request = request_of(w, nbd_get64(p + 8));
    uint16_t flags = nbd_get16(p + 4);
    BRIQ_ASSERT((flags & ~NBD_REPLY_FLAG_DONE) == 0);
    BRIQ_ASSERT(!w->extended || nbd_get64(p + 16) == request->off);
    take_chunk(w, request, nbd_get16(p + 6), p + head, len);
    if ((flags & NBD_REPLY_FLAG_DONE) != 0)
        last_chunk(request);
    return head + len;
}

static size_t transmission_reply(struct fuzz_nbd_watch *w)
{
    if (w->ambiguous)
        return w->replies_len;
    if (w->replies_len < 4)
        return 0;
    uint32_t magic = nbd_get32(w->replies);
    if (magic == NBD_SIMPLE_REPLY)
        return simple_reply(w);
    BRIQ_ASSERT(magic == (w->extended ? NBD_EXTENDED_REPLY : NBD_STRUCTURED_REPLY));
    return chunk(w);
}

/* ---- both ------------------------------------------------------------------------------------ */

static size_t next_reply(struct fuzz_nbd_watch *w)
{
    if (!w->greeted)
        return greeting(w);
    if (w->shaking)
        return handshake_reply(w);
    return w->transmission ? transmission_reply(w) : option_reply(w);
}

void fuzz_nbd_watch_replies(struct fuzz_nbd_watch *w, const uint8_t *bytes, size_t len)
{
    size_t taken;
    BRIQ_ASSERT(len <= FUZZ_NBD_REPLIES_MAX - w->replies_len);
    memcpy(w->replies + w->replies_len, bytes, len);
    w->replies_len += len;
    while (w->replies_len > 0 && (taken = next_reply(w)) > 0) {
        w->replies_len -= taken;
        memmove(w->replies, w->replies + taken, w->replies_len);
    }
}

size_t fuzz_nbd_watch_may_give(const struct fuzz_nbd_watch *w)
{
    size_t at = w->at > CLIENT_FLAGS_BYTES ? w->at : CLIENT_FLAGS_BYTES;
    if (w->transmission || w->shaking || w->secured)
        return w->size;
    while (at <= w->size && w->size - at >= NBD_OPTION_HEADER) {
        uint32_t option = nbd_get32(w->stream + at + 8), len = nbd_get32(w->stream + at + 12);
        at += (size_t)NBD_OPTION_HEADER + len;
        if (option == NBD_OPT_STARTTLS && at <= w->size)
            return at;
    }
    return w->size;
}

/* An option came as a whole, and the one before it did not end the session. */
static bool option_waits(const struct fuzz_nbd_watch *w)
{
    if (w->transmission || w->closing || w->shaking || w->given < w->at + NBD_OPTION_HEADER)
        return false;
    return w->given - w->at - NBD_OPTION_HEADER >= nbd_get32(w->stream + w->at + 12);
}

void fuzz_nbd_watch_end(struct fuzz_nbd_watch *w, bool dead, bool cut)
{
    if (w->transmission && dead)
        BRIQ_ASSERT(cut || w->lost);
    if (dead || cut || w->ambiguous)
        return;
    BRIQ_ASSERT(w->greeted && w->replies_len == 0);
    BRIQ_ASSERT(!option_waits(w));
    for (unsigned i = 0; i < w->request_count; i++)
        BRIQ_ASSERT(w->requests[i].answered || w->requests[i].end > w->given);
}
