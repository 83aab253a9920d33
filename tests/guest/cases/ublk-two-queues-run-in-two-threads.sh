#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# With two processors a ublk device has two queues whose threads are bound to them, and both serve
# requests when programs on both processors ask.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks
[ "$(nproc)" -ge 2 ] || skip "needs: two processors (GUEST_CPUS=2)"

briq create --force "$disk" 256M
ublk_add --affinity one --queues 2 "$disk"
expect_equal "queues" "$(briq ublk stat "$id" | wc -l)" 2
bound=$(for task in /proc/"$server_pid"/task/*; do
    case $(cat "$task/comm") in
    ublk-q*) sed -n 's/^Cpus_allowed_list:\s*//p' "$task/status" ;;
    esac
done | sort)
[ "$(uniq <<<"$bound" | grep -c '^[0-9]*$')" -eq 2 ] || fail "the threads are bound to: $bound"
fio --name=queues --filename="$device" --direct=1 --ioengine=libaio --iodepth=8 --numjobs=2 \
    --cpus_allowed=0-1 --cpus_allowed_policy=split --size=8M --offset_increment=64M --rw=randwrite --bs=4k \
    --output="$tmp/fio.log" || fail "fio: $(tail "$tmp/fio.log")"
briq ublk stat "$id"
for writes in $(ublk_counts writes); do
    [ "$writes" -gt 500 ] || fail "a queue served only $writes writes"
done
ublk_del
