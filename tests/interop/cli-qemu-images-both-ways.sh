#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Images in qemu's formats are recognised, imported and written, with the help of qemu-nbd, which
# leaves neither a process nor a socket behind.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
# shellcheck source=tests/lib/data.sh
source "$BRIQ_SOURCE/tests/lib/data.sh"
requires qemu-img --version
requires qemu-nbd --version
requires jq --version
export TMPDIR=$tmp # where the sockets would be left

make_corpus "$tmp/raw" 24M
truncate -s 100M "$tmp/raw"
dd if="$tmp/raw" of="$tmp/raw" bs=1M count=10 seek=80 conv=notrunc status=none

same_content() {
    briq export --quiet "$1" - | cmp - "$tmp/raw"
}

for format in qcow2 vmdk vdi vhdx; do
    qemu-img convert -O $format "$tmp/raw" "$tmp/image"
    briq import --quiet --force "$tmp/image" "$tmp/disk.briq"
    same_content "$tmp/disk.briq"
    expect_equal "size from $format" "$(briq info --json "$tmp/disk.briq" | jq .size)" $((100 << 20))

    briq export --quiet --force --format $format "$tmp/disk.briq" "$tmp/out"
    expect_equal "format" "$(qemu-img info --output=json "$tmp/out" | jq -r .format)" $format
    qemu-img compare -q -f $format -F raw "$tmp/out" "$tmp/raw"
    allocated=$(qemu-img info --output=json "$tmp/out" | jq '."actual-size"')
    [ "$allocated" -lt $((50 << 20)) ] || fail "holes were written to $format: $allocated bytes"
done

# Compressed clusters, and an image that stands on another; names that qemu could misread.
qemu-img convert -c -O qcow2 "$tmp/raw" "$tmp/nbd:packed.qcow2"
(cd "$tmp" && briq import --quiet --force nbd:packed.qcow2 disk.briq)
same_content "$tmp/disk.briq"
qemu-img create -q -f qcow2 -F qcow2 -b "$tmp/nbd:packed.qcow2" "$tmp/top.qcow2"
briq import --quiet --force "$tmp/top.qcow2" "$tmp/disk.briq"
same_content "$tmp/disk.briq"

# Told to be raw, it is only bytes.
briq import --quiet --force --source-format raw "$tmp/top.qcow2" "$tmp/disk.briq"
briq export --quiet "$tmp/disk.briq" - | cmp -n "$(stat -c %s "$tmp/top.qcow2")" - "$tmp/top.qcow2"

# A volume is a source too.
briq import --quiet --force "$tmp/raw" "$tmp/disk.briq"
briq import --quiet "$tmp/disk.briq" "$tmp/copy.briq"
same_content "$tmp/copy.briq"

# Errors of qemu's arrive in one line.
head -c 4096 "$tmp/top.qcow2" >"$tmp/cut.qcow2"
printf '\377' | dd of="$tmp/cut.qcow2" bs=1 seek=7 conv=notrunc status=none
expect_failure 2 briq import "$tmp/cut.qcow2" "$tmp/none.briq"
expect_match "message" "$said" "briq import: $tmp/cut.qcow2: qemu-nbd: *"
expect_equal "lines" "$(wc -l <<<"$said")" 1
expect_failure 2 briq export --format nonsense "$tmp/disk.briq" "$tmp/none"
expect_match "message" "$said" "briq export: $tmp/none: qemu-img: *nonsense*"
[ ! -e "$tmp/none.briq" ] || fail "a failed import left a file"
[ ! -e "$tmp/none" ] || fail "a failed export left a file"

# Without qemu's programs there is a clear line.
mkdir "$tmp/bin"
ln -s "$(command -v briq)" "$tmp/bin/briq"
PATH=$tmp/bin expect_failure 2 briq import "$tmp/top.qcow2" "$tmp/none.briq"
expect_match "message" "$said" "*qemu-nbd*not installed*"

left=$(find "$tmp" -maxdepth 1 -name 'briq-*')
expect_equal "left behind" "$left" ""
