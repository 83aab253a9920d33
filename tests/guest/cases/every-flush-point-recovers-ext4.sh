#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Whenever the power fails under ext4 on a volume, all that was durable is there afterwards: the disk
# is built as it was at a flush, from a log of what was written to it, and judged. See log_writes.sh.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/log_writes.sh
source "$BRIQ_SOURCE/tests/guest/lib/log_writes.sh"
use_disks
requires_driver ext4

every_flush_point_recovers ext4 "mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0" "e2fsck -fn"
