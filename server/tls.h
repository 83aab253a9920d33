/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tls.h - TLS over bytes in memory: what came from the socket goes in, what is to go out comes out.
 *
 * No descriptor is touched here, so an event loop keeps all its I/O to itself. A session is driven
 * by the bytes it is fed; it never blocks. GnuTLS does the cryptography, and whatever it needs to
 * keep between calls (half a record received, a record that did not fit into `out`) it keeps.
 *
 * Credentials are X.509 (a directory with ca-cert.pem, server-cert.pem, server-key.pem and, if some
 * were revoked, ca-crl.pem, as nbdkit and QEMU have it), pre-shared keys (a file of lines
 * USER:HEXKEY, as psktool writes it), or both.
 *
 * A peer may change its keys (TLS 1.3). A second handshake within a session (TLS 1.2) ends it: no
 * NBD client wants one, and who it is must not change on the way.
 *
 * Thread: credentials may be used by any number at the same time; a session belongs to one.
 */
#ifndef BRIQ_SERVER_TLS_H
#define BRIQ_SERVER_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/error.h"

struct briq_tls_creds;
struct briq_tls;

struct briq_tls_options {
    const char *certificates; /* the directory; NULL: no X.509 */
    const char *psk;          /* the file; NULL: no pre-shared keys. One of the two is needed */
    const char *priority;     /* GnuTLS's priority string; NULL: TLS 1.2 and newer, NORMAL */
    bool verify_peer; /* clients must show a certificate signed by ca-cert.pem, or have a key */
};

/* Bytes that wait to be taken in; the session moves `at`. */
struct briq_tls_in {
    const uint8_t *data;
    size_t len, at;
};

/* Where bytes for the socket go: data[used .. room). */
struct briq_tls_out {
    uint8_t *data;
    size_t room, used;
};

#define BRIQ_TLS_RECORD_BYTES 16384u /* plain bytes of one record, at the most */
#define BRIQ_TLS_OUT_MIN      17408u /* `out` with so much room takes any whole record */

/* Reads the files; they are not looked at again. 0 and *ret, or -ENOENT, -EACCES, -EINVAL, -ENOMEM,
 * explained in err with the name of the file. Blocks. */
int briq_tls_creds_open(const struct briq_tls_options *options, struct briq_error *err,
                        struct briq_tls_creds **ret) BRIQ_MUST;
/* No session may use them any more. NULL is accepted. */
void briq_tls_creds_close(struct briq_tls_creds *creds);

/* A server's session that knows nothing yet. 0 and *ret, or -ENOMEM, -EINVAL (explained). */
int briq_tls_open(struct briq_tls_creds *creds, struct briq_error *err,
                  struct briq_tls **ret) BRIQ_MUST;
/* NULL is accepted. */
void briq_tls_close(struct briq_tls *tls);

/*
 * Goes on with the handshake as far as `in` leads. Returns 1: done (and the client is who it must
 * be), 0: more bytes are needed or `out` must be sent first, or -EPROTO, -EACCES (the client's
 * certificate), explained in err; an alert may then be in `out`.
 */
int briq_tls_handshake(struct briq_tls *tls, struct briq_tls_in *in, struct briq_tls_out *out,
                       struct briq_error *err) BRIQ_MUST;

/*
 * Plain bytes of what was received, up to `room`, to `plain`. Returns how many; -EAGAIN: more
 * bytes are needed, all of `in` was taken; 0: the peer has closed the session; -EPROTO: broken or
 * tampered with. `out` is for what TLS itself has to answer.
 */
ssize_t briq_tls_decrypt(struct briq_tls *tls, struct briq_tls_in *in, void *plain, size_t room,
                         struct briq_tls_out *out) BRIQ_MUST;

/*
 * Puts plain bytes into `out` as records. Returns how many of them were taken: fewer than len when
 * `out` is full. When a record did not fit as a whole, call again with the bytes that follow those
 * taken once `out` has room: the rest of the record comes first. -EPROTO: the session is broken.
 */
ssize_t briq_tls_encrypt(struct briq_tls *tls, const void *plain, size_t len,
                         struct briq_tls_out *out) BRIQ_MUST;

/* Whether a record waits for room in `out`, so that encrypt has work though there are no bytes. */
bool briq_tls_has_rest(const struct briq_tls *tls);

/* Tells the peer that nothing will follow. What does not fit into `out` is left out. */
void briq_tls_bye(struct briq_tls *tls, struct briq_tls_out *out);

/* Who the client is, after the handshake: the name of its key, or the subject of its certificate;
 * "" for an anonymous one. Of the session's life. */
const char *briq_tls_peer(const struct briq_tls *tls);

#endif
