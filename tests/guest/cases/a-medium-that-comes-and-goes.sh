#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The medium works for a second or two and fails for one (dm-flakey), while blocks are written and
# flushed. When it is well and the volume is opened again, all that was flushed is there; four times.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/failing.sh
source "$BRIQ_SOURCE/tests/guest/lib/failing.sh"
use_disks
make_failing_medium

attach_volume "$medium"
write_blocks 1
version=1
for round in 1 2 3 4; do
    flushed=$version
    medium_flaps $(((seed >> round) % 2 + 1)) 1
    while version=$((version + 1)) && write_blocks "$version" >>"$tmp/blocks.log" 2>&1; do
        flushed=$version
    done
    echo "round $round: version $flushed is flushed, $version met an error"
    medium_is_well
    verify_blocks "$flushed" "$version"
    abandon_volume
    attach_volume "$medium"
    verify_blocks "$flushed" "$version"
    expect_equal "unreadable blocks" "$errors" 0
    write_blocks "$version" # the next round begins with all of one version
done
detach_volume
briq check --deep --quiet "$medium"
