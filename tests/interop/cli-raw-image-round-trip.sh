#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A raw image comes back byte for byte, and sparse stays sparse both ways: holes are not read, zeros
# inside data take no space, and the export has its holes again.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
# shellcheck source=tests/lib/data.sh
source "$BRIQ_SOURCE/tests/lib/data.sh"
requires jq --version
echo "seed: $seed"

# 256 MiB with 12 MiB of data here and there, a stretch of written zeros, and an odd end.
make_corpus "$tmp/corpus" 12M
truncate -s $(((256 << 20) - 1000)) "$tmp/raw"
RANDOM=$seed
for ((i = 0; i < 12; i++)); do
    dd if="$tmp/corpus" of="$tmp/raw" bs=1M skip=$i count=1 oflag=seek_bytes \
        seek=$(((RANDOM << 15 | RANDOM) % (254 << 20))) conv=notrunc status=none
done
dd if=/dev/zero of="$tmp/raw" bs=1M seek=200 count=8 conv=notrunc status=none

# The volume's size is a multiple of 512: what the image lacks for that reads as zeros.
cp --sparse=always "$tmp/raw" "$tmp/wanted"
truncate -s %512 "$tmp/wanted"
data=$(du --block-size=1 "$tmp/wanted" | cut -f1)

for threads in 1 3; do
    briq import --force --threads $threads --json "$tmp/raw" "$tmp/disk.briq" >"$tmp/result"
    briq check --deep --quiet "$tmp/disk.briq"
    mapped=$(jq .mapped "$tmp/result")
    [ "$mapped" -le $((data + 4096)) ] || fail "zeros were stored: $mapped bytes of $data of data"
    briq export --quiet --force --threads $threads "$tmp/disk.briq" "$tmp/out"
    cmp "$tmp/wanted" "$tmp/out"
    taken=$(du --block-size=1 "$tmp/out" | cut -f1)
    [ "$taken" -le $((data + (64 << 10))) ] || fail "the export has lost its holes: it takes $taken"
done

# Past the page cache, and over what is there.
briq import --quiet --force --direct "$tmp/raw" "$tmp/disk.briq"
briq export --quiet --force "$tmp/disk.briq" "$tmp/out"
cmp "$tmp/wanted" "$tmp/out"

# Larger than the image.
briq import --quiet --force --size 1G "$tmp/raw" "$tmp/disk.briq"
expect_equal "size" "$(briq info --json "$tmp/disk.briq" | jq .size)" $((1 << 30))
briq export --quiet --force "$tmp/disk.briq" "$tmp/out"
truncate -s 1G "$tmp/wanted"
cmp "$tmp/wanted" "$tmp/out"
