/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tunnel.h - TLS between a connection's queues and its socket.
 *
 * What was received goes in as it is and comes out decrypted, in buffers of the tunnel's own; replies
 * are encrypted into a second queue, which is what is sent then. A connection without TLS has no
 * tunnel, and its bytes take no other way because of it.
 *
 * Limits: received bytes wait as those of a plain connection do (NBD_IN_BYTES_MAX); decrypted ones
 * lie in TUNNEL_BUFS buffers; nothing is encrypted while TUNNEL_OUT_BYTES_MAX wait to be sent. What
 * is beyond waits in the kernel's buffers, and so with the client.
 *
 * Thread: the connection's.
 */
#ifndef BRIQ_SERVER_TUNNEL_H
#define BRIQ_SERVER_TUNNEL_H

#include "server/in.h"
#include "server/out.h"
#include "server/tls.h"

#define TUNNEL_BUFS          4u
#define TUNNEL_OUT_BYTES_MAX (256u << 10)

struct briq_tunnel {
    struct briq_out out; /* encrypted: to be sent */
    struct briq_tls *session;
    bool shaken; /* the handshake is done */
    bool ended;  /* the peer has said that nothing follows */
    /* private */
    struct briq_in in; /* received, not decrypted */
    bool dry;          /* all that was received has been decrypted, as far as it goes */
    bool broken;       /* nothing can be encrypted any more */
    bool bye;          /* said, that nothing follows */
    struct briq_recv_buf bufs[TUNNEL_BUFS], *free;
    struct iovec iov[BRIQ_OUT_IOVS]; /* of the replies that are being encrypted */
    unsigned iov_count, iov_at;
};

/*
 * A tunnel whose handshake has yet to come. What waits in `replies`, all of it committed, will be
 * sent first and in the clear, from `out`; `replies` is empty then. 0 and *ret, or -ENOMEM, -EINVAL,
 * explained in err.
 */
int briq_tunnel_open(struct briq_tls_creds *creds, struct briq_out *replies, struct briq_error *err,
                     struct briq_tunnel **ret) BRIQ_MUST;
/* No decrypted buffer may be held any more, and nothing be sent. NULL is accepted. */
void briq_tunnel_close(struct briq_tunnel *tunnel);

/* Takes over a buffer of received bytes. */
void briq_tunnel_received(struct briq_tunnel *tunnel, struct briq_recv_buf *buf);

/* Whether receiving makes sense now. */
static inline bool briq_tunnel_wants_input(const struct briq_tunnel *tunnel)
{
    return tunnel->in.count < 2;
}

/*
 * Goes on with the handshake, then decrypts up to one buffer's worth and puts it into `plain`.
 * Returns 1: there may be more; 0: not now - for want of input, of a buffer, or of room for answers;
 * -EPROTO, -EACCES (not who it must be), explained in err: it is broken. An alert may be in `out`.
 * -ENOMEM.
 */
int briq_tunnel_decrypt(struct briq_tunnel *tunnel, struct briq_in *plain,
                        struct briq_error *err) BRIQ_MUST;

/* Nothing that was received is left to be decrypted. */
bool briq_tunnel_is_dry(const struct briq_tunnel *tunnel);

/*
 * Encrypts replies into `out` as far as there is room. last: nothing will follow, and the peer is
 * told when all is encrypted. 0, -ENOMEM or -EPROTO.
 */
int briq_tunnel_encrypt(struct briq_tunnel *tunnel, struct briq_out *replies, bool last) BRIQ_MUST;

/* Throws away what was received. */
void briq_tunnel_drop_input(struct briq_tunnel *tunnel);
/* Lets go of the replies that are being encrypted. */
void briq_tunnel_drop_output(struct briq_tunnel *tunnel, struct briq_out *replies);

#endif
