#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The server dies by SIGKILL in the middle of writes: when the volume is opened again, every operation
# that was acknowledged on any of four connections is there, flushed or not. Three times in a row.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd
crash_io=$BRIQ_SOURCE/tests/lib/crash_io.py

for round in 1 2 3; do
    echo "seed $((seed + round))"
    briq create "$tmp/disk.briq" 64M
    serve_volume "$tmp/disk.briq"
    "$PYTHON" "$crash_io" write "$uri" "$tmp/journal" --kill "$server_pid" --connections 4 \
        --operations 4000 --flush-every $((round * round * 40)) --seed $((seed + round))
    wait "$server_pid" 2>/dev/null || true

    serve_volume "$tmp/disk.briq"
    "$PYTHON" "$crash_io" verify "$uri" "$tmp/journal" --keep acknowledged
    stop_server
    briq check --deep "$tmp/disk.briq"
    rm "$tmp/disk.briq"
done
