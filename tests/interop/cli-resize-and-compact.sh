#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A volume grows, keeping its content and reading zeros behind it, and compact gives back what
# overwritten and trimmed data took.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires jq --version
requires_module nbd

make_corpus "$tmp/raw" 24M
briq import --quiet "$tmp/raw" "$tmp/disk.briq"
briq resize "$tmp/disk.briq" +8M
expect_equal "size" "$(briq info --json "$tmp/disk.briq" | jq .size)" $((32 << 20))
briq resize "$tmp/disk.briq" 1G
truncate -s 1G "$tmp/raw"
briq export --quiet "$tmp/disk.briq" "$tmp/out"
cmp "$tmp/raw" "$tmp/out"
briq check --deep --quiet "$tmp/disk.briq"
expect_failure 2 briq resize "$tmp/disk.briq" 512M
expect_equal "size" "$(briq info --json "$tmp/disk.briq" | jq .size)" $((1 << 30))

# Half of every 1 MiB is overwritten, and some is trimmed: garbage in every segment.
serve_volume "$tmp/disk.briq"
RAW=$tmp/raw nbdsh -u "$uri" -c '
import os
data = open(os.environ["RAW"], "rb").read(24 << 20)
for mib in range(24):
    h.pwrite(data[mib << 20:(mib << 20) + (1 << 19)], mib << 20)
h.trim(2 << 20, 10 << 20)
h.flush()'
stop_server
fallocate --punch-hole --offset 10M --length 2M "$tmp/raw"

briq compact --json "$tmp/disk.briq" >"$tmp/result"
stored=$(jq .stored "$tmp/result")
before=$(jq .file_before "$tmp/result")
after=$(jq .file "$tmp/result")
[ "$after" -lt "$before" ] || fail "nothing was given back: $before, $after bytes"
[ "$after" -ge "$stored" ] || fail "it takes less than what is stored: $after, $stored bytes"
# A tenth, and the ends of the streams' segments, are no gaps.
[ "$after" -lt $((stored + stored / 10 + (8 << 20))) ] || fail "gaps are left: $after, $stored bytes"

briq check --deep --quiet "$tmp/disk.briq"
briq export --quiet --force "$tmp/disk.briq" "$tmp/out"
cmp "$tmp/raw" "$tmp/out"
