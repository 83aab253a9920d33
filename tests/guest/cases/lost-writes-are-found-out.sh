#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The medium answers writes with success and drops them (dm-flakey). A block so lost reads as an
# error, never as what it was before. After a power cut and with the medium well again no block holds
# anything but what was once written to it.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/failing.sh
source "$BRIQ_SOURCE/tests/guest/lib/failing.sh"
use_disks
make_failing_medium

attach_volume io=direct cache=0 "$medium"
write_blocks 1
medium_fails drop_writes
write_blocks 2
verify_blocks 2 2
[ "$errors" -gt 0 ] || fail "nothing was lost: this test shows nothing"
medium_is_well
abandon_volume
rm -f "$windows"/*

attach_volume "$medium"
verify_blocks 1 2
detach_device "$device"
kill_server
