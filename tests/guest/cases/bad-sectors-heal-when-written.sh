#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Bad sectors as disks have them (dm-dust): a block on one reads as an error, until the sector is
# written. The volume writes elsewhere: an overwritten block reads right at once.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/failing.sh
source "$BRIQ_SOURCE/tests/guest/lib/failing.sh"
use_disks
requires_driver dm-dust
make_failing_medium

dm_switch failing "0 $medium_sectors dust $disk 0 512"
attach_volume "$medium"
write_blocks 1
detach_volume
bad=$(bad_stretch $((blocks / 2)))

attach_volume io=direct cache=0 "$medium"
for ((sector = bad; sector < bad + 128; sector++)); do
    dmsetup message failing 0 addbadblock "$sector" >>"$tmp/dust.log"
done
dmsetup message failing 0 enable
verify_blocks 1 1
[ "$errors" -gt 0 ] || fail "every block could be read: this test shows nothing"
write_blocks 2
verify_blocks 2 2
expect_equal "unreadable blocks" "$errors" 0
detach_volume
