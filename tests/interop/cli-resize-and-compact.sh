#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A volume grows, keeping its content and reading zeros behind it, and compact gives back what
# overwritten data took.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
# shellcheck source=tests/lib/data.sh
source "$BRIQ_SOURCE/tests/lib/data.sh"
requires jq --version

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

briq compact --json "$tmp/disk.briq" >"$tmp/result"
[ "$(jq .file "$tmp/result")" -le "$(jq .file_before "$tmp/result")" ] || fail "it grew"
stored=$(jq .stored "$tmp/result")
[ "$(jq .file "$tmp/result")" -ge "$stored" ] || fail "it takes less than what is stored"
briq check --deep --quiet "$tmp/disk.briq"
briq export --quiet --force "$tmp/disk.briq" "$tmp/out"
cmp "$tmp/raw" "$tmp/out"
