#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A block device is a source, a place for a volume, and a destination whose old content is replaced
# completely; what is on it is not overwritten without --force, and a failed import leaves nothing on
# it that looks like a volume. Needs loop devices, and root.

# shellcheck source=tests/lib/functions.sh
source "$BRIQ_SOURCE/tests/lib/functions.sh"
# shellcheck source=tests/lib/data.sh
source "$BRIQ_SOURCE/tests/lib/data.sh"
requires jq --version

# Prints the device of a new file of that size, full of old content.
make_device() {
    head -c "$2" /dev/zero | tr '\0' '\377' >"$tmp/$1"
    losetup --find --show "$tmp/$1" 2>>"$tmp/losetup.log"
}
from=$(make_device from 48M) || skip "needs: losetup"
cleanup losetup -d "$from"
to=$(make_device to 48M)
cleanup losetup -d "$to"
medium=$(make_device medium 64M)
cleanup losetup -d "$medium"

make_corpus "$tmp/raw" 12M
truncate -s 40M "$tmp/raw"
cat "$tmp/raw" >"$from" # and 8 MiB of 0xff stay behind it

briq import --quiet "$from" "$medium"
briq check --deep --quiet "$medium"
expect_equal "size" "$(briq info --json "$medium" | jq .size)" $((48 << 20))
briq export --quiet "$medium" - | cmp - "$from"

expect_failure 2 briq import --quiet "$from" "$medium"
expect_match "message" "$said" "briq import: $medium: *a Briq volume*--force*"
expect_failure 2 briq create "$medium" 1M
expect_failure 2 briq export --quiet "$medium" "$to"
expect_match "message" "$said" "briq export: $to: *--force*"
cmp -n $((48 << 20)) "$to" <(head -c 48M /dev/zero | tr '\0' '\377') ||
    fail "a refused export wrote something"

# All of the old content goes, also where the volume has holes.
briq import --quiet --force --size 48M "$tmp/raw" "$medium"
briq export --quiet --force "$medium" "$to"
truncate -s 48M "$tmp/raw"
cmp "$tmp/raw" "$to"

# Too small for what it shall hold.
briq resize "$medium" 49M
expect_failure 2 briq export --quiet --force "$medium" "$to"
expect_match "message" "$said" "briq export: $to: *$((48 << 20))*$((49 << 20))*"

# Data that does not fit: 100 MiB without a pattern. The device is no volume afterwards.
head -c 100M /dev/urandom >"$tmp/random"
expect_failure 2 briq import --quiet --force "$tmp/random" "$medium"
expect_match "message" "$said" "*briq import: $medium: no space left*"
expect_failure 2 briq info "$medium"
