/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_security.h - the options of "briq serve" that say who may do what: TLS, who may connect,
 * socket files, and who may write. Thread: any. */
#ifndef BRIQ_CLI_SERVE_SECURITY_H
#define BRIQ_CLI_SERVE_SECURITY_H

#include "cli/verb.h"
#include "server/server.h"

/* As given; NULL: not given. */
struct serve_security {
    const char *tls, *tls_certificates, *tls_psk, *tls_priority;
    bool tls_verify_peer, one_writer;
    const char *socket_mode, *socket_owner;
    struct briq_words allow;
};

/* Puts them into the server's options, *file among them, which must live until the server is open.
 * 0, or -errno explained in err. Blocks (names of users). */
int briq_serve_security_options(const struct serve_security *args, struct briq_socket_file *file,
                                struct briq_server_options *ret, struct briq_error *err) BRIQ_MUST;

/* Tells the server who may connect; before it starts. 0, or -errno explained in err. Blocks. */
int briq_serve_security_allow(const struct serve_security *args, struct briq_server *server,
                              struct briq_error *err) BRIQ_MUST;

#endif
