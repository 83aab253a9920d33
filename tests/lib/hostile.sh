# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# hostile.sh - sets a case of nbd_hostile.py on a server, which must live through it, stop as ever,
# and leave a sound volume:
#   hostile CASE
source "$BRIQ_SOURCE/tests/lib/frontend.sh"

hostile() {
    # nbdkit's own protocol code is not ours: 1.32 ends with an assertion on some of these.
    requires_frontend serve
    briq create "$tmp/disk.briq" 64M
    serve_volume "$tmp/disk.briq"
    echo "seed: $seed"
    # shellcheck disable=SC2154 # serve_volume sets server_pid
    "$PYTHON" "$BRIQ_SOURCE/tests/lib/nbd_hostile.py" "$1" "$tmp/server.sock" "$server_pid" "$seed"
    stop_server
    briq check --deep "$tmp/disk.briq"
}
