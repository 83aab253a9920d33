/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/tunnel.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/align.h"
#include "server/limits.h"

/* Encrypted at a time: a few of the largest records. */
#define SEAL_BYTES ((size_t)4 * BRIQ_TLS_OUT_MIN)
/* What TLS itself may have to say to one record: an alert, or a new key of its own. */
#define ANSWER_BYTES 1024u

/* ---- life ------------------------------------------------------------------------------------ */

static void release(struct briq_recv_buf *buf)
{
    struct briq_tunnel *tunnel = buf->owner;
    buf->next = tunnel->free;
    tunnel->free = buf;
}

int briq_tunnel_open(struct briq_tls_creds *creds, struct briq_out *replies, struct briq_error *err,
                     struct briq_tunnel **ret)
{
    struct briq_out fresh = {.pool = NULL};
    struct briq_tunnel *tunnel = calloc(1, sizeof *tunnel);
    if (tunnel == NULL || briq_out_init(&fresh, replies->pool) < 0) {
        free(tunnel);
        return briq_error_set(err, -ENOMEM, "no memory for TLS");
    }
    int r = briq_tls_open(creds, err, &tunnel->session);
    if (r < 0) {
        briq_out_fini(&fresh);
        free(tunnel);
        return r;
    }
    for (unsigned i = 0; i < TUNNEL_BUFS; i++) {
        tunnel->bufs[i] = (struct briq_recv_buf){.release = release, .owner = tunnel};
        release(&tunnel->bufs[i]);
    }
    BRIQ_ASSERT(replies->bytes == replies->committed);
    tunnel->out = *replies;
    *replies = fresh;
    tunnel->dry = true;
    *ret = tunnel;
    return 0;
}

void briq_tunnel_close(struct briq_tunnel *tunnel)
{
    if (tunnel == NULL)
        return;
    briq_tunnel_drop_input(tunnel);
    briq_out_fini(&tunnel->out);
    briq_tls_close(tunnel->session);
    for (unsigned i = 0; i < TUNNEL_BUFS; i++) {
        BRIQ_ASSERT(tunnel->bufs[i].refs == 0);
        free(tunnel->bufs[i].data);
    }
    free(tunnel);
}

/* ---- input ----------------------------------------------------------------------------------- */

void briq_tunnel_received(struct briq_tunnel *tunnel, struct briq_recv_buf *buf)
{
    briq_in_push(&tunnel->in, buf);
    tunnel->dry = false;
}

void briq_tunnel_drop_input(struct briq_tunnel *tunnel)
{
    (void)briq_in_move(&tunnel->in, NULL, tunnel->in.bytes);
    tunnel->dry = true;
}

bool briq_tunnel_is_dry(const struct briq_tunnel *tunnel)
{
    return tunnel->dry || tunnel->ended || tunnel->broken;
}

static bool has_room(const struct briq_tunnel *tunnel)
{
    return tunnel->out.bytes < TUNNEL_OUT_BYTES_MAX && briq_out_has_pieces(&tunnel->out, 2);
}

static struct briq_tls_in front(const struct briq_tunnel *tunnel)
{
    struct briq_tls_in in = {.at = 0};
    in.data = briq_in_front(&tunnel->in, &in.len);
    return in;
}

/* One step with the bytes at the front. Returns 1: go on; 0: wait; or -errno. */
static int shake(struct briq_tunnel *tunnel, struct briq_error *err)
{
    struct briq_out_slot slot;
    struct briq_tls_in in = front(tunnel);
    if (!briq_out_reserve(&tunnel->out, BRIQ_TLS_OUT_MIN, &slot))
        return briq_error_set(err, -ENOMEM, "no memory for TLS");
    struct briq_tls_out out = {.data = slot.data, .room = slot.len};
    int r = briq_tls_handshake(tunnel->session, &in, &out, err);
    briq_in_take(&tunnel->in, in.at);
    if (out.used > 0)
        briq_out_commit(&tunnel->out, &slot, out.used);
    else
        briq_out_cancel(&tunnel->out, &slot);
    tunnel->shaken = r == 1;
    tunnel->dry = r == 0 && tunnel->in.bytes == 0;
    if (r != 0)
        return r;
    return out.used == out.room || (in.at > 0 && !tunnel->dry);
}

/* Fills the buffer with what comes out, and takes off what went in. Returns 0 or -EPROTO. */
static int fill(struct briq_tunnel *tunnel, struct briq_recv_buf *buf, struct briq_tls_out *out)
{
    ssize_t n = 1;
    while (n > 0 && buf->end < NBD_RECV_BYTES && out->room - out->used >= ANSWER_BYTES) {
        struct briq_tls_in in = front(tunnel);
        n = briq_tls_decrypt(tunnel->session, &in, buf->data + buf->end, NBD_RECV_BYTES - buf->end,
                             out);
        briq_in_take(&tunnel->in, in.at);
        tunnel->dry = n == -EAGAIN && tunnel->in.bytes == 0;
        if (n > 0)
            buf->end += (uint32_t)n;
        else if (n == -EAGAIN && in.at > 0 && !tunnel->dry)
            n = 1; /* the next piece of what was received */
    }
    tunnel->ended = tunnel->ended || n == 0;
    return n == -EPROTO ? -EPROTO : 0;
}

static int decrypt(struct briq_tunnel *tunnel, struct briq_in *plain, struct briq_error *err)
{
    struct briq_recv_buf *buf = tunnel->free;
    struct briq_out_slot slot;
    if (buf->data == NULL)
        buf->data = malloc(NBD_RECV_BYTES);
    if (buf->data == NULL || !briq_out_reserve(&tunnel->out, BRIQ_TLS_OUT_MIN, &slot))
        return briq_error_set(err, -ENOMEM, "no memory for TLS");
    struct briq_tls_out out = {.data = slot.data, .room = slot.len};
    buf->start = buf->end = 0;
    int r = fill(tunnel, buf, &out);
    if (out.used > 0)
        briq_out_commit(&tunnel->out, &slot, out.used);
    else
        briq_out_cancel(&tunnel->out, &slot);
    if (r < 0)
        return briq_error_set(err, r, "TLS: what was received is broken");
    if (buf->end == 0)
        return 0;
    tunnel->free = buf->next;
    buf->refs = 1;
    briq_in_push(plain, buf);
    return 1;
}

int briq_tunnel_decrypt(struct briq_tunnel *tunnel, struct briq_in *plain, struct briq_error *err)
{
    int r = 1;
    while (r == 1 && !tunnel->shaken && !tunnel->broken && has_room(tunnel))
        r = shake(tunnel, err);
    if (tunnel->shaken && !briq_tunnel_is_dry(tunnel) && tunnel->free != NULL && has_room(tunnel))
        r = decrypt(tunnel, plain, err);
    else if (r == 1)
        r = 0;
    if (r < 0)
        tunnel->broken = true;
    return r;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The bytes to be encrypted next; NULL: there are none. */
static struct iovec *next_reply(struct briq_tunnel *tunnel, struct briq_out *replies)
{
    if (tunnel->iov_count == 0)
        tunnel->iov_count = briq_out_gather(replies, tunnel->iov);
    return tunnel->iov_count == 0 ? NULL : &tunnel->iov[tunnel->iov_at];
}

static void let_go(struct briq_tunnel *tunnel, struct briq_out *replies)
{
    tunnel->iov_at = tunnel->iov_count = 0;
    briq_out_sent(replies);
}

/* Replies are let go of with the last bytes of them, not later: what waits for their room goes on when
 * those bytes have been sent, and nothing else will tell it. */
static void reply_taken(struct briq_tunnel *tunnel, struct briq_out *replies, size_t part)
{
    struct iovec *iov = &tunnel->iov[tunnel->iov_at];
    iov->iov_base = (uint8_t *)iov->iov_base + part;
    iov->iov_len -= part;
    tunnel->iov_at += iov->iov_len == 0;
    if (tunnel->iov_at == tunnel->iov_count)
        let_go(tunnel, replies);
}

/* Only whole records are begun, so that none is left half outside. Returns 1 when there may be
 * more to encrypt. */
static int seal(struct briq_tunnel *tunnel, struct briq_out *replies, struct briq_tls_out *out)
{
    struct iovec *iov = NULL;
    while (out->room - out->used >= BRIQ_TLS_OUT_MIN &&
           (iov = next_reply(tunnel, replies)) != NULL) {
        size_t part = briq_min_u64(iov->iov_len, BRIQ_TLS_RECORD_BYTES);
        ssize_t n = briq_tls_encrypt(tunnel->session, iov->iov_base, part, out);
        if (n < 0)
            return (int)n;
        BRIQ_ASSERT((size_t)n == part && !briq_tls_has_rest(tunnel->session));
        reply_taken(tunnel, replies, part);
    }
    return iov != NULL;
}

static int seal_into_slot(struct briq_tunnel *tunnel, struct briq_out *replies, bool last)
{
    struct briq_out_slot slot;
    if (!briq_out_reserve(&tunnel->out, SEAL_BYTES, &slot))
        return -ENOMEM;
    struct briq_tls_out out = {.data = slot.data, .room = slot.len};
    int r = seal(tunnel, replies, &out);
    if (r == 0 && last && !tunnel->bye) { /* there is room: a whole record could have been begun */
        briq_tls_bye(tunnel->session, &out);
        tunnel->bye = true;
    }
    if (out.used > 0)
        briq_out_commit(&tunnel->out, &slot, out.used);
    else
        briq_out_cancel(&tunnel->out, &slot);
    return r;
}

int briq_tunnel_encrypt(struct briq_tunnel *tunnel, struct briq_out *replies, bool last)
{
    int r = 1;
    if (!tunnel->shaken || tunnel->broken)
        return 0;
    if (replies->committed == 0 && (!last || tunnel->bye))
        return 0;
    while (r == 1 && has_room(tunnel))
        r = seal_into_slot(tunnel, replies, last);
    if (r < 0)
        tunnel->broken = true;
    return r < 0 ? r : 0;
}

void briq_tunnel_drop_output(struct briq_tunnel *tunnel, struct briq_out *replies)
{
    let_go(tunnel, replies);
    briq_out_drop(replies);
}
