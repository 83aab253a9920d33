# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
#
# failing.sh - a medium that can be made to fail, and blocks that tell what became of them:
#   make_failing_medium       a new volume on $medium, a device-mapper device on $disk
#   medium_is_well            it does what a disk does
#   medium_fails FEATURE...   it does not, in the way of dm-flakey (error_writes, drop_writes ...)
#   medium_flaps UP DOWN      it works for UP seconds and fails for DOWN, in turn
#   bad_stretch BLOCK         prints the first sector of the 128 on it that hold this block of the volume,
#                             which must be closed
#   medium_cannot_read SECTOR COUNT   a stretch of it answers reads with errors
#   write_blocks VERSION      writes $blocks blocks of the volume, and flushes
#   verify_blocks OLDEST NEWEST   each holds one of these versions, or cannot be read. How many do is
#                             in $right (the newest), $older and $errors.

medium=/dev/mapper/failing
medium_sectors=$((256 << 11))
blocks=1500
right=0 older=0 errors=0

make_failing_medium() {
    requires_driver dm-flakey
    dm_create failing "0 $medium_sectors linear $disk 0"
    briq create --force "$medium" 128M
}

medium_is_well() {
    dm_switch failing "0 $medium_sectors linear $disk 0"
}

medium_fails() {
    dm_switch failing "0 $medium_sectors flakey $disk 0 0 1 $# $*"
}

medium_flaps() {
    dm_switch failing "0 $medium_sectors flakey $disk 0 $1 $2"
}

bad_stretch() {
    local at
    at=$(briq dump "$medium" map --block "$1" --count 1 | sed -n 's/.* at=\(0x[0-9a-f]*\) .*/\1/p')
    [ -n "$at" ] || fail "block $1 is not on the medium"
    echo $((at >> 16 << 7))
}

medium_cannot_read() {
    local at=$1 length=$2 end=$(($1 + $2))
    dm_switch failing "0 $at linear $disk 0
$at $length flakey $disk $at 0 1 1 error_reads
$end $((medium_sectors - end)) linear $disk $end"
}

write_blocks() {
    "$tools/blocks" write "$device" "$seed" "$1" 0 "$blocks"
}

verify_blocks() {
    local line
    line=$("$tools/blocks" verify "$device" "$seed" "$1" "$2" 0 "$blocks") || fail "wrong data: $line"
    echo "versions $1 to $2: $line"
    # shellcheck disable=SC2034 # for the cases
    read -r _ right _ older _ errors <<<"${line//,/}"
}
