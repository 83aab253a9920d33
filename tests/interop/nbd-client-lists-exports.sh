#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The listing of nbd-client, which speaks a protocol of its own age, names every export.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
PATH=$PATH:/usr/sbin:/sbin
requires nbd-client -V

briq create "$tmp/first.briq" 64M
briq create "$tmp/second.briq" 1G
serve_volume "$tmp/first.briq" "$tmp/second.briq"
nbd-client -l -unix "$tmp/server.sock" >"$tmp/list" 2>"$tmp/client.log" ||
    fail "nbd-client: $(cat "$tmp/client.log" "$tmp/list")"
expect_equal "exports" "$(grep -ow 'first\|second' "$tmp/list" | sort | xargs)" "first second"
stop_server
