# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# pki.sh - certificates and keys for tests of TLS. For tests that have sourced functions.sh.
#   make_authority DIR        an authority of its own, in ca-cert.pem and ca-key.pem
#   make_certificate DIR WHO  WHO-cert.pem and WHO-key.pem, signed by it, for localhost; "server" or
#                             anything else, which is a client then
#   revoke DIR WHO            WHO's certificate, in DIR/ca-crl.pem
#   make_keys FILE USER...    pre-shared keys
# Each directory serves a server, and a client whose name is "client", as libnbd, nbdkit and QEMU
# look for the files.
requires certtool --version

# Runs quietly: certtool tells at length what it does.
certtool_in() {
    local dir=$1
    shift
    (cd "$dir" && certtool "$@") >"$tmp/certtool.out" 2>&1 || {
        cat "$tmp/certtool.out" >&2
        fail "certtool $*"
    }
}

make_authority() {
    mkdir -p "$1"
    printf '%s\n' "cn = authority of $1" ca cert_signing_key crl_signing_key 'expiration_days = 2' >"$1/ca.info"
    certtool_in "$1" --generate-privkey --ecc --outfile ca-key.pem
    certtool_in "$1" --generate-self-signed --load-privkey ca-key.pem --template ca.info --outfile ca-cert.pem
}

make_certificate() {
    local purpose=tls_www_client
    [ "$2" != server ] || purpose=tls_www_server
    printf '%s\n' "cn = $2" 'dns_name = localhost' 'ip_address = 127.0.0.1' 'ip_address = ::1' \
        signing_key "$purpose" 'expiration_days = 2' >"$1/$2.info"
    certtool_in "$1" --generate-privkey --ecc --outfile "$2-key.pem"
    certtool_in "$1" --generate-certificate --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem \
        --load-privkey "$2-key.pem" --template "$2.info" --outfile "$2-cert.pem"
}

revoke() {
    printf '%s\n' 'crl_next_update = 2' 'crl_number = 1' >"$1/crl.info"
    certtool_in "$1" --generate-crl --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem \
        --load-certificate "$2-cert.pem" --template crl.info --outfile ca-crl.pem
}

make_keys() {
    local file=$1 user
    shift
    for user in "$@"; do
        printf '%s:%s\n' "$user" "$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')" >>"$file"
    done
}
