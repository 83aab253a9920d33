#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The checker behind the crash tests does fail when a write was lost: the newest one, one in the
# middle, or the newest ones of one connection while those of others are there.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_module nbd
crash_io=$BRIQ_SOURCE/tests/lib/crash_io.py

echo "seed $seed"
briq create "$tmp/disk.briq" 64M
serve_volume "$tmp/disk.briq"
"$PYTHON" "$crash_io" write "$uri" "$tmp/journal" --kill "$server_pid" --connections 3 \
    --operations 1500 --flush-every 1000000 --seed "$seed"
wait "$server_pid" 2>/dev/null || true
serve_volume "$tmp/disk.briq"
judge() { "$PYTHON" "$crash_io" verify "$uri" "$tmp/journal" --keep "$1"; }
judge acknowledged
judge flushed

forget() { "$PYTHON" "$crash_io" forget "$uri" "$tmp/journal" "$@"; }
forget --age 3 --rest
expect_failure 1 judge acknowledged
expect_match "verdict" "$said" "*is lost, and it was acknowledged*"
forget --age 60 --rest
expect_failure 1 judge flushed
expect_match "verdict" "$said" "*is lost, and *"
forget --age 20
expect_failure 1 judge acknowledged
expect_match "verdict" "$said" "*missing in the middle*"
expect_failure 1 judge flushed
stop_server
