#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The power fails while files on a ublk device are changed with fsync: as the case without ublk.
export BRIQ_FRONTEND=ublk

# shellcheck source=tests/guest/cases/power-cut-keeps-what-was-synced.sh
source "$BRIQ_SOURCE/tests/guest/cases/power-cut-keeps-what-was-synced.sh"
