/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handshake.h - the haggling phase of an NBD connection, as bytes in and bytes out.
 *
 * It knows no socket. Whoever drives it sends what was put out, gathers exactly as many bytes as
 * briq_nbd_handshake_need() says (so that nothing of what follows is ever taken early), hands them
 * in, and does what the answer says:
 *
 *     briq_nbd_handshake_begin()               the greeting is put out
 *     while (HAGGLE) gather need() bytes, briq_nbd_handshake_take()
 *     SECURE                                   send what was put out, then everything is TLS; nothing
 *                                              may have been received beyond what was taken
 *     TRANSMIT                                 hs->session is what was agreed on
 *     CLOSE                                    send what was put out, then close
 *     DROP                                     close at once
 *
 * A hostile client costs at most NBD_OPTION_BYTES_MAX of memory and NBD_OPTIONS_MAX options.
 *
 * Thread: the owner of the handshake. Allocates the output and the name of a meta context's export.
 */
#ifndef BRIQ_SERVER_HANDSHAKE_H
#define BRIQ_SERVER_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "server/bytes.h"

/* Payload of one option. More ends the connection: nothing that makes sense is as long. */
#define NBD_OPTION_BYTES_MAX (64u << 10)
/* Options of one connection. */
#define NBD_OPTIONS_MAX     256u
#define NBD_DESCRIPTION_MAX 128u
/* Of a name that a client made up, in what is said of it. */
#define NBD_NAME_SHOWN_MAX 64u
/* Of our one meta context. */
#define NBD_CONTEXT_ID 1u

/* What a client is told of an export. */
struct briq_nbd_export_info {
    const char *name; /* valid while the handle is held, or during the call of emit() */
    char description[NBD_DESCRIPTION_MAX];
    uint64_t size_bytes;
    uint64_t id;    /* of this export and no other of the process; never 0 */
    uint16_t flags; /* transmission flags, without those that depend on what was negotiated */
    void *handle;   /* what find() gave out; for release() */
    bool writer;    /* what enter() gave out with it; for leave() */
};

/* Where exports come from. */
struct briq_nbd_catalog {
    /*
     * The export of that name (len bytes, any), the default one for an empty name. 0 and *ret,
     * which holds the export until release(); -ENOENT: none; -ESHUTDOWN: not now.
     */
    int (*find)(void *opaque, const char *name, size_t len, struct briq_nbd_export_info *ret);
    void (*release)(void *opaque, void *handle);
    /* The client will have the export that find() gave out: the last word on its flags. leave() is
     * release() for such a one. */
    void (*enter)(void *opaque, struct briq_nbd_export_info *info);
    void (*leave)(void *opaque, void *handle, bool writer);
    /* Calls emit for each export; handle is not held. */
    void (*each)(void *opaque, void (*emit)(void *, const struct briq_nbd_export_info *),
                 void *emit_opaque);
    void *opaque;
};

/* What was agreed on. */
struct briq_nbd_session {
    bool structured; /* replies; extended implies it */
    bool extended;   /* headers */
    bool allocation; /* base:allocation may be asked for, of the export with id context_of */
    uint64_t context_of;
    uint64_t size_bytes; /* when it was opened */
    uint16_t flags;      /* as sent */
    void *handle;        /* the export, held; NULL before TRANSMIT */
    bool writer;         /* for leave() */
};

enum briq_nbd_next {
    NBD_NEXT_HAGGLE,
    NBD_NEXT_SECURE, /* and then go on as for HAGGLE */
    NBD_NEXT_TRANSMIT,
    NBD_NEXT_CLOSE,
    NBD_NEXT_DROP,
};

struct briq_nbd_handshake {
    const struct briq_nbd_catalog *catalog;
    struct briq_nbd_session session;
    struct briq_bytes out; /* to be sent; the driver empties it */
    /* The driver's, set after begin: whether TLS can be had, and whether nothing goes without. */
    bool tls_offered, tls_required;
    /* private */
    bool secured; /* TLS is in use */
    enum { NBD_WANT_FLAGS, NBD_WANT_OPTION, NBD_WANT_PAYLOAD } want;
    bool fixed, no_zeroes;
    uint32_t option, len; /* the one whose payload is wanted */
    unsigned options;     /* so far */
};

/* Starts, and puts the greeting out. catalog must outlive the handshake. */
void briq_nbd_handshake_begin(struct briq_nbd_handshake *hs,
                              const struct briq_nbd_catalog *catalog);

/* Frees what it holds but for session.handle, which is the caller's after TRANSMIT. Zeroed: fine.
 */
void briq_nbd_handshake_end(struct briq_nbd_handshake *hs);

/* How many bytes the next take() wants: 0 to NBD_OPTION_BYTES_MAX. */
size_t briq_nbd_handshake_need(const struct briq_nbd_handshake *hs);

/* Takes exactly that many. */
enum briq_nbd_next briq_nbd_handshake_take(struct briq_nbd_handshake *hs,
                                           const uint8_t *bytes) BRIQ_MUST;

#endif
