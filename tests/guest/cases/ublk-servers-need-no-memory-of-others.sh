#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# When memory runs short the kernel may have to write to a ublk device to get some, so every thread of
# its server is marked as one that must not wait for that, its memory is locked, it is not to be
# killed for memory's sake and keeps no mount of its own device. That goes for `briq serve` as well,
# also for volumes in memory that become devices later, and for every thread of it: they share locks.
# No program that a server starts inherits the device.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/daemon.sh
source "$BRIQ_SOURCE/tests/guest/lib/daemon.sh"
use_disks

# PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE: what PR_SET_IO_FLUSHER sets.
marks=$((0x00080000 | 0x00100000))

check_threads() {
    local task flags threads=0
    for task in /proc/"$server_pid"/task/*; do
        flags=$(sed 's/.*) //' "$task/stat" | cut -d' ' -f7)
        [ $((flags & marks)) -eq "$marks" ] || fail "thread $(cat "$task/comm") is not marked: $flags"
        threads=$((threads + 1))
    done
    [ "$threads" -ge "$1" ] || fail "only $threads threads were looked at"
}

# O_CLOEXEC is 02000000 in octal. What this shell has given it is not its own.
check_files() {
    local info flags target found=0
    for info in /proc/"$server_pid"/fdinfo/*; do
        [ "${info##*/}" -gt 2 ] || continue
        target=$(readlink "/proc/$server_pid/fd/${info##*/}") || continue
        [ "$target" != "$(readlink "/proc/$$/fd/${info##*/}")" ] || continue
        flags=$((8#$(sed -n 's/^flags:[^0-9]*//p' "$info")))
        [ $((flags & 8#2000000)) -ne 0 ] || fail "$target is not close-on-exec"
        case $target in /dev/ublkc*) found=$((found + 1)) ;; esac
    done
    [ "$found" -ge 1 ] || fail "the device was not among the files"
}

# All that a process could miss: what it can write to, and its programs. Mappings of the kernel's
# (rings, requests, the clock) are not pageable, and "lo" among the flags is what mlockall() leaves.
check_memory() {
    local loose
    loose=$(awk '
        /^[0-9a-f]+-[0-9a-f]+ / { name = $0; rss = 0 }
        /^Rss:/ { rss = $2 }
        /^Swap:/ && $2 > 0 { print name ": swapped" }
        /^VmFlags:/ && rss > 0 && !/ (lo|io|pf|de) ?/ { print name }
    ' "/proc/$server_pid/smaps")
    loose=$(grep -v -e '\[v[a-z]*\]$' -e 'anon_inode:' <<<"$loose" || true)
    [ -z "$loose" ] || fail "memory that is not locked: $loose"
}

check_process() {
    local locked
    check_threads "$1"
    check_files
    check_memory
    locked=$(sed -n 's/^VmLck:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$server_pid/status")
    [ "$locked" -gt 1000 ] || fail "its memory is not locked: $locked KiB"
    expect_equal "oom_score_adj" "$(cat "/proc/$server_pid/oom_score_adj")" -1000
    [ "$(readlink "/proc/$server_pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] ||
        fail "it has no mount namespace of its own"
}

briq create --force "$disk" 64M
ublk_add --queues 2 "$disk"
dd if=/dev/urandom of="$device" bs=64k count=64 oflag=direct status=none
dd if="$device" of="$tmp/read" bs=64k count=64 iflag=direct status=none
check_process 3

mkfs.ext4 -q -F "$device"
mount_on "$tmp/mnt" "$device"
ublk_replace
grep -q "^$device " "/proc/$server_pid/mounts" && fail "the server holds its own device's mount"
unmount "$tmp/mnt"
ublk_del

# The main thread, one for control, one for NBD clients; and for each of the two volumes one for
# maintenance, one for the device and one for its queue.
daemon_start a="$disk" b=mem:64M --ublk=a --queues 1 --threads 1
nbd_write a "$tmp/read" 4194304
attached=$(briq attach b --ublk)
expect_match "attached" "$attached" "/dev/ublkb*"
check_process 9
nbd_write b "$tmp/read" 4194304
head -c 4M /dev/urandom | dd of="$attached" bs=64k seek=128 oflag=direct conv=fsync status=none
check_process 9
briq detach b
daemon_end
