#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `briq serve --ublk`: a volume is an NBD export and a block device at once, and what one of them has
# acknowledged the other reads. Devices come and go with `briq attach` and `briq detach` while the
# daemon runs, are told by `briq list` and `briq snapshot-stats`, and grow with their export.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/daemon.sh
source "$BRIQ_SOURCE/tests/guest/lib/daemon.sh"
use_disks
requires_driver ublk_drv

briq create --force "$disk" 64M
daemon_start "a=$disk" b=mem:32M --ublk=a --id 5 --queues 2
device=/dev/ublkb5
[ -b "$device" ] || fail "there is no $device"
expect_equal "size" "$(sectors_of "$device")" $((64 << 11))
[ ! -e /dev/ublkb6 ] || fail "b has become a device unasked"

# Coherence, in both directions, past the page cache of the device.
for round in 1 2 3; do
    head -c 4M /dev/urandom >"$tmp/data"
    nbd_write a "$tmp/data" $((round << 22))
    dd if="$device" of="$tmp/read" bs=64k count=64 skip=$((round * 64)) iflag=direct status=none
    cmp "$tmp/data" "$tmp/read" || fail "round $round: the device does not read what NBD wrote"
    head -c 4M /dev/urandom >"$tmp/data"
    dd if="$tmp/data" of="$device" bs=64k seek=$((round * 64)) oflag=direct status=none
    nbd_read a "$tmp/read" $((round << 22)) 4194304
    cmp "$tmp/data" "$tmp/read" || fail "round $round: NBD does not read what the device wrote"
done
blkdiscard -o 4M -l 4M "$device"
nbd_read a "$tmp/read" 4194304 4194304
cmp -n 4194304 /dev/zero "$tmp/read" || fail "NBD still reads what the device discarded"

expect_match "briq list" "$(briq list)" "*a *$device*"
expect_match "briq list --json" "$(briq list --json)" '*"path": "/dev/ublkb5"*'
expect_match "snapshot-stats" "$(briq snapshot-stats --json)" '*"write_zeroes"*'
expect_match "stat" "$(briq stat a)" "*device $device: *queue 0 thread 0: *"
expect_match "ublk stat" "$(briq ublk stat 5)" "queue 0 thread 0:*"

# Devices that come and go.
expect_equal "attached" "$(briq attach b --ublk --id 9)" /dev/ublkb9
refused briq attach b --ublk -- "*'b' is /dev/ublkb9 already*"
refused briq attach b --id 3 -- "*--ublk*"
refused briq ublk recover --replace 5 -- "*briq serve*shutdown*"
dd if=/dev/urandom of=/dev/ublkb9 bs=64k count=16 oflag=direct status=none
exec 9</dev/ublkb9
refused briq detach b --ublk -- "*/dev/ublkb9 is held open by *"
refused briq detach b -- "*/dev/ublkb9 is held open by *"
exec 9<&-
briq detach b --ublk
[ ! -e /dev/ublkb9 ] || fail "the device is still there"
expect_equal "exports" "$(briq list --json | grep -c '"volume"')" 2
expect_equal "attached again" "$(briq attach b --ublk --id 9)" /dev/ublkb9
briq detach b
[ ! -e /dev/ublkb9 ] || fail "the device of what was detached is still there"
expect_equal "exports" "$(briq list --json | grep -c '"volume"')" 1
expect_match "a volume at once" "$(briq attach c=mem:16M --ublk)" "/dev/ublkb*"
refused briq attach d=mem:16M --ublk --id 5 -- "*device 5 is there already*"
expect_equal "exports" "$(briq list --json | grep -c '"volume"')" 2

# A stop from outside takes the device, and leaves the export.
briq ublk stop 5
until ! briq list | grep -q "$device"; do :; done
nbd_read a "$tmp/read" 12582912 4194304
cmp "$tmp/data" "$tmp/read" || fail "the export has not survived its device"
expect_equal "attached" "$(briq attach a --ublk --id 5)" "$device"

if ublk_feature UPDATE_SIZE; then
    briq resize "$disk" 96M
    expect_equal "size" "$(sectors_of "$device")" $((96 << 11))
    briq ublk resize 5 +4M
    expect_equal "size" "$(sectors_of "$device")" $((100 << 11))
    expect_match "size of the export" "$(briq list)" "*100 MiB*"
else
    refused briq resize "$disk" 96M -- "*6.16*"
fi

mkfs.ext4 -q -F "$device"
mount_on "$tmp/mnt" "$device"
refused briq detach a -- "*is mounted*"
cp -r "$BRIQ_SOURCE/tests/guest" "$tmp/mnt"
unmount "$tmp/mnt"
daemon_end
[ ! -e "$device" ] || fail "$device has outlived its daemon"
briq info "$disk" | grep -q 'Closed cleanly *yes' || fail "the volume was not closed cleanly"
briq check --deep --quiet "$disk"
