#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The power fails while two programs change files with fsync on an ext4 on a volume: QEMU is killed, and
# with it what its disk had not been told to flush. After the next boot the volume is sound, the file
# system mounts and passes fsck, and every change is there that the host was told to be durable. Three
# times, on the same volume.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks
requires_power_switch

if [ "$boot" -eq 1 ]; then
    briq create --force "$disk" 256M
    attach_volume "$disk"
    mkfs.ext4 -q -F "$device"
    mount_on "$tmp/mnt" "$device" -t ext4
    mkdir "$tmp/mnt/a" "$tmp/mnt/b"
    sync
else
    briq check --deep --quiet "$disk" # as the power cut left it
    attach_volume "$disk"
    mount_on "$tmp/mnt" "$device" -t ext4
    read -r a b <<<"${last/:/ }"
    echo "durable were $a and $b; there are:"
    "$tools/files" verify "$tmp/mnt/a" "$((seed + boot - 1))" "$a"
    "$tools/files" verify "$tmp/mnt/b" "$((seed + boot - 1))" "$b"
    unmount "$tmp/mnt"
    e2fsck -fn "$device" >"$tmp/fsck.log" 2>&1 || fail "fsck: $(cat "$tmp/fsck.log")"
    mount_on "$tmp/mnt" "$device" -t ext4
    rm -f "$tmp"/mnt/[ab]/*
    sync
fi

if [ "$boot" -eq 4 ]; then
    unmount "$tmp/mnt"
    detach_volume
    briq check --deep --quiet "$disk"
    exit 0
fi

cut_power_after $((20 + (seed >> boot) % 60))
for i in a b; do
    "$tools/files" write "$tmp/mnt/$i" "$((seed + boot))" 100000 >"$tmp/$i.durable" &
done
while true; do
    before=${a-}:${b-}
    a=$(tail -n 1 "$tmp/a.durable")
    b=$(tail -n 1 "$tmp/b.durable")
    if [ "$a:$b" != "$before" ]; then tell "${a:-0}:${b:-0}"; fi
done
