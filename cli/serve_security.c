/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/serve_security.h"

#include <errno.h>
#include <string.h>

/* Who names credentials wants them to be used, by everybody: off and on must be said. */
static int tls_mode(const struct serve_security *args, enum briq_tls_mode *ret,
                    struct briq_error *err)
{
    static const char *const names[] = {
        [BRIQ_TLS_OFF] = "off", [BRIQ_TLS_ON] = "on", [BRIQ_TLS_REQUIRE] = "require"};
    bool credentials = args->tls_certificates != NULL || args->tls_psk != NULL;
    *ret = credentials ? BRIQ_TLS_REQUIRE : BRIQ_TLS_OFF;
    if (args->tls == NULL)
        return 0;
    for (size_t i = 0; i < BRIQ_COUNT_OF(names); i++) {
        if (strcmp(args->tls, names[i]) == 0) {
            *ret = (enum briq_tls_mode)i;
            return 0;
        }
    }
    return briq_error_set(err, -EINVAL, "--tls: \"%s\" is not off, on or require", args->tls);
}

static int check_tls(const struct serve_security *args, enum briq_tls_mode mode,
                     struct briq_error *err)
{
    bool credentials = args->tls_certificates != NULL || args->tls_psk != NULL;
    bool details = args->tls_verify_peer || args->tls_priority != NULL;
    if (mode == BRIQ_TLS_OFF && (credentials || details))
        return briq_error_set(err, -EINVAL, "TLS is off: the other options of TLS mean nothing");
    if (mode != BRIQ_TLS_OFF && !credentials)
        return briq_error_set(err, -EINVAL,
                              "--tls %s needs --tls-certificates DIR or --tls-psk FILE", args->tls);
    if (args->tls_verify_peer && args->tls_certificates == NULL)
        return briq_error_set(err, -EINVAL,
                              "--tls-verify-peer is about certificates: give --tls-certificates "
                              "DIR; clients with keys are known by them");
    return 0;
}

int briq_serve_security_options(const struct serve_security *args, struct briq_socket_file *file,
                                struct briq_server_options *ret, struct briq_error *err)
{
    int r = tls_mode(args, &ret->tls_mode, err);
    if (r == 0)
        r = check_tls(args, ret->tls_mode, err);
    *file = BRIQ_SOCKET_FILE_DEFAULT;
    if (r == 0 && args->socket_mode != NULL)
        r = briq_socket_file_mode(args->socket_mode, file, err);
    if (r == 0 && args->socket_owner != NULL)
        r = briq_socket_file_owner(args->socket_owner, file, err);
    ret->tls = (struct briq_tls_options){
        .certificates = args->tls_certificates,
        .psk = args->tls_psk,
        .priority = args->tls_priority,
        .verify_peer = args->tls_verify_peer,
    };
    ret->unix_file = file;
    ret->one_writer = args->one_writer;
    return r;
}

int briq_serve_security_allow(const struct serve_security *args, struct briq_server *server,
                              struct briq_error *err)
{
    int r = 0;
    for (unsigned i = 0; r == 0 && i < args->allow.count; i++)
        r = briq_server_allow(server, args->allow.list[i], err);
    return r;
}
