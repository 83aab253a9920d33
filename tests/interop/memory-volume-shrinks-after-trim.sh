#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A memory volume gives the memory of trimmed and zeroed data back to the system.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdcopy --version
requires_module nbd

resident() { awk '/^Rss:/ { print $2 * 1024 }' "/proc/$server_pid/smaps_rollup"; }

make_corpus "$tmp/raw" 160M
serve_volume mem:256M
before=$(resident)
nbdcopy --flush "$tmp/raw" "$uri"
full=$(resident)
[ $((full - before)) -gt $((40 << 20)) ] || fail "160 MiB took only $((full - before)) bytes"

nbdsh -u "$uri" -c 'h.trim(80 << 20, 0)' -c 'h.zero(80 << 20, 80 << 20)' -c 'h.flush()'
after=$(resident)
echo "resident: $before empty, $full full, $after after trim"
[ $((after - before)) -lt $(((full - before) / 4)) ] ||
    fail "resident memory went from $full to $after only, and was $before when empty"
stop_server
