#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# An NBD export is read and written through several connections where the server allows it and one
# where it does not; holes are skipped by block status, and old content of the target is replaced by
# zeros, also on a server that cannot zero.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
# shellcheck source=tests/lib/data.sh
source "$BRIQ_SOURCE/tests/lib/data.sh"
requires nbdkit --version
requires nbdkit --filter=log null --dump-plugin
source_uri='' plain_uri='' target_uri='' target_pid='' small_uri='' # start_nbdkit sets them

make_corpus "$tmp/corpus" 16M
truncate -s 128M "$tmp/raw"
dd if="$tmp/corpus" of="$tmp/raw" bs=1M seek=3 conv=notrunc status=none
dd if="$tmp/corpus" of="$tmp/raw" bs=4K seek=20001 count=3000 conv=notrunc status=none

same_content() {
    briq export --quiet "$1" - | cmp - "$tmp/raw"
}

start_nbdkit source -r --filter=log file "$tmp/raw" logfile="$tmp/requests"
briq import --quiet --threads 4 "$source_uri" "$tmp/disk.briq"
same_content "$tmp/disk.briq"
connections=$(grep -c 'ClientPreconnect\|Connect ' "$tmp/requests" || true)
[ "$connections" -ge 4 ] || fail "$connections connections to a multi-conn server"
read_bytes=$(sed -nE 's/.* Read .*count=(0x[0-9a-f]+).*/\1/p' "$tmp/requests" |
    while read -r n; do echo $((n)); done | awk '{ n += $1 } END { print n + 0 }')
[ "$read_bytes" -gt $((20 << 20)) ] || fail "only $read_bytes bytes were read of 28 MiB of data"
[ "$read_bytes" -lt $((40 << 20)) ] || fail "$read_bytes bytes were read of 28 MiB of data"

# No block status, no multi-conn, and only requests of at least 4 KiB.
start_nbdkit plain -r --filter=noextents --filter=multi-conn --filter=blocksize-policy \
    file "$tmp/raw" multi-conn-mode=disable \
    blocksize-minimum=4096 blocksize-preferred=4096 blocksize-maximum=128K \
    blocksize-error-policy=error
briq import --quiet "$plain_uri" "$tmp/plain.briq"
same_content "$tmp/plain.briq"

for filter in --filter=fua --filter=nozero; do
    head -c 128M /dev/zero | tr '\0' '\377' >"$tmp/target"
    start_nbdkit target $filter file "$tmp/target"
    briq export --quiet --threads 4 "$tmp/disk.briq" "$target_uri"
    stop_process "$target_pid" || true
    cmp "$tmp/raw" "$tmp/target"
done

# Too small, or read-only: refused, and nothing is written.
start_nbdkit small memory 64M
expect_failure 2 briq export "$tmp/disk.briq" "$small_uri"
expect_match "message" "$said" "*67108864*134217728*"
expect_failure 2 briq export "$tmp/disk.briq" "$source_uri"
expect_match "message" "$said" "*read-only*"
