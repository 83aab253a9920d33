#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A server that is killed under QEMU's client and started again is found again: requests that were
# made in between complete, and everything that was acknowledged is there.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires qemu-io --version

briq create "$tmp/disk.briq" 64M
serve_volume "$tmp/disk.briq"

# Commands go in through one pipe, what it says comes out through another.
coproc qemu { exec stdbuf -i0 -oL qemu-io -t none --image-opts "driver=nbd,server.type=unix,\
server.path=$tmp/server.sock,export=disk,reconnect-delay=100" 2>&1; }
qemu_pid=$!
cleanup kill_process "$qemu_pid"
exec {to}>&"${qemu[1]}" {from}<&"${qemu[0]}"

tell_qemu() {
    echo "$1" >&"$to"
}

# What it has said, up to the next line that tells of a request's end.
hear() {
    local line
    while IFS= read -r -u "$from" line; do
        case $line in
        *"wrote "*/* | *"read "*/*) return ;;
        *rror* | *ailed* | *nvalid*) fail "qemu-io: $line" ;;
        esac
    done
    fail "qemu-io has ended"
}

for round in 1 2 3; do
    tell_qemu "write -P $round ${round}M 1M"
    hear
    kill_server
    # Nobody is there to answer these.
    tell_qemu "aio_write -P $((round + 100)) $((round + 16))M 1M"
    tell_qemu "aio_write -P $((round + 200)) $((round + 32))M 64k"
    serve_volume "$tmp/disk.briq"
    hear
    hear
    for ((n = 1; n <= round; n++)); do
        tell_qemu "read -P $n ${n}M 1M"
        hear
        tell_qemu "read -P $((n + 100)) $((n + 16))M 1M"
        hear
        tell_qemu "read -P $((n + 200)) $((n + 32))M 64k"
        hear
    done
done
tell_qemu quit
wait "$qemu_pid" || fail "qemu-io ended with $?"
stop_server
briq check --deep "$tmp/disk.briq"
