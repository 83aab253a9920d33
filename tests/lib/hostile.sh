# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# hostile.sh - sets a case of nbd_hostile.py on both engines of `briq serve`, which must live through
# it, stop as ever, and leave a sound volume. For tests that have sourced frontend.sh, and ask for the
# native server: nbdkit's own protocol code is not ours, and 1.32 ends with an assertion on some.
#   hostile CASE

hostile() {
    local engine
    for engine in serve serve-threads; do
        echo "$engine, seed $seed"
        hostile_to "$engine" "$1"
    done
}

hostile_to() {
    # shellcheck disable=SC2034 # serve_volume reads it
    local BRIQ_FRONTEND=$1
    briq create --force "$tmp/disk.briq" 64M
    serve_volume "$tmp/disk.briq"
    # shellcheck disable=SC2154 # serve_volume sets server_pid
    "$PYTHON" "$BRIQ_SOURCE/tests/lib/nbd_hostile.py" "$2" "$tmp/server.sock" "$server_pid" "$seed"
    stop_server
    briq check --deep "$tmp/disk.briq"
}
