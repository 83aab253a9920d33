#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The kernel's NBD client is disconnected in the middle of fio's writes: fio gets errors, the server
# loses its four clients and nothing else, and serves the same device again, with what was written
# before.

# shellcheck source=tests/guest/lib/guest.sh
export BRIQ_FRONTEND=serve
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks

verified_write() {
    fio --name=kept --filename="$device" --direct=1 --ioengine=libaio --iodepth=16 --offset=128M \
        --size=8M --rw=randwrite --bs=16k --randseed="$seed" --verify=crc32c --verify_fatal=1 \
        --verify_state_save=0 --output="$tmp/fio.log" "$@" || fail "fio: $(tail -n 20 "$tmp/fio.log")"
}

briq create --force "$disk" 256M
attach_volume "$disk"
verified_write --do_verify=1
for round in 1 2 3; do
    fio --name=load --filename="$device" --direct=1 --ioengine=libaio --iodepth=32 --size=100M \
        --rw=randrw --bsrange=4k-64k --time_based --runtime=1000 --output="$tmp/load.log" 2>&1 &
    fio_pid=$!
    before=$(awk '{ print $5 }' "/sys/block/${device##*/}/stat")
    until [ "$(awk '{ print $5 }' "/sys/block/${device##*/}/stat")" -gt $((before + 50)) ]; do
        kill -0 "$fio_pid" 2>/dev/null || fail "fio ended: $(tail "$tmp/load.log")"
    done
    detach_device "$device"
    if wait "$fio_pid"; then fail "round $round: fio saw no error"; fi
    kill -0 "$server_pid" || fail "the server is gone"
    attach_nbd -C 4
    verified_write --verify_only
done
detach_volume
briq check --deep --quiet "$disk"
