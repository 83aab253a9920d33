# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# hostile.sh - sets a case of nbd_hostile.py on both engines of `briq serve`, which must live through
# it, stop as ever, and leave a sound volume. For tests that have sourced frontend.sh, and ask for the
# native server: nbdkit's own protocol code is not ours, and 1.32 ends with an assertion on some.
#   hostile CASE [OPTION...]       the options are briq serve's
#   hostile_over_tls CASE [OPTION...]  a case of nbd_hostile_tls.py; the server has certificates
# The export has 64 MiB unless the test has set $export_size.

hostile() {
    local engine
    for engine in serve serve-threads; do
        echo "$engine, seed $seed"
        hostile_to "$engine" nbd_hostile.py "$@"
    done
}

# A client without TLS must find the server well in the end: it is offered, and not required.
hostile_over_tls() {
    local engine
    # shellcheck source=tests/lib/pki.sh
    source "$BRIQ_SOURCE/tests/lib/pki.sh"
    make_authority "$tmp/pki"
    make_certificate "$tmp/pki" server
    for engine in serve serve-threads; do
        echo "$engine, seed $seed"
        BRIQ_PKI=$tmp/pki hostile_to "$engine" nbd_hostile_tls.py "$@" --tls=on "--tls-certificates=$tmp/pki"
    done
}

hostile_to() {
    # shellcheck disable=SC2034 # serve_volume reads it
    local BRIQ_FRONTEND=$1 program=$2 case=$3
    shift 3
    briq create --force "$tmp/disk.briq" "${export_size:-64M}"
    serve_volume "$@" "$tmp/disk.briq"
    # shellcheck disable=SC2154 # serve_volume sets server_pid
    "$PYTHON" "$BRIQ_SOURCE/tests/lib/$program" "$case" "$tmp/server.sock" "$server_pid" "$seed"
    stop_server
    briq check --deep "$tmp/disk.briq"
}
