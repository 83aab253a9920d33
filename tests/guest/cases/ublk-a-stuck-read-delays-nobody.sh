#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# While a read is stuck in the medium (a suspended device-mapper device), the same queue of a ublk
# device goes on with requests that need no medium; there is one queue, with one thread.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks

dm_create stuck "0 $(sectors_of "$disk") linear $disk 0"
briq create --force /dev/mapper/stuck 64M
ublk_add --queues 1 /dev/mapper/stuck
head -c 1M /dev/urandom | dd of="$device" bs=64k oflag=direct conv=fsync status=none
ublk_del
ublk_add --direct --cache 0 --queues 1 --partitions no /dev/mapper/stuck

dmsetup suspend --noflush --nolockfs stuck
cleanup dmsetup resume stuck
dd if="$device" of="$tmp/stuck" bs=4k count=1 iflag=direct status=none &
reader=$!
until [ "$(ublk_counts waits)" -ge 1 ]; do :; done
for ((i = 0; i < 20; i++)); do
    dd if="$device" of="$tmp/hole" bs=64k count=1 skip=$((512 + i)) iflag=direct status=none
    dd if=/dev/urandom of="$device" bs=4k count=1 seek=$((4096 + i)) oflag=direct status=none
done
kill -0 "$reader" 2>/dev/null || fail "the read was not stuck: this test shows nothing"
dmsetup resume stuck
wait "$reader"
cmp -n 4096 "$tmp/stuck" "$device"
ublk_del
