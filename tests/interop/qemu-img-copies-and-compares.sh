#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# qemu-img converts an ext4 image into a volume, finds it identical, sees its holes, and converts it
# back.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires qemu-img --version
requires mke2fs -V
requires jq --version

make_ext4 "$tmp/raw" 192M /usr/share/doc
briq create "$tmp/disk.briq" 192M
serve_volume "$tmp/disk.briq"

qemu-img convert -n -f raw -O raw -W "$tmp/raw" "$uri"
qemu-img compare -f raw -F raw "$tmp/raw" "$uri"
expect_equal "virtual size" "$(qemu-img info --output=json -f raw "$uri" | jq '."virtual-size"')" \
    $((192 << 20))

# Zeros of the image are not stored: qemu-img writes them as zeroes.
qemu-img map --output=json -f raw "$uri" >"$tmp/map.json"
expect_equal "end of the map" "$(jq '.[-1].start + .[-1].length' "$tmp/map.json")" $((192 << 20))
zeros=$(jq '[.[] | select(.zero) | .length] | add' "$tmp/map.json")
[ "$zeros" -gt $((8 << 20)) ] || fail "only $zeros bytes of zeros in the map"

stop_server
serve_volume --read-only "$tmp/disk.briq"
qemu-img convert -f raw -O qcow2 "$uri" "$tmp/copy.qcow2"
qemu-img compare -f raw -F qcow2 "$tmp/raw" "$tmp/copy.qcow2"
stop_server
