#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Volumes of one server are exports of their own, listed with descriptions, and do not mix.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdinfo --version
requires_module nbd
requires jq --version

mkdir "$tmp/b"
briq create "$tmp/one.briq" 1M
briq create "$tmp/two.briq" 2M
briq create "$tmp/b/two.briq" 3M
make_corpus "$tmp/corpus" 512K
serve_volume "$tmp/one.briq" "$tmp/two.briq" "$tmp/b/two.briq" export=three mem:4M

for export in one:1 two:2 three:3 mem:4; do
    expect_equal "size of ${export%:*}" "$(nbdinfo --size "$(uri_of "${export%:*}")")" \
        $((${export#*:} << 20))
done

# Each gets its own byte; then each must still have it.
for export in one two three mem; do
    nbdsh -u "$(uri_of "$export")" -c "h.pwrite(b'$export'.ljust(4096, b'.'), 8192)"
done
for export in one two three mem; do
    nbdsh -u "$(uri_of "$export")" -c "assert h.pread(4096, 8192) == b'$export'.ljust(4096, b'.')"
done
nbdcopy "$tmp/corpus" "$(uri_of two)"

nbdinfo --list --json "$uri" >"$tmp/list.json"
expect_equal "exports" "$(jq -r '[.exports[]."export-name"] | sort | join(" ")' "$tmp/list.json")" \
    "mem one three two"
description=$(jq -r '.exports[] | select(."export-name" == "two") | .description' "$tmp/list.json")
expect_match "description of two" "$description" "2* MiB, 5* of data stored in *, ratio [1-9]*.[0-9][0-9]"

# Among several there is no default, and there is no export of any other name.
expect_failure 1 nbdinfo --size "$uri"
for name in four ONE one.briq ../one "$tmp/one.briq"; do
    expect_failure 1 nbdinfo --size "$(uri_of "$name")"
done
server_log | grep -q "unknown export 'four'" || fail "the server does not name the unknown export"

stop_server
