#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# With --tls-verify-peer a client is served that shows a certificate of the right authority, and none
# that shows no certificate, one of another authority, or one that was revoked. A client that has no
# TLS learns nothing where TLS is required. Bad credentials and contradictions are said in one line.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/pki.sh
source "$BRIQ_SOURCE/tests/lib/pki.sh"
requires_frontend serve
requires nbdinfo --version

make_authority "$tmp/pki"
make_certificate "$tmp/pki" server
make_certificate "$tmp/pki" client
make_certificate "$tmp/pki" thief
make_authority "$tmp/other"
make_certificate "$tmp/other" client
make_keys "$tmp/keys.psk" anna
# What a client has: the authority that it trusts, and its own certificate.
wallet() {
    mkdir "$tmp/$1"
    cp "$tmp/pki/ca-cert.pem" "$tmp/$1/"
    [ -z "$2" ] || for part in cert key; do cp "$2-$part.pem" "$tmp/$1/client-$part.pem"; done
}
wallet right "$tmp/pki/client"
wallet none ''
wallet wrong "$tmp/other/client"
wallet stolen "$tmp/pki/thief"
revoke "$tmp/pki" thief

# Reads a block: in TLS 1.3 a client learns only then that its certificate was not accepted.
try() {
    nbdsh -c "h.set_tls(nbd.TLS_REQUIRE)" -c "h.set_tls_certificates('$tmp/$1')" \
        -c "h.set_tls_verify_peer(False)" -c "h.connect_unix('$tmp/server.sock')" -c "h.pread(512, 0)"
}

for BRIQ_FRONTEND in serve serve-threads; do
    serve_volume --tls=require --tls-certificates="$tmp/pki" --tls-verify-peer mem:1M
    for client in none wrong stolen; do
        expect_failure 1 try "$client"
        try right
    done
    expect_failure 1 nbdinfo --list "nbd+unix:///?socket=$tmp/server.sock"
    expect_failure 1 nbdinfo --size "nbd+unix:///mem?socket=$tmp/server.sock"
    stop_server
    expect_equal "clients that are known ($BRIQ_FRONTEND)" "$(server_log | grep -c 'has TLS: CN=client')" 3
    expect_equal "clients turned away ($BRIQ_FRONTEND)" "$(server_log | grep -c 'turned away: TLS')" 3

    # Without that it is the server alone who shows one.
    serve_volume --tls=on --tls-certificates="$tmp/pki" --tls-priority=NORMAL:-VERS-ALL:+VERS-TLS1.2 mem:1M
    for client in none right; do
        try "$client"
    done
    expect_equal "size in the clear" "$(nbdinfo --size "$uri")" $((1 << 20))
    stop_server
done

refused() {
    local wanted=$1
    shift
    expect_failure 2 briq serve mem:1M --nbd "unix:$tmp/refused.sock" "$@"
    expect_match "message" "$said" "briq serve: $wanted"
    expect_equal "lines of '$said'" "$(wc -l <<<"$said")" 1
}
refused '*--tls-certificates DIR*' --tls require
refused '*not off, on or require*' --tls yes
refused '*TLS is off*' --tls off --tls-psk "$tmp/keys.psk"
refused '*TLS is off*' --tls-priority NORMAL
refused '*--tls-verify-peer is about certificates*' --tls-psk "$tmp/keys.psk" --tls-verify-peer
refused "$tmp/right/server-cert.pem:*" --tls-certificates "$tmp/right"
refused "$tmp/none.psk:*" --tls-psk "$tmp/none.psk"
refused '*NO-SUCH*' --tls-psk "$tmp/keys.psk" --tls-priority NORMAL:+NO-SUCH
echo 'no list' >"$tmp/pki/ca-crl.pem"
refused "$tmp/pki/ca-crl.pem:*" --tls-certificates "$tmp/pki"
