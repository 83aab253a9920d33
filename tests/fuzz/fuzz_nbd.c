/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_nbd.c - a whole NBD connection, from the greeting to the end: any bytes, in any pieces, with
 * operations of the store that end at once or later and in any order, and a client that reads its
 * replies or takes its time. No socket, no thread; the exports stay open from one input to the next.
 *
 * Behind the server stands a client (nbd_watch.h) that knows the protocol by itself. What a
 * connection holds is counted all the time, and in the end nothing of it may be left. TLS is all the
 * server's but for the cipher (plain_tls.h): it may be offered, or required, and then what was
 * negotiated already is so behind STARTTLS, perhaps with something in the clear before it.
 *
 *   byte 0: bits 0-2 what was negotiated already (0: nothing; the input is the client's whole stream);
 *           bits 3-4 in what pieces the stream comes; bit 5 operations end later, in any order; bit 6
 *           replies are read late; bit 7 it is cut off in the middle (killed, or drained)
 *   byte 1: a seed for all that; bits 0-2 whether there is TLS, see below
 *   then what the client sends. When something was negotiated these are headers of requests only:
 *   payloads are made up, and each request gets a cookie of its own.
 */
#include "tests/fuzz/support/fuzz.h"

#include <stdlib.h>

#include "common/base/align.h"
#include "common/base/counter.h"
#include "common/base/prng.h"
#include "server/conn.h"
#include "server/nbd.h"
#include "server/reply.h"
#include "tests/fuzz/support/nbd_watch.h"
#include "tests/fuzz/support/plain_tls.h"
#include "tests/fuzz/support/volume.h"

#define DISK_BYTES  ((uint64_t)512 << 10)
#define DISK_SOURCE "mem:512K"
#define STREAM_MAX  ((size_t)1 << 20)
/* A payload that is made up: longer ones end the stream behind their header. */
#define PAYLOAD_MADE_MAX ((size_t)160 << 10)
#define TURNS_MAX        (4u << 20)

/* ---- exports --------------------------------------------------------------------------------- */

static struct {
    struct briq_exports table;
    struct briq_export disk, frozen; /* frozen: read-only */
    struct briq_ctx *disk_ctx, *frozen_ctx;
    uint8_t content[DISK_BYTES];
    struct fuzz_volume *frozen_volume;
    uint8_t *frozen_content;
    struct briq_out_pool pool;
} world;

static void add_export(struct briq_export *export, const char *name, struct briq_store *store,
                       struct briq_ctx **ret_ctx)
{
    export->name = strdup(name);
    export->source = strdup(name);
    export->store = store;
    export->refs = 1;
    briq_list_init(&export->figures);
    export->id = ++world.table.last_id;
    briq_list_push_back(&world.table.list, &export->node);
    world.table.count++;
    BRIQ_ASSERT(export->name != NULL && export->source != NULL);
    BRIQ_ASSERT(briq_ctx_open(store, ret_ctx) == 0);
}

/* Data that compresses, a hole, zeros, data that does not, a hole; the rest once more. */
static void draw_content(void)
{
    struct briq_prng prng = {.state = 7};
    for (size_t at = 0; at < DISK_BYTES; at += sizeof(uint64_t)) {
        uint64_t block = at / BRIQ_BLOCK_BYTES % 64, word = briq_prng_next(&prng);
        if (block < 8)
            word = at / 100;
        else if (block < 20 || block >= 28)
            word = 0;
        memcpy(world.content + at, &word, sizeof word);
    }
}

static void write_content(void)
{
    struct briq_store *store = world.disk.store;
    const uint64_t half = DISK_BYTES / 2, block = BRIQ_BLOCK_BYTES;
    BRIQ_ASSERT(briq_trim(store, DISK_BYTES, 0, 0) == 0);
    for (uint64_t at = 0; at < DISK_BYTES; at += half) {
        BRIQ_ASSERT(briq_write(store, world.content + at, 8 * block, at, 0) == 0);
        BRIQ_ASSERT(briq_zero(store, 4 * block, at + 16 * block, 0) == 0);
        BRIQ_ASSERT(
            briq_write(store, world.content + at + 20 * block, 8 * block, at + 20 * block, 0) == 0);
    }
    while (briq_store_maintain(store) > 0)
        ;
}

static void open_disk(void)
{
    const struct briq_open_options options = {
        .streams = FUZZ_STREAMS, .windows = FUZZ_WINDOWS, .no_windows_file = true};
    struct briq_error err;
    struct briq_store *store;
    BRIQ_ASSERT(briq_store_open(DISK_SOURCE, &options, &err, &store) == 0);
    add_export(&world.disk, "disk", store, &world.disk_ctx);
    draw_content();
    write_content();
}

static void open_frozen(void)
{
    struct briq_store *store;
    world.frozen_volume = fuzz_volume_make(FUZZ_CLEAN);
    BRIQ_ASSERT(fuzz_volume_open(world.frozen_volume->disk, true, NULL, &store) == 0);
    add_export(&world.frozen, "frozen", store, &world.frozen_ctx);
    uint64_t size = briq_store_size(store);
    world.frozen_content = malloc(size);
    BRIQ_ASSERT(world.frozen_content != NULL);
    BRIQ_ASSERT(briq_read(store, world.frozen_content, size, 0) == 0);
}

static void open_world(void)
{
    struct briq_log silent = {0};
    if (world.disk.store != NULL)
        return;
    briq_exports_init(&world.table, &silent);
    open_disk();
    open_frozen();
}

static const uint8_t *content_of(uint64_t size_bytes)
{
    return size_bytes == DISK_BYTES ? world.content : world.frozen_content;
}

/* ---- what the client sends ------------------------------------------------------------------- */

struct stream {
    uint8_t bytes[STREAM_MAX];
    size_t len;
};

static void put(struct stream *s, const void *bytes, size_t len)
{
    BRIQ_ASSERT(len <= STREAM_MAX - s->len);
    if (len > 0)
        memcpy(s->bytes + s->len, bytes, len);
    s->len += len;
}

static void put_option(struct stream *s, uint32_t option, const void *payload, uint32_t len)
{
    uint8_t header[NBD_OPTION_HEADER];
    nbd_put32(nbd_put32(nbd_put64(header, NBD_OPTION_MAGIC), option), len);
    put(s, header, sizeof header);
    put(s, payload, len);
}

/* An export's name with its length, and `tail` behind it. */
static void put_named_option(struct stream *s, uint32_t option, const char *name, const void *tail,
                             size_t tail_len)
{
    uint8_t payload[64];
    uint32_t len = (uint32_t)strlen(name);
    uint8_t *p = nbd_put32(payload, len);
    memcpy(p, name, len);
    memcpy(p + len, tail, tail_len);
    put_option(s, option, payload, (uint32_t)(4 + len + tail_len));
}

/* The negotiations that byte 0 names. */
static const struct {
    bool skipped, structured, extended, contexts, old_style;
    const char *name;
} beginnings[8] = {
    {false, false, false, false, false, NULL},  {true, false, false, false, false, "disk"},
    {true, true, false, false, false, "disk"},  {true, true, false, true, false, "disk"},
    {true, false, true, true, false, "disk"},   {true, false, true, false, false, "disk"},
    {true, true, false, true, false, "frozen"}, {true, true, false, false, true, "disk"},
};

static const uint8_t query[] = "\0\0\0\1\0\0\0\17base:allocation";

/* What a seed says of TLS. */
struct tls {
    bool offered, required;
    bool late; /* the client negotiates something before it asks for it */
};

static struct tls tls_of(unsigned seed)
{
    unsigned how = seed & 7;
    return (struct tls){.offered = how == 1 || how == 2 || how == 4 || how == 6,
                        .required = how == 4 || how == 6,
                        .late = how == 2 || how == 6};
}

/* Up to the hello of TLS, the hello among it. */
static void put_starttls(struct stream *s, const char *name, bool late)
{
    if (late) {
        put_option(s, NBD_OPT_EXTENDED_HEADERS, NULL, 0);
        put_named_option(s, NBD_OPT_SET_META_CONTEXT, name, query, sizeof query - 1);
    }
    put_option(s, NBD_OPT_STARTTLS, NULL, 0);
    put(s, "hello", PLAIN_TLS_HELLO_BYTES);
}

static void put_handshake(struct stream *s, unsigned how, const struct tls *tls)
{
    const uint8_t flags[4] = {0, 0, 0, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES};
    const char *name = beginnings[how].name;
    put(s, flags, sizeof flags);
    if (tls->offered)
        put_starttls(s, name, tls->late);
    if (beginnings[how].structured)
        put_option(s, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
    if (beginnings[how].extended)
        put_option(s, NBD_OPT_EXTENDED_HEADERS, NULL, 0);
    if (beginnings[how].contexts)
        put_named_option(s, NBD_OPT_SET_META_CONTEXT, name, query, sizeof query - 1);
    if (beginnings[how].old_style)
        put_option(s, NBD_OPT_EXPORT_NAME, name, (uint32_t)strlen(name));
    else
        put_named_option(s, NBD_OPT_GO, name, "\0\0", 2);
}

/* A list of contexts, or data of which some blocks are zeros and some are all alike. */
static void put_payload(struct stream *s, const struct fuzz_nbd_request *request)
{
    uint8_t *at = s->bytes + s->len;
    uint64_t len = request->payload;
    BRIQ_ASSERT(len <= STREAM_MAX - s->len);
    for (uint64_t i = 0; i < len; i += 512) {
        uint64_t part = briq_min_u64(512, len - i);
        memset(at + i, (int)(i >> 12 & 3 ? request->cookie + (i >> 13) : 0), part);
    }
    if (request->type == NBD_CMD_BLOCK_STATUS && len >= 8) {
        nbd_put64(at, request->off < DISK_BYTES ? DISK_BYTES - request->off : 1);
        for (uint64_t i = 8; i + 4 <= len && i < 16; i += 4)
            nbd_put32(at + i, NBD_CONTEXT_ID);
    }
    s->len += len;
}

/* False: the stream ends here. */
static bool put_request(struct stream *s, struct fuzz_input *in, bool extended, uint64_t number)
{
    uint8_t header[NBD_EXTENDED_BYTES];
    size_t want = extended ? NBD_EXTENDED_BYTES : NBD_REQUEST_BYTES, len;
    struct fuzz_nbd_request request;
    const uint8_t *from = fuzz_take(in, want, &len);
    if (len > 0)
        memcpy(header, from, len);
    if (len == want)
        nbd_put64(header + 8, number);
    put(s, header, len);
    if (len < want || !fuzz_nbd_request_read(header, extended, &request))
        return false;
    if (request.payload > PAYLOAD_MADE_MAX || request.payload > STREAM_MAX - 4096 - s->len)
        return false;
    put_payload(s, &request);
    return true;
}

static void make_stream(struct stream *s, unsigned how, const struct tls *tls,
                        struct fuzz_input *in)
{
    uint64_t number = 1;
    size_t len;
    s->len = 0;
    if (!beginnings[how].skipped) {
        const uint8_t *bytes = fuzz_take(in, STREAM_MAX, &len);
        put(s, bytes, len);
        return;
    }
    put_handshake(s, how, tls);
    while (in->left > 0 && put_request(s, in, beginnings[how].extended, number))
        number++;
}

/* ---- driving the connection ------------------------------------------------------------------ */

struct drive {
    struct briq_nbd_conn conn;
    struct fuzz_nbd_watch *watch;
    struct briq_prng prng;
    const struct stream *stream;
    unsigned pieces;
    bool later, late;
    bool hasty;    /* does not wait for the answer to STARTTLS */
    bool tunnel;   /* there is one */
    size_t cut_at; /* of the stream; SIZE_MAX: never */
    bool cut, again;
    bool changed;     /* the export */
    unsigned waiting; /* jobs whose operation is to be run */
    struct briq_nbd_job *jobs[NBD_JOBS_MAX];
    struct iovec iov[BRIQ_OUT_IOVS];
    unsigned sending;
};

static struct drive *drive_of(struct briq_nbd_conn *conn)
{
    return BRIQ_CONTAINER_OF(conn, struct drive, conn);
}

static int open_ctx(struct briq_nbd_conn *conn, struct briq_ctx **ret)
{
    *ret = conn->store == world.disk.store ? world.disk_ctx : world.frozen_ctx;
    return 0;
}

static void close_ctx(struct briq_nbd_conn *conn, struct briq_ctx *ctx)
{
    (void)conn;
    (void)ctx;
}

static void wake(struct briq_op *op)
{
    *(bool *)op->user = true;
}

/* Nothing else is under way: what an operation waits for is maintenance. */
static void run_to_end(struct briq_nbd_job *job)
{
    struct briq_store *store = job->conn->store;
    struct briq_op *op = &job->op.op;
    bool woken = false;
    enum briq_step step;
    drive_of(job->conn)->changed |=
        op->kind == BRIQ_OP_WRITE || op->kind == BRIQ_OP_TRIM || op->kind == BRIQ_OP_ZERO;
    op->wake = wake;
    op->user = &woken;
    while ((step = briq_op_step(job->conn->ctx, op)) != BRIQ_STEP_DONE) {
        for (unsigned i = 0; step == BRIQ_STEP_IO && i < op->io_count; i++)
            briq_io_run(store, &op->io[i]);
        while (step == BRIQ_STEP_WAIT && !woken)
            BRIQ_ASSERT(briq_store_maintain(store) > 0);
        woken = false;
    }
}

static bool run_op(struct briq_nbd_job *job)
{
    struct drive *d = drive_of(job->conn);
    if (d->later && briq_prng_below(&d->prng, 4) != 0) {
        d->jobs[d->waiting++] = job;
        return false;
    }
    run_to_end(job);
    return true;
}

static void yield(struct briq_nbd_conn *conn)
{
    drive_of(conn)->again = true;
}

static const struct briq_nbd_host host = {
    .open = open_ctx,
    .close = close_ctx,
    .run = run_op,
    .yield = yield,
};

static void end_some_op(struct drive *d)
{
    uint64_t index = briq_prng_below(&d->prng, d->waiting);
    struct briq_nbd_job *job = d->jobs[index];
    d->jobs[index] = d->jobs[--d->waiting];
    run_to_end(job);
    briq_nbd_job_done(job);
}

static void end_sending(struct drive *d)
{
    for (unsigned i = 0; i < d->sending; i++)
        fuzz_nbd_watch_replies(d->watch, d->iov[i].iov_base, d->iov[i].iov_len);
    d->sending = 0;
    briq_out_sent(d->conn.wire);
    briq_nbd_conn_advance(&d->conn);
}

static void release(struct briq_recv_buf *buf)
{
    free(buf);
}

/* What the client can send now. */
static size_t sendable(const struct drive *d)
{
    size_t end = d->hasty ? d->stream->len : fuzz_nbd_watch_may_give(d->watch);
    return end > d->watch->given ? end - d->watch->given : 0;
}

/* Into memory that ends where it ends, so that nothing beyond is read unnoticed. */
static void receive(struct drive *d)
{
    static const size_t most[] = {NBD_RECV_BYTES, 1000, 100, 12};
    size_t len = briq_min_u64(sendable(d), 1 + briq_prng_below(&d->prng, most[d->pieces]));
    if (d->pieces == 0)
        len = briq_min_u64(sendable(d), NBD_RECV_BYTES);
    if (len == 0) {
        briq_nbd_conn_eof(&d->conn);
        return;
    }
    struct briq_recv_buf *buf = malloc(sizeof *buf + len);
    BRIQ_ASSERT(buf != NULL);
    uint8_t *data = (uint8_t *)(buf + 1);
    memcpy(data, d->stream->bytes + d->watch->given, len);
    *buf =
        (struct briq_recv_buf){.data = data, .end = (uint32_t)len, .refs = 1, .release = release};
    d->watch->given += len;
    briq_nbd_conn_received(&d->conn, buf);
}

static void cut_off(struct drive *d)
{
    d->cut = true;
    if (briq_prng_below(&d->prng, 2) == 0)
        briq_nbd_conn_kill(&d->conn);
    else
        briq_nbd_conn_drain(&d->conn);
}

/* What a connection may hold, as limits.h has it. */
static void expect_limits(const struct drive *d)
{
    const struct briq_nbd_conn *conn = &d->conn;
    BRIQ_ASSERT(conn->in.bytes <= NBD_IN_BYTES_MAX + NBD_RECV_BYTES && conn->in.count <= 2);
    BRIQ_ASSERT(conn->out.bytes <= NBD_OUT_BYTES_MAX + NBD_PAYLOAD_MAX + NBD_CHUNK_HEAD_MAX +
                                       NBD_JOBS_MAX * NBD_REPLY_SMALL_MAX);
    BRIQ_ASSERT(conn->out.held <= NBD_OUT_HELD_MAX + NBD_PAYLOAD_MAX + 3 * NBD_PIECE_BYTES +
                                      NBD_JOBS_MAX * NBD_REPLY_SMALL_MAX);
    BRIQ_ASSERT(conn->out.committed <= conn->out.bytes && conn->out.bytes <= conn->out.held);
    BRIQ_ASSERT(conn->gather_room <= NBD_OPTION_BYTES_MAX);
    BRIQ_ASSERT(conn->jobs_busy <= NBD_JOBS_MAX && d->waiting <= conn->jobs_busy);
    BRIQ_ASSERT(conn->tunnel == NULL ||
                conn->tunnel->out.bytes <= TUNNEL_OUT_BYTES_MAX + 5 * BRIQ_TLS_OUT_MIN);
}

/* When TLS begins nothing may have come behind the option that asks for it. */
static void expect_tunnel(struct drive *d)
{
    const uint8_t *end = d->stream->bytes + d->watch->given;
    if (d->tunnel || d->conn.tunnel == NULL)
        return;
    d->tunnel = true;
    BRIQ_ASSERT(d->watch->given >= 4 + NBD_OPTION_HEADER);
    BRIQ_ASSERT(nbd_get64(end - NBD_OPTION_HEADER) == NBD_OPTION_MAGIC);
    BRIQ_ASSERT(nbd_get64(end - 8) == (uint64_t)NBD_OPT_STARTTLS << 32);
}

/* The socket's side: what can be sent is, at once or when there is nothing else to do. False: there
 * is nothing to send. */
static bool send_some(struct drive *d, bool must)
{
    struct briq_out *out = briq_nbd_conn_outgoing(&d->conn);
    if (d->late && !must && briq_prng_below(&d->prng, 16) != 0)
        return false;
    if (d->sending > 0) {
        end_sending(d);
        return true;
    }
    if (d->conn.dead || out->committed == 0)
        return false;
    d->sending = briq_out_gather(out, d->iov);
    return true;
}

/* One event. False: there is none left. */
static bool turn(struct drive *d)
{
    struct briq_nbd_conn *conn = &d->conn;
    if (!d->cut && d->watch->given >= d->cut_at) {
        cut_off(d);
        return true;
    }
    if (send_some(d, false))
        return true;
    if (d->waiting > 0 && (!briq_nbd_conn_wants_input(conn) || briq_prng_below(&d->prng, 3) == 0)) {
        end_some_op(d);
        return true;
    }
    if (d->again) {
        d->again = false;
        return true;
    }
    bool waits = sendable(d) == 0 && d->watch->given < d->stream->len;
    if (briq_nbd_conn_wants_input(conn) && !waits) {
        receive(d);
        return true;
    }
    return send_some(d, true);
}

static void run_connection(struct drive *d, const struct tls *tls)
{
    BRIQ_ASSERT(briq_nbd_conn_init(&d->conn, &host, &world.table, &world.pool) == 0);
    briq_nbd_conn_secure(&d->conn, tls->offered ? fuzz_plain_tls_creds() : NULL, tls->required);
    unsigned turns = 0;
    do {
        briq_nbd_conn_advance(&d->conn);
        briq_nbd_conn_batch_end(&d->conn, d->late);
        expect_limits(d);
        expect_tunnel(d);
        BRIQ_ASSERT(++turns < TURNS_MAX);
    } while (turn(d));
    BRIQ_ASSERT(briq_nbd_conn_over(&d->conn));
    BRIQ_ASSERT(d->waiting == 0 && d->sending == 0);
    fuzz_nbd_watch_end(d->watch, d->conn.dead, d->cut);
    briq_nbd_conn_fini(&d->conn);
    BRIQ_ASSERT(world.disk.refs == 1 && world.frozen.refs == 1);
    BRIQ_ASSERT(fuzz_plain_tls_sessions() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stream stream;
    static struct fuzz_nbd_watch watch;
    static struct drive d;
    struct fuzz_input in = {data, size};
    unsigned how = (unsigned)fuzz_number(&in, 1), seed = (unsigned)fuzz_number(&in, 1);
    const struct tls tls = tls_of(seed);
    open_world();
    make_stream(&stream, how & 7, &tls, &in);
    fuzz_nbd_watch_begin(&watch, stream.bytes, stream.len, content_of);
    d = (struct drive){
        .watch = &watch,
        .prng = {.state = seed},
        .stream = &stream,
        .pieces = how >> 3 & 3,
        .later = (how & 32) != 0,
        .late = (how & 64) != 0,
        .hasty = (seed & 24) == 24,
        .cut_at = SIZE_MAX,
    };
    if ((how & 128) != 0)
        d.cut_at = briq_prng_below(&d.prng, stream.len + 1);
    run_connection(&d, &tls);
    if (d.changed)
        write_content();
    return 0;
}
