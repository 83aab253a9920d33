#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 600
#
# The server of a ublk device is killed again and again under fio, which writes to both of its queues
# and reads back by checksums, and each time another one takes over. fio sees no error and nothing of
# what was acknowledged is missing. $GUEST_ROUNDS times, by default 50.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# Linux 6.12 under QEMU's emulation has been seen to fail by itself (a NULL dereference in
# io_fallback_tw) when a thread of a dead server ends with commands under way; 7.2 has not.
case $(uname -r) in
[1-6].*) [ -n "${GUEST_ROUNDS:-}" ] || skip "Linux $(uname -r) may crash by itself; GUEST_ROUNDS=N runs it" ;;
esac
use_disks
rounds=${GUEST_ROUNDS:-50}

briq create --force "$disk" 256M
ublk_add --queues 2 "$disk"

# Written and verified over and over, until the rounds are done.
run_fio() {
    local loop=0
    while [ ! -e "$tmp/enough" ]; do
        loop=$((loop + 1))
        fio --name=killed --filename="$device" --direct=1 --ioengine=libaio --iodepth=16 --numjobs=2 \
            --size=8M --offset_increment=64M --rw=randwrite --bsrange=4k-64k --randseed=$((seed + loop)) \
            --verify=crc32c --do_verify=1 --verify_fatal=1 --verify_state_save=0 \
            --buffer_compress_percentage=50 --output="$tmp/fio.log" || return 1
    done
    echo "$loop loops of fio"
}

run_fio >"$tmp/fio.out" 2>&1 &
fio_pid=$!
for ((round = 1; round <= rounds; round++)); do
    # Requests must have been served since the last one: then there is something to lose.
    until briq ublk stat "$id" | awk '{ n += $5 + $7 } END { exit n < 20 }'; do
        kill -0 "$fio_pid" 2>/dev/null || fail "fio ended: $(tail "$tmp/fio.out" "$tmp/fio.log")"
    done
    ublk_kill
    ublk_recover
    echo "round $round: $(cat "$tmp/recover.log")"
done
touch "$tmp/enough"
wait "$fio_pid" || fail "fio: $(tail "$tmp/fio.out" "$tmp/fio.log")"
echo "$rounds servers, $(cat "$tmp/fio.out")"
ublk_del
briq check --deep --quiet "$disk"
