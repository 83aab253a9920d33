#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A ublk device and its volume grow while a file system on them is in use, and stay so: after another
# server has taken over, and when the volume is opened again.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
requires_driver ublk_drv
ublk_feature UPDATE_SIZE || skip "needs: a kernel with UBLK_F_UPDATE_SIZE (6.16)"
command -v resize2fs >/dev/null || skip "needs: resize2fs"

briq create "$tmp/v.briq" 64M
ublk_add "$tmp/v.briq"
mkfs.ext4 -q -F "$device"
mount_on "$tmp/mnt" "$device"
briq ublk resize "$id" 128M
expect_equal "size" "$(blockdev --getsize64 "$device")" $((128 << 20))
briq ublk resize "$id" +64M
expect_equal "size" "$(blockdev --getsize64 "$device")" $((192 << 20))
resize2fs "$device" >"$tmp/resize.log" 2>&1 || fail "resize2fs: $(cat "$tmp/resize.log")"
head -c 100M /dev/urandom >"$tmp/mnt/file"
sum=$(sha256sum <"$tmp/mnt/file")
sync
ublk_kill
ublk_recover
echo 3 >/proc/sys/vm/drop_caches
[ "$(sha256sum <"$tmp/mnt/file")" = "$sum" ] || fail "the file is not what it was"
ublk_refused resize "$id" 64M -- "*"
unmount "$tmp/mnt"
ublk_del
expect_match "size of the volume" "$(briq info --json "$tmp/v.briq")" '*"size": 201326592*'
briq check --deep --quiet "$tmp/v.briq"
