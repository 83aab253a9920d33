#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# When memory runs short the kernel may have to write to a ublk device to get some, so every thread of
# its server is marked as one that must not wait for that, its memory is locked, it is not to be
# killed for memory's sake and keeps no mount of its own device. Swap on a volume in memory works
# while programs want more than there is.

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

command -v mkswap swapon >/dev/null || skip "needs: mkswap and swapon"
ublk_add --queues 1 --partitions no mem:512M
mkswap "$device" >"$tmp/mkswap.log"
swapon "$device"
cleanup swapoff "$device"
# All memory but a little is taken by what cannot go out, then comes more than that little.
free=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
mount_on "$tmp/taken" none -t ramfs
mount_on "$tmp/big" none -t tmpfs -o size=200m
head -c $((free - 90))M /dev/zero >"$tmp/taken/file"
text() {
    { yes "a line of text that packs well" || true; } | head -c 120M
}
before=$(sed -n 's/^pswpout //p' /proc/vmstat)
text >"$tmp/big/file"
sum=$(text | sha256sum)
[ "$(sha256sum <"$tmp/big/file")" = "$sum" ] || fail "what was swapped out came back otherwise"
rm "$tmp/taken/file"
swapped=$(($(sed -n 's/^pswpout //p' /proc/vmstat) - before))
echo "$free MiB were free, $swapped pages were swapped out"
[ "$swapped" -gt 2000 ] || fail "nothing was swapped out: this test shows nothing"
unmount "$tmp/big"
swapoff "$device"
ublk_del
