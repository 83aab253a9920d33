#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# When its server dies, a device made with --on-death remove is gone, one with fail answers with errors
# until it is recovered, and one with queue lets a reader wait; none loses what was acknowledged.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
use_disks
requires_driver ublk_drv

briq create --force "$disk" 64M
head -c 1M /dev/urandom >"$tmp/data"

# Acknowledged and not flushed: it is in the windows that the next one finds.
write_and_kill() {
    ublk_add --on-death "$1" "$disk"
    dd if=/dev/zero of="$device" bs=64k count=16 oflag=direct status=none
    dd if="$tmp/data" of="$device" bs=64k oflag=direct status=none
    ublk_kill
}

write_and_kill remove
until [ ! -e "$device" ]; do :; done
ublk_refused recover "$id" -- "*cannot be taken over*briq ublk del*"
briq ublk del "$id"
ublk_add --read-only "$disk"
cmp -n $((1 << 20)) "$tmp/data" "$device"
if dd if=/dev/zero of="$device" bs=4k count=1 2>/dev/null; then fail "it can be written to"; fi
ublk_del

write_and_kill queue
until briq ublk list "$id" | grep -q ' waiting '; do :; done
dd if="$device" of="$tmp/read" bs=64k count=16 iflag=direct status=none &
reader=$!
ublk_recover
wait "$reader" || fail "the reader met an error"
cmp "$tmp/data" "$tmp/read"
ublk_del

if ublk_feature USER_RECOVERY_FAIL_IO; then
    write_and_kill fail
    until briq ublk list "$id" | grep -q ' failing '; do :; done
    if dd if="$device" of="$tmp/read" bs=64k count=1 iflag=direct 2>/dev/null; then
        fail "it was read without a server"
    fi
    ublk_recover
    dd if="$device" of="$tmp/read" bs=64k count=16 iflag=direct status=none
    cmp "$tmp/data" "$tmp/read"
    ublk_del
else
    ublk_refused add --on-death fail "$disk" -- "*--on-death fail*6.13*"
fi
briq check --deep --quiet "$disk"
