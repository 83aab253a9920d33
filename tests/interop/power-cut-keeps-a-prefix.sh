#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The server is killed and the shared memory with its append windows is gone, as after a power cut:
# everything that a flush had covered is there, and the state is that of some moment: no operation is
# there without those acknowledged before it was sent. With one connection, and with four.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd
crash_io=$BRIQ_SOURCE/tests/lib/crash_io.py

round=0
for connections in 1 4 4; do
    round=$((round + 1))
    echo "seed $((seed + round))"
    briq create "$tmp/disk.briq" 64M
    serve_volume "$tmp/disk.briq"
    "$PYTHON" "$crash_io" write "$uri" "$tmp/journal" --kill "$server_pid" \
        --connections "$connections" --operations 3000 --flush-every $((round * 100)) \
        --seed $((seed + round))
    wait "$server_pid" 2>/dev/null || true
    [ "$(find "$windows" -type f | wc -l)" -gt 0 ] || fail "there are no windows to remove"
    rm -f "$windows"/*

    serve_volume "$tmp/disk.briq"
    "$PYTHON" "$crash_io" verify "$uri" "$tmp/journal" --keep flushed
    stop_server
    briq check --deep "$tmp/disk.briq"
    rm "$tmp/disk.briq"
done
