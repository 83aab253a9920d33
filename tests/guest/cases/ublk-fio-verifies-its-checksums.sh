#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# What fio writes to a ublk device it reads back, by its own checksums: 512 bytes to 1 MiB, one queue
# and two, few requests in flight and many, past the page cache and through it, several jobs at a
# time, with discards and write-zeroes in between; with either way of copying data.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks

briq create --force "$disk" 256M
ublk_add --queues 2 --depth 64 "$disk"
verify_device --direct=1 --bsrange=512-1M --blockalign=512 --size=24M --iodepth=32
verify_device --direct=1 --bs=4k --size=8M --iodepth=1
verify_device --direct=1 --bsrange=4k-64k --size=8M --iodepth=128 --numjobs=3 --offset_increment=64M
verify_device --direct=0 --bsrange=512-128k --blockalign=512 --size=16M --iodepth=8
verify_device --direct=1 --rw=randtrimwrite --bs=8k --size=16M --iodepth=16
expect_equal "requests answered with an error" "$(ublk_counts errors | sort -u)" 0
ublk_del
briq check --deep --quiet "$disk"

ublk_add --plain-copy --queues 1 --depth 16 --block-size 4096 "$disk"
expect_equal "logical blocks" "$(blockdev --getss "$device")" 4096
verify_device --direct=1 --bsrange=4k-128k --blockalign=4k --size=16M --iodepth=16
blkdiscard --zeroout --offset 1M --length 3M "$device"
blkdiscard --offset 5M --length 3M "$device"
cmp -n $((3 << 20)) "$device" /dev/zero $((1 << 20))
cmp -n $((3 << 20)) "$device" /dev/zero $((5 << 20))
ublk_del
briq check --deep --quiet "$disk"
