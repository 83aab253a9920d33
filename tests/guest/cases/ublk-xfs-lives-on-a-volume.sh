#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# xfs on a ublk device: as the case without ublk.
export BRIQ_FRONTEND=ublk

# shellcheck source=tests/guest/cases/xfs-lives-on-a-volume.sh
source "$BRIQ_SOURCE/tests/guest/cases/xfs-lives-on-a-volume.sh"
