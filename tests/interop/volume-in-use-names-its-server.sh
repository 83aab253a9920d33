#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A volume has one writer: a second server is refused in one line that names the first one, also
# after the first one went to the background.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdinfo --version
second_pid= # start_nbdkit sets it

briq create "$tmp/disk.briq" 16M
briq create "$tmp/other.briq" 16M
serve_volume "$tmp/disk.briq"
if try_nbdkit second briq windows-dir="$windows" "$tmp/other.briq" "$tmp/disk.briq"; then
    fail "two servers have the volume open"
fi
said=$(cat "$tmp/second.log")
expect_equal "lines of '$said'" "$(wc -l <<<"$said")" 1
expect_match "message" "$said" "*$tmp/disk.briq*"
expect_match "message" "$said" "*$server_pid*"
# The first is not disturbed, and the volume that was opened before the failure is free again.
nbdinfo --size "$uri" >"$tmp/size"
stop_server
start_nbdkit second briq windows-dir="$windows" "$tmp/other.briq" "$tmp/disk.briq"

requires_frontend nbdkit
stop_process "$second_pid"
nbdkit -U "$tmp/daemon.sock" -P "$tmp/daemon.pid" briq "$tmp/disk.briq"
nbdinfo --size "nbd+unix:///?socket=$tmp/daemon.sock" >"$tmp/size" # it serves: the id is written
daemon=$(cat "$tmp/daemon.pid")
cleanup kill -KILL "$daemon"
if try_nbdkit third briq windows-dir="$windows" "$tmp/disk.briq"; then
    fail "two servers have the volume open"
fi
expect_match "message" "$(cat "$tmp/third.log")" "*$daemon*"
kill "$daemon"
wait_gone "$daemon"
start_nbdkit third briq windows-dir="$windows" "$tmp/disk.briq"
