#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# timeout: 400
#
# Swap on a volume in memory that `briq serve` has as an NBD export too: as the case with a server of
# its own. All threads that could hold a lock of the store are as privileged.
export SWAP_SERVER=serve

# shellcheck source=tests/guest/cases/ublk-swap-on-a-ram-volume-works.sh
source "$BRIQ_SOURCE/tests/guest/cases/ublk-swap-on-a-ram-volume-works.sh"
