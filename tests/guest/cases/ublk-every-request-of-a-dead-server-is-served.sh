#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# A server dies while every request it can have is stuck in the medium (dm-delay). The kernel may take
# half a minute to notice (6.12), then the next server carries out all of them; so it does when a
# second server dies before it is done.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks
requires_driver dm-delay

briq create --force "$disk" 64M
ublk_add "$disk"
head -c 16M /dev/urandom >"$device"
sync "$device"
sum=$(head -c 16M "$device" | sha256sum)
ublk_del

dm_create slow "0 $(sectors_of "$disk") delay $disk 0 0"
ublk_add --direct --cache 0 --queues 1 --depth 4 /dev/mapper/slow
dm_switch slow "0 $(sectors_of "$disk") delay $disk 0 1000"
pids=()
for ((i = 0; i < 8; i++)); do
    dd if="$device" of="$tmp/part$i" bs=64k count=1 skip=$((i * 32)) iflag=direct status=none &
    pids+=($!)
done
# All four tags are taken when more wait in front of the queue than it has.
until [ "$(awk '{ print $1 }' "/sys/block/${device##*/}/inflight")" -ge 4 ]; do :; done
ublk_kill
dm_switch slow "0 $(sectors_of "$disk") delay $disk 0 0"
ublk_recover
ublk_kill
ublk_recover
for pid in "${pids[@]}"; do wait "$pid" || fail "a read met an error"; done
[ "$(head -c 16M "$device" | sha256sum)" = "$sum" ] || fail "the data is not what it was"
for ((i = 0; i < 8; i++)); do
    cmp -n 65536 "$tmp/part$i" "$device" 0 $((i * 32 * 65536))
done
ublk_del
dm_remove slow
