#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A stretch of the medium cannot be read (dm-flakey with error_reads): the blocks there are errors, all
# others read right, and writing goes on. Once it can be read again nothing is missing.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/failing.sh
source "$BRIQ_SOURCE/tests/guest/lib/failing.sh"
use_disks
make_failing_medium

attach_volume "$medium"
write_blocks 1
detach_volume
bad=$(bad_stretch $((blocks / 2)))

attach_volume io=direct cache=0 "$medium"
medium_cannot_read "$bad" 128
verify_blocks 1 1
[ "$errors" -gt 0 ] || fail "every block could be read: this test shows nothing"
[ "$right" -gt $((blocks / 2)) ] || fail "only $right of $blocks blocks can be read"
"$tools/blocks" write "$device" "$seed" 2 $((blocks + 100)) 50
"$tools/blocks" verify "$device" "$seed" 2 2 $((blocks + 100)) 50
medium_is_well
verify_blocks 1 1
expect_equal "unreadable blocks" "$errors" 0
detach_volume
briq check --deep --quiet "$medium"
