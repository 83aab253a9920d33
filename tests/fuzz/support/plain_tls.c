/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/support/plain_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/align.h"

struct briq_tls_creds {
    unsigned sessions;
};

struct briq_tls {
    struct briq_tls_creds *creds;
    unsigned heard; /* of the hello */
    bool bad;
};

static struct briq_tls_creds one;

struct briq_tls_creds *fuzz_plain_tls_creds(void)
{
    return &one;
}

unsigned fuzz_plain_tls_sessions(void)
{
    return one.sessions;
}

/* ---- what the linker puts in the place of server/tls.c's ------------------------------------- */

int __wrap_briq_tls_open(struct briq_tls_creds *creds, struct briq_error *err,
                         struct briq_tls **ret);
void __wrap_briq_tls_close(struct briq_tls *tls);
int __wrap_briq_tls_handshake(struct briq_tls *tls, struct briq_tls_in *in,
                              struct briq_tls_out *out, struct briq_error *err);
ssize_t __wrap_briq_tls_decrypt(struct briq_tls *tls, struct briq_tls_in *in, void *plain,
                                size_t room, struct briq_tls_out *out);
ssize_t __wrap_briq_tls_encrypt(struct briq_tls *tls, const void *plain, size_t len,
                                struct briq_tls_out *out);
bool __wrap_briq_tls_has_rest(const struct briq_tls *tls);
void __wrap_briq_tls_bye(struct briq_tls *tls, struct briq_tls_out *out);
const char *__wrap_briq_tls_peer(const struct briq_tls *tls);

int __wrap_briq_tls_open(struct briq_tls_creds *creds, struct briq_error *err,
                         struct briq_tls **ret)
{
    (void)err;
    struct briq_tls *tls = calloc(1, sizeof *tls);
    BRIQ_ASSERT(tls != NULL && creds == &one);
    tls->creds = creds;
    creds->sessions++;
    *ret = tls;
    return 0;
}

void __wrap_briq_tls_close(struct briq_tls *tls)
{
    if (tls == NULL)
        return;
    BRIQ_ASSERT(tls->creds->sessions-- > 0);
    free(tls);
}

static void put(struct briq_tls_out *out, const void *bytes, size_t len)
{
    BRIQ_ASSERT(len <= out->room - out->used);
    memcpy(out->data + out->used, bytes, len);
    out->used += len;
}

int __wrap_briq_tls_handshake(struct briq_tls *tls, struct briq_tls_in *in,
                              struct briq_tls_out *out, struct briq_error *err)
{
    BRIQ_ASSERT(tls->heard < PLAIN_TLS_HELLO_BYTES); /* a bad one may come in parts, too */
    for (; in->at < in->len && tls->heard < PLAIN_TLS_HELLO_BYTES; tls->heard++, in->at++)
        tls->bad |= tls->heard == 0 && in->data[in->at] == PLAIN_TLS_BAD;
    if (tls->heard < PLAIN_TLS_HELLO_BYTES)
        return 0;
    if (tls->bad) {
        put(out, PLAIN_TLS_ALERT, sizeof PLAIN_TLS_ALERT - 1);
        return briq_error_set(err, -EPROTO, "a bad hello");
    }
    put(out, PLAIN_TLS_WELCOME, PLAIN_TLS_ANSWER_BYTES);
    return 1;
}

ssize_t __wrap_briq_tls_decrypt(struct briq_tls *tls, struct briq_tls_in *in, void *plain,
                                size_t room, struct briq_tls_out *out)
{
    size_t n = briq_min_u64(briq_min_u64(room, in->len - in->at), BRIQ_TLS_RECORD_BYTES);
    (void)out;
    BRIQ_ASSERT(tls->heard == PLAIN_TLS_HELLO_BYTES && !tls->bad);
    if (n == 0)
        return -EAGAIN;
    memcpy(plain, in->data + in->at, n);
    in->at += n;
    return (ssize_t)n;
}

ssize_t __wrap_briq_tls_encrypt(struct briq_tls *tls, const void *plain, size_t len,
                                struct briq_tls_out *out)
{
    BRIQ_ASSERT(tls->heard == PLAIN_TLS_HELLO_BYTES && !tls->bad);
    put(out, plain, len);
    return (ssize_t)len;
}

bool __wrap_briq_tls_has_rest(const struct briq_tls *tls)
{
    (void)tls;
    return false;
}

void __wrap_briq_tls_bye(struct briq_tls *tls, struct briq_tls_out *out)
{
    (void)tls;
    (void)out;
}

const char *__wrap_briq_tls_peer(const struct briq_tls *tls)
{
    (void)tls;
    return "";
}
