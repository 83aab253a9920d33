#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# While a server has a volume open, info shows it and names the server; every verb that would write
# or needs the volume to itself is refused in one line that names the server too, with --force as
# well, and nothing of the volume is lost. Readers do not disturb each other.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires jq --version

make_corpus "$tmp/raw" 8M
briq import --quiet "$tmp/raw" "$tmp/disk.briq"
serve_volume "$tmp/disk.briq"

briq info --json "$tmp/disk.briq" >"$tmp/info"
expect_equal "owner" "$(jq .owner.pid "$tmp/info")" "$server_pid"
expect_equal "clean" "$(jq .clean "$tmp/info")" false
expect_match "lines" "$(briq info "$tmp/disk.briq")" "*In use by*process $server_pid*"

refused() {
    expect_failure 2 "$@"
    expect_match "message of '$*'" "$said" "briq $2: *$tmp/disk.briq*$server_pid*"
    expect_equal "lines of '$said'" "$(wc -l <<<"$said")" 1
}
refused briq check "$tmp/disk.briq"
refused briq check --repair "$tmp/disk.briq"
# These two a daemon does by itself when it is asked; see serve-volumes-come-and-go.
if [ "$BRIQ_FRONTEND" = nbdkit ]; then
    refused briq resize "$tmp/disk.briq" +1M
    refused briq compact "$tmp/disk.briq"
fi
refused briq create --force "$tmp/disk.briq" 1M
refused briq import --force "$tmp/raw" "$tmp/disk.briq"
refused briq export "$tmp/disk.briq" "$tmp/out"
[ ! -e "$tmp/out" ] || fail "a refused export left a file"

stop_server
expect_equal "owner" "$(briq info --json "$tmp/disk.briq" | jq .owner)" null
briq check --deep --quiet "$tmp/disk.briq"

serve_volume --read-only "$tmp/disk.briq"
briq export --quiet "$tmp/disk.briq" - | cmp - "$tmp/raw"
refused_by_reader=$(briq resize "$tmp/disk.briq" +1M 2>&1) && fail "a writer beside a reader"
expect_match "message" "$refused_by_reader" "briq resize: *$tmp/disk.briq*"
stop_server
