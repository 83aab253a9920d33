#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 400
#
# Swap on a volume in memory, and more memory asked for than there is: what cannot stay goes through
# the server into the volume, which packs it, and comes back as it was. The server must not wait for
# the memory that it is to free. With SWAP_SERVER=serve it is `briq serve`.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/daemon.sh
source "$BRIQ_SOURCE/tests/guest/lib/daemon.sh"
requires_driver ublk_drv
[ -e /proc/swaps ] || skip "needs: a kernel with swap"
in_guest || [ "${GUEST_SWAP:-}" = yes ] ||
    skip "needs: a machine whose memory may be filled (GUEST_SWAP=yes says so)"

swap_off() {
    if grep -q "^$device " /proc/swaps; then swapoff "$device"; fi
}

if [ "${SWAP_SERVER:-add}" = serve ]; then
    daemon_start swap=mem:3G --ublk --swap --queues 1
    device=$(sed -n 's|^\(/dev/ublkb[0-9]*\):.*|\1|p' "$tmp/daemon.log")
    id=${device#/dev/ublkb}
else
    ublk_add --swap --queues 1 mem:3G
fi
for task in /proc/"$server_pid"/task/*; do
    # The 41st field is the policy, 2 being SCHED_RR.
    policy=$(sed 's/.*) //' "$task/stat" | cut -d' ' -f39)
    expect_equal "policy of thread $(cat "$task/comm")" "$policy" 2
done
mkswap "$device" >/dev/null
swapon "$device"
cleanup swap_off

# Most of the memory is taken, and locked, so that the rest is filled in seconds.
available() {
    sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo
}

locked=$(($(available) / 1024 - 224))
[ "$locked" -gt 0 ] || fail "only $(available) KiB are free"
"$tools/memory" hold "$locked" >"$tmp/held" 2>&1 &
holder=$!
cleanup kill "$holder"
until [ -s "$tmp/held" ]; do :; done
expect_equal "the holder" "$(cat "$tmp/held")" "held"
"$tools/memory" use $(($(available) / 1024 + 96)) 1 || fail "memory came back with other content"
writes=$(($(ublk_counts writes)))
[ "$writes" -gt 100 ] || fail "next to nothing was swapped: $writes writes"
expect_equal "errors" "$(ublk_counts errors)" 0
swapoff "$device"
if [ "${SWAP_SERVER:-add}" = serve ]; then daemon_end; else ublk_del; fi
