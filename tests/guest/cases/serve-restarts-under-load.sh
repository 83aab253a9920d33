#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 300
#
# The server is killed again and again while fio writes through the kernel's NBD client, started anew and
# connected to again. The kernel gives up what was under way; everything that had been acknowledged is
# there, though nothing was flushed. (With nbd-client 3.24 -persist does not come back: the device stays
# at size 0. So the case connects by itself.)

# shellcheck source=tests/guest/lib/guest.sh
export BRIQ_FRONTEND=serve
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks
rounds=${GUEST_ROUNDS:-3}

written() {
    awk '{ print $5 }' "/sys/block/${device##*/}/stat"
}

# The round's own 4 MiB: written, or only verified.
fio_round() {
    local round=$1
    shift
    fio --name=round --filename="$device" --direct=1 --ioengine=libaio --iodepth=16 --size=4M \
        --offset=$((128 + 4 * round))M --rw=randwrite --bsrange=4k-64k --randseed=$((seed + round)) \
        --verify=crc32c --verify_fatal=1 --verify_state_save=0 --output="$tmp/fio.log" "$@" ||
        fail "round $round: fio: $(tail -n 20 "$tmp/fio.log")"
}

briq create --force "$disk" 256M
attach_volume "$disk"

for ((round = 1; round <= rounds; round++)); do
    fio_round "$round" --do_verify=0
    fio --name=load --filename="$device" --direct=1 --ioengine=libaio --iodepth=32 --size=100M \
        --rw=randwrite --bsrange=4k-64k --time_based --runtime=1000 --output="$tmp/load.log" 2>&1 &
    fio_pid=$!
    before=$(written)
    until [ "$(written)" -gt $((before + 100)) ]; do
        kill -0 "$fio_pid" 2>/dev/null || fail "fio ended: $(tail "$tmp/load.log")"
    done
    kill_server
    if wait "$fio_pid"; then fail "round $round: fio did not notice"; fi
    serve_volume "$disk"
    detach_device "$device"
    attach_nbd -C 4
    for ((n = 1; n <= round; n++)); do fio_round "$n" --verify_only; done
    echo "round $round: $(written) writes"
done
detach_volume
briq check --deep --quiet "$disk"
