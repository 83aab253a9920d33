#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# Large requests are worked on by several threads at once, in either way of copying data, with and
# without FUA, past the page cache and through it, and while another server takes over: what fio
# writes it reads back. With `auto` that needs a processor that has nothing to do.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks

helpers() {
    grep -l '^ublk-h' /proc/"$server_pid"/task/*/comm | wc -l
}

helped() {
    ublk_counts helped | awk '{ n += $1 } END { print n + 0 }'
}

helpers_did_something() {
    [ "$(helped)" -gt 0 ] || fail "no helper did anything"
}

briq create --force "$disk" 256M
ublk_refused add --helpers 17 "$disk" -- "*--helpers*0 to 16*"
ublk_add --helpers 3 --queues 1 --depth 16 "$disk"
expect_equal "helpers" "$(helpers)" 3
verify_device --direct=1 --bs=1M --size=32M --iodepth=1
helpers_did_something
verify_device --direct=1 --bsrange=512-1M --blockalign=512 --size=24M --iodepth=16
verify_device --direct=1 --sync=1 --bsrange=256k-1M --blockalign=4k --size=16M --iodepth=4
verify_device --direct=0 --bs=1M --size=32M --iodepth=4

# The old server ends in the middle of what its helpers are doing.
verify_device --direct=1 --bs=1M --size=48M --iodepth=8 >"$tmp/verify.out" 2>&1 &
verifying=$!
for round in 1 2 3; do
    until [ "$(helped)" -gt 8 ]; do
        kill -0 "$verifying" 2>/dev/null || break 2
    done
    ublk_take_over --replace --helpers 2 "$id"
    echo "round $round"
done
wait "$verifying" || fail "$(cat "$tmp/verify.out")"
expect_equal "helpers of the last server" "$(helpers)" 2
expect_equal "requests answered with an error" "$(ublk_counts errors | sort -u)" 0
ublk_del

ublk_add --plain-copy --max-io 1M --helpers 2 --queues 1 --depth 8 "$disk"
verify_device --direct=1 --bsrange=4k-1M --blockalign=4k --size=24M --iodepth=8
helpers_did_something
ublk_del

ublk_add --helpers auto --queues 1 "$disk"
spare_processors=$(($(nproc) - 1))
expect_equal "automatic helpers" "$(helpers)" $((spare_processors < 4 ? spare_processors : 4))
verify_device --direct=1 --bs=1M --size=32M --iodepth=2
if [ "$spare_processors" -gt 0 ]; then helpers_did_something; fi
ublk_del
ublk_add "$disk"
expect_equal "helpers by default" "$(helpers)" 0
ublk_del
ublk_add --helpers 0 "$disk"
expect_equal "helpers that are not wanted" "$(helpers)" 0
ublk_del
briq check --deep --quiet "$disk"
