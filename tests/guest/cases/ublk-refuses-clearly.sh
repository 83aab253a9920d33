#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What cannot be done with ublk devices is refused in one line that says why.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks
if ! grep -qw ublk_control /proc/misc && [ ! -e /dev/ublk-control ]; then
    ublk_refused features -- "*modprobe*ublk_drv*CONFIG_BLK_DEV_UBLK*"
fi
requires_driver ublk_drv

ublk_refused add "$tmp/none.briq" -- "*none.briq: No such file*"
ublk_refused add mem:64M --queues 0 -- "*--queues*"
ublk_refused add mem:64M --max-io 100K -- "*--max-io*power of two*"
ublk_refused add mem:64M --block-size 1024 -- "*--block-size*"
ublk_refused add mem:64M --null 1G -- "*--null*"
ublk_refused add -- "*VOLUME*"
ublk_refused stop 4711 -- "*no device 4711*"
ublk_refused del nonsense -- "*nonsense*"
ublk_refused recover 4711 -- "*ublk4711*"
if ! ublk_feature PER_IO_DAEMON; then
    ublk_refused add mem:64M --threads-per-queue 2 -- "*--threads-per-queue*6.16*"
fi

briq create --force "$disk" 64M
ublk_add "$disk"
ublk_refused add "$disk" -- "*in use*"
ublk_refused add --null 1M --id "$id" -- "*device $id is there already*"
ublk_refused recover "$id" -- "*has a server*--replace*"
mkfs.ext4 -q -F "$device"
mount_on "$tmp/mnt" "$device"
ublk_refused stop "$id" -- "*is mounted*--force*"
ublk_refused del "$id" -- "*is mounted*--force*"
if ! ublk_feature UPDATE_SIZE; then
    ublk_refused resize "$id" 128M -- "*6.16*"
fi
unmount "$tmp/mnt"
expect_equal "devices" "$(briq ublk list --json | grep -c '"id"')" 1
ublk_del

# What is in memory alone cannot be recovered, and does not wait to be.
ublk_add mem:64M
ublk_kill
ublk_refused recover "$id" -- "*died with its server*"
until [ ! -e "$device" ]; do :; done
briq ublk del "$id"

# Who keeps a device from going is named.
ublk_add mem:64M
exec 9<"$device"
ublk_refused del "$id" -- "*stopped, but not gone*held open by *($$)*"
exec 9<&-
until [ ! -e "/sys/class/ublk-char/ublkc$id" ]; do :; done

# What the system forbids.
switch=/proc/sys/kernel/io_uring_disabled
if [ -e "$switch" ]; then
    restore() { echo 0 >"$switch"; }
    cleanup restore
    echo 2 >"$switch"
    ublk_refused add mem:64M -- "*io_uring is forbidden here*kernel.io_uring_disabled*"
    ublk_refused list -- "*io_uring is forbidden here*"
    restore
fi
if setpriv --reuid 65534 --clear-groups "$BRIQ_BUILD/briq" --version >"$tmp/version" 2>&1; then
    said=$(setpriv --reuid 65534 --clear-groups "$BRIQ_BUILD/briq" ublk features 2>&1) &&
        fail "another user may do it: $said"
    expect_match "refusal" "$said" "*permission denied; run it as root*60-briq-ublk.rules*"
fi
