#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# QEMU's blkverify writes everything to a raw file and to the export, and compares what it reads from
# both: over random writes and reads, many at a time, it finds no difference. That it would is
# seen when one byte of the raw file is changed behind its back.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires qemu-io --version

echo "seed $seed"
briq create "$tmp/disk.briq" 32M
truncate -s 32M "$tmp/raw"
serve_volume "$tmp/disk.briq"

# Eight requests at a time, each in an eighth of its own: what overlaps has no order that both keep.
# Places and lengths are drawn in units of 512 bytes. (QEMU 7.2's blkverify cannot write zeroes as such.)
draw_requests() {
    awk -v seed="$1" 'BEGIN {
        srand(seed)
        for (n = 1; n <= 1500; n++) {
            len = rand() < 0.7 ? 1 + int(rand() * 32) : 1 + int(rand() * 512)
            off = n % 8 * 8192 + int(rand() * (8192 - len))
            verb = rand() < 0.6 ? "aio_write -P " int(rand() * 64) * 4 : "aio_read"
            print verb, off * 512, len * 512
            if (n % 8 == 0) print "aio_flush"
        }
        print "aio_flush"
        print "read 0 32M"
    }'
}

verify() {
    qemu-io -t none --image-opts "driver=blkverify,raw.driver=file,raw.filename=$tmp/raw,\
test.driver=nbd,test.server.type=unix,test.server.path=$tmp/server.sock,test.export=${1:-}" \
        >"$tmp/qemu-io.out" 2>&1
}

draw_requests "$seed" | verify "$(basename "$tmp/disk.briq" .briq)" ||
    fail "qemu-io: $(grep -v '^wrote\|^read\|ops;' "$tmp/qemu-io.out" | tail)"
if grep -qi "fail\|error\|mismatch" "$tmp/qemu-io.out"; then
    fail "qemu-io: $(grep -i "fail\|error\|mismatch" "$tmp/qemu-io.out" | head)"
fi
expect_equal "requests" "$(grep -c 'bytes at offset' "$tmp/qemu-io.out")" 1501

stop_server
serve_volume "$tmp/disk.briq"
echo "read 0 32M" | verify disk || fail "after a restart: $(tail "$tmp/qemu-io.out")"

printf '\x5a\xa5' | dd of="$tmp/raw" bs=1 seek=9999999 conv=notrunc status=none
if echo "read 0 32M" | verify disk; then
    fail "blkverify does not see a difference: $(tail "$tmp/qemu-io.out")"
fi
grep -q "contents mismatch" "$tmp/qemu-io.out" || fail "not for a difference: $(tail "$tmp/qemu-io.out")"
stop_server
briq check --deep "$tmp/disk.briq"
