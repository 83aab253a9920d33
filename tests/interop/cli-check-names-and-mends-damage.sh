#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# check says what is damaged and exits with 1, --repair mends it, and the data is what it was; dump
# tells where things are.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
requires jq --version

volume=$tmp/disk.briq
make_corpus "$tmp/raw" 16M
briq import --quiet "$tmp/raw" "$volume"

# Inverts the byte at an offset, in any notation.
damage() {
    local at=$(($1)) byte
    byte=$(od -An -tu1 -N1 -j "$at" "$volume")
    printf '%b' "\\x$(printf %02x $((byte ^ 255)))" |
        dd of="$volume" bs=1 seek="$at" conv=notrunc status=none
}

expect_damage_and_repair() {
    local says=$1
    expect_failure 1 briq check --deep "$volume"
    # shellcheck disable=SC2154 # by expect_failure
    expect_match "findings" "$said" "*$says*NOT sound*"
    expect_failure 1 briq check --json "$volume"
    expect_equal "sound" "$(jq .sound <<<"$said")" false
    briq check --repair "$volume" >"$tmp/mended"
    expect_match "repair" "$(cat "$tmp/mended")" "*mended: *$says*"
    briq check --deep "$volume"
    briq export --quiet --force "$volume" "$tmp/out"
    cmp "$tmp/raw" "$tmp/out"
}

damage 600
expect_damage_and_repair "superblock copy 0"

map_root=$(briq dump "$volume" | sed -n 's/^map_root copy=0 .*at=//p')
damage "$map_root + 8"
expect_damage_and_repair "map root 0"

map_page=$(briq dump "$volume" records | sed -n 's/.* type=map_page .*lba=3 payload=\(0x[0-9a-f]*\) .*/\1/p')
for place in $map_page; do # all its images, old and new
    damage "$place + 100"
done
expect_damage_and_repair "map page 3"

chunk=$(briq dump "$volume" chunks | sed -n 's/^chunk at=\(0x[0-9a-f]*\) .*kind=user.*/\1/p' | head -n 1)
damage "$chunk + 40"
expect_damage_and_repair "a chunk header is damaged"

# Data has no second copy: that block stays lost, and is said to be.
data=$(briq dump "$volume" map --block 1000 --count 200 | sed -n 's/.* data at=\(0x[0-9a-f]*\) .*/\1/p' | head -n 1)
damage "$data + 20"
expect_failure 1 briq check --deep --repair "$volume"
expect_match "what is left" "$said" "*fails its check*NOT sound, 1 error*"
