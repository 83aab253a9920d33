/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TLS sessions of the server against GnuTLS's own client, over two pieces of memory: bytes come
 * in any portions, and room for answers may be small.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/align.h"
#include "server/tls.h"
#include "server/tunnel.h"
#include "tests/lib/temp_dir.h"

#define PIPE_BYTES (1u << 20)

/* Bytes on their way from one end to the other. */
struct pipe_bytes {
    uint8_t data[PIPE_BYTES];
    size_t at, end;
};

struct ends {
    struct test_dir dir;
    struct briq_tls_creds *creds;
    struct briq_tls *tls;
    gnutls_session_t client;
    gnutls_certificate_credentials_t x509;
    gnutls_psk_client_credentials_t psk;
    struct pipe_bytes up, down; /* to the server, to the client */
    size_t portion;             /* bytes the server is given, and room it has, at a time */
};

/* ---- certificates --------------------------------------------------------------------------- */

static void write_file(const struct test_dir *dir, const char *name, const void *data, size_t len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir->path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static gnutls_x509_privkey_t new_key(void)
{
    gnutls_x509_privkey_t key;
    assert_int_equal(gnutls_x509_privkey_init(&key), 0);
    assert_int_equal(gnutls_x509_privkey_generate(
                         key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
                     0);
    return key;
}

/* Signed by itself where there is no authority. */
static gnutls_x509_crt_t new_certificate(const char *name, gnutls_x509_privkey_t key,
                                         gnutls_x509_crt_t ca, gnutls_x509_privkey_t ca_key)
{
    gnutls_x509_crt_t cert;
    time_t now = time(NULL);
    uint8_t serial = (uint8_t)name[0];
    assert_int_equal(gnutls_x509_crt_init(&cert), 0);
    assert_int_equal(gnutls_x509_crt_set_version(cert, 3), 0);
    assert_int_equal(gnutls_x509_crt_set_serial(cert, &serial, 1), 0);
    assert_int_equal(gnutls_x509_crt_set_activation_time(cert, now - 3600), 0);
    assert_int_equal(gnutls_x509_crt_set_expiration_time(cert, now + 3600), 0);
    assert_int_equal(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                                   (unsigned)strlen(name)),
                     0);
    assert_int_equal(gnutls_x509_crt_set_key(cert, key), 0);
    assert_int_equal(gnutls_x509_crt_set_ca_status(cert, ca == NULL), 0);
    if (ca == NULL)
        assert_int_equal(gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_KEY_CERT_SIGN), 0);
    assert_int_equal(gnutls_x509_crt_sign2(cert, ca == NULL ? cert : ca, ca == NULL ? key : ca_key,
                                           GNUTLS_DIG_SHA256, 0),
                     0);
    return cert;
}

static void save_certificate(struct test_dir *dir, const char *name, gnutls_x509_crt_t cert)
{
    gnutls_datum_t pem;
    assert_int_equal(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem), 0);
    write_file(dir, name, pem.data, pem.size);
    gnutls_free(pem.data);
}

static void save_key(struct test_dir *dir, const char *name, gnutls_x509_privkey_t key)
{
    gnutls_datum_t pem;
    assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
    write_file(dir, name, pem.data, pem.size);
    gnutls_free(pem.data);
}

/* An authority, a server, a client, and the keys of two users. */
static void make_credentials(struct test_dir *dir)
{
    gnutls_x509_privkey_t ca_key = new_key();
    gnutls_x509_crt_t ca = new_certificate("authority", ca_key, NULL, NULL);
    save_certificate(dir, "ca-cert.pem", ca);
    for (unsigned i = 0; i < 2; i++) {
        char name[32];
        gnutls_x509_privkey_t key = new_key();
        gnutls_x509_crt_t cert = new_certificate(i == 0 ? "server" : "client", key, ca, ca_key);
        snprintf(name, sizeof name, "%s-cert.pem", i == 0 ? "server" : "client");
        save_certificate(dir, name, cert);
        snprintf(name, sizeof name, "%s-key.pem", i == 0 ? "server" : "client");
        save_key(dir, name, key);
        gnutls_x509_crt_deinit(cert);
        gnutls_x509_privkey_deinit(key);
    }
    gnutls_x509_crt_deinit(ca);
    gnutls_x509_privkey_deinit(ca_key);
    static const char keys[] = "anna:00112233445566778899aabbccddeeff\n"
                               "bert:ffeeddccbbaa99887766554433221100\n";
    write_file(dir, "keys.psk", keys, strlen(keys));
}

/* ---- the two ends ---------------------------------------------------------------------------- */

static ssize_t client_push(gnutls_transport_ptr_t opaque, const void *data, size_t len)
{
    struct ends *e = opaque;
    assert_true(e->up.end + len <= PIPE_BYTES);
    memcpy(e->up.data + e->up.end, data, len);
    e->up.end += len;
    return (ssize_t)len;
}

static ssize_t client_pull(gnutls_transport_ptr_t opaque, void *data, size_t len)
{
    struct ends *e = opaque;
    size_t n = briq_min_u64(len, e->down.end - e->down.at);
    if (n == 0) {
        gnutls_transport_set_errno(e->client, EAGAIN);
        return -1;
    }
    memcpy(data, e->down.data + e->down.at, n);
    e->down.at += n;
    return (ssize_t)n;
}

static int client_pull_timeout(gnutls_transport_ptr_t opaque, unsigned ms)
{
    struct ends *e = opaque;
    (void)ms;
    return e->down.end > e->down.at;
}

static void client_open(struct ends *e, const char *priority)
{
    assert_int_equal(gnutls_init(&e->client, GNUTLS_CLIENT | GNUTLS_NONBLOCK), 0);
    assert_int_equal(gnutls_priority_set_direct(e->client, priority, NULL), 0);
    gnutls_transport_set_ptr(e->client, e);
    gnutls_transport_set_push_function(e->client, client_push);
    gnutls_transport_set_pull_function(e->client, client_pull);
    gnutls_transport_set_pull_timeout_function(e->client, client_pull_timeout);
    assert_int_equal(gnutls_certificate_allocate_credentials(&e->x509), 0);
    assert_int_equal(gnutls_credentials_set(e->client, GNUTLS_CRD_CERTIFICATE, e->x509), 0);
}

static void client_shows_certificate(struct ends *e)
{
    char cert[512], key[512];
    snprintf(cert, sizeof cert, "%s/client-cert.pem", e->dir.path);
    snprintf(key, sizeof key, "%s/client-key.pem", e->dir.path);
    assert_int_equal(gnutls_certificate_set_x509_key_file(e->x509, cert, key, GNUTLS_X509_FMT_PEM),
                     0);
}

static void client_has_key(struct ends *e, const char *user, const char *hex)
{
    gnutls_datum_t key = {.data = (unsigned char *)(uintptr_t)hex, .size = (unsigned)strlen(hex)};
    assert_int_equal(gnutls_psk_allocate_client_credentials(&e->psk), 0);
    assert_int_equal(gnutls_psk_set_client_credentials(e->psk, user, &key, GNUTLS_PSK_KEY_HEX), 0);
    assert_int_equal(gnutls_credentials_set(e->client, GNUTLS_CRD_PSK, e->psk), 0);
}

static void server_open(struct ends *e, struct briq_tls_options options)
{
    struct briq_error err = {0};
    if (briq_tls_creds_open(&options, &err, &e->creds) < 0)
        fail_msg("%s", err.text);
    if (briq_tls_open(e->creds, &err, &e->tls) < 0)
        fail_msg("%s", err.text);
}

static struct briq_tls_in server_in(struct ends *e)
{
    size_t n = briq_min_u64(e->portion, e->up.end - e->up.at);
    return (struct briq_tls_in){.data = e->up.data + e->up.at, .len = n};
}

static struct briq_tls_out server_out(struct ends *e)
{
    size_t room = briq_min_u64(e->portion, PIPE_BYTES - e->down.end);
    return (struct briq_tls_out){.data = e->down.data + e->down.end, .room = room};
}

/* Both ends in turn until both are done. Returns what the server's end came to. */
static int shake_hands(struct ends *e, struct briq_error *err)
{
    int server = 0, client = GNUTLS_E_AGAIN;
    for (unsigned turn = 0; turn < 200000 && (server == 0 || client != 0); turn++) {
        if (client != 0) {
            client = gnutls_handshake(e->client);
            if (client < 0 && gnutls_error_is_fatal(client))
                client = 0; /* the server's answer is what counts */
        }
        if (server != 0)
            continue;
        struct briq_tls_in in = server_in(e);
        struct briq_tls_out out = server_out(e);
        server = briq_tls_handshake(e->tls, &in, &out, err);
        e->up.at += in.at;
        e->down.end += out.used;
    }
    return server;
}

static void must_shake_hands(struct ends *e)
{
    struct briq_error err = {0};
    int r = shake_hands(e, &err);
    if (r != 1)
        fail_msg("%d: %s", r, r < 0 ? err.text : "no end");
}

static void up_and_down(struct ends *e, size_t len)
{
    uint8_t *sent = malloc(len), *got = malloc(len);
    assert_true(sent != NULL && got != NULL);
    for (size_t i = 0; i < len; i++)
        sent[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t at = 0; at < len;) {
        ssize_t n = gnutls_record_send(e->client, sent + at, len - at);
        assert_true(n > 0);
        at += (size_t)n;
    }
    for (size_t at = 0; at < len;) {
        struct briq_tls_in in = server_in(e);
        struct briq_tls_out out = server_out(e);
        ssize_t n = briq_tls_decrypt(e->tls, &in, got + at, len - at, &out);
        e->up.at += in.at;
        e->down.end += out.used;
        assert_true(n > 0 || n == -EAGAIN);
        at += n > 0 ? (size_t)n : 0;
    }
    assert_memory_equal(sent, got, len);

    memset(got, 0, len);
    for (size_t at = 0, read = 0; read < len;) {
        struct briq_tls_out out = server_out(e);
        if (at < len) {
            ssize_t n = briq_tls_encrypt(e->tls, sent + at, len - at, &out);
            assert_true(n >= 0);
            at += (size_t)n;
            e->down.end += out.used;
        }
        ssize_t n = gnutls_record_recv(e->client, got + read, len - read);
        assert_true(n > 0 || n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
        read += n > 0 ? (size_t)n : 0;
    }
    assert_false(briq_tls_has_rest(e->tls));
    assert_memory_equal(sent, got, len);
    free(sent);
    free(got);
}

static int set_up(void **state)
{
    struct ends *e = calloc(1, sizeof *e);
    assert_non_null(e);
    test_dir_open(&e->dir, TEST_DIR_DISK);
    make_credentials(&e->dir);
    e->portion = PIPE_BYTES;
    *state = e;
    return 0;
}

static int tear_down(void **state)
{
    struct ends *e = *state;
    briq_tls_close(e->tls);
    briq_tls_creds_close(e->creds);
    if (e->client != NULL)
        gnutls_deinit(e->client);
    if (e->x509 != NULL)
        gnutls_certificate_free_credentials(e->x509);
    if (e->psk != NULL)
        gnutls_psk_free_client_credentials(e->psk);
    test_dir_close(&e->dir);
    free(e);
    return 0;
}

static const char *path_of(struct ends *e, char path[512], const char *name)
{
    snprintf(path, 512, "%s/%s", e->dir.path, name);
    return path;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void data_goes_both_ways_with_certificates(void **state)
{
    struct ends *e = *state;
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path});
    client_open(e, "NORMAL");
    must_shake_hands(e);
    assert_string_equal(briq_tls_peer(e->tls), "");
    up_and_down(e, 100000);
}

static void bytes_may_come_and_go_one_by_one(void **state)
{
    struct ends *e = *state;
    e->portion = 1;
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path});
    client_open(e, "NORMAL");
    must_shake_hands(e);
    up_and_down(e, 40000);
}

static void older_clients_get_tls_1_2(void **state)
{
    struct ends *e = *state;
    e->portion = 1000;
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path});
    client_open(e, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    must_shake_hands(e);
    up_and_down(e, 50000);
}

static void older_than_that_is_refused(void **state)
{
    struct ends *e = *state;
    struct briq_error err = {0};
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path});
    client_open(e, "NORMAL:-VERS-ALL:+VERS-TLS1.1");
    assert_int_equal(shake_hands(e, &err), -EPROTO);
    assert_non_null(strstr(err.text, "TLS handshake"));
}

static void open_as_bert(struct ends *e, const char *key)
{
    char path[512];
    server_open(e, (struct briq_tls_options){.psk = path_of(e, path, "keys.psk")});
    client_open(e, "NORMAL:+ECDHE-PSK:+PSK");
    client_has_key(e, "bert", key);
}

static void a_shared_key_names_its_user(void **state)
{
    struct ends *e = *state;
    open_as_bert(e, "ffeeddccbbaa99887766554433221100");
    must_shake_hands(e);
    assert_string_equal(briq_tls_peer(e->tls), "bert");
    up_and_down(e, 30000);
}

static void a_wrong_key_is_refused(void **state)
{
    struct ends *e = *state;
    struct briq_error err = {0};
    open_as_bert(e, "00000000000000000000000000000000");
    assert_int_equal(shake_hands(e, &err), -EPROTO);
}

static void a_client_without_certificate_is_refused_where_one_is_wanted(void **state)
{
    struct ends *e = *state;
    struct briq_error err = {0};
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path, .verify_peer = true});
    client_open(e, "NORMAL");
    int r = shake_hands(e, &err);
    assert_true(r == -EPROTO || r == -EACCES);
}

static void a_client_with_certificate_is_known_by_its_name(void **state)
{
    struct ends *e = *state;
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path, .verify_peer = true});
    client_open(e, "NORMAL");
    client_shows_certificate(e);
    must_shake_hands(e);
    assert_string_equal(briq_tls_peer(e->tls), "CN=client");
    up_and_down(e, 1000);
}

static void garbage_is_not_a_handshake(void **state)
{
    struct ends *e = *state;
    struct briq_error err = {0};
    uint8_t space[BRIQ_TLS_OUT_MIN];
    static const uint8_t garbage[] = "IHAVEOPT is what a client says that knows of no TLS";
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path});
    struct briq_tls_in in = {.data = garbage, .len = sizeof garbage};
    struct briq_tls_out out = {.data = space, .room = sizeof space};
    assert_int_equal(briq_tls_handshake(e->tls, &in, &out, &err), -EPROTO);
}

static void a_changed_byte_is_noticed(void **state)
{
    struct ends *e = *state;
    uint8_t plain[64];
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path});
    client_open(e, "NORMAL");
    must_shake_hands(e);
    assert_int_equal(gnutls_record_send(e->client, "write this", 10), 10);
    e->up.data[e->up.end - 3] ^= 1;
    struct briq_tls_in in = server_in(e);
    struct briq_tls_out out = server_out(e);
    ssize_t n;
    do
        n = briq_tls_decrypt(e->tls, &in, plain, sizeof plain, &out);
    while (n == -EAGAIN && in.at < in.len);
    assert_int_equal(n, -EPROTO);
}

static void a_farewell_is_the_end(void **state)
{
    struct ends *e = *state;
    uint8_t plain[64];
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path});
    client_open(e, "NORMAL");
    must_shake_hands(e);
    assert_int_equal(gnutls_bye(e->client, GNUTLS_SHUT_WR), 0);
    struct briq_tls_in in = server_in(e);
    struct briq_tls_out out = server_out(e);
    assert_int_equal(briq_tls_decrypt(e->tls, &in, plain, sizeof plain, &out), 0);
    out = server_out(e);
    briq_tls_bye(e->tls, &out);
    e->down.end += out.used;
    assert_int_equal(gnutls_record_recv(e->client, plain, sizeof plain), 0);
}

static void a_client_may_change_its_keys(void **state)
{
    struct ends *e = *state;
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path});
    client_open(e, "NORMAL:-VERS-ALL:+VERS-TLS1.3");
    must_shake_hands(e);
    up_and_down(e, 5000);
    assert_int_equal(gnutls_session_key_update(e->client, GNUTLS_KU_PEER), 0);
    up_and_down(e, 50000);
}

/* What comes of a record that is no data. */
static ssize_t take_all(struct ends *e)
{
    uint8_t plain[64];
    struct briq_tls_in in = server_in(e);
    struct briq_tls_out out = server_out(e);
    ssize_t n = briq_tls_decrypt(e->tls, &in, plain, sizeof plain, &out);
    e->up.at += in.at;
    e->down.end += out.used;
    return n;
}

static void a_second_handshake_is_the_end(void **state)
{
    struct ends *e = *state;
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path});
    client_open(e, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    must_shake_hands(e);
    assert_int_equal(gnutls_handshake(e->client), GNUTLS_E_AGAIN);
    assert_int_equal(take_all(e), -EPROTO);
}

static void who_has_a_key_needs_no_certificate(void **state)
{
    struct ends *e = *state;
    char path[512];
    server_open(e, (struct briq_tls_options){.certificates = e->dir.path,
                                             .psk = path_of(e, path, "keys.psk"),
                                             .verify_peer = true});
    client_open(e, "NORMAL:-KX-ALL:+ECDHE-PSK:+PSK");
    client_has_key(e, "anna", "00112233445566778899aabbccddeeff");
    must_shake_hands(e);
    assert_string_equal(briq_tls_peer(e->tls), "anna");
    up_and_down(e, 1000);
}

/* Replies that fill the tunnel exactly: whoever waits for their room is told of it when the encrypted
 * bytes have been sent, so that they must be gone by then. */
static void replies_are_let_go_of_when_they_are_encrypted(void **state)
{
    struct ends *e = *state;
    struct briq_out_pool pool = {.free = NULL};
    struct briq_error err = {0};
    struct briq_out replies;
    struct briq_tunnel *tunnel;
    open_as_bert(e, "ffeeddccbbaa99887766554433221100");
    must_shake_hands(e);
    assert_int_equal(briq_out_init(&replies, &pool), 0);
    assert_int_equal(briq_tunnel_open(e->creds, &replies, &err, &tunnel), 0);
    briq_tls_close(tunnel->session);
    tunnel->session = e->tls; /* the one that has shaken hands */
    tunnel->shaken = true;
    e->tls = NULL;
    for (size_t len = 1; len <= TUNNEL_OUT_BYTES_MAX; len += len < 64 ? 1 : len) {
        struct briq_out_slot slot;
        struct iovec iov[BRIQ_OUT_IOVS];
        assert_true(briq_out_reserve(&replies, len, &slot));
        memset(slot.data, 0, len);
        briq_out_commit(&replies, &slot, len);
        assert_int_equal(briq_tunnel_encrypt(tunnel, &replies, false), 0);
        assert_int_equal(replies.bytes, 0);
        assert_true(briq_out_gather(&tunnel->out, iov) > 0);
        briq_out_sent(&tunnel->out);
    }
    briq_tunnel_close(tunnel);
    briq_out_fini(&replies);
    briq_out_pool_fini(&pool);
}

static void credentials_that_are_not_there_are_named(void **state)
{
    struct ends *e = *state;
    struct briq_error err = {0};
    char path[512];
    struct briq_tls_options none = {0};
    assert_int_equal(briq_tls_creds_open(&none, &err, &e->creds), -EINVAL);
    err = (struct briq_error){0};
    struct briq_tls_options missing = {.certificates = "/nowhere"};
    assert_int_equal(briq_tls_creds_open(&missing, &err, &e->creds), -ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/ca-cert.pem"));
    err = (struct briq_error){0};
    struct briq_tls_options keys = {.psk = path_of(e, path, "no.psk")};
    assert_int_equal(briq_tls_creds_open(&keys, &err, &e->creds), -ENOENT);
    assert_non_null(strstr(err.text, "no.psk"));
    err = (struct briq_error){0};
    struct briq_tls_options odd = {.certificates = e->dir.path, .priority = "NORMAL:+NO-SUCH"};
    assert_int_equal(briq_tls_creds_open(&odd, &err, &e->creds), -EINVAL);
    assert_non_null(strstr(err.text, "NO-SUCH"));
    err = (struct briq_error){0};
    write_file(&e->dir, "server-key.pem", "this is no key", 14);
    struct briq_tls_options broken = {.certificates = e->dir.path};
    assert_int_equal(briq_tls_creds_open(&broken, &err, &e->creds), -EINVAL);
    assert_non_null(strstr(err.text, "server-key.pem"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(data_goes_both_ways_with_certificates),
        TEST(bytes_may_come_and_go_one_by_one),
        TEST(older_clients_get_tls_1_2),
        TEST(older_than_that_is_refused),
        TEST(a_shared_key_names_its_user),
        TEST(a_wrong_key_is_refused),
        TEST(a_client_without_certificate_is_refused_where_one_is_wanted),
        TEST(a_client_with_certificate_is_known_by_its_name),
        TEST(garbage_is_not_a_handshake),
        TEST(a_changed_byte_is_noticed),
        TEST(a_farewell_is_the_end),
        TEST(a_client_may_change_its_keys),
        TEST(a_second_handshake_is_the_end),
        TEST(who_has_a_key_needs_no_certificate),
        TEST(replies_are_let_go_of_when_they_are_encrypted),
        TEST(credentials_that_are_not_there_are_named),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
