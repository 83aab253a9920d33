#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Standard input of unknown length makes the volume grow, one that fits --size does not; standard
# output gets everything in order, holes as plain zeros. The same through named pipes.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
# shellcheck source=tests/lib/data.sh
source "$BRIQ_SOURCE/tests/lib/data.sh"
requires jq --version

# More than one growing step, a hole inside, an end that is no multiple of 512.
make_corpus "$tmp/raw" 40M
truncate -s 90M "$tmp/raw"
seq 300 | head -c 1000 >>"$tmp/raw"
cp "$tmp/raw" "$tmp/wanted"
truncate -s %512 "$tmp/wanted"
size=$(stat -c %s "$tmp/wanted")

briq import --quiet - "$tmp/grown.briq" <"$tmp/raw"
expect_equal "size" "$(briq info --json "$tmp/grown.briq" | jq .size)" "$size"
briq export --quiet "$tmp/grown.briq" - | cmp - "$tmp/wanted"
briq check --deep --quiet "$tmp/grown.briq"

# A pipe that gives little at a time.
head -c 3000000 "$tmp/raw" | dd bs=777 status=none | briq import --quiet - "$tmp/slow.briq"
briq export --quiet "$tmp/slow.briq" - >"$tmp/out"
cmp -n 3000000 "$tmp/out" "$tmp/raw"

briq import --quiet --size 128M - "$tmp/sized.briq" <"$tmp/raw"
expect_equal "size" "$(briq info --json "$tmp/sized.briq" | jq .size)" $((128 << 20))
briq export --quiet --threads 4 "$tmp/sized.briq" - >"$tmp/out"
cmp -n "$size" "$tmp/out" "$tmp/wanted"
cmp -n $(((128 << 20) - size)) "$tmp/out" /dev/zero "$size" 0

mkfifo "$tmp/pipe"
cat "$tmp/raw" >"$tmp/pipe" &
briq import --quiet "$tmp/pipe" "$tmp/piped.briq"
wait $!
briq export --quiet "$tmp/piped.briq" "$tmp/pipe" &
cmp "$tmp/pipe" "$tmp/wanted"
wait $!

# The result must not get into the data.
briq export "$tmp/slow.briq" - 2>"$tmp/result.txt" >"$tmp/out"
cmp -n 3000000 "$tmp/out" "$tmp/raw"
grep -q Speed "$tmp/result.txt" || fail "no result on standard error"

# A reader that goes away early ends the export, and the volume does not mind.
count=$({ briq export --quiet "$tmp/grown.briq" - || true; } | head -c 100000 | wc -c)
expect_equal "bytes before the reader left" "$count" 100000
briq check --quiet "$tmp/grown.briq"
