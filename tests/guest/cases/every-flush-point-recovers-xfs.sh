#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Whenever the power fails under xfs on a volume, all that was durable is there afterwards: the disk
# is built as it was at a flush, from a log of what was written to it, and judged. See log_writes.sh.

# shellcheck source=tests/guest/lib/guest.sh
source "$BRIQ_SOURCE/tests/guest/lib/guest.sh"
# shellcheck source=tests/guest/lib/log_writes.sh
source "$BRIQ_SOURCE/tests/guest/lib/log_writes.sh"
use_disks
requires_driver xfs

every_flush_point_recovers xfs "mkfs.xfs -q -f" "xfs_repair -n"
