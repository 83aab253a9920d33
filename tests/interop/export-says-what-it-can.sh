#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A client learns from the handshake: the size, every feature that the volume has, and block sizes.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdinfo --version
requires jq --version

# A size that is no multiple of 4 KiB, beyond 32 bits.
size=$(((5 << 30) + 512))
briq create "$tmp/disk.briq" "$size"
serve_volume "$tmp/disk.briq"

expect_equal "size" "$(nbdinfo --size "$uri")" "$size"
for feature in flush fua trim zero "fast-zero" cache "multi-conn" df; do
    nbdinfo --can "$feature" "$uri" || fail "the export cannot: $feature"
done
if nbdinfo --is read-only "$uri"; then fail "the export is read-only"; fi
if nbdinfo --is rotational "$uri"; then fail "the export is rotational"; fi

nbdinfo --json "$uri" >"$tmp/info.json"
export_field() { jq -r ".exports[0].$1" "$tmp/info.json"; }
expect_equal "name" "$(export_field '"export-name"')" disk
expect_equal "minimum block size" "$(export_field block_size_minimum)" 1
expect_equal "preferred block size" "$(export_field block_size_preferred)" 4096
expect_equal "maximum block size" "$(export_field block_size_maximum)" $((32 << 20))
expect_match "description" "$(export_field description)" "5* GiB, empty"
export_field 'contexts[]' | grep -qx base:allocation || fail "no base:allocation"

stop_server
