#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The judge behind kill_server does notice a loss: when the append windows go away and it is told that
# they had not, acknowledged writes are missing, and it says so.
source "$BRIQ_SOURCE/tests/lib/functions.sh"

expect_failure 1 env ROUNDS=50 BRIQ_SEED="$seed" "$BRIQ_BUILD/tests/crash/kill_server" --lose
expect_match "what it said" "$said" "*is lost, and it was answered*"
