#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A volume that has grown takes data of its whole new size: a file that grows with it, one that was
# preallocated, and a block device with room to spare (where loop devices can be had).

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdcopy --version

# What does not compress needs the most space.
dd if=/dev/urandom of="$tmp/raw" bs=1M count=160 status=none

grow_and_fill() {
    briq resize "$1" 160M
    serve_volume "$1"
    nbdcopy --flush "$tmp/raw" "$uri"
    nbdcopy "$uri" "$tmp/out"
    cmp "$tmp/raw" "$tmp/out"
    stop_server
    briq check --deep --quiet "$1"
}

briq create "$tmp/sparse.briq" 64M
grow_and_fill "$tmp/sparse.briq"
briq create --preallocate "$tmp/full.briq" 64M
grow_and_fill "$tmp/full.briq"
rm "$tmp/sparse.briq" "$tmp/full.briq"

truncate -s 512M "$tmp/medium"
device=$(losetup --find --show "$tmp/medium" 2>"$tmp/losetup.log") || exit 0
cleanup losetup -d "$device"
briq create "$device" 64M
grow_and_fill "$device"
