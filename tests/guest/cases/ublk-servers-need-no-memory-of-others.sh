#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# When memory runs short the kernel may have to write to a ublk device to get some, so every thread of
# its server is marked as one that must not wait for that, its memory is locked, it is not to be
# killed for memory's sake and keeps no mount of its own device.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks

# PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE: what PR_SET_IO_FLUSHER sets.
marks=$((0x00080000 | 0x00100000))

briq create --force "$disk" 64M
ublk_add --queues 2 "$disk"
dd if=/dev/urandom of="$device" bs=64k count=64 oflag=direct status=none
dd if="$device" of="$tmp/read" bs=64k count=64 iflag=direct status=none
threads=0
for task in /proc/"$server_pid"/task/*; do
    flags=$(sed 's/.*) //' "$task/stat" | cut -d' ' -f7)
    [ $((flags & marks)) -eq "$marks" ] || fail "thread $(cat "$task/comm") is not marked: $flags"
    threads=$((threads + 1))
done
[ "$threads" -ge 3 ] || fail "only $threads threads were looked at"
locked=$(sed -n 's/^VmLck:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$server_pid/status")
[ "$locked" -gt 1000 ] || fail "its memory is not locked: $locked KiB"
expect_equal "oom_score_adj" "$(cat "/proc/$server_pid/oom_score_adj")" -1000

mkfs.ext4 -q -F "$device"
mount_on "$tmp/mnt" "$device"
ublk_replace
grep -q "^$device " "/proc/$server_pid/mounts" && fail "the server holds its own device's mount"
unmount "$tmp/mnt"
ublk_del
