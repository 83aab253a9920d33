#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# One, four and eight jobs of fio, each on its own connection, write and read requests of 512 bytes to
# 256 KiB in random order, and find their checksums.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires fio --enghelp=nbd

echo "seed $seed"
briq create "$tmp/disk.briq" 256M
serve_volume "$tmp/disk.briq"

fio_job() {
    local jobs=$1
    shift
    (cd "$tmp" && fio --name=interop --ioengine=nbd --uri="$uri" --numjobs="$jobs" \
        --size=$((part / jobs)) --offset_increment=$((256 / jobs))M --iodepth=16 \
        --bssplit=512/30:4k/30:20k/20:64k/10:256k/10 \
        --randseed="$seed" --buffer_compress_percentage=50 --refill_buffers --fsync=64 \
        --verify=crc32c --verify_state_save=0 --verify_fatal=1 \
        --group_reporting --minimal "$@") >"$tmp/fio.out" ||
        { cat "$tmp/fio.out"; fail "fio failed: $*"; }
}
part=$((64 << 20))
fio_job 1 --rw=randwrite --do_verify=1
fio_job 8 --rw=randwrite --do_verify=1
part=$((256 << 20))
fio_job 4 --rw=randrw --do_verify=1 --trim_percentage=0

# The same writes are not made but only verified, by a server that has just opened the volume.
fio_job 4 --rw=randwrite --do_verify=1
stop_server
serve_volume "$tmp/disk.briq"
fio_job 4 --rw=randwrite --verify_only
stop_server
briq check --deep "$tmp/disk.briq"
