#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# nbdkit's filters cow, stats and exitlast do their work on top of a volume.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires_frontend nbdkit
requires nbdcopy --version
requires_module nbd
stats_pid='' overlay_pid='' last_pid='' # start_nbdkit sets them

make_corpus "$tmp/raw" 16M
briq create "$tmp/disk.briq" 16M

# stats: counts what passes, and prints it when the server ends.
start_nbdkit stats --filter=stats \
    briq windows-dir="$windows" "$tmp/disk.briq" statsfile="$tmp/stats"
# shellcheck disable=SC2154 # start_nbdkit sets these
nbdcopy --flush --sparse=0 "$tmp/raw" "$stats_uri"
stop_process "$stats_pid"
grep -q "^write: .*16.00 MiB" "$tmp/stats" || fail "stats: $(cat "$tmp/stats")"
grep -q "^flush: [1-9]" "$tmp/stats" || fail "stats: $(cat "$tmp/stats")"

# cow: writes go to the overlay, the volume stays what it was.
start_nbdkit overlay --filter=cow briq windows-dir="$windows" "$tmp/disk.briq"
# shellcheck disable=SC2154
nbdsh -u "$overlay_uri" -c 'h.pwrite(b"overlay" * 1000, 12345)' \
    -c 'assert h.pread(7000, 12345) == b"overlay" * 1000' -c 'h.flush()'
stop_process "$overlay_pid"

# exitlast: the server ends by itself, and cleanly, when its only client goes.
start_nbdkit last --filter=exitlast briq windows-dir="$windows" "$tmp/disk.briq"
# shellcheck disable=SC2154
nbdcopy "$last_uri" "$tmp/out"
status=0
wait "$last_pid" || status=$?
expect_equal "exit status after the last client" "$status" 0
cmp "$tmp/raw" "$tmp/out" || fail "the volume below the cow filter was changed"
briq check --deep "$tmp/disk.briq"
