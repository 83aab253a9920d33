#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# QEMU's own client: patterns, zeroes with and without unmap, discard, FUA and flush.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires qemu-io --version

briq create "$tmp/disk.briq" 256M
serve_volume "$tmp/disk.briq"

io() {
    local out status=0
    out=$(qemu-io -f raw -d unmap "$@" "$uri" 2>&1) || status=$?
    # qemu-io's exit status says little: it also prints what did not verify.
    if [ "$status" -ne 0 ] || grep -qiE "fail|error|verification" <<<"$out"; then
        fail "qemu-io $*: $out"
    fi
}
io -t none -c "write -P 0xa5 0 64M" -c "read -P 0xa5 0 64M"
io -t none -c "write -P 0x5a 1000k 3000" -c "read -P 0x5a 1000k 3000" \
    -c "read -P 0xa5 1028096 4096" -c "flush"
io -t writethrough -c "write -P 0x11 100M 1M" # FUA
io -t none -c "write -z 4M 8M" -c "read -P 0 4M 8M" -c "read -P 0xa5 12M 1M"
io -t none -c "write -z -u 16M 8M" -c "read -P 0 16M 8M"
io -t none -c "discard 32M 16M" -c "read -P 0 32M 16M" -c "read -P 0xa5 48M 16M"
io -t none -c "aio_write -P 0x21 128M 1M" -c "aio_write -P 0x22 129M 1M" -c "aio_write -z 130M 1M" \
    -c "aio_flush" -c "read -P 0x21 128M 1M" -c "read -P 0x22 129M 1M" -c "read -P 0 130M 1M"

stop_server
serve_volume "$tmp/disk.briq"
io -c "read -P 0x5a 1000k 3000" -c "read -P 0 4M 8M" -c "read -P 0 16M 8M" -c "read -P 0 32M 16M" \
    -c "read -P 0xa5 48M 16M" -c "read -P 0x11 100M 1M" -c "read -P 0x22 129M 1M"
stop_server
briq check --deep "$tmp/disk.briq"
