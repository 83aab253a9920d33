/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plain_tls.h - stands for server/tls.c in a target that links with --wrap: the tunnel and all that is
 * around it are the server's, but what goes through is readable. A handshake of a few bytes, which may
 * fail; then records that are their plain bytes.
 */
#ifndef BRIQ_TESTS_FUZZ_PLAIN_TLS_H
#define BRIQ_TESTS_FUZZ_PLAIN_TLS_H

#include "server/tls.h"

/* What a client says first, any bytes, and what it is answered with. A hello that begins with
 * PLAIN_TLS_BAD is answered with an alert, which is all that follows. */
#define PLAIN_TLS_HELLO_BYTES  5u
#define PLAIN_TLS_BAD          0xff
#define PLAIN_TLS_WELCOME      "welcome"
#define PLAIN_TLS_ALERT        "alert"
#define PLAIN_TLS_ANSWER_BYTES (sizeof PLAIN_TLS_WELCOME - 1)

/* Credentials that allow for that. */
struct briq_tls_creds *fuzz_plain_tls_creds(void);
/* Sessions that were opened and not closed. */
unsigned fuzz_plain_tls_sessions(void);

#endif
