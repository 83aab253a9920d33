#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Where the driver has crashed ADD_DEV never returns, and the process that sent it cannot end. The
# command ends all the same, within the watchdog's time, and says what has happened; nothing is left
# of it but that process, and the volume can be used.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/daemon.sh
source "$BRIQ_SOURCE/tests/guest/lib/daemon.sh"
use_disks
requires_driver ublk_drv

told="*ADD_DEV has not returned for 30 s*dmesg*this process cannot end"
dm_create stuck "0 $(sectors_of "$spare") linear $spare 0"
briq create --force "$disk" 64M
dmsetup suspend --noflush --nolockfs stuck
cleanup dmsetup resume stuck

# As if the driver were broken.
briq_stuck() {
    STUCK_DEVICE=/dev/mapper/stuck LD_PRELOAD=$BRIQ_BUILD/tests/guest/stuck_add.so briq "$@"
}

refused_serve() {
    refused briq_stuck serve --daemon --nbd "unix:$tmp/daemon.sock" --ublk mem:16M -- "$told"
}

start=$SECONDS
refused_serve &
serve=$!
refused briq_stuck ublk add --windows-dir "$windows" "$disk" -- "$told"
wait "$serve"
took=$((SECONDS - start))
echo "it took $took s"
[ "$took" -ge 30 ] || fail "it was given up too early: $took s"

# By the kernel, until the device lets go.
are_held() {
    grep -qs STUCK_DEVICE= /proc/[0-9]*/environ
}
are_held || fail "no process was held: this test shows nothing"

ublk_add "$disk"
dd if=/dev/urandom of="$device" bs=64k count=4 oflag=direct status=none
ublk_del
dmsetup resume stuck
while are_held; do :; done
briq check --deep --quiet "$disk"
