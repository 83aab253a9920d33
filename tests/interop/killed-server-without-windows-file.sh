#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# With windows-file=off there is no shared memory to come back to, and still a killed server loses
# nothing that it had acknowledged.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd
crash_io=$BRIQ_SOURCE/tests/lib/crash_io.py

echo "seed $seed"
briq create "$tmp/disk.briq" 64M
serve_volume windows-file=off "$tmp/disk.briq"
"$PYTHON" "$crash_io" write "$uri" "$tmp/journal" --kill "$server_pid" --connections 4 \
    --operations 2000 --flush-every 200 --seed "$seed"
wait "$server_pid" 2>/dev/null || true
serve_volume windows-file=off "$tmp/disk.briq"
"$PYTHON" "$crash_io" verify "$uri" "$tmp/journal" --keep acknowledged
stop_server
briq check --deep "$tmp/disk.briq"
