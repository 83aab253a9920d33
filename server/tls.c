/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tls.c - see tls.h. GnuTLS asks for bytes and hands bytes out through two callbacks, which find
 * what the call in hand has to offer in the session.
 */
#include "server/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/align.h"

#define PRIORITY_X509 "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define PRIORITY_PSK  PRIORITY_X509 ":+ECDHE-PSK:+DHE-PSK:+PSK"
#define PEER_NAME_MAX 256

struct briq_tls_creds {
    gnutls_certificate_credentials_t x509;
    gnutls_psk_server_credentials_t psk;
    gnutls_priority_t priority;
    bool verify_peer;
};

struct briq_tls {
    gnutls_session_t session;
    const struct briq_tls_creds *creds;
    struct briq_tls_in *in; /* of the call in hand; NULL between calls */
    struct briq_tls_out *out;
    size_t rest; /* plain bytes of a record that did not fit into `out` as a whole */
    char peer[PEER_NAME_MAX];
};

/* ---- credentials ----------------------------------------------------------------------------- */

static int file_in(const char *dir, const char *name, char **ret, struct briq_error *err)
{
    if (asprintf(ret, "%s/%s", dir, name) < 0) {
        *ret = NULL;
        return briq_error_set(err, -ENOMEM, "no memory for the name of a file in %s", dir);
    }
    if (access(*ret, R_OK) == 0)
        return 0;
    int r = -errno;
    return briq_error_set(err, r, "%s: cannot read it: %s: TLS needs it", *ret, strerror(-r));
}

/* There need not be one. */
static int load_revoked(struct briq_tls_creds *creds, const char *dir, struct briq_error *err)
{
    char *path;
    int r = 0;
    if (asprintf(&path, "%s/ca-crl.pem", dir) < 0)
        return briq_error_set(err, -ENOMEM, "no memory for the name of a file in %s", dir);
    if (access(path, R_OK) < 0 && errno != ENOENT)
        r = briq_error_set(err, -errno, "%s: cannot read it: %s", path, strerror(errno));
    else if (access(path, F_OK) == 0 &&
             gnutls_certificate_set_x509_crl_file(creds->x509, path, GNUTLS_X509_FMT_PEM) <= 0)
        r = briq_error_set(err, -EINVAL, "%s: holds no list of revoked certificates", path);
    free(path);
    return r;
}

static int load_x509(struct briq_tls_creds *creds, const char *dir, struct briq_error *err)
{
    char *ca = NULL, *cert = NULL, *key = NULL;
    int r = file_in(dir, "ca-cert.pem", &ca, err);
    if (r == 0)
        r = file_in(dir, "server-cert.pem", &cert, err);
    if (r == 0)
        r = file_in(dir, "server-key.pem", &key, err);
    if (r == 0 && gnutls_certificate_allocate_credentials(&creds->x509) < 0)
        r = briq_error_set(err, -ENOMEM, "no memory for TLS credentials");
    if (r == 0 && gnutls_certificate_set_x509_trust_file(creds->x509, ca, GNUTLS_X509_FMT_PEM) <= 0)
        r = briq_error_set(err, -EINVAL, "%s: holds no certificate", ca);
    if (r == 0) {
        int g = gnutls_certificate_set_x509_key_file(creds->x509, cert, key, GNUTLS_X509_FMT_PEM);
        if (g < 0)
            r = briq_error_set(err, -EINVAL, "%s: not usable with %s: %s", cert, key,
                               gnutls_strerror(g));
    }
    if (r == 0)
        r = load_revoked(creds, dir, err);
    free(ca);
    free(cert);
    free(key);
    return r;
}

static int load_psk(struct briq_tls_creds *creds, const char *path, struct briq_error *err)
{
    if (access(path, R_OK) < 0) {
        int r = -errno;
        return briq_error_set(err, r, "%s: cannot read the keys: %s", path, strerror(-r));
    }
    if (gnutls_psk_allocate_server_credentials(&creds->psk) < 0)
        return briq_error_set(err, -ENOMEM, "no memory for TLS credentials");
    int g = gnutls_psk_set_server_credentials_file(creds->psk, path);
    if (g < 0)
        return briq_error_set(err, -EINVAL, "%s: not a file of keys: %s", path, gnutls_strerror(g));
    return 0;
}

static int load_priority(struct briq_tls_creds *creds, const char *wanted, struct briq_error *err)
{
    const char *text = wanted != NULL ? wanted : creds->psk != NULL ? PRIORITY_PSK : PRIORITY_X509;
    const char *where = NULL;
    int g = gnutls_priority_init(&creds->priority, text, &where);
    if (g == 0)
        return 0;
    return briq_error_set(err, -EINVAL, "TLS priority '%s' is not understood at '%s'", text,
                          where == NULL ? text : where);
}

static int load(struct briq_tls_creds *creds, const struct briq_tls_options *options,
                struct briq_error *err)
{
    int r = 0;
    if (options->certificates == NULL && options->psk == NULL)
        r = briq_error_set(err, -EINVAL, "TLS needs certificates or a file of keys");
    if (r == 0 && options->verify_peer && options->certificates == NULL)
        r = briq_error_set(err, -EINVAL, "verifying clients needs certificates, not keys");
    if (r == 0 && options->certificates != NULL)
        r = load_x509(creds, options->certificates, err);
    if (r == 0 && options->psk != NULL)
        r = load_psk(creds, options->psk, err);
    if (r == 0)
        r = load_priority(creds, options->priority, err);
    creds->verify_peer = options->verify_peer;
    return r;
}

int briq_tls_creds_open(const struct briq_tls_options *options, struct briq_error *err,
                        struct briq_tls_creds **ret)
{
    struct briq_tls_creds *creds = calloc(1, sizeof *creds);
    if (creds == NULL)
        return briq_error_set(err, -ENOMEM, "no memory for TLS credentials");
    int r = load(creds, options, err);
    if (r < 0) {
        briq_tls_creds_close(creds);
        return r;
    }
    *ret = creds;
    return 0;
}

void briq_tls_creds_close(struct briq_tls_creds *creds)
{
    if (creds == NULL)
        return;
    if (creds->x509 != NULL)
        gnutls_certificate_free_credentials(creds->x509);
    if (creds->psk != NULL)
        gnutls_psk_free_server_credentials(creds->psk);
    if (creds->priority != NULL)
        gnutls_priority_deinit(creds->priority);
    free(creds);
}

/* ---- bytes for GnuTLS ------------------------------------------------------------------------ */

static ssize_t pull(gnutls_transport_ptr_t opaque, void *data, size_t len)
{
    struct briq_tls *tls = opaque;
    struct briq_tls_in *in = tls->in;
    size_t n = in == NULL ? 0 : briq_min_u64(len, in->len - in->at);
    if (n == 0) {
        gnutls_transport_set_errno(tls->session, EAGAIN);
        return -1;
    }
    memcpy(data, in->data + in->at, n);
    in->at += n;
    return (ssize_t)n;
}

static ssize_t push(gnutls_transport_ptr_t opaque, const void *data, size_t len)
{
    struct briq_tls *tls = opaque;
    struct briq_tls_out *out = tls->out;
    size_t n = out == NULL ? 0 : briq_min_u64(len, out->room - out->used);
    if (n == 0) {
        gnutls_transport_set_errno(tls->session, EAGAIN);
        return -1;
    }
    memcpy(out->data + out->used, data, n);
    out->used += n;
    return (ssize_t)n;
}

/* There is always an answer at once; GnuTLS asks only where it has timeouts. */
static int pull_timeout(gnutls_transport_ptr_t opaque, unsigned ms)
{
    struct briq_tls *tls = opaque;
    (void)ms;
    return tls->in != NULL && tls->in->at < tls->in->len;
}

static void lend(struct briq_tls *tls, struct briq_tls_in *in, struct briq_tls_out *out)
{
    tls->in = in;
    tls->out = out;
}

static bool wants_more(long g)
{
    return g == GNUTLS_E_AGAIN || g == GNUTLS_E_INTERRUPTED;
}

/* ---- sessions ------------------------------------------------------------------------------- */

static int set_up(struct briq_tls *tls)
{
    const struct briq_tls_creds *creds = tls->creds;
    int g = gnutls_init(&tls->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (g == 0)
        g = gnutls_priority_set(tls->session, creds->priority);
    if (g == 0 && creds->x509 != NULL)
        g = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, creds->x509);
    if (g == 0 && creds->psk != NULL)
        g = gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, creds->psk);
    if (g < 0)
        return g;
    if (creds->x509 != NULL)
        gnutls_certificate_server_set_request(
            tls->session, creds->verify_peer ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
    gnutls_transport_set_ptr(tls->session, tls);
    gnutls_transport_set_push_function(tls->session, push);
    gnutls_transport_set_pull_function(tls->session, pull);
    gnutls_transport_set_pull_timeout_function(tls->session, pull_timeout);
    gnutls_handshake_set_timeout(tls->session, GNUTLS_INDEFINITE_TIMEOUT); /* the server's own */
    return 0;
}

int briq_tls_open(struct briq_tls_creds *creds, struct briq_error *err, struct briq_tls **ret)
{
    struct briq_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return briq_error_set(err, -ENOMEM, "no memory for a TLS session");
    tls->creds = creds;
    int g = set_up(tls);
    if (g < 0) {
        briq_tls_close(tls);
        return briq_error_set(err, g == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL,
                              "no TLS session: %s", gnutls_strerror(g));
    }
    *ret = tls;
    return 0;
}

void briq_tls_close(struct briq_tls *tls)
{
    if (tls == NULL)
        return;
    if (tls->session != NULL)
        gnutls_deinit(tls->session);
    free(tls);
}

/* ---- handshake ------------------------------------------------------------------------------ */

static void name_from_certificate(struct briq_tls *tls)
{
    unsigned count;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(tls->session, &count);
    gnutls_x509_crt_t cert;
    if (chain == NULL || count == 0 || gnutls_x509_crt_init(&cert) < 0)
        return;
    size_t len = sizeof tls->peer;
    if (gnutls_x509_crt_import(cert, &chain[0], GNUTLS_X509_FMT_DER) < 0 ||
        gnutls_x509_crt_get_dn(cert, tls->peer, &len) < 0)
        tls->peer[0] = '\0';
    gnutls_x509_crt_deinit(cert);
}

static void note_peer(struct briq_tls *tls)
{
    const char *user = gnutls_psk_server_get_username(tls->session);
    if (user != NULL)
        snprintf(tls->peer, sizeof tls->peer, "%s", user);
    else
        name_from_certificate(tls);
}

static int verify_peer(struct briq_tls *tls, struct briq_error *err)
{
    unsigned status = 0;
    if (!tls->creds->verify_peer || gnutls_psk_server_get_username(tls->session) != NULL)
        return 0;
    int g = gnutls_certificate_verify_peers2(tls->session, &status);
    if (g == 0 && status == 0)
        return 0;
    (void)gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
    return briq_error_set(err, -EACCES, "TLS: the client's certificate is not accepted: %s",
                          g < 0 ? gnutls_strerror(g) : "not signed by the authority, or not valid");
}

static int finish_handshake(struct briq_tls *tls, struct briq_error *err)
{
    int r = verify_peer(tls, err);
    if (r < 0)
        return r;
    note_peer(tls);
    return 1;
}

int briq_tls_handshake(struct briq_tls *tls, struct briq_tls_in *in, struct briq_tls_out *out,
                       struct briq_error *err)
{
    int g, r;
    lend(tls, in, out);
    do
        g = gnutls_handshake(tls->session);
    while (g < 0 && !wants_more(g) && gnutls_error_is_fatal(g) == 0);
    if (g == 0) {
        r = finish_handshake(tls, err);
    } else if (wants_more(g)) {
        r = 0;
    } else {
        (void)gnutls_alert_send_appropriate(tls->session, g);
        r = briq_error_set(err, -EPROTO, "TLS handshake: %s", gnutls_strerror(g));
    }
    lend(tls, NULL, NULL);
    return r;
}

/* ---- data ----------------------------------------------------------------------------------- */

ssize_t briq_tls_decrypt(struct briq_tls *tls, struct briq_tls_in *in, void *plain, size_t room,
                         struct briq_tls_out *out)
{
    ssize_t g;
    lend(tls, in, out);
    do
        g = gnutls_record_recv(tls->session, plain, room);
    while (g < 0 && g != GNUTLS_E_AGAIN && gnutls_error_is_fatal((int)g) == 0 &&
           g != GNUTLS_E_REHANDSHAKE);
    lend(tls, NULL, NULL);
    if (g >= 0)
        return g;
    return g == GNUTLS_E_AGAIN ? -EAGAIN : -EPROTO;
}

/* The rest of a record that did not fit. Returns its plain bytes, 0 when it still does not fit. */
static ssize_t send_rest(struct briq_tls *tls)
{
    ssize_t g = gnutls_record_send(tls->session, NULL, 0);
    if (wants_more(g))
        return 0;
    if (g < 0)
        return -EPROTO;
    size_t done = tls->rest;
    tls->rest = 0;
    return (ssize_t)done;
}

static ssize_t send_record(struct briq_tls *tls, const uint8_t *plain, size_t len)
{
    size_t part = briq_min_u64(len, BRIQ_TLS_RECORD_BYTES);
    ssize_t g = gnutls_record_send(tls->session, plain, part);
    if (wants_more(g)) {
        tls->rest = part;
        return 0;
    }
    return g < 0 ? -EPROTO : g;
}

ssize_t briq_tls_encrypt(struct briq_tls *tls, const void *plain, size_t len,
                         struct briq_tls_out *out)
{
    size_t done = 0;
    ssize_t n = 1;
    lend(tls, NULL, out);
    while (n > 0 && (done < len || tls->rest > 0) && out->used < out->room) {
        n = tls->rest > 0 ? send_rest(tls)
                          : send_record(tls, (const uint8_t *)plain + done, len - done);
        if (n > 0)
            done += (size_t)n;
    }
    lend(tls, NULL, NULL);
    return n < 0 ? n : (ssize_t)done;
}

bool briq_tls_has_rest(const struct briq_tls *tls)
{
    return tls->rest > 0;
}

void briq_tls_bye(struct briq_tls *tls, struct briq_tls_out *out)
{
    lend(tls, NULL, out);
    (void)gnutls_bye(tls->session, GNUTLS_SHUT_WR);
    lend(tls, NULL, NULL);
}

const char *briq_tls_peer(const struct briq_tls *tls)
{
    return tls->peer;
}
