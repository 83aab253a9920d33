#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Unknown commands and flags are EINVAL; FUA is good everywhere; length 0 is answered.

# shellcheck source=tests/lib/frontend.sh
source "$BRIQ_SOURCE/tests/lib/frontend.sh"
# shellcheck source=tests/lib/hostile.sh
source "$BRIQ_SOURCE/tests/lib/hostile.sh"
requires_frontend serve

hostile unknown_commands_and_flags
