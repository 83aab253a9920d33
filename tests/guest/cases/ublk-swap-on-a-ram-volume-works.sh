#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# Swap on a volume in memory, and more memory asked for than there is: what cannot stay goes through
# the server into the volume, which packs it, and comes back as it was. The server must not wait for
# the memory that it is to free.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks
requires_driver ublk_drv
mkswap --version >/dev/null 2>&1 || busybox mkswap --help >/dev/null 2>&1 || skip "needs: mkswap"
[ -e /proc/swaps ] || skip "needs: a kernel with swap"

total=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
[ "$total" -lt 6000000 ] || skip "needs: a machine that 6 GB fill, and nobody else works on"

swap_off() {
    if grep -q "^$device " /proc/swaps; then swapoff "$device"; fi
}

ublk_add mem:3G
mkswap "$device" >/dev/null
swapon "$device"
cleanup swap_off

# Half as much again as is free, every page different, and packed to a third.
megabytes=$((available / 1024 * 5 / 4))
echo "$available KiB free, $megabytes MiB asked for"
"$tools/memory" "$megabytes" 2 || fail "memory came back with other content"
writes=$(ublk_counts writes | paste -sd+ | sed 's/^$/0/')
[ $((writes)) -gt 1000 ] || fail "next to nothing was swapped: $writes writes"
expect_equal "errors" "$(ublk_counts errors | sort -u)" 0
swapoff "$device"
ublk_del
