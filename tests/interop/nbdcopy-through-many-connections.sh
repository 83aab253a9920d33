#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What nbdcopy brings in through four, eight or sixteen connections it takes out again, bit by bit;
# holes stay holes.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires nbdcopy --version

make_corpus "$tmp/raw" 96M
truncate -s 160M "$tmp/raw" # a hole at the end, and one in the middle
fallocate -p -o 20M -l 30M "$tmp/raw"

briq create "$tmp/disk.briq" 160M
serve_volume "$tmp/disk.briq"
nbdcopy --connections=4 --requests=32 --flush "$tmp/raw" "$uri"
nbdcopy --connections=4 --requests=32 "$uri" "$tmp/out"
cmp "$tmp/raw" "$tmp/out" || fail "what came out is not what went in"
nbdcopy --connections=16 --requests=64 --request-size=65536 --flush "$tmp/raw" "$uri"
nbdcopy --connections=8 --requests=64 --request-size=1048576 "$uri" "$tmp/out"
cmp "$tmp/raw" "$tmp/out" || fail "through sixteen and eight connections it is not what went in"

data=$(nbdinfo --map --totals "$uri" | awk '$3 == 0 { print $1 }')
[ "$data" -le $((66 << 20)) ] || fail "$data bytes of data in the map, and 66 MiB went in"

# And again from the file alone.
stop_server
serve_volume "$tmp/disk.briq"
nbdcopy --connections=4 "$uri" "$tmp/out"
cmp "$tmp/raw" "$tmp/out" || fail "after the volume was opened again it is not what went in"
stop_server
briq check --deep "$tmp/disk.briq"
