#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Trimmed and zeroed ranges of a file volume are not stored any more, and the host gets the space.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdcopy --version
requires_module nbd
requires jq --version

info() { briq info --json "$tmp/disk.briq" | jq ".$1"; }

make_corpus "$tmp/raw" 96M
briq create "$tmp/disk.briq" 128M
serve_volume "$tmp/disk.briq"
nbdcopy --flush "$tmp/raw" "$uri"
stop_server
full=$(info stored)
full_file=$(info file)
[ "$full" -gt $((20 << 20)) ] || fail "only $full bytes are stored of 96 MiB"

serve_volume "$tmp/disk.briq"
nbdsh -u "$uri" -c 'h.trim(48 << 20, 0)' -c 'h.flush()'
stop_server
half=$(info stored)
[ "$half" -lt $((full * 3 / 4)) ] || fail "stored was $full and is $half after half was trimmed"

serve_volume "$tmp/disk.briq"
nbdsh -u "$uri" -c 'h.zero(48 << 20, 48 << 20)' -c 'h.flush()'
cmp <(nbdcopy "$uri" -) <(head -c 128M /dev/zero) || fail "what was trimmed and zeroed is not zeros"
stop_server
expect_equal "stored after everything was trimmed or zeroed" "$(info stored)" 0
expect_equal "mapped" "$(info mapped)" 0
empty_file=$(info file)
[ "$empty_file" -lt $((full_file / 2)) ] ||
    fail "the file took $full_file bytes and still takes $empty_file"
briq check --deep "$tmp/disk.briq"
