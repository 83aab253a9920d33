#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# ext4 on a ublk device: as the case without ublk.
export BRIQ_FRONTEND=ublk

# shellcheck source=tests/guest/cases/ext4-lives-on-a-volume.sh
source "$BRIQ_SOURCE/tests/guest/cases/ext4-lives-on-a-volume.sh"
