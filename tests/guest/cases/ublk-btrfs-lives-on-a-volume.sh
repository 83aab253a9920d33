#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# btrfs on a ublk device: a tree of files is the same after an unmount, a stop of the server and a new
# start, fstrim gives the space of removed files back, and fsck finds nothing.
export BRIQ_FRONTEND=ublk

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/tree.sh
source "$BRIQ_SOURCE/tests/guest/lib/tree.sh"
use_disks
requires_driver btrfs

file_system_lives_on_a_volume btrfs "mkfs.btrfs -q -f" "btrfs check --readonly"
