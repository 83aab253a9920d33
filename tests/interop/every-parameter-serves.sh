#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Each parameter, alone and together with others, gives a server whose volume keeps what is written.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdcopy --version

make_corpus "$tmp/raw" 8M

round_trip() {
    briq create "$tmp/disk.briq" 8M
    serve_volume "$@" "$tmp/disk.briq"
    nbdcopy --flush "$tmp/raw" "$uri"
    stop_server
    serve_volume "$@" "$tmp/disk.briq"
    nbdcopy "$uri" "$tmp/out"
    cmp "$tmp/raw" "$tmp/out" || fail "with $*: what came out is not what went in"
    stop_server
    briq check --deep "$tmp/disk.briq"
    rm "$tmp/disk.briq"
}
round_trip accel=1
round_trip accel=64 streams=1
round_trip streams=8
round_trip windows-file=off
round_trip windows-dir="$windows"
expect_equal "files left in the windows directory" "$(find "$windows" -type f | wc -l)" 0

# Direct I/O is the file system's to offer.
briq create "$tmp/probe.briq" 1M
if try_serve_volume io=direct "$tmp/probe.briq"; then
    stop_server
    round_trip io=direct
    round_trip io=direct cache=1M
    round_trip io=direct cache=0 windows-file=off
else
    expect_match "message" "$(server_log)" "*$tmp/probe.briq*"
fi
