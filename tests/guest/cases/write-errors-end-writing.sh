#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The medium starts to fail every write (dm-flakey): what was being written is refused or there, and
# the flush fails. From then on the volume takes nothing, also when the medium is well again, until it
# is opened anew: then all that was flushed is there, and it works.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/failing.sh
source "$BRIQ_SOURCE/tests/guest/lib/failing.sh"
use_disks
make_failing_medium

attach_volume "$medium"
write_blocks 1
medium_fails error_writes
expect_failure 1 write_blocks 2
verify_blocks 1 2
medium_is_well
expect_failure 1 write_blocks 3
verify_blocks 1 2
abandon_volume

attach_volume "$medium"
verify_blocks 1 2
expect_equal "unreadable blocks" "$errors" 0
write_blocks 3
verify_blocks 3 3
expect_equal "unreadable blocks" "$errors" 0
detach_volume
briq check --deep --quiet "$medium"
